/**
 * A certificate that a key makes for itself: for readers who take a public key only in this form. Its signature vouches for nothing, and it
 * has no purpose (no extended key usage), so no door takes it from a client.
 */

import { sign, type KeyObject } from 'node:crypto'
import { DAY } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { generateKey, spkiDer } from './keys.ts'
import { nameDer } from './names.ts'
import { OID } from './oids.ts'
import { toPem } from './pem.ts'
import { DIGITAL_SIGNATURE, NOT_A_CA, skiOf, subjectKeyIdDer, tbs } from './profile.ts'
import { newSerial } from './serial.ts'
import { algorithmForKey, signedDer } from './signatures.ts'

/** RFC 5280, ub-common-name */
const MOST_NAME = 64

/**
 * @param o.notBefore ms since the epoch, like `notAfter`
 * @returns PEM
 * @throws `internal`: a name of more than 64 characters, or none; `weak_key`; `issuer_unusable`: a kind of key that we do not sign with
 */
export const selfSigned = (o: {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly commonName: string
  readonly notBefore: number
  readonly notAfter: number
}): string => {
  if (o.commonName === '' || o.commonName.length > MOST_NAME)
    throw new FleetError('internal', `a common name has 1 to ${MOST_NAME} characters`)
  return pemOf(nameDer([{ oid: OID.commonName, text: o.commonName }]), o)
}

/**
 * A certificate that bears a CA's name and nothing else of it: OpenSSL names to clients whatever stands among its anchors, and this is how a CA
 * is named without being trusted. Its key is thrown away, it is no CA and may not sign certificates, and its dates were over in 1970.
 * @param subjectDer the name
 * @returns PEM
 */
export const nameBearer = (subjectDer: Uint8Array): string =>
  pemOf(subjectDer, { ...generateKey('P-256'), notBefore: 0, notAfter: DAY })

const pemOf = (
  subjectDer: Uint8Array,
  o: {
    readonly privateKey: KeyObject
    readonly publicKey: KeyObject
    readonly notBefore: number
    readonly notAfter: number
  },
): string => {
  const spki = spkiDer(o.publicKey)
  const algorithm = algorithmForKey(o.publicKey)
  const { notBefore, notAfter } = o
  const signed = tbs(
    { subjectDer, ski: skiOf(spki), algorithm },
    { spkiDer: spki, serial: newSerial(), notBefore, notAfter },
    subjectDer,
    [NOT_A_CA, DIGITAL_SIGNATURE, subjectKeyIdDer(spki)],
  )
  return toPem('CERTIFICATE', signedDer(signed, algorithm, sign(algorithm.name, signed, o.privateKey)))
}
