/**
 * A private key under a passphrase: PKCS #8 (RFC 5958 §3) by PBES2 (RFC 8018 §6.2), which every tool opens. Written here because
 * node:crypto's own export stretches a passphrase 2,048 times only. Not the reading: createPrivateKey does that.
 */

import { createCipheriv, pbkdf2Sync, randomBytes, type KeyObject } from 'node:crypto'
import { FleetError } from '#fleet/errors.ts'
import { integerDer, oidDer, TAG, tlv } from './der.ts'
import { OID } from './oids.ts'
import { toPem } from './pem.ts'

/** What OWASP asks for of PBKDF2-HMAC-SHA256; a third of a second, once per start of a desk. */
const ROUNDS = 600_000
const LEAST_CHARACTERS = 12
const KEY_BYTES = 32
const BLOCK_BYTES = 16

/** @throws bad_request: too short to stand against whoever has the file */
export const checkPassphrase = (passphrase: string): void => {
  if (Array.from(passphrase).length < LEAST_CHARACTERS)
    throw new FleetError('bad_request', `a passphrase has at least ${LEAST_CHARACTERS} characters`)
}

/** @returns PEM, `ENCRYPTED PRIVATE KEY`. @throws bad_request, as {@link checkPassphrase} */
export const encryptedKeyPem = (key: KeyObject, passphrase: string): string => {
  checkPassphrase(passphrase)
  const [salt, iv] = [randomBytes(BLOCK_BYTES), randomBytes(BLOCK_BYTES)]
  const secret = pbkdf2Sync(passphrase, salt, ROUNDS, KEY_BYTES, 'sha256')
  const cipher = createCipheriv('aes-256-cbc', secret, iv)
  const sealed = [cipher.update(key.export({ type: 'pkcs8', format: 'der' })), cipher.final()]

  const rounds = Buffer.alloc(4)
  rounds.writeUInt32BE(ROUNDS)
  const prf = tlv(TAG.sequence, oidDer(OID.hmacWithSha256), tlv(TAG.null))
  const stretching = tlv(TAG.sequence, tlv(TAG.octetString, salt), integerDer(rounds), prf)
  const schemes = tlv(
    TAG.sequence,
    tlv(TAG.sequence, oidDer(OID.pbkdf2), stretching),
    tlv(TAG.sequence, oidDer(OID.aes256Cbc), tlv(TAG.octetString, iv)),
  )
  const algorithm = tlv(TAG.sequence, oidDer(OID.pbes2), schemes)
  return toPem('ENCRYPTED PRIVATE KEY', tlv(TAG.sequence, algorithm, tlv(TAG.octetString, ...sealed)))
}
