/**
 * MEMORY of renewals: what becomes of a certificate after it was handed out beside another one. A part of {@link Registry}.
 * One certificate of a device is `pending`; one that was handed out before it is withdrawn within seconds. When one is confirmed, it and the
 * one it succeeds stay (two slots), and the others are revoked as `superseded`. The rules in one table: docs/lifecycle.md.
 */

import type { CertificateRecord } from '#fleet/certificate.ts'
import type { Actor } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Device } from '#fleet/device.ts'
import type { CloneAction } from '#fleet/enrollment-group.ts'

/** `renewal`: a certificate asked for keys that one device would not ask for. `takeovers`: two live connections took a ClientID from each other. */
export type CloneSign = 'renewal' | 'takeovers'

export interface RenewalMemory {
  /**
   * `pending` → `live`: by the certificate's own use of the desk (mutual TLS), or an operator. One transaction: state, `supersededBy` of
   * its predecessor, older certificates of the device revoked as `superseded`, the device's renewAt, audit, change row. A live one is
   * answered as it is. @throws `certificate_unknown`, `certificate_revoked`, `certificate_expired`, `key_compromised`, `device_suspended` and
   * its kin
   */
  confirmCertificate(fingerprint: string, now: number, actor: Actor): Promise<CertificateRecord>
  /**
   * `pending` and past its pendingUntil → revoked as `superseded`, at most `limit` of them, with audit (`certificate.withdrawn`), change
   * rows and the issuers' revocation version. One whose device has no other that could be used stays, until it expires. @returns how many
   */
  withdrawUnconfirmed(now: number, limit: number): Promise<number>
  /**
   * What one certificate has led to. `successor`: what came in its place, by its renewal or by a new enrolment of its device; one that an
   * operator revoked, or whose issuer does not stand, is none. `displaced`: it was revoked because it had successors, and for nothing
   * else. `keys`: how many it has asked for by renewal after `since`. undefined: not on record
   */
  renewalsBy(
    fingerprint: string,
    since: number,
  ): Promise<
    | {
        readonly successor: { readonly serial: string; readonly spkiSha256: string } | undefined
        readonly displaced: boolean
        readonly keys: number
      }
    | undefined
  >
  /**
   * There are two who hold a certificate, or what it was renewed to, as far as that can be seen. Writes cloneSuspectedAt and the audit entry
   * `device.clone_suspected`, at most once an hour for a device; with `suspend` an active device is suspended in the same transaction,
   * whenever it asks. A change row where it was not under suspicion before, or is suspended. undefined: no such device
   */
  recordCloneSuspicion(suspicion: {
    readonly deviceId: DeviceId
    /** of the certificate that was presented */
    readonly fingerprint: string
    readonly sign: CloneSign
    /** of the key that was asked for */
    readonly spkiSha256?: string
    readonly address?: string
    readonly action: CloneAction
    readonly now: number
  }): Promise<Device | undefined>
  /** An operator has looked: cloneSuspectedAt is taken away, with audit entry and change row. undefined: no such device. @throws `precondition_failed` */
  clearCloneSuspicion(clear: {
    readonly id: DeviceId
    readonly now: number
    readonly actor: Actor
    readonly ifRevision?: number | undefined
  }): Promise<Device | undefined>
}
