/**
 * Enrolment over EST (RFC 7030, RFC 8951), from the device's side: HTTP Basic with a claim token; base64 goes out, a certs-only PKCS #7 comes
 * back. Not the check of what came: accepted.ts; nor renewal, which is the same thing over REST whoever has enrolled: enroll-device.ts.
 */

import { createPrivateKey, type X509Certificate } from 'node:crypto'
import type { SecureContext } from 'node:tls'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import { said } from '../said.ts'
import { accepted, broken, offerOf, type Offer } from './accepted.ts'
import { clientContext, unreachable, type Network } from './connection.ts'
import { makeCsrDer } from './csr.ts'
import { httpsOnce, type Answer } from './https-once.ts'
import type { Enrolled, Identity } from './identity.ts'
import type { Meter } from './meter.ts'
import { untilDecided, type Patience } from './patience.ts'
import { certificatesInPkcs7 } from './pkcs7.ts'
import { isErrorCode, secondsIn, without } from './refusal.ts'
import { issued, resolveRoot } from './trust.ts'

export type EstOptions = Patience & {
  /** `https://…` of enroll's device listener */
  readonly server: string
  /** of `/.well-known/est/<label>/`; undefined: none */
  readonly label?: string | undefined
  readonly meter?: Meter | undefined
  readonly network?: Network | undefined
}

const PATH = '/.well-known/est'
/** Names itself: to who does not, the server says less (docs/est.md, "What clients differ in"). */
const ALWAYS = { 'user-agent': 'sallyport-device', accept: '*/*' }
/** A server that says to wait and not for how long (RFC 7030 §4.2.3 wants it): seconds. */
const USUAL_WAIT = 60

/** Where the text of a refusal holds no word of the closed set: another server's. */
const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  400: 'bad_request',
  401: 'credential_required',
  403: 'forbidden',
  404: 'not_found',
  405: 'method_not_allowed',
  409: 'conflict',
  413: 'body_too_large',
  415: 'unsupported_media_type',
  429: 'rate_limited',
  501: 'unsupported',
  503: 'registry_unavailable',
}

/** `…: detail (reason, request id)` in one line of text (docs/est.md, "Statuses"). */
const REASON = /\(([a-z_]{1,64}), request [^()\s]{1,128}\)\s*$/
const REQUEST = /\brequest ([A-Za-z0-9-]{1,128})/
const MOST_TEXT = 2_048

const textOf = ({ body }: Answer): string => body.subarray(0, MOST_TEXT).toString().trim()

const refusalOf = (answer: Answer, secrets: readonly string[]): FleetError => {
  const text = without(secrets, textOf(answer))
  const reason = answer.reason ?? REASON.exec(text)?.[1]
  const retryAfter = secondsIn(answer.headers['retry-after'])
  const code = isErrorCode(reason) ? reason : (BY_STATUS[answer.status] ?? 'internal')
  return new FleetError(code, text === '' ? `the server answered ${answer.status}` : said(text), {
    cause: { status: answer.status, reason },
    ...(retryAfter === undefined ? {} : { retryAfter }),
  })
}

