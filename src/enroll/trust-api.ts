/**
 * `/v1/trust.pem` and `/v1/chain.pem`: what a device needs to verify servers, and others of the fleet. Public, for without them nobody can
 * begin; a device that asks with its certificate is counted. Not how they are made up: trust.ts.
 */

import type { FastifyReply, FastifyRequest } from 'fastify'
import type { TrustKind } from '#registry/authorities.ts'
import { peerOf, type App } from './http-app.ts'
import type { Trust } from './trust.ts'

const ROUTES: readonly (readonly [path: string, kind: TrustKind, summary: string])[] = [
  ['/v1/trust.pem', 'server', 'The roots that servers of this fleet are verified with'],
  ['/v1/chain.pem', 'chain', "The CAs of the fleet's certificates: intermediates, then the root"],
]

export const registerTrustApi = (app: App, trust: Trust): void => {
  const serve = (kind: TrustKind) => async (request: FastifyRequest, reply: FastifyReply) => {
    const { version, pem, etag } = trust.current(kind)
    // whoever says that it has this very bundle has it
    await trust.fetched(peerOf(request), kind, version)
    reply.headers({ etag, 'sallyport-trust-version': String(version), 'cache-control': 'no-cache' })
    if (request.headers['if-none-match'] === etag) return reply.code(304).send()
    // RFC 8555 §9.1
    return reply.type('application/pem-certificate-chain').send(pem)
  }
  for (const [path, kind, summary] of ROUTES)
    app.get(path, { schema: { summary, security: [] } }, serve(kind))
}
