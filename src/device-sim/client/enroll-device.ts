/**
 * Enrolment, renewal and confirmation, from the device's side: its key stays here, its request goes out, what comes back is checked.
 * Not when to do which, nor what becomes of the old certificate: that is virtual-device.ts.
 */

import { createPrivateKey } from 'node:crypto'
import type { SecureContext } from 'node:tls'
import type { KeyKind } from '#fleet/certificate.ts'
import { SECOND } from '#fleet/clock.ts'
import { ERROR_CODES, FleetError, type ErrorCode } from '#fleet/errors.ts'
import type { EnrollResponse } from '#wire/rest.ts'
import { clientContext, unreachable } from './connection.ts'
import { makeCsr } from './csr.ts'
import { httpsOnce, type Answer } from './https-once.ts'
import type { Enrolled, Identity } from './identity.ts'
import { keyKindOf, newKey } from './key.ts'
import type { Meter } from './meter.ts'
import { certificatesIn, leadsToRoot, resolveRoot } from './trust.ts'
import { pause } from '../waiting.ts'

/** An operator is to decide. `retryAfter`: seconds. */
export type Wait = { readonly requestId: string; readonly retryAfter: number }

export type EnrollOptions = {
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
  /** told each time; it is asked again until an operator has decided. Without it, having to wait is `rate_limited` */
  readonly onWaiting?: ((wait: Wait) => void) | undefined
  readonly signal?: AbortSignal | undefined
  readonly meter?: Meter | undefined
}

const isErrorCode = (text: string | undefined): text is ErrorCode =>
  (ERROR_CODES as readonly (string | undefined)[]).includes(text)

