/** A certs-only PKCS #7 (RFC 2315 §9.1; RFC 5652 §5.1 without signers): how EST hands certificates over. Signs and encrypts nothing. */

import { constructedTag, integerDer, oidDer, TAG, tlv } from './der.ts'
import { OID } from './oids.ts'

/** @param ders certificates, kept in this order: readers take the first for the leaf */
export const certsOnly = (ders: readonly Uint8Array[]): Uint8Array =>
  tlv(
    TAG.sequence,
    oidDer(OID.pkcs7SignedData),
    tlv(
      constructedTag(0),
      tlv(
        TAG.sequence,
        integerDer(Buffer.of(1)),
        tlv(TAG.set),
        tlv(TAG.sequence, oidDer(OID.pkcs7Data)),
        tlv(constructedTag(0), ...ders),
        tlv(TAG.set),
      ),
    ),
  )
