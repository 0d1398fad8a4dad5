/** Signing keys as the enroll desk makes and seals them, of every algorithm, and a ring with them. Not how it makes them. */

import { randomBytes } from 'node:crypto'
import { systemClock } from '#fleet/clock.ts'
import { createKeyRing, type KeyRing } from '#gateway/key-ring.ts'
import { generateKey } from '#pki/keys.ts'
import type { AssertionAlgorithm, AssertionKey } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'
import { assertionKeyAad, seal } from '#runtime/sealing.ts'
import { makeCa, type KeyPair } from './pki.ts'

/** `secrets.key_file` of these tests. */
export const SEALING_SECRET = randomBytes(32)

const KINDS = { ES256: 'P-256', RS256: 'RSA', EdDSA: 'Ed25519' } as const

export type SigningKeyOptions = {
  readonly algorithm?: AssertionAlgorithm
  readonly createdAt?: number
  readonly secret?: Buffer
  readonly key?: KeyPair
  /** PEM; else a certificate of the key's own */
  readonly certificate?: string
}

export const makeSigningKey = (kid: string, o: SigningKeyOptions = {}): AssertionKey & KeyPair => {
  const { algorithm = 'ES256', secret = SEALING_SECRET, createdAt = 1 } = o
  const key = o.key ?? generateKey(KINDS[algorithm])
  const pkcs8 = key.privateKey.export({ format: 'der', type: 'pkcs8' })
  return {
    ...key,
    kid,
    algorithm,
    publicJwk: JSON.stringify(key.publicKey.export({ format: 'jwk' })),
    sealed: seal(secret, pkcs8, assertionKeyAad(kid)),
    certificate: o.certificate ?? makeCa({ name: kid, now: Date.now(), key }).pem,
    createdAt,
  }
}

/** With these keys in it, which sign as soon as they are five minutes old; none of its log lines are seen. */
export const ringOf = (...keys: readonly AssertionKey[]): KeyRing => {
  const log = createLog('gateway', 'silent')
  const ring = createKeyRing({ secret: SEALING_SECRET, clock: systemClock, log })
  ring.load(keys)
  return ring
}
