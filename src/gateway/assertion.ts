/**
 * The assertion: a JWT that tells the origin, for this one request, who called (claims: docs/no-duration.md). Signed synchronously with a
 * bare KeyObject, the fastest way Node has. Not a session token, and no door accepts one.
 *
 * Keys come sealed from the registry; the enroll desk makes them, the newest signs, all of them are published.
 */

import { createPrivateKey, createPublicKey, randomUUID, sign, type KeyObject } from 'node:crypto'
import type { Clock } from '#fleet/clock.ts'
import type { AssertionKey } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import { assertionKeyAad, open } from '#runtime/sealing.ts'

export type AssertionClaims = {
  /** lower case, no port */
  readonly hostname: string
  /** 64 hex */
  readonly applicationId: string
  readonly commonName: string
  /** undefined: a foreign certificate */
  readonly deviceId: string | undefined
  /** whose word the common name is, for a foreign certificate; undefined: a device */
  readonly anchor: string | undefined
  /** of the certificate, SHA-256, hex */
  readonly fingerprint: string
  /** ms; the assertion never outlives the certificate */
  readonly notAfter: number
  readonly method: string
  /** RFC 9449 §4.2 `htu`: the target URI without query and fragment */
  readonly uri: string
}

export type Assertions = {
  load(keys: readonly AssertionKey[]): void
  /** undefined: no key yet, or none that opens */
  mint(claims: AssertionClaims): string | undefined
  /** RFC 7517 §5, JSON text */
  jwks(): string
}

type Signer = { readonly head: string; readonly key: KeyObject }
type Loaded = Signer & { readonly createdAt: number; readonly jwk: Record<string, unknown> }

const base64url = (text: string): string => Buffer.from(text).toString('base64url')

const P256_BYTES = 32

/** ECDSA-Sig-Value (RFC 3279 §2.2.3), two INTEGERs in DER, to JWS's fixed R ‖ S (RFC 7518 §3.4). */
export const rawSignature = (der: Uint8Array): Buffer => {
  const raw = Buffer.alloc(2 * P256_BYTES)
  let at = 2
  for (const end of [P256_BYTES, 2 * P256_BYTES]) {
    const length = der[at + 1] as number
    const from = at + 2
    // a leading zero keeps the INTEGER positive; short ones are padded on the left
    const skip = Math.max(0, length - P256_BYTES)
    raw.set(der.subarray(from + skip, from + length), end - (length - skip))
    at = from + length
  }
  return raw
}

/**
 * @param o.secret `secrets.key_file`
 * @param o.life ms that an assertion is good for: as long as an origin may take to answer
 */
export const createAssertions = (o: {
  readonly secret: Buffer
  readonly clock: Clock
  readonly life: number
  readonly log: Log
}): Assertions => {
  let signer: Signer | undefined
  let jwks = '{"keys":[]}'

  const loadOne = ({ kid, algorithm, sealed, createdAt }: AssertionKey): Loaded[] => {
    try {
      const pkcs8 = Buffer.from(open(o.secret, sealed, assertionKeyAad(kid)))
      const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
      // the public half of what we sign with, whatever the row says
      const jwk = { ...createPublicKey(key).export({ format: 'jwk' }), kid, use: 'sig', alg: algorithm }
      const head = base64url(JSON.stringify({ alg: algorithm, kid, typ: 'JWT' }))
      return [{ key, head, createdAt, jwk }]
    } catch (err) {
      o.log.error({ err, kid }, 'an assertion key cannot be opened: check secrets.key_file')
      return []
    }
  }

  return {
    load: (keys) => {
      const loaded = keys.flatMap(loadOne).sort((a, b) => b.createdAt - a.createdAt)
      signer = loaded[0]
      jwks = JSON.stringify({ keys: loaded.map(({ jwk }) => jwk) })
    },
    mint: (claims) => {
      if (signer === undefined) return undefined
      const now = o.clock()
      const body = base64url(
        JSON.stringify({
          type: 'app',
          iss: `https://${claims.hostname}`,
          aud: [claims.applicationId],
          sub: '',
          common_name: claims.commonName,
          ...(claims.deviceId === undefined ? {} : { device_id: claims.deviceId }),
          ...(claims.anchor === undefined ? {} : { anchor: claims.anchor }),
          iat: Math.floor(now / 1_000),
          exp: Math.floor(Math.min(now + o.life, claims.notAfter) / 1_000),
          jti: randomUUID(),
          cnf: { 'x5t#S256': Buffer.from(claims.fingerprint, 'hex').toString('base64url') },
          htm: claims.method,
          htu: claims.uri,
        }),
      )
      const signed = `${signer.head}.${body}`
      return `${signed}.${rawSignature(sign('sha256', Buffer.from(signed), signer.key)).toString('base64url')}`
    },
    jwks: () => jwks,
  }
}
