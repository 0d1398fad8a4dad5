/**
 * Who called, by the assertion that Sallyport's gateway sends with every request. Copy this file and replay.ts into your own service:
 * they need jose and nothing else. Not authorisation: what this caller may do is the service's own business.
 */

import type { IncomingMessage } from 'node:http'
import { createRemoteJWKSet, errors, jwtVerify, type JWTPayload } from 'jose'
import { createReplayMemory } from './replay.ts'

/**
 * `id`: of a device its id; of a foreign certificate `<anchor>/<common name>`, which is no device whatever its name is; of a service token
 * its public id. `certificate`: SHA-256 of what the caller has proved to hold, hex; undefined: nothing.
 */
export type Caller = {
  readonly kind: 'device' | 'foreign' | 'service'
  readonly id: string
  readonly certificate: string | undefined
}

/** 401: nobody that we know. 503: we could not find out, so nobody either. */
export type Verdict =
  | { readonly ok: true; readonly caller: Caller }
  | { readonly ok: false; readonly status: 401 | 503; readonly problem: string }

const refused = (problem: string, status: 401 | 503 = 401): Verdict => ({ ok: false, status, problem })

/** Not the caller's fault: the keys could not be had. Anything that is no JOSEError is one too, the network's. */
const OURS: ReadonlySet<string> = new Set(['ERR_JOSE_GENERIC', 'ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID'])

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

/** `cnf` of RFC 8705 §3.1 as the gateway's header writes the same fingerprint. */
const certificateOf = (claims: JWTPayload): string | undefined => {
  const thumbprint = text((claims['cnf'] as Record<string, unknown> | undefined)?.['x5t#S256'])
  return thumbprint === undefined ? undefined : Buffer.from(thumbprint, 'base64url').toString('hex')
}

const callerOf = (claims: JWTPayload): Caller | undefined => {
  const certificate = certificateOf(claims)
  const device = text(claims['device_id'])
  if (device !== undefined) return { kind: 'device', id: device, certificate }
  const [anchor, name] = [text(claims['anchor']), text(claims['common_name'])]
  if (anchor !== undefined && name !== undefined)
    return { kind: 'foreign', id: `${anchor}/${name}`, certificate }
  const service = text(claims['service_token_id'])
  return service === undefined ? undefined : { kind: 'service', id: service, certificate }
}

/** `htm` and `htu` as in RFC 9449 §4.2: the gateway forwards the very path that it has signed, so there is nothing to normalise. */
const isForThisRequest = (claims: JWTPayload, { method, url = '', headers }: IncomingMessage): boolean =>
  claims['htm'] === method && claims['htu'] === `https://${headers.host}${url.split('?')[0]}`

/**
 * @param o.gateway `https://<hostname>[:port]` that clients use; the assertion's issuer is its hostname
 * @param o.audience the application's id. Without it whatever stands behind the same gateway could send on here what it was sent itself.
 * @param o.clock ms
 */
export const createVerifier = (o: {
  readonly gateway: URL
  readonly audience: string
  readonly clock?: () => number
}): ((request: IncomingMessage) => Promise<Verdict>) => {
  const { gateway, audience, clock = Date.now } = o
  const keys = createRemoteJWKSet(new URL('/cdn-cgi/access/certs', gateway), {
    // as long as the answer says that it may be kept: a key that was discarded is not believed for longer
    cacheMaxAge: 300_000,
    // After `signing-key rotate --discard` a new key signs at once. jose would wait 30 s between two looks, and turn every caller away meanwhile.
    cooldownDuration: 1_000,
  })
  const replays = createReplayMemory()

  return async (request) => {
    const assertion = text(request.headers['cf-access-jwt-assertion'])
    if (assertion === undefined) return refused('this did not come through the gateway')
    let claims: JWTPayload
    try {
      const verified = await jwtVerify(assertion, keys, {
        issuer: `https://${gateway.hostname}`,
        audience,
        // `session+jwt` is the client's own token, and proves nothing here
        typ: 'JWT',
        // what a gateway may be set to; each key is good for one of them only
        algorithms: ['ES256', 'RS256', 'EdDSA'],
        requiredClaims: ['exp', 'jti'],
        currentDate: new Date(clock()),
      })
      claims = verified.payload
    } catch (error) {
      if (error instanceof errors.JOSEError && !OURS.has(error.code)) return refused(error.code)
      return refused('the keys of the gateway could not be fetched', 503)
    }
    if (claims['type'] !== 'app') return refused('this is no assertion')
    if (!isForThisRequest(claims, request)) return refused('the assertion is for another request')
    const caller = callerOf(claims)
    if (caller === undefined) return refused('the assertion names nobody')
    // The header says nothing that the assertion does not. An application may leave it out, but they cannot disagree.
    const header = request.headers['cf-client-cert-sha256']
    if (header !== undefined && header !== caller.certificate)
      return refused('the assertion is for another certificate')
    // last, so that only an assertion that is good for this request is used up
    const use = replays.use(String(claims.jti), Number(claims.exp) * 1_000, clock())
    if (use === 'full') return refused('too many requests to remember', 503)
    return use === 'first' ? { ok: true, caller } : refused('the assertion was used before')
  }
}
