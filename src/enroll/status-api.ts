/**
 * The status listener, plain HTTP because https would be circular (RFC 5280 §8): the CRL, and issuer certificates, under the URLs that
 * stand in our certificates. Everything on it is public and signed. Nothing else is here.
 */

import { FleetError } from '#fleet/errors.ts'
import type { Issuer } from '#pki/issuer.ts'
import type { Registry } from '#registry/registry.ts'
import type { Crl } from './crl-publisher.ts'
import type { App } from './http-app.ts'

type Deps = {
  readonly registry: Pick<Registry, 'issuers'>
  readonly issuer: Issuer
  readonly crl: () => Crl | undefined
}

/** `<subject key id, hex>.<extension>` */
const skiIn = (file: string, extension: string): string | undefined =>
  new RegExp(`^([0-9a-f]{2,64})\\.${extension}$`).exec(file)?.[1]

const notHere = (): FleetError => new FleetError('not_found', 'no such issuer')

/** RFC 5280 §4.2.1.13, §4.2.2.1 and RFC 2585: the types that go with these URLs. */
const CRL_TYPE = 'application/pkix-crl'
const CERTIFICATE_TYPE = 'application/pkix-cert'

export const registerStatusApi = (app: App, { registry, issuer, crl }: Deps): void => {
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
      return reply.type(CRL_TYPE).send(Buffer.from(current.der))
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
      return reply
        .type(CERTIFICATE_TYPE)
        .header('cache-control', 'public, max-age=86400')
        .send(Buffer.from(der))
    },
  )
}
