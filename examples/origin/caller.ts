/**
 * Who called, according to the gateway's assertion, for a demonstration: it also says what it only decoded. What a service needs is
 * ../origin-jose/verify.ts, which accepts each assertion once. Not authorisation: what this caller may do here is the origin's own business.
 */

import type { IncomingMessage } from 'node:http'
import { createRemoteJWKSet, decodeJwt, errors, jwtVerify, type JWTPayload } from 'jose'

/** `problem`: why the assertion was not believed; then nothing else may be relied on. */
export type Caller = {
  readonly device: string | null
  readonly name: string | null
  readonly verified: boolean
  readonly assertion: string | undefined
  readonly problem: string | undefined
}

/** What a gateway may be set to. Each of its keys is good for one of them only: the one that its JWK names. */
const ALGORITHMS = ['ES256', 'RS256', 'EdDSA']

const text = (value: unknown): string | null => (typeof value === 'string' ? value : null)

const nobody = (assertion: string | undefined, problem: string | undefined): Caller => ({
  device: null,
  name: null,
  verified: false,
  assertion,
  problem,
})

/** An assertion is for one request: its method and its URI without query (`htm` and `htu`, as in RFC 9449 §4.2). */
const isForThisRequest = (claims: JWTPayload, request: IncomingMessage): boolean => {
  const htu = text(claims['htu']) ?? ''
  const base = `https://${request.headers.host}`
  if (claims['htm'] !== request.method || !URL.canParse(htu) || !URL.canParse(request.url ?? '', base))
    return false
  const { host, pathname } = new URL(request.url ?? '', base)
  const meant = new URL(htu)
  return meant.host === host && meant.pathname === pathname
}

/**
 * `audience`: the id of the application that this origin stands behind. Without it, another origin behind the same gateway could
 * send on here what it was sent itself: `htu` is held against a Host that the sender chooses.
 * `hostnames`: those of the application; an assertion's `iss` is `https://<hostname>`.
 */
export type Trust = {
  readonly jwksUrl: string
  readonly audience: string
  readonly hostnames: readonly string[]
}

/** @param trust without it nothing is verified. `jwksUrl`: `https://<hostname>/cdn-cgi/access/certs` of the gateway */
export const callerReader = (trust: Trust | undefined): ((request: IncomingMessage) => Promise<Caller>) => {
  // Fetched once, kept, and fetched again for a `kid` it does not know: the gateway may change keys.
  const keys = trust === undefined ? undefined : createRemoteJWKSet(new URL(trust.jwksUrl))
  const expected =
    trust === undefined
      ? {}
      : { audience: trust.audience, issuer: trust.hostnames.map((hostname) => `https://${hostname}`) }
  return async (request) => {
    const assertion = text(request.headers['cf-access-jwt-assertion']) ?? undefined
    if (assertion === undefined) return nobody(undefined, 'this did not come through the gateway')
    try {
      const claims =
        keys === undefined
          ? decodeJwt(assertion)
          : (await jwtVerify(assertion, keys, { ...expected, algorithms: ALGORITHMS, typ: 'JWT' })).payload
      if (!isForThisRequest(claims, request)) return nobody(assertion, 'the assertion is for another request')
      return {
        device: text(claims['device_id']),
        name: text(claims['common_name']),
        verified: keys !== undefined,
        assertion,
        problem: undefined,
      }
    } catch (error) {
      return nobody(
        assertion,
        error instanceof errors.JOSEError ? error.code : 'the keys could not be fetched',
      )
    }
  }
}