/** {} when it is no JSON object */
const objectIn = (answer: Answer): Readonly<Record<string, unknown>> => {
  try {
    const value: unknown = JSON.parse(answer.body.toString())
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

/** A refusal, with the server's own reason; `cause` is its problem document, for whoever prints it whole. */
export const refusalOf = (answer: Answer): FleetError => {
  const problem = objectIn(answer)
  const text = [problem['detail'], problem['title']].find((item) => typeof item === 'string')
  const retryAfter = Number(answer.headers['retry-after'])
  return new FleetError(
    isErrorCode(answer.reason) ? answer.reason : 'internal',
    text ?? `the server answered ${answer.status}`,
    { cause: problem, ...(Number.isInteger(retryAfter) ? { retryAfter } : {}) },
  )
}

const broken = (detail: string): FleetError => new FleetError('expectation_broken', detail)

const FIELDS = ['device_id', 'certificate', 'chain', 'serial', 'not_after', 'renew_after'] as const

const replyIn = (answer: Answer): Pick<EnrollResponse, (typeof FIELDS)[number]> => {
  const reply = objectIn(answer)
  for (const field of FIELDS)
    if (typeof reply[field] !== 'string') throw broken(`the reply holds no ${field}`)
  return reply as EnrollResponse
}

/** What a careful device checks before it keeps a certificate: mine, for my key, under a root I trust. */
const accepted = async (
  o: Asking,
  answer: Answer,
  deviceId: string,
  keyPem: string,
  rootPem: string,
): Promise<Enrolled> => {
  const reply = replyIn(answer)
  const [leaf] = certificatesIn(reply.certificate)
  if (leaf === undefined) throw broken('the reply holds no certificate')
  if (reply.device_id !== deviceId) throw broken(`asked for ${deviceId}, got ${reply.device_id}`)
  if (!leaf.checkPrivateKey(createPrivateKey(keyPem))) throw broken('the certificate is for another key')
  let child = leaf
  for (const issuer of certificatesIn(reply.chain)) {
    if (!child.checkIssued(issuer) || !child.verify(issuer.publicKey))
      throw broken('the certificate does not lead to the root')
    child = issuer
  }
  const identity = { keyPem, certificatePem: reply.certificate, chainPem: reply.chain }
  if (!(await leadsToRoot(child, { ...o, identity, rootPem })))
    throw broken('the certificate does not lead to the root')
  return {
    deviceId,
    keyPem,
    certificatePem: reply.certificate,
    chainPem: reply.chain,
    rootPem,
    notAfter: Date.parse(reply.not_after),
    renewAfter: Date.parse(reply.renew_after),
    serial: reply.serial,
  }
}

type Asking = Pick<EnrollOptions, 'server' | 'onWaiting' | 'signal' | 'meter'>

const waitIn = (answer: Answer): Wait => {
  const { request_id: requestId, retry_after: retryAfter } = objectIn(answer)
  if (typeof requestId !== 'string' || !Number.isInteger(retryAfter) || (retryAfter as number) < 1)
    throw broken('the server said to wait, and not for how long')
  return { requestId, retryAfter: retryAfter as number }
}

/** Once, or as often as it takes an operator to decide. */
const ask = async (
  o: Asking,
  path: string,
  context: SecureContext,
  request: { readonly method?: 'GET' | 'POST'; readonly token?: string | undefined; readonly body?: object },
): Promise<Answer> => {
  const url = new URL(path, o.server)
  for (;;) {
    const answer = await httpsOnce({
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
    if (answer.status >= 400) throw refusalOf(answer)
    if (answer.status === 200 || answer.status === 201) return answer
    if (answer.status !== 202) throw unreachable(url, `it answered ${answer.status}`)
    const wait = waitIn(answer)
    if (o.onWaiting === undefined)
      throw new FleetError('rate_limited', `an operator is to decide on request ${wait.requestId}`, wait)
    o.onWaiting(wait)
    await pause(wait.retryAfter * SECOND, ...(o.signal === undefined ? [] : [o.signal]))
    if (o.signal?.aborted) throw unreachable(url, 'given up while an operator was to decide')
  }
}

/**
 * What is secret leaves only over TLS verified against the root that is known: from the token, or given.
 * @throws the server's own reason; `target_unreachable`; `expectation_broken` when what came back is not what was asked for
 */
export const enrollDevice = async (o: EnrollOptions): Promise<Enrolled> => {
  const rootPem = await resolveRoot(o.server, o, { signal: o.signal, meter: o.meter })
  const keyPem = o.keyPem ?? (await newKey(o.keyKind ?? 'P-256'))
  const { token, group, id } = o
  const answer = await ask(o, '/v1/enroll', clientContext({ rootPem, identity: o.bootstrap }), {
    token,
    body: { csr: makeCsr(keyPem, id), device_id: id, ...(group === undefined ? {} : { group }) },
  })
  return accepted(o, answer, id, keyPem, rootPem)
}

type WithCertificate = Asking & { readonly enrolled: Enrolled }

const ownContext = ({ enrolled }: WithCertificate): SecureContext =>
  clientContext({ rootPem: enrolled.rootPem, identity: enrolled })

/**
 * By the current certificate, over mutual TLS. The new one waits to be confirmed: try it, and only then let go of the old one.
 * @throws as {@link enrollDevice}
 */
export const renewDevice = async (
  o: WithCertificate & { readonly newKey?: boolean | undefined; readonly keyPem?: string | undefined },
): Promise<Enrolled> => {
  const { deviceId, rootPem, keyPem: oldKey } = o.enrolled
  const keyPem = o.keyPem ?? (o.newKey ? await newKey(keyKindOf(oldKey)) : oldKey)
  const answer = await ask(o, '/v1/renew', ownContext(o), { body: { csr: makeCsr(keyPem, deviceId) } })
  return accepted(o, answer, deviceId, keyPem, rootPem)
}

/** By the new certificate itself: from here on the server counts on it, and lets go of what is older. Repeating it changes nothing. @throws as {@link enrollDevice} */
export const confirmDevice = async (o: WithCertificate): Promise<void> => {
  const answer = await ask(o, '/v1/confirm', ownContext(o), {})
  const { serial, state } = objectIn(answer)
  if (serial !== o.enrolled.serial || state !== 'live')
    throw broken('another certificate than the one presented was confirmed')
}

/** What the server suggests for this certificate now. Times are ms since the epoch. `reason`: replace it at once. */
export type RenewalAdvice = { readonly renewAfter: number; readonly reason: string | undefined }

/** @throws as {@link enrollDevice} */
export const adviceFor = async (o: WithCertificate): Promise<RenewalAdvice> => {
  const { renew_after: after, reason } = objectIn(
    await ask(o, '/v1/renewal', ownContext(o), { method: 'GET' }),
  )
  const renewAfter = typeof after === 'string' ? Date.parse(after) : Number.NaN
  if (Number.isNaN(renewAfter)) throw broken('the advice holds no renew_after')
  return { renewAfter, reason: typeof reason === 'string' ? reason : undefined }
}
