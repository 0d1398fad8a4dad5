/**
 * The assertion: a JWT that tells the origin, for this one request, who called (claims: docs/origins.md). Not how a key
 * comes to sign: key-ring.ts. Not a session token, and no door accepts one.
 */

import { randomUUID } from 'node:crypto'
import type { Clock } from '#fleet/clock.ts'
import { signJws } from './jws.ts'
import type { KeyRing } from './key-ring.ts'

export type AssertionClaims = {
  /** lower case, no port */
  readonly hostname: string
  /** 64 hex */
  readonly applicationId: string
  readonly commonName: string
  /** undefined: a foreign certificate, or none */
  readonly deviceId: string | undefined
  /** whose word the common name is, for a foreign certificate; undefined: a device, or no certificate */
  readonly anchor: string | undefined
  /** public handle of the service token that stood in for a certificate */
  readonly serviceTokenId?: string | undefined
  /** of the certificate, SHA-256, hex; undefined: none, so that the assertion is bound to nothing */
  readonly fingerprint: string | undefined
  /** ms; the assertion never outlives the certificate */
  readonly notAfter: number
  readonly method: string
  /** RFC 9449 §4.2 `htu`: the target URI without query and fragment */
  readonly uri: string
  /** ms that it is good for */
  readonly life: number
}

export type Assertions = {
  /** undefined: no key yet, or none that opens */
  mint(claims: AssertionClaims): string | undefined
}

export const createAssertions = (o: {
  readonly keys: Pick<KeyRing, 'signer'>
  readonly clock: Clock
}): Assertions => {
  return {
    mint: (claims) => {
      const key = o.keys.signer()
      if (key === undefined) return undefined
      const { deviceId, anchor, serviceTokenId, fingerprint } = claims
      const now = o.clock()
      const payload = JSON.stringify({
        type: 'app',
        iss: `https://${claims.hostname}`,
        aud: [claims.applicationId],
        sub: '',
        common_name: claims.commonName,
        ...(deviceId === undefined ? {} : { device_id: deviceId }),
        ...(anchor === undefined ? {} : { anchor }),
        ...(serviceTokenId === undefined ? {} : { service_token_id: serviceTokenId }),
        iat: Math.floor(now / 1_000),
        exp: Math.floor(Math.min(now + claims.life, claims.notAfter) / 1_000),
        jti: randomUUID(),
        ...(fingerprint === undefined
          ? {}
          : { cnf: { 'x5t#S256': Buffer.from(fingerprint, 'hex').toString('base64url') } }),
        htm: claims.method,
        htu: claims.uri,
      })
      return signJws(key, key.heads.JWT, payload)
    },
  }
}
