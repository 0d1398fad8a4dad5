/**
 * Enrolment, renewal and confirmation over REST, from the device's side: its key stays here, its request goes out, what comes back is checked.
 * Not when to do which, nor what becomes of the old certificate: that is virtual-device.ts.
 */

import type { SecureContext } from 'node:tls'
import type { KeyKind } from '#fleet/certificate.ts'
import { accepted, broken, offerIn } from './accepted.ts'
import { clientContext, unreachable, type Network } from './connection.ts'
import { makeCsr } from './csr.ts'
import { httpsOnce } from './https-once.ts'
import type { Enrolled, Identity } from './identity.ts'
import { keyForRenewal, newKey, type RenewalKey } from './key.ts'
import type { Meter } from './meter.ts'
import { untilDecided, waitIn, type Patience } from './patience.ts'
import { objectIn, refusalOf, type Fields } from './refusal.ts'
import { resolveRoot } from './trust.ts'

export type EnrollOptions = Patience & {
  /** `https://…` of enroll's device listener */
  readonly server: string
  /** undefined: the credential is the id, the key or `bootstrap`; then a root must be given, for there is no token that names it */
  readonly token?: string | undefined
  readonly id: string
  /** the enrolment group, where there is no token that has one */
  readonly group?: string | undefined
  /** the certificate of the manufacturer */
  readonly bootstrap?: Identity | undefined
  readonly keyKind?: KeyKind | undefined
  /** a key made earlier (PKCS #8 PEM): asking again with it gets the same certificate, should the first answer be lost */
  readonly keyPem?: string | undefined
  readonly rootPem?: string | undefined
  readonly rootSha256?: string | undefined
  readonly meter?: Meter | undefined
  readonly network?: Network | undefined
}

type Asking = Pick<EnrollOptions, 'server' | 'onWaiting' | 'signal' | 'meter' | 'network'>

/** Once, or as often as it takes an operator to decide. */
const ask = (
  o: Asking,
  path: string,
  context: SecureContext,
  request: { readonly method?: 'GET' | 'POST'; readonly token?: string | undefined; readonly body?: object },
): Promise<Fields> => {
  const url = new URL(path, o.server)
  return untilDecided(o, async () => {
    const answer = await httpsOnce({
      ...o.network,
      url: url.href,
      context,
      method: request.method ?? 'POST',
      headers: {
        ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(request.token === undefined ? {} : { authorization: `Bearer ${request.token}` }),
      },
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      signal: o.signal,
      meter: o.meter,
    })
    if (answer.status >= 400) throw refusalOf(answer, request.token === undefined ? [] : [request.token])
    const fields = objectIn(answer.body)
    if (answer.status === 200 || answer.status === 201) return { answer: fields }
    if (answer.status !== 202) throw unreachable(url, `it answered ${answer.status}`)
    return { wait: waitIn(fields) }
  })
}

/**
 * What is secret leaves only over TLS verified against the root that is known: from the token, or given.
 * @throws the server's own reason; `target_unreachable`; `expectation_broken` when what came back is not what was asked for
 */
export const enrollDevice = async (o: EnrollOptions): Promise<Enrolled> => {
  const rootPem = await resolveRoot(o.server, o, { signal: o.signal, meter: o.meter, network: o.network })
  const keyPem = o.keyPem ?? (await newKey(o.keyKind ?? 'P-256'))
  const { token, group, id } = o
  const answer = await ask(o, '/v1/enroll', clientContext({ rootPem, identity: o.bootstrap }), {
    token,
    body: { csr: makeCsr(keyPem, id), device_id: id, ...(group === undefined ? {} : { group }) },
  })
  return accepted(offerIn(answer), { ...o, deviceId: id, keyPem, rootPem })
}

type WithCertificate = Asking & { readonly enrolled: Enrolled }

const ownContext = ({ enrolled }: WithCertificate): SecureContext =>
  clientContext({ rootPem: enrolled.rootPem, identity: enrolled })

/**
 * By the current certificate, over mutual TLS. The new one waits to be confirmed: try it, and only then let go of the old one.
 * @throws as {@link enrollDevice}
 */
export const renewDevice = async (o: WithCertificate & RenewalKey): Promise<Enrolled> => {
  const { deviceId, rootPem, keyPem: oldKey } = o.enrolled
  const keyPem = await keyForRenewal(oldKey, o)
  const answer = await ask(o, '/v1/renew', ownContext(o), { body: { csr: makeCsr(keyPem, deviceId) } })
  return accepted(offerIn(answer), { ...o, deviceId, keyPem, rootPem })
}

/** By the new certificate itself: from here on the server counts on it, and lets go of what is older. Repeating it changes nothing. @throws as {@link enrollDevice} */
export const confirmDevice = async (o: WithCertificate): Promise<void> => {
  const answer = await ask(o, '/v1/confirm', ownContext(o), {})
  const { serial, state } = answer
  if (serial !== o.enrolled.serial || state !== 'live')
    throw broken('another certificate than the one presented was confirmed')
}

/** What the server suggests for this certificate now. Times are ms since the epoch. `reason`: replace it at once. */
export type RenewalAdvice = { readonly renewAfter: number; readonly reason: string | undefined }

/** @throws as {@link enrollDevice} */
export const adviceFor = async (o: WithCertificate): Promise<RenewalAdvice> => {
  const { renew_after: after, reason } = await ask(o, '/v1/renewal', ownContext(o), { method: 'GET' })
  const renewAfter = typeof after === 'string' ? Date.parse(after) : Number.NaN
  if (Number.isNaN(renewAfter)) throw broken('the advice holds no renew_after')
  return { renewAfter, reason: typeof reason === 'string' ? reason : undefined }
}
