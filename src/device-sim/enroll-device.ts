/** Enrolment and renewal, from the device's side: its key stays here, its request goes out, what comes back is checked. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { SecureContext } from 'node:tls'
import type { KeyKind } from '#fleet/certificate.ts'
import { ERROR_CODES, FleetError, type ErrorCode } from '#fleet/errors.ts'
import type { EnrollResponse } from '#wire/rest.ts'
import { clientContext, unreachable } from './connection.ts'
import { makeCsr } from './csr.ts'
import { httpsOnce, type Answer } from './https-once.ts'
import type { Enrolled } from './identity.ts'
import { keyKindOf, newKey } from './key.ts'
import type { Meter } from './meter.ts'
import { certificatesIn, resolveRoot } from './trust.ts'

export type EnrollOptions = {
  /** `https://…` of enroll's device listener */
  readonly server: string
  readonly token: string
  readonly id: string
  readonly keyKind?: KeyKind | undefined
  /** a key made earlier (PKCS #8 PEM): asking again with it gets the same certificate, should the first answer be lost */
  readonly keyPem?: string | undefined
  readonly rootPem?: string | undefined
  readonly rootSha256?: string | undefined
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

/** What a careful device checks before it keeps a certificate: mine, for my key, under the root I trust. */
const accepted = (answer: Answer, deviceId: string, keyPem: string, rootPem: string): Enrolled => {
  const reply = replyIn(answer)
  const [leaf] = certificatesIn(reply.certificate)
  if (leaf === undefined) throw broken('the reply holds no certificate')
  if (reply.device_id !== deviceId) throw broken(`asked for ${deviceId}, got ${reply.device_id}`)
  if (!leaf.checkPrivateKey(createPrivateKey(keyPem))) throw broken('the certificate is for another key')
  let child = leaf
  for (const issuer of [...certificatesIn(reply.chain), new X509Certificate(rootPem)]) {
    if (!child.checkIssued(issuer) || !child.verify(issuer.publicKey))
      throw broken('the certificate does not lead to the root')
    child = issuer
  }
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

const ask = async (
  o: Pick<EnrollOptions, 'server' | 'signal' | 'meter'>,
  path: string,
  context: SecureContext,
  authorization: Readonly<Record<string, string>>,
  body: Readonly<Record<string, string>>,
): Promise<Answer> => {
  const url = new URL(path, o.server)
  const answer = await httpsOnce({
    url: url.href,
    context,
    method: 'POST',
    headers: { 'content-type': 'application/json', ...authorization },
    body: JSON.stringify(body),
    signal: o.signal,
    meter: o.meter,
  })
  if (answer.status >= 400) throw refusalOf(answer)
  if (answer.status !== 200 && answer.status !== 201) throw unreachable(url, `it answered ${answer.status}`)
  return answer
}

/**
 * The token leaves only over TLS verified against the root it names.
 * @throws the server's own reason; `target_unreachable`; `expectation_broken` when what came back is not what was asked for
 */
export const enrollDevice = async (o: EnrollOptions): Promise<Enrolled> => {
  const rootPem = await resolveRoot(o.server, o, { signal: o.signal, meter: o.meter })
  const keyPem = o.keyPem ?? (await newKey(o.keyKind ?? 'P-256'))
  const answer = await ask(
    o,
    '/v1/enroll',
    clientContext({ rootPem }),
    { authorization: `Bearer ${o.token}` },
    { csr: makeCsr(keyPem, o.id), device_id: o.id },
  )
  return accepted(answer, o.id, keyPem, rootPem)
}

/** By the current certificate, over mutual TLS. The old one stays usable until it expires. @throws as {@link enrollDevice} */
export const renewDevice = async (o: {
  readonly server: string
  readonly enrolled: Enrolled
  readonly newKey?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly meter?: Meter | undefined
}): Promise<Enrolled> => {
  const { deviceId, rootPem, keyPem: oldKey } = o.enrolled
  const keyPem = o.newKey ? await newKey(keyKindOf(oldKey)) : oldKey
  const context = clientContext({ rootPem, identity: o.enrolled })
  const answer = await ask(o, '/v1/renew', context, {}, { csr: makeCsr(keyPem, deviceId) })
  return accepted(answer, deviceId, keyPem, rootPem)
}
