/** A device's own key: made here, kept here, PKCS #8 PEM. It never travels; only its CSR does. */

import { createPrivateKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import type { KeyKind } from '#fleet/certificate.ts'

const generate = promisify(generateKeyPair)

/** Asynchronous throughout: an RSA key takes up to a second, and a fleet must not stand still for it. */
const MAKERS: Readonly<Record<KeyKind, () => Promise<{ privateKey: KeyObject }>>> = {
  'P-256': () => generate('ec', { namedCurve: 'P-256' }),
  'P-384': () => generate('ec', { namedCurve: 'P-384' }),
  'P-521': () => generate('ec', { namedCurve: 'P-521' }),
  Ed25519: () => generate('ed25519'),
  RSA: () => generate('rsa', { modulusLength: 2048 }),
}

export const newKey = async (kind: KeyKind): Promise<string> => {
  const { privateKey } = await MAKERS[kind]()
  return privateKey.export({ type: 'pkcs8', format: 'pem' })
}

const KINDS: Readonly<Record<string, KeyKind>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
  ed25519: 'Ed25519',
  rsa: 'RSA',
}

export const keyKindOf = (keyPem: string): KeyKind => {
  const { asymmetricKeyType, asymmetricKeyDetails } = createPrivateKey(keyPem)
  const kind = KINDS[asymmetricKeyDetails?.namedCurve ?? asymmetricKeyType ?? '']
  if (kind === undefined) throw new TypeError('not a kind of key that a device makes')
  return kind
}

/** Which key a renewal is for; with nothing said, the one that the device has. PKCS #8 PEM */
export type RenewalKey = {
  readonly newKey?: boolean | undefined
  /** made earlier: asking again with it gets the same certificate, should the first answer be lost */
  readonly keyPem?: string | undefined
}
export const keyForRenewal = async (current: string, o: RenewalKey): Promise<string> =>
  o.keyPem ?? (o.newKey ? newKey(keyKindOf(current)) : current)
