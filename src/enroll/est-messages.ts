/**
 * What EST requests and answers look like on the wire (RFC 7030, RFC 8951). Reads and writes; decides nothing.
 *
 * Where clients and the RFC differ (each was tried):
 * - Content-Transfer-Encoding is not looked at (RFC 8951 §3.1), and base64 may be wrapped or not: clients send all four. It is sent, for
 *   Bouncy Castle takes what comes without it for DER.
 * - Answers are wrapped only for clients that name themselves: strongSwan, which sends no User-Agent, cannot read wrapped base64,
 *   and another common client cannot read more than 1 KB of unwrapped.
 * - A question for the password (401) and "not yet" (202) have no body for those that do not name themselves: Bouncy Castle, which reads
 *   none there, ends with an error on one.
 * - Header names are in Title-Case, with Content-Length, and head and body go out in one write.
 */

import type { FastifyReply, FastifyRequest } from 'fastify'
import { FleetError } from '#fleet/errors.ts'
import { fromBase64 } from '#pki/pem.ts'
import { certsOnly } from '#pki/pkcs7.ts'
import { PROBLEMS } from '#wire/problems.ts'

/** RFC 2045 §6.8 */
const WRAP = /.{76}(?=.)/g
const TEXT = 'text/plain; charset=utf-8'

export const CERTS = 'application/pkcs7-mime'
export const CERTS_ONLY = 'application/pkcs7-mime; smime-type=certs-only'
export const CSR_ATTRIBUTES = 'application/csrattrs'

const isNamed = (request: FastifyRequest): boolean => request.headers['user-agent'] !== undefined

const titleCase = (name: string): string =>
  name.replaceAll(/(?<=^|-)[a-z]/g, (letter) => letter.toUpperCase())

/** Past fastify, which writes names in lower case. Node sends a string that fits into the same write as the head. */
const send = (
  reply: FastifyReply,
  status: number,
  headers: Readonly<Record<string, string>>,
  body: string,
): void => {
  const inherited = Object.entries(reply.getHeaders()).map(([name, value]) => [
    titleCase(name),
    String(value),
  ])
  reply.hijack()
  reply.raw.writeHead(status, {
    ...Object.fromEntries(inherited),
    ...headers,
    ...(status === 204 ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }),
  })
  reply.raw.end(body)
}

export const sendNothing = (reply: FastifyReply): void => send(reply, 204, {}, '')

export const sendDer = (
  request: FastifyRequest,
  reply: FastifyReply,
  type: string,
  der: Uint8Array,
): void => {
  const base64 = Buffer.from(der).toString('base64')
  send(
    reply,
    200,
    { 'Content-Type': type, 'Content-Transfer-Encoding': 'base64' },
    isNamed(request) ? `${base64.replaceAll(WRAP, '$&\r\n')}\r\n` : base64,
  )
}

export const sendCertificates = (
  request: FastifyRequest,
  reply: FastifyReply,
  type: string,
  ders: readonly Uint8Array[],
): void => sendDer(request, reply, type, certsOnly(ders))

/** A human reads it (§4.2.3); what a machine needs is the status. A body that was not read is not read on. */
const sendText = (
  request: FastifyRequest,
  reply: FastifyReply,
  status: number,
  headers: Readonly<Record<string, string>>,
  text: string,
): void => {
  const close: Readonly<Record<string, string>> = request.raw.complete ? {} : { Connection: 'close' }
  send(reply, status, { 'Content-Type': TEXT, ...headers, ...close }, text)
}

/** §4.2.3: nothing is ready yet, and when to ask the same again. @param wait seconds */
export const sendWaiting = (
  request: FastifyRequest,
  reply: FastifyReply,
  requestId: string,
  wait: number,
): void =>
  sendText(
    request,
    reply,
    202,
    { 'Retry-After': String(wait) },
    !isNamed(request)
      ? ''
      : `An operator is to decide on request ${requestId}. Ask again with the same key in ${wait} seconds.\n`,
  )

export const sendRefusal = (request: FastifyRequest, reply: FastifyReply, error: FleetError): void => {
  const { status, title } = PROBLEMS[error.code]
  request.logged['reason'] = error.code
  const headers = {
    ...(status === 401 ? { 'WWW-Authenticate': 'Basic realm="sallyport", charset="UTF-8"' } : {}),
    ...(error.retryAfter === undefined ? {} : { 'Retry-After': String(Math.ceil(error.retryAfter)) }),
  }
  const isQuestion = status === 401 && request.headers.authorization === undefined
  const mute = isQuestion && !isNamed(request)
  const text = mute ? '' : `${title}: ${error.detail} (${error.code}, request ${request.id})\n`
  sendText(request, reply, status, headers, text)
}

/** An operation of the RFC that is optional, and not offered: 501, so that nobody takes it for a label that is wrong (404). */
export const sendNotOffered = (request: FastifyRequest, reply: FastifyReply, why: string): void => {
  request.logged['reason'] = 'unsupported'
  sendText(request, reply, 501, {}, `Not offered here: ${why} (request ${request.id})\n`)
}

/** RFC 7617, but parted at the last colon: a device id may hold colons and a claim token none. @returns undefined for another scheme, or none */
export const basicOf = (
  authorization: string | undefined,
): { user: string; password: string } | undefined => {
  const base64 = /^basic +([A-Za-z0-9+/=]+) *$/i.exec(authorization ?? '')?.[1]
  const text = base64 === undefined ? undefined : fromBase64(base64)?.toString('utf8')
  const colon = text?.lastIndexOf(':') ?? -1
  if (text === undefined || colon < 0) return undefined
  return { user: text.slice(0, colon), password: text.slice(colon + 1) }
}

/** DER, or DER in base64. A DER of more than 127 bytes cannot be mistaken for base64: its second octet is not ASCII. @throws `bad_csr` */
export const csrFrom = (body: unknown): Uint8Array => {
  if (!(body instanceof Uint8Array) || body.length === 0) throw new FleetError('bad_csr', 'the body is empty')
  const octets = Buffer.from(body)
  if (octets[0] === 0x30 && (octets[1] as number) >= 0x80) return octets
  const der = fromBase64(octets.toString('latin1'))
  if (der === undefined) throw new FleetError('bad_csr', 'the body is neither DER nor base64')
  return der
}
