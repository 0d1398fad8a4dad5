/**
 * The status listener, plain HTTP because https would be circular (RFC 5280 §8): the CRL, and issuer certificates, under the URLs that
 * stand in our certificates. Everything on it is public and signed. Nothing else is here. Anybody may ask, and a CRL is megabytes, so
 * all answers share one copy, and neither one address nor one slow reader can hold many.
 */

import { MINUTE } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Issuer } from '#pki/issuer.ts'
import type { Registry } from '#registry/registry.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { Crl } from './crl-publisher.ts'
import type { App } from './http-app.ts'
import { capConnections } from './per-address.ts'

type Deps = {
  readonly registry: Pick<Registry, 'issuers'>
  readonly issuer: Issuer
  readonly crl: () => Crl | undefined
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

export const registerStatusApi = (app: App, { registry, issuer, crl, metrics, within }: Deps): void => {
  const refused = metrics.counter(
    'sallyport_status_connections_refused_total',
    'Connections to the status listener closed at once: their address has its share',
  )
  capConnections(app.server, { most: CONNECTIONS_PER_ADDRESS, refused: () => refused.inc() })
  app.addHook('onRequest', (request, reply, done) => {
    const late = setTimeout(() => request.raw.socket.destroy(), within ?? ANSWER_WITHIN).unref()
    reply.raw.once('close', () => clearTimeout(late))
    done()
  })

  app.get<{ Params: { file: string } }>(
    '/crl/:file',
    { schema: { summary: 'The CRL of an issuer, DER: /crl/<SKI hex>.crl', security: [] } },
    (request, reply) => {
      if (skiIn(request.params.file, 'crl') !== issuer.ski) throw notHere()
      const current = crl()
      // an old one would say that what was revoked since is good: none is better
      if (current === undefined)
        throw new FleetError('registry_unavailable', 'no current CRL', { retryAfter: 1 })
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
    { schema: { summary: 'An issuing intermediate, DER: /issuer/<SKI hex>.cer', security: [] } },
    async (request, reply) => {
      const ski = skiIn(request.params.file, 'cer')
      if (ski === undefined) throw notHere()
      const der =
        ski === issuer.ski
          ? issuer.certificate.der
          : (await registry.issuers()).find((known) => known.ski === ski)?.der
      if (der === undefined) throw notHere()
      return reply.type(CERTIFICATE_TYPE).header('cache-control', 'public, max-age=86400').send(shared(der))
    },
  )
}
