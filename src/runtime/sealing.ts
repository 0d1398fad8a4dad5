/**
 * Sealed bytes: what the registry may keep but not read (assertion keys, answers that hold a secret). AES-256-GCM
 * (NIST SP 800-38D) with a random 96-bit nonce, safe for 2^32 seals under one key. Not where the key lives: secrets.ts, and for answers
 * nowhere, it comes with the operator who asks.
 */

import { createCipheriv, createDecipheriv, randomBytes, type KeyObject } from 'node:crypto'
import { FleetError } from '#fleet/errors.ts'

const ALGORITHM = 'aes-256-gcm'
const VERSION = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = 1 + NONCE_BYTES

/**
 * @param key 32 bytes
 * @param aad what the bytes belong to ({@link assertionKeyAad}): a row moved to another place does not open
 * @returns version (1) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
 */
export const seal = (key: KeyObject | Buffer, plain: Uint8Array, aad: string): Uint8Array => {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(Buffer.from(aad))
  const body = [cipher.update(plain), cipher.final()]
  return Buffer.concat([Buffer.of(VERSION), nonce, ...body, cipher.getAuthTag()])
}

/** What a sealed assertion key belongs to: enroll seals it, the gateway opens it. */
export const assertionKeyAad = (kid: string): string => `assertion-key:${kid}`

/** @throws FleetError `internal`: another key, another `aad`, or bytes that somebody changed; it does not say which */
export const open = (key: KeyObject | Buffer, sealed: Uint8Array, aad: string): Uint8Array => {
  try {
    if (sealed.length < HEAD_BYTES + TAG_BYTES || sealed[0] !== VERSION) throw new Error('not a sealed value')
    const decipher = createDecipheriv(ALGORITHM, key, sealed.subarray(1, HEAD_BYTES), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(Buffer.from(aad))
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
    const plain = decipher.update(sealed.subarray(HEAD_BYTES, sealed.length - TAG_BYTES))
    return Buffer.concat([plain, decipher.final()])
  } catch (cause) {
    throw new FleetError('internal', `a sealed value cannot be opened with the key at hand (${aad})`, {
      cause,
    })
  }
}
