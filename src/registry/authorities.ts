/**
 * MEMORY of the authorities: issuers from prepared to retired, the anchors that servers are verified with, who has fetched which chain,
 * and CRLs that were made offline. A part of {@link Registry}.
 */

import type { IssuerRecord, IssuerState } from '#fleet/certificate.ts'
import type { Actor } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { GivenRevocationReason } from '#fleet/revocation-reason.ts'

/** A root that devices verify servers with. `offered`, `active` and `retiring` ones stand in `/v1/trust.pem`. */
export const ANCHOR_STATES = ['prepared', 'offered', 'active', 'retiring', 'retired'] as const
export type AnchorState = (typeof ANCHOR_STATES)[number]

export type ServerAnchor = {
  /** SHA-256 of the DER */
  readonly fingerprint: string
  readonly der: Uint8Array
  readonly state: AnchorState
  readonly offeredAt: number | undefined
  /** the version of `/v1/trust.pem` that was the first with it */
  readonly offeredVersion: number | undefined
}

/** `chain`: the issuing CAs of devices (EST cacerts). `server`: `/v1/trust.pem`. Each has its own version, which rises when its contents do. */
export const TRUST_KINDS = ['chain', 'server'] as const
export type TrustKind = (typeof TRUST_KINDS)[number]

/** A CRL that somebody else signed, the root's: served, never made here. */
export type ImportedCrl = {
  /** subject key id of its issuer */
  readonly ski: string
  readonly der: Uint8Array
  readonly number: bigint
  readonly thisUpdate: number
  readonly nextUpdate: number
}

/** `details`: for the audit entry, beside the two states */
type Move<State> = {
  readonly from: readonly State[]
  readonly to: State
  readonly now: number
  readonly actor: Actor
  readonly details?: Readonly<Record<string, unknown>>
}

export interface AuthorityMemory {
  /**
   * `from` → `to`, else `conflict`; sets offeredAt and offeredVersion when it is first offered. To `active`: every other active one becomes
   * `retiring` in the same transaction. Audit, change rows (issuer), the version of the chain when what is offered has changed.
   * undefined: no such issuer
   */
  moveIssuer(
    move: Move<IssuerState> & {
      readonly ski: string
      /** of a move to `revoked`, for OCSP; default `unspecified` */
      readonly reason?: GivenRevocationReason
    },
  ): Promise<IssuerRecord | undefined>
  /** Oldest first. */
  serverAnchors(): Promise<readonly ServerAnchor[]>
  /** Known ones stay as they are. */
  addServerAnchor(
    anchor: { readonly fingerprint: string; readonly der: Uint8Array; readonly state: 'prepared' | 'active' },
    now: number,
    actor: Actor,
  ): Promise<ServerAnchor>
  /** As {@link AuthorityMemory.moveIssuer}, without change rows: no door depends on it. */
  moveServerAnchor(
    move: Move<AnchorState> & { readonly fingerprint: string },
  ): Promise<ServerAnchor | undefined>
  trustVersion(kind: TrustKind): Promise<number>
  /**
   * A device was given this version. Only the newest is kept; no audit, no change row, and no write at all when it had that one before.
   * Who is no device leaves nothing.
   */
  recordTrustFetch(id: DeviceId, kind: TrustKind, version: number, now: number): Promise<void>
  /**
   * Of the active devices, and of those that are suspended, which come back: how many have fetched at least this version. Counted anew, in
   * pieces: for people, not for requests.
   */
  trustShare(kind: TrustKind, version: number): Promise<{ readonly fetched: number; readonly active: number }>
  /**
   * @param forgotten serials of the one on record that it leaves out, for the audit
   * @throws `conflict`: its number or its thisUpdate is not above that of the one on record
   */
  keepImportedCrl(crl: ImportedCrl, now: number, actor: Actor, forgotten?: readonly string[]): Promise<void>
  importedCrls(): Promise<readonly ImportedCrl[]>
}
