/** A CA whose key is at hand: a new one, or one of before, and what it signs. Not its files: files.ts. */

import { createPrivateKey, createPublicKey, sign, type KeyObject } from 'node:crypto'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificates } from '../certificate.ts'
import { encryptedKeyPem } from '../encrypted-key.ts'
import { generateKey, sha256Hex, spkiDer } from '../keys.ts'
import { nameDer } from '../names.ts'
import { OID } from '../oids.ts'
import { skiOf, type Signer } from '../profile.ts'
import { algorithmForKey, signedDer } from '../signatures.ts'

export type Authority = { readonly der: Uint8Array; readonly key: KeyObject; readonly signer: Signer }

export const keyText = (key: KeyObject, passphrase: string | undefined): string =>
  passphrase === undefined
    ? key.export({ type: 'pkcs8', format: 'pem' }).toString()
    : encryptedKeyPem(key, passphrase)

export const signTbs = (tbs: Buffer, by: { readonly key: KeyObject; readonly signer: Signer }): Buffer =>
  signedDer(tbs, by.signer.algorithm, sign(by.signer.algorithm.name, tbs, by.key))

export const newCa = (names: readonly string[]): Omit<Authority, 'der'> & { readonly spki: Uint8Array } => {
  const { privateKey, publicKey } = generateKey('P-256')
  const spki = spkiDer(publicKey)
  const [organization = '', commonName = ''] = names
  const subjectDer = nameDer([
    { oid: OID.organization, text: organization },
    { oid: OID.commonName, text: commonName },
  ])
  return {
    key: privateKey,
    spki,
    signer: { subjectDer, ski: skiOf(spki), algorithm: algorithmForKey(publicKey) },
  }
}

/** A CA of before, from its files. @throws issuer_unusable: its key does not open, does not fit, or it has ended */
export const openAuthority = (
  what: string,
  o: {
    readonly certificatePem: string
    readonly keyPem: string
    readonly passphrase?: string
    readonly now: number
  },
): Authority & { readonly facts: CertificateFacts } => {
  const [facts] = readCertificates(o.certificatePem)
  let key: KeyObject
  try {
    key = createPrivateKey(
      o.passphrase === undefined ? o.keyPem : { key: o.keyPem, passphrase: o.passphrase },
    )
  } catch (cause) {
    // never what OpenSSL said: it may quote the file
    throw new FleetError(
      'issuer_unusable',
      `the key of the ${what} cannot be opened; is the passphrase right?`,
      { cause },
    )
  }
  const publicKey = createPublicKey(key)
  if (facts?.subjectKeyId === undefined || sha256Hex(spkiDer(publicKey)) !== facts.spkiSha256)
    throw new FleetError('issuer_unusable', `the key does not belong to the ${what}`)
  if (o.now > facts.notAfter)
    throw new FleetError(
      'issuer_unusable',
      `the ${what} expired at ${new Date(facts.notAfter).toISOString()}`,
    )
  const { der, subjectDer, subjectKeyId: ski } = facts
  return { facts, der, key, signer: { subjectDer, ski, algorithm: algorithmForKey(publicKey) } }
}
