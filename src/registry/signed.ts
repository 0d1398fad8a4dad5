/**
 * MEMORY of what the issuers were asked to sign, for who holds the signer's log against it (`sallyport signer verify`). Read, and never
 * written: behind it is a handle that cannot.
 */

import type { CertificateRecord } from '#fleet/certificate.ts'

/** `fingerprint`: undefined of one that was meant, and perhaps signed, and never recorded. `notBefore`: ms */
export type SignedCertificate = Pick<
  CertificateRecord,
  'serial' | 'deviceId' | 'issuerSki' | 'spkiSha256' | 'notBefore' | 'fingerprint'
>

export type SignedResponder = {
  readonly serial: string
  readonly issuerSki: string
  readonly spkiSha256: string
}

/** In pieces, for the desk goes on meanwhile; each piece is of its moment. Throws `registry_unavailable`. */
export interface SignedRecords extends AsyncDisposable {
  /** All, oldest first; also those that were only meant. */
  certificates(): AsyncIterable<SignedCertificate>
  certificate(serial: string): Promise<SignedCertificate | undefined>
  /** Oldest first. */
  responders(): AsyncIterable<SignedResponder>
  /** @returns whether this number was taken for a CRL of this issuer. @param number decimal */
  isCrlNumber(issuerSki: string, number: string): Promise<boolean>
}
