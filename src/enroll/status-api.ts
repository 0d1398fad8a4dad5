/**
 * The status listener, plain HTTP because https would be circular (RFC 5280 §8): CRLs, OCSP and issuer certificates, under the URLs that
 * stand in our certificates. Everything on it is public and signed. Nothing else is here. Anybody may ask, and a CRL is megabytes, so
 * all answers share one copy, and neither one address nor one slow reader can hold many.
 */

import { hash } from 'node:crypto'
import type { onRequestHookHandler } from 'fastify'
import { MINUTE, SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { MAX_OCSP_BYTES } from '#pki/ocsp.ts'
import { fromBase64 } from '#pki/pem.ts'
import type { Registry } from '#registry/registry.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { Crl } from './crl-publisher.ts'
import type { App } from './http-app.ts'
import type { Issuers } from './issuers.ts'
import type { OcspAnswer, OcspResponder } from './ocsp-responder.ts'
import { capConnections } from './per-address.ts'

/** CRLs of one source. */
type CrlSource = { readonly current: (ski: string) => Crl | undefined }

type Deps = {
  readonly registry: Pick<Registry, 'issuers'>
  readonly issuers: Pick<Issuers, 'published'>
  readonly crls: CrlSource
  readonly importedCrls: CrlSource & { readonly has: (ski: string) => boolean }
  readonly ocsp: OcspResponder
  readonly metrics: Metrics
  /** ms from the request to the end of the answer; for tests */
  readonly within?: number
}

/** A proxy or a NAT in front of a fleet has a few; each costs at most one answer that is not read. */
const CONNECTIONS_PER_ADDRESS = 64
/** For megabytes over a bad line. Who takes longer keeps a CRL in our memory that has long been replaced. */
const ANSWER_WITHIN = 5 * MINUTE

/** `<subject key id, hex>.<extension>` */
const skiIn = (file: string, extension: string): string | undefined =>
  new RegExp(`^([0-9a-f]{2,64})\\.${extension}$`).exec(file)?.[1]

const notHere = (): FleetError => new FleetError('not_found', 'no such issuer')

/** RFC 5280 §4.2.1.13, §4.2.2.1 and RFC 2585: the types that go with these URLs. */
const CRL_TYPE = 'application/pkix-crl'
const CERTIFICATE_TYPE = 'application/pkix-cert'

/** The same octets: a copy for each would be as much memory as somebody cares to ask for. */
const shared = (der: Uint8Array): Buffer => Buffer.from(der.buffer, der.byteOffset, der.byteLength)

/** RFC 5019 §6.2. What has a nonce is for one reader, and a refusal is for the moment: of those nothing is kept. */
const cacheHeaders = ({ thisUpdate, nextUpdate, maxAge }: NonNullable<OcspAnswer['cache']>) => ({
  'cache-control': `max-age=${Math.floor(maxAge / SECOND)}, public, no-transform, must-revalidate`,
  'last-modified': new Date(thisUpdate).toUTCString(),
  expires: new Date(nextUpdate).toUTCString(),
})

const OCSP_REQUEST = 'application/ocsp-request'
const OCSP_RESPONSE = 'application/ocsp-response'
const NOTHING = Buffer.alloc(0)
const OCSP_PATH = '/ocsp/'

/** RFC 6960 A.1: percent-encoded base64 behind the slash; some clients leave `/`, `+` and `=` as they are. @returns what cannot be read as nothing */
const requestIn = (url: string): Buffer => {
  const [path = ''] = url.split('?', 1)
  try {
    return fromBase64(decodeURIComponent(path.slice(OCSP_PATH.length))) ?? NOTHING
  } catch {
    return NOTHING
  }
}

const ocspRoutes = (app: App, ocsp: OcspResponder): void => {
  // no other body is taken here
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(OCSP_REQUEST, { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.addContentTypeParser('*', (_request, _payload, done) => {
    done(new FleetError('unsupported_media_type', `send ${OCSP_REQUEST}`))
  })
  app.post(
    '/ocsp',
    { bodyLimit: MAX_OCSP_BYTES, schema: { summary: 'OCSP (RFC 6960), POST', security: [] } },
    async (request, reply) => {
      const { der } = await ocsp.answer((request.body as Buffer | undefined) ?? NOTHING)
      return reply.type(OCSP_RESPONSE).send(der)
    },
  )
  app.get(
    `${OCSP_PATH}*`,
    { schema: { summary: 'OCSP (RFC 6960 A.1), GET: /ocsp/<base64 of the request>', security: [] } },
    async (request, reply) => {
      const { der, cache } = await ocsp.answer(requestIn(request.raw.url ?? ''), true)
      reply.type(OCSP_RESPONSE)
      if (cache === undefined) return reply.send(der)
      const etag = `"${hash('sha1', der)}"`
      reply.header('etag', etag).headers(cacheHeaders(cache))
      if (request.headers['if-none-match'] === etag) return reply.code(304).send()
      return reply.send(der)
    },
  )
}

export const registerStatusApi = (
  app: App,
  { registry, issuers, crls, importedCrls, ocsp, metrics, within }: Deps,
): void => {
  const refused = metrics.counter(
    'sallyport_status_connections_refused_total',
    'Connections to the status listener closed at once: their address has its share',
  )
  capConnections(app.server, { most: CONNECTIONS_PER_ADDRESS, refused: () => refused.inc() })
  /** Of long answers only: an OCSP answer is in the kernel's buffers at once. */
  const onRequest: onRequestHookHandler = (request, reply, done) => {
    const late = setTimeout(() => request.raw.socket.destroy(), within ?? ANSWER_WITHIN).unref()
    reply.raw.once('close', () => clearTimeout(late))
    done()
  }

  app.get<{ Params: { file: string } }>(
    '/crl/:file',
    { onRequest, schema: { summary: 'The CRL of an issuer, DER: /crl/<SKI hex>.crl', security: [] } },
    (request, reply) => {
      const ski = skiIn(request.params.file, 'crl')
      if (ski === undefined) throw notHere()
      const current = crls.current(ski) ?? importedCrls.current(ski)
      if (current === undefined) {
        if (!importedCrls.has(ski) && !issuers.published().some((issuer) => issuer.ski === ski))
          throw notHere()
        // an old one would say that what was revoked since is good: none is better
        throw new FleetError('registry_unavailable', 'no current CRL', { retryAfter: 1 })
      }
      const etag = `"${current.number}"`
      reply.headers({
        etag,
        // may be kept, must be asked after: a revocation shows within a second
        'cache-control': 'no-cache',
        'last-modified': new Date(current.thisUpdate).toUTCString(),
      })
      if (request.headers['if-none-match'] === etag) return reply.code(304).send()
      return reply.type(CRL_TYPE).send(shared(current.der))
    },
  )

  app.get<{ Params: { file: string } }>(
    '/issuer/:file',
    { onRequest, schema: { summary: 'An issuing intermediate, DER: /issuer/<SKI hex>.cer', security: [] } },
    async (request, reply) => {
      const ski = skiIn(request.params.file, 'cer')
      if (ski === undefined) throw notHere()
      // whether its key is here or not; one that nobody has been told of is nobody's to fetch
      const der =
        issuers.published().find((issuer) => issuer.ski === ski)?.certificate.der ??
        (await registry.issuers()).find((known) => known.ski === ski && known.state !== 'prepared')?.der
      if (der === undefined) throw notHere()
      return reply.type(CERTIFICATE_TYPE).header('cache-control', 'public, max-age=86400').send(shared(der))
    },
  )

  ocspRoutes(app, ocsp)
}
