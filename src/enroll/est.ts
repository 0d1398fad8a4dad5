/**
 * EST (RFC 7030, RFC 8951) on the device listener: cacerts, csrattrs, simpleenroll with a claim token as HTTP Basic password,
 * simplereenroll with the current certificate. Translates only: the use cases are those of the REST API.
 *
 * Where clients and the RFC differ (each was tried):
 * - Content-Transfer-Encoding is not looked at, and base64 may be wrapped or not: clients send all four.
 * - Answers are wrapped only for clients that name themselves: strongSwan, which sends no User-Agent, cannot read wrapped base64,
 *   and another common client cannot read more than 1 KB of unwrapped.
 * - Header names are in Title-Case, with Content-Length, and head and body go out in one write.
 * - §4.2.2 asks that a re-enrolment repeats subject and SAN of the current certificate. Any that it names must be equal; a SAN that is
 *   left out is none asked for (strongSwan cannot write a URI into one), and the new certificate has the old one's either way.
 * - A label (`/.well-known/est/<label>/…`) selects nothing: there is one CA.
 */

import type { FastifyReply, FastifyRequest } from 'fastify'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import type { CsrFacts } from '#pki/csr.ts'
import { sameName } from '#pki/names.ts'
import { fromBase64, fromPem } from '#pki/pem.ts'
import { certsOnly } from '#pki/pkcs7.ts'
import { PROBLEMS } from '#wire/problems.ts'
import { authenticateClaim } from './credentials.ts'
import { loggedOf } from './device-api.ts'
import { enrollWithClaim } from './enroll-device.ts'
import { addressOf, asFleetError, peerOf, type App } from './http-app.ts'
import { acceptCsrInTurn, MAX_CSR_BYTES, type IssuanceDeps, type Issued } from './issuance.ts'
import { acceptRenewer, renewFor } from './renew-device.ts'

const PATHS = ['/.well-known/est', '/.well-known/est/:label'] as const
/** {@link MAX_CSR_BYTES} in base64, with line ends however short the lines. */
const MAX_BODY = MAX_CSR_BYTES * 2
/** RFC 2045 §6.8 */
const WRAP = /.{76}(?=.)/g
const CERTS = 'application/pkcs7-mime'
const CERTS_ONLY = 'application/pkcs7-mime; smime-type=certs-only'

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

const sendCertificates = (
  request: FastifyRequest,
  reply: FastifyReply,
  type: string,
  ders: readonly Uint8Array[],
): void => {
  const base64 = Buffer.from(certsOnly(ders)).toString('base64')
  const named = request.headers['user-agent'] !== undefined
  send(
    reply,
    200,
    { 'Content-Type': type, 'Content-Transfer-Encoding': 'base64' },
    named ? `${base64.replaceAll(WRAP, '$&\r\n')}\r\n` : base64,
  )
}

/** A human reads it (§4.2.3); what a machine needs is the status. A body that was not read is not read on. */
const sendRefusal = (request: FastifyRequest, reply: FastifyReply, error: FleetError): void => {
  const { status, title } = PROBLEMS[error.code]
  request.logged['reason'] = error.code
  const headers = {
    'Content-Type': 'text/plain; charset=utf-8',
    ...(status === 401 ? { 'WWW-Authenticate': 'Basic realm="sallyport", charset="UTF-8"' } : {}),
    ...(error.retryAfter === undefined ? {} : { 'Retry-After': String(Math.ceil(error.retryAfter)) }),
    ...(request.raw.complete ? {} : { Connection: 'close' }),
  }
  send(reply, status, headers, `${title}: ${error.detail} (${error.code}, request ${request.id})\n`)
}

/** RFC 7617, but parted at the last colon: a device id may hold colons and a claim token none. @returns undefined for another scheme, or none */
const basicOf = (authorization: string | undefined): { user: string; password: string } | undefined => {
  const base64 = /^basic +([A-Za-z0-9+/=]+) *$/i.exec(authorization ?? '')?.[1]
  const text = base64 === undefined ? undefined : fromBase64(base64)?.toString('utf8')
  const colon = text?.lastIndexOf(':') ?? -1
  if (text === undefined || colon < 0) return undefined
  return { user: text.slice(0, colon), password: text.slice(colon + 1) }
}

/** DER, or DER in base64. A DER of more than 127 bytes cannot be mistaken for base64: its second octet is not ASCII. */
const csrFrom = (body: unknown): Uint8Array => {
  if (!(body instanceof Uint8Array) || body.length === 0) throw new FleetError('bad_csr', 'the body is empty')
  const octets = Buffer.from(body)
  if (octets[0] === 0x30 && (octets[1] as number) >= 0x80) return octets
  const der = fromBase64(octets.toString('latin1'))
  if (der === undefined) throw new FleetError('bad_csr', 'the body is neither DER nor base64')
  return der
}

