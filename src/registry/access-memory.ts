/** MEMORY of what the HTTPS door needs beside policies: service tokens, sessions ended early, CRLs of foreign anchors, signing keys that go. A part of {@link Registry}. */

import type { Actor, ServiceToken } from '#fleet/credentials.ts'
import type { SessionRevocation } from '#fleet/session.ts'
import type { Page, Paged } from './page.ts'

/** The newest CRL of one CA of a foreign anchor. Times: ms. */
export type AnchorCrlRecord = {
  readonly anchor: string
  /** the CA whose CRL it is: SHA-256 of its name and its key, hex */
  readonly issuer: string
  /** its CRL number, decimal; undefined: it has none */
  readonly number: string | undefined
  readonly thisUpdate: number
  readonly nextUpdate: number
  readonly entries: number
  /** the URL, or `upload` */
  readonly source: string
  readonly keptAt: number
  readonly der: Uint8Array
}

/** Without its octets, for whoever watches dates. */
export type AnchorCrlSummary = Omit<AnchorCrlRecord, 'der'>

export interface AccessMemory {
  /** Atomic with its audit entry. @throws `conflict`: the id, name or client id is taken */
  createServiceToken(token: ServiceToken, actor: Actor): Promise<void>
  findServiceToken(id: string): Promise<ServiceToken | undefined>
  /** In order of making; revoked ones too. */
  listServiceTokens(page: Page): Promise<Paged<ServiceToken>>
  /**
   * A new secret; the one of before is good until `previousUntil`. Audit, change row, the next revision. undefined: no such token.
   * @throws `conflict`: it is revoked; `precondition_failed`: another revision
   */
  rotateServiceToken(rotate: {
    readonly id: string
    readonly hash: string
    readonly previousUntil: number
    readonly ifRevision?: number | undefined
    readonly now: number
    readonly actor: Actor
  }): Promise<ServiceToken | undefined>
  /**
   * undefined: no such token. Repeating it changes nothing. Audit, change row, the next revision. A rule that names it is satisfied by nobody
   * from then on. @throws `precondition_failed`: another revision
   */
  revokeServiceToken(revoke: {
    readonly id: string
    readonly ifRevision?: number | undefined
    readonly now: number
    readonly actor: Actor
  }): Promise<ServiceToken | undefined>
  /**
   * Kept until `expiresAt`; of one scope and subject the later `before` and the later `expiresAt` count. Those that have expired by `now` are
   * dropped. Where there would be more than 10,000, one of scope `everything` takes the place of all. Audit (`sessions.revoked`), change
   * row; neither where it says nothing new.
   */
  revokeSessions(revocation: SessionRevocation, now: number, actor: Actor): Promise<void>
  /** Of every anchor. Reads no CRL itself. */
  listAnchorCrls(): Promise<readonly AnchorCrlSummary[]>
  /** undefined: none of this CA is kept */
  findAnchorCrl(anchor: string, issuer: string): Promise<AnchorCrlRecord | undefined>
  /**
   * In place of the one of the same anchor and CA. One that is older (thisUpdate, then number) changes nothing and is answered with what is
   * kept. Audit, change row. @throws `not_found`: no such anchor. With the anchor they go.
   */
  keepAnchorCrl(crl: AnchorCrlRecord, now: number, actor: Actor): Promise<AnchorCrlRecord>
  /** Of keys that have had a successor for long enough. Audit, change row. @throws `conflict`: it is the newest; false: no such key */
  removeAssertionKey(kid: string, now: number, actor: Actor): Promise<boolean>
}
