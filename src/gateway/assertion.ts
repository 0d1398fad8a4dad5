/**
 * The assertion: a JWT that tells the origin, for this one request, who called (claims: docs/origins.md). Not how a key
 * comes to sign: key-ring.ts. Not a session token, and no door accepts one.
 */

import { randomUUID } from 'node:crypto'
import type { Clock } from '#fleet/clock.ts'
import { signJws } from './jws.ts'
import type { KeyRing, RingKey } from './key-ring.ts'

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
  /** ms that it is good for, when the application's origin may take another time than the others */
  readonly life?: number | undefined
}

/** undefined: no key yet, or none that opens */
export type Mint = (claims: AssertionClaims) => string | undefined

export type Assertions = {
  readonly mint: Mint
  /**
   * For one connection within a session: what it has said less than {@link SAID_AGAIN} ago is said again, same `jti` and all, when it would differ
   * in nothing but the times (docs/sessions.md). A signature each is half of what such a request costs.
   */
  forConnection(): Mint
}

/** ms. By so much longer than asked is such an assertion good, so that who gets it last has it as long as it was asked for. */
export const SAID_AGAIN = 1_000

/** Every claim: a new one has to be here. */
const COMPARED: Readonly<Record<keyof AssertionClaims, true>> = {
  hostname: true,
  applicationId: true,
  commonName: true,
  deviceId: true,
  anchor: true,
  serviceTokenId: true,
  fingerprint: true,
  notAfter: true,
  method: true,
  uri: true,
  life: true,
}
const CLAIMS = Object.keys(COMPARED) as (keyof AssertionClaims)[]

const isSame = (a: AssertionClaims, b: AssertionClaims): boolean =>
  CLAIMS.every((name) => a[name] === b[name])

/** @param o.life ms that an assertion is good for: as long as an origin may take to answer */
export const createAssertions = (o: {
  readonly keys: Pick<KeyRing, 'signer'>
  readonly clock: Clock
  readonly life: number
}): Assertions => {
  const sign = (key: RingKey, claims: AssertionClaims, now: number, life: number): string => {
    const { deviceId, anchor, serviceTokenId, fingerprint } = claims
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
      exp: Math.floor(Math.min(now + life, claims.notAfter) / 1_000),
      jti: randomUUID(),
      ...(fingerprint === undefined
        ? {}
        : { cnf: { 'x5t#S256': Buffer.from(fingerprint, 'hex').toString('base64url') } }),
      htm: claims.method,
      htu: claims.uri,
    })
    return signJws(key, key.heads.JWT, payload)
  }

  return {
    mint: (claims) => {
      const key = o.keys.signer()
      return key && sign(key, claims, o.clock(), claims.life ?? o.life)
    },
    forConnection: () => {
      let said:
        | {
            readonly by: RingKey
            readonly claims: AssertionClaims
            readonly at: number
            readonly text: string
          }
        | undefined
      return (claims) => {
        const key = o.keys.signer()
        if (key === undefined) return undefined
        const now = o.clock()
        const isFresh = said?.by === key && now >= said.at && now < said.at + SAID_AGAIN
        if (said === undefined || !isFresh || !isSame(said.claims, claims)) {
          const life = (claims.life ?? o.life) + SAID_AGAIN
          said = { by: key, claims, at: now, text: sign(key, claims, now, life) }
        }
        return said.text
      }
    },
  }
}
