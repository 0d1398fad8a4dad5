/** MEMORY of single certificates: found, listed, revoked, asked for by OCSP. A part of {@link Registry}. */

import type { CertificateRecord, CertificateState } from '#fleet/certificate.ts'
import type { Actor } from '#fleet/credentials.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { Page, Paged } from './page.ts'
import type { CertificateSummary } from './registry.ts'

/** RFC 6960 §2.2. `unknown`: no such serial of this issuer; also one that was reserved and never recorded. */
export type SerialStatus =
  | { readonly status: 'good' }
  | { readonly status: 'revoked'; readonly revokedAt: number; readonly reason: RevocationReason }
  | { readonly status: 'unknown' }

/**
 * How far a CRL number may run ahead of the Unix seconds. By the clock alone a desk that was given an old backup knows a number that was
 * never used: that of the clock, and this much more.
 */
export const CRL_NUMBER_LEAD = 30

/** A serial that was revoked though it is on no record. Times: ms since the epoch. */
export type RevokedSerial = {
  readonly issuerSki: string
  /** content octets of the INTEGER, hex, of at most 32 octets */
  readonly serial: string
  /** until when CRLs list it */
  readonly notAfter: number
  readonly revokedAt: number
  readonly reason: RevocationReason
}

export interface RevocationMemory {
  /**
   * What is true at this moment, in a look-up or two: a live certificate of a suspended device is on hold, and every serial of a revoked
   * issuer that was not revoked before is revoked, with its issuer's date and reason. (A CRL of such an issuer does not list them all: whoever
   * reads CRLs learns of it from the root's.) Throws `registry_unavailable`.
   */
  serialStatus(issuerSki: string, serial: string): SerialStatus
  /**
   * The certificate of a delegated OCSP responder, before it is signed: an audit entry with its serial, key, issuer and dates, and no more.
   * It is no device's, lives for days and is never revoked. @throws `conflict`: the serial is taken; `not_found`: no such issuer
   */
  recordResponder(
    responder: {
      readonly serial: string
      readonly issuerSki: string
      readonly spkiSha256: string
      readonly notBefore: number
      readonly notAfter: number
    },
    now: number,
  ): Promise<void>
  /** Not the `intended` ones. */
  findCertificate(serial: string): Promise<CertificateRecord | undefined>
  /** Newest first, of all devices or of one; not the `intended` ones. */
  listCertificates(
    page: Page & {
      readonly deviceId?: string | undefined
      readonly state?: Exclude<CertificateState, 'intended'> | undefined
      readonly issuerSki?: string | undefined
    },
  ): Promise<Paged<CertificateSummary>>
  /**
   * One certificate, its device stays as it is. With `keyCompromise` its key is never certified again. One that is revoked stays so, with
   * its date; `keyCompromise` replaces a lesser reason. Audit, change row, revocation version. undefined: no such certificate, or only `intended`
   */
  revokeCertificate(
    serial: string,
    reason: RevocationReason,
    now: number,
    actor: Actor,
  ): Promise<CertificateRecord | undefined>
  /**
   * A certificate that our key signed and we did not: its serial is revoked, for CRL and OCSP. With `lastExpiry` of its issuer raised to
   * `notAfter`. One that was only `intended` ends as if it had been issued. Again: the date stays, the later `notAfter` counts, and
   * `keyCompromise` replaces a lesser reason. Audit, revocation version; no change row, since no door admits what is not on record.
   * @throws `not_found`: no such issuer; `conflict`: a certificate of this issuer with this serial was issued, and is revoked as such
   */
  revokeSerial(
    revoke: Omit<RevokedSerial, 'revokedAt'> & { readonly now: number; readonly actor: Actor },
  ): Promise<RevokedSerial>
  /**
   * The next devices of a group in order of id, after `after`, that are not ended: revoked as setDeviceState would, at most `limit` of
   * them in one transaction. A group of a fleet is revoked in as many calls as it takes; repeating it is safe.
   * @returns how many, and where to go on (undefined: done)
   */
  revokeGroupPart(part: {
    readonly group: string
    readonly after: string | undefined
    readonly limit: number
    readonly reason: RevocationReason
    readonly now: number
    readonly actor: Actor
  }): Promise<{ readonly revoked: number; readonly next: string | undefined }>
}
