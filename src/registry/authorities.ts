/**
 * MEMORY of the authorities: issuers from prepared to retired, the anchors that servers are verified with, who has fetched which chain,
 * and CRLs that were made offline. A part of {@link Registry}.
 */

import type { IssuerRecord, IssuerState } from '#fleet/certificate.ts'
import type { Actor } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'

/** A root that devices verify servers with. `offered`, `active` and `retiring` ones stand in `/v1/trust.pem`. */
export type ServerAnchor = {
  /** SHA-256 of the DER */
  readonly fingerprint: string
  readonly der: Uint8Array
  readonly state: 'prepared' | 'offered' | 'active' | 'retiring' | 'retired'
  readonly offeredAt: number | undefined
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

export interface AuthorityMemory {
  /**
   * `from` → `to`, else `conflict`; sets offeredAt when it is first offered. Audit, change row (issuer), the version of the chain when
   * what is offered has changed. undefined: no such issuer
   */
  moveIssuer(move: {
    readonly ski: string
    readonly from: readonly IssuerState[]
    readonly to: IssuerState
    readonly now: number
    readonly actor: Actor
  }): Promise<IssuerRecord | undefined>
  serverAnchors(): Promise<readonly ServerAnchor[]>
  /** Known ones stay as they are. */
  addServerAnchor(
    anchor: { readonly fingerprint: string; readonly der: Uint8Array; readonly state: 'prepared' | 'active' },
    now: number,
    actor: Actor,
  ): Promise<ServerAnchor>
  moveServerAnchor(move: {
    readonly fingerprint: string
    readonly from: readonly ServerAnchor['state'][]
    readonly to: ServerAnchor['state']
    readonly now: number
    readonly actor: Actor
  }): Promise<ServerAnchor | undefined>
  trustVersion(kind: TrustKind): Promise<number>
  /** A device was given this version. Only the newest is kept; no audit, no change row. */
  recordTrustFetch(id: DeviceId, kind: TrustKind, version: number, now: number): Promise<void>
  /** Of the active devices: how many have fetched at least this version. */
  trustShare(kind: TrustKind, version: number): Promise<{ readonly fetched: number; readonly active: number }>
  /** @throws `conflict`: its number or its thisUpdate is not above that of the one on record */
  keepImportedCrl(crl: ImportedCrl, now: number, actor: Actor): Promise<void>
  importedCrls(): Promise<readonly ImportedCrl[]>
}