/** RFC 8951 §3.2.1: base64, wherever it is wrapped, whatever Content-Transfer-Encoding says. */
const derIn = ({ headers, body }: Answer): Buffer => {
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/pkcs7-mime')
    throw broken(
      `the answer is ${type === undefined ? 'of no type' : said(type)}, not application/pkcs7-mime`,
    )
  const text = body.toString('latin1').replaceAll(/[\r\n\t ]+/g, '')
  if (text === '' || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw broken('the answer is not base64')
  return Buffer.from(text, 'base64')
}

const urlOf = (o: EstOptions, operation: string): URL =>
  new URL(`${PATH}/${o.label === undefined ? '' : `${encodeURIComponent(o.label)}/`}${operation}`, o.server)

/** RFC 7030 §4.1: the CAs of devices, and the roots of servers. @param o.verify false: believed only for what else is known of it */
const caCertificates = async (
  o: EstOptions & { readonly context: SecureContext; readonly verify?: boolean },
): Promise<readonly X509Certificate[]> => {
  const url = urlOf(o, 'cacerts')
  const { context, verify, signal, meter, network } = o
  const answer = await httpsOnce({
    ...network,
    url: url.href,
    context,
    verify,
    headers: ALWAYS,
    signal,
    meter,
  })
  if (answer.status !== 200) throw unreachable(url, `GET ${url.pathname} answered ${answer.status}`)
  return certificatesInPkcs7(derIn(answer))
}

type Request = {
  readonly context: SecureContext
  readonly csr: Buffer
  /** of HTTP Basic */
  readonly id: string
  readonly token: string
}

/** RFC 7030 §4.2.1 */
const simpleEnroll = (o: EstOptions, { context, csr, id, token }: Request): Promise<Answer> => {
  const url = urlOf(o, 'simpleenroll')
  const { signal, meter, network } = o
  const basic = Buffer.from(`${id}:${token}`).toString('base64')
  return untilDecided(o, async () => {
    const answer = await httpsOnce({
      ...network,
      url: url.href,
      context,
      method: 'POST',
      headers: {
        ...ALWAYS,
        authorization: `Basic ${basic}`,
        'content-type': 'application/pkcs10',
      },
      body: csr.toString('base64'),
      signal,
      meter,
    })
    if (answer.status >= 400) throw refusalOf(answer, [token, basic])
    if (answer.status === 200) return { answer }
    if (answer.status !== 202) throw unreachable(url, `it answered ${answer.status}`)
    const requestId = REQUEST.exec(textOf(answer))?.[1] ?? 'unnamed'
    return { wait: { requestId, retryAfter: secondsIn(answer.headers['retry-after']) || USUAL_WAIT } }
  })
}

/** Upwards from the leaf, each above what it has signed; without the root. */
const chainAbove = (leaf: X509Certificate, pool: readonly X509Certificate[]): X509Certificate[] => {
  const chain: X509Certificate[] = []
  for (let child = leaf; chain.length < pool.length;) {
    const above = pool.find((each) => !issued(each, each) && !chain.includes(each) && issued(each, child))
    if (above === undefined) break
    chain.push(above)
    child = above
  }
  return chain
}

/** The leaf is the one with our key; what is above it is in the answer, or else (RFC 7030 §4.2.3: only the certificate) among `cacerts`. */
const offerIn = async (o: EstOptions, answer: Answer, keyPem: string, rootPem: string): Promise<Offer> => {
  const came = certificatesInPkcs7(derIn(answer))
  const key = createPrivateKey(keyPem)
  const leaf = came.find((each) => each.checkPrivateKey(key))
  if (leaf === undefined) throw broken('the certificate is for another key')
  const identity: Identity = { keyPem, certificatePem: leaf.toString(), chainPem: '' }
  const pool =
    came.length > 1 ? came : await caCertificates({ ...o, context: clientContext({ rootPem, identity }) })
  return offerOf(leaf, chainAbove(leaf, pool))
}

/**
 * The password is sent only over TLS verified against the root that is known: from the token, or given.
 * @throws the server's own reason; `target_unreachable`; `expectation_broken` when what came back is not what was asked for
 */
export const enrollByEst = async (
  o: EstOptions & {
    readonly id: string
    /** a claim token, the password; the user is the device id */
    readonly token: string
    readonly keyPem: string
    readonly rootPem?: string | undefined
  },
): Promise<Enrolled> => {
  const { server, id, token, keyPem, signal, meter, network } = o
  const firstContact = () => caCertificates({ ...o, context: clientContext({}), verify: false })
  const rootPem = await resolveRoot(server, o, { signal, meter, network, ask: firstContact })
  const csr = makeCsrDer(keyPem, id)
  const answer = await simpleEnroll(o, { context: clientContext({ rootPem }), csr, id, token })
  return accepted(await offerIn(o, answer, keyPem, rootPem), { ...o, deviceId: id, rootPem })
}