/** §4.2.2, see the head of this file. @throws `device_id_mismatch` */
const checkSameNames = (csr: CsrFacts, current: CertificateFacts | undefined): void => {
  if (current === undefined) throw new FleetError('certificate_required', 'present the current certificate')
  const asksNone = csr.sanUris.length + csr.sanDns.length + csr.sanOthers === 0
  const same = (asked: readonly string[], has: readonly string[]): boolean =>
    asked.length === has.length && asked.every((name, at) => name === has[at])
  if (!sameName(csr.subjectDer, current.subjectDer))
    throw new FleetError('device_id_mismatch', 'the subject is not that of the current certificate')
  if (asksNone) return
  if (csr.sanOthers > 0 || !same(csr.sanUris, current.sanUris) || !same(csr.sanDns, current.sanDns))
    throw new FleetError(
      'device_id_mismatch',
      'the subject alternative name is not that of the current certificate',
    )
}

const sendIssued = (request: FastifyRequest, reply: FastifyReply, issued: Issued): void => {
  request.logged = { ...request.logged, ...loggedOf(issued) }
  // §4.2.3: the issued certificate and nothing else; the chain is in cacerts
  sendCertificates(request, reply, CERTS_ONLY, [issued.der])
}

export const registerEst = async (app: App, deps: IssuanceDeps): Promise<void> => {
  const trust = [...fromPem(deps.issuers.active().chainPem, 'CERTIFICATE'), deps.issuers.active().root.der]

  // the parsers and the text refusals are EST's own: encapsulated, the REST routes keep theirs
  await app.register((est, _options, done) => {
    est.removeAllContentTypeParsers()
    est.addContentTypeParser(
      'application/pkcs10',
      { parseAs: 'buffer', bodyLimit: MAX_BODY },
      (_request, body, parsed) => {
        parsed(null, body)
      },
    )
    est.setErrorHandler((thrown, request, reply) => {
      const error = asFleetError(thrown)
      // logged and answered where every broken thing is
      if (error.code === 'internal') throw error
      sendRefusal(
        request,
        reply,
        error.code === 'unsupported_media_type'
          ? new FleetError('unsupported_media_type', 'send application/pkcs10')
          : error,
      )
    })

    for (const path of PATHS) {
      est.get(
        `${path}/cacerts`,
        { schema: { summary: 'EST: root and intermediates', security: [] } },
        (request, reply) => {
          sendCertificates(request, reply, CERTS, trust)
        },
      )

      // §4.5: no attributes are asked for; subject and names come from the CA
      est.get(
        `${path}/csrattrs`,
        { schema: { summary: 'EST: nothing is asked of a CSR', security: [] } },
        (_request, reply) => {
          send(reply, 204, {}, '')
        },
      )

      est.post(
        `${path}/simpleenroll`,
        {
          schema: { summary: 'EST: a certificate by claim token (HTTP Basic)', security: [{ basic: [] }] },
          onRequest: async (request) => {
            const password = basicOf(request.headers.authorization)?.password
            request.claim = await authenticateClaim(deps, password, addressOf(request))
            request.logged['claim'] = request.claim.id
          },
        },
        async (request, reply) => {
          if (request.claim === undefined) throw new FleetError('credential_required', 'send a claim token')
          const deviceId = basicOf(request.headers.authorization)?.user
          const ask = { csr: csrFrom(request.body), deviceId, address: addressOf(request) }
          sendIssued(request, reply, await enrollWithClaim(deps, request.claim, ask))
        },
      )

      est.post(
        `${path}/simplereenroll`,
        {
          schema: {
            summary: 'EST: the next certificate, by the current one',
            security: [{ certificate: [] }],
          },
          onRequest: (request, _reply, next) => {
            try {
              request.renewer = acceptRenewer(deps, peerOf(request))
              next()
            } catch (error) {
              next(error as Error)
            }
          },
        },
        async (request, reply) => {
          if (request.renewer === undefined)
            throw new FleetError('certificate_required', 'present a certificate')
          const csr = await acceptCsrInTurn(csrFrom(request.body))
          checkSameNames(csr, peerOf(request)?.leaf)
          sendIssued(request, reply, await renewFor(deps, request.renewer, { csr }))
        },
      )
    }
    done()
  })
}
