/**
 * JSON Web Signatures (RFC 7515 compact form) with the three algorithms that our keys may have, synchronously and with bare KeyObjects, the
 * fastest way Node has. Not which key: key-ring.ts. Not what is signed: assertion.ts, sessions/session-token.ts.
 */

import { sign, verify, type KeyObject } from 'node:crypto'
import type { AssertionAlgorithm } from '#registry/registry.ts'

const P256_BYTES = 32
const LEAST_RSA_BITS = 2_048

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

type Algorithm = {
  /** Is this a key for it? A key is never used with another algorithm than its own, whatever a token says. */
  readonly fits: (key: KeyObject) => boolean
  readonly sign: (data: Buffer, key: KeyObject) => Buffer
  readonly verify: (data: Buffer, key: KeyObject, signature: Buffer) => boolean
}

/** RFC 7518 §3.1, RFC 8037 §3.1. */
const ALGORITHMS: Readonly<Record<AssertionAlgorithm, Algorithm>> = {
  ES256: {
    fits: (key) => key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1',
    // per request: asking for `ieee-p1363` takes the key out of its fast path, 30 µs each time
    sign: (data, key) => rawSignature(sign('sha256', data, key)),
    // per session: there it does not matter
    verify: (data, key, signature) => verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, signature),
  },
  RS256: {
    fits: (key) =>
      key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) >= LEAST_RSA_BITS,
    sign: (data, key) => sign('sha256', data, key),
    verify: (data, key, signature) => verify('sha256', data, key, signature),
  },
  EdDSA: {
    fits: (key) => key.asymmetricKeyType === 'ed25519',
    sign: (data, key) => sign(null, data, key),
    verify: (data, key, signature) => verify(null, data, key, signature),
  },
}

export const fitsAlgorithm = (algorithm: AssertionAlgorithm, key: KeyObject): boolean =>
  ALGORITHMS[algorithm].fits(key)

export const base64url = (text: string): string => Buffer.from(text).toString('base64url')

type Signer = { readonly algorithm: AssertionAlgorithm; readonly privateKey: KeyObject }
type Verifier = { readonly algorithm: AssertionAlgorithm; readonly publicKey: KeyObject }

/** @param head the protected header, base64url @param payload JSON text */
export const signJws = ({ algorithm, privateKey }: Signer, head: string, payload: string): string => {
  const signed = `${head}.${base64url(payload)}`
  return `${signed}.${ALGORITHMS[algorithm].sign(Buffer.from(signed), privateKey).toString('base64url')}`
}

/**
 * @param signed the first two segments, as they came
 * @param signature the third: only its one spelling without padding and stray bits is one
 */
export const verifyJws = ({ algorithm, publicKey }: Verifier, signed: string, signature: string): boolean => {
  const bytes = Buffer.from(signature, 'base64url')
  return (
    bytes.toString('base64url') === signature &&
    ALGORITHMS[algorithm].verify(Buffer.from(signed), publicKey, bytes)
  )
}
