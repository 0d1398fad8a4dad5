/** Makes a signing key of assertions and session tokens: sealed, named, with a certificate of its own. Not when: assertion-keys.ts. */

import { generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { calculateJwkThumbprint } from 'jose'
import { selfSigned } from '#pki/self-signed.ts'
import { BACKDATE } from '#policy/enrollment.ts'
import type { AssertionAlgorithm, AssertionKey } from '#registry/registry.ts'
import { assertionKeyAad, seal } from '#runtime/sealing.ts'

type Pair = { readonly privateKey: KeyObject; readonly publicKey: KeyObject }

const inThreadpool = promisify(generateKeyPair)

/** RFC 7518 §3.3 asks for RSA of 2048 bits at least; more costs each request more. */
const GENERATORS: Readonly<Record<AssertionAlgorithm, () => Promise<Pair>>> = {
  ES256: () => inThreadpool('ec', { namedCurve: 'P-256' }),
  RS256: () => inThreadpool('rsa', { modulusLength: 2_048 }),
  EdDSA: () => inThreadpool('ed25519', {}),
}

/**
 * `life`, `overlap`: ms; its certificate is valid for both together.
 * @param at ms: when it is made
 */
export const newAssertionKey = async (
  {
    algorithm,
    life,
    overlap,
    sealingKey,
  }: {
    readonly algorithm: AssertionAlgorithm
    readonly life: number
    readonly overlap: number
    readonly sealingKey: Buffer
  },
  at: number,
): Promise<AssertionKey> => {
  const pair = await GENERATORS[algorithm]()
  const jwk = pair.publicKey.export({ format: 'jwk' })
  // RFC 7638: the name follows from the key, so two keys never share one
  const kid = await calculateJwkThumbprint(jwk, 'sha256')
  const pkcs8 = pair.privateKey.export({ format: 'der', type: 'pkcs8' })
  return {
    kid,
    algorithm,
    publicJwk: JSON.stringify({ ...jwk, kid, alg: algorithm, use: 'sig' }),
    sealed: seal(sealingKey, pkcs8, assertionKeyAad(kid)),
    certificate: selfSigned({
      ...pair,
      commonName: kid,
      notBefore: at - BACKDATE,
      notAfter: at + life + overlap,
    }),
    createdAt: at,
  }
}
