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

export interface RevocationMemory {
  /** What a CRL of this moment would say, in one look-up: a live certificate of a suspended device is on hold. Throws `registry_unavailable`. */
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
  /** Newest first; not the `intended` ones. */
  listCertificates(
    page: Page & {
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
