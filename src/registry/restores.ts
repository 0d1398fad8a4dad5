/** MEMORY of itself: is this the registry that was there before, and what ends when it is an older one. A part of {@link Registry}. */

import type { Actor } from '#fleet/credentials.ts'

/** One entry of the audit, known again by all it says: of a certificate that is its serial and fingerprint. */
export type HistoryMark = {
  readonly sequence: number
  /** SHA-256, hex */
  readonly digest: string
}

export interface RestoreMemory {
  /** The newest audit entry; undefined: nothing was ever done. Every certificate that is recorded, and every revocation, moves it. */
  historyMark(): Promise<HistoryMark | undefined>
  /** false: that entry is not in this registry, so this is an older one, or another. */
  holdsMark(mark: HistoryMark): Promise<boolean>
  /**
   * Every claim token that could still be used with another key is revoked, every session that has begun is void, of service tokens the
   * secrets of before a rotation, and the CRL numbers go beyond what the desk of before may have used, in one transaction with the audit
   * entry `registry.restored`.
   * @param void_.why for the audit
   * @returns how many claim tokens
   */
  voidOutstandingTokens(void_: {
    readonly now: number
    readonly actor: Actor
    readonly why: string
  }): Promise<number>
}
