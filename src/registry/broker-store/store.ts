/** What the embedded broker keeps on the disk: what is read at start, and what is written while it runs. Not when, and not what it means. */

/** Rows as they are read, once, at start. Messages are numbered in the order in which they were published. */
export type StoredBroker = {
  readonly sessions: Iterable<{
    readonly number: number
    readonly clientId: string
    /** ms; null: its client was connected */
    readonly awaySince: number | null
    /** number of the newest message that was sent on any of its connections */
    readonly sentUpTo: number
  }>
  readonly subscriptions: Iterable<{
    readonly session: number
    readonly filter: string
    readonly qos: number
  }>
  readonly messages: Iterable<{
    readonly number: number
    readonly topic: string
    readonly payload: Buffer
  }>
  /** by session, oldest first */
  readonly queued: Iterable<{
    readonly session: number
    readonly number: number
    readonly qos: number
    readonly packetId: number
    /** PUBREC has come */
    readonly released: number
    readonly retain: number
  }>
  readonly retained: Iterable<{
    readonly topic: string
    readonly payload: Buffer
    readonly qos: number
    readonly owner: string
  }>
  /** packet ids of QoS 2 messages whose PUBREL has not come */
  readonly incoming: Iterable<{ readonly session: number; readonly packetId: number }>
}

/**
 * What one transaction does, in this order. `put` replaces what is there; `end` takes a session with all that is its own, but the messages.
 * A row is its columns one after the other, and all rows of a verb are one array: it is copied to another thread.
 */
export const BATCH_VERBS = [
  'endSession',
  'dropSubscription',
  'dropQueued',
  'dropMessage',
  'dropRetained',
  'dropIncoming',
  'putSession',
  'putSubscription',
  'putMessage',
  'putQueued',
  'putRetained',
  'putIncoming',
] as const
export type BatchVerb = (typeof BATCH_VERBS)[number]

export type Batch = {
  /** Where a payload stands, its length in {@link Batch.payloads}. */
  readonly rows: Readonly<Partial<Record<BatchVerb, readonly (number | string | null)[]>>>
  /** all payloads, one after the other, in the order in which the transaction comes to them */
  readonly payloads: Uint8Array<ArrayBuffer>
}

export interface BrokerStore extends AsyncDisposable {
  /**
   * Everything that is in the file; before the first {@link BrokerStore.commit}.
   * @throws FleetError `config_invalid` when the file is damaged
   */
  load(take: (stored: StoredBroker) => void): void
  /**
   * One transaction, from another thread. Resolves when it would outlive a power cut. One at a time.
   * @throws FleetError `registry_unavailable`: nothing of it was written, or it may have been: do the same one again
   */
  commit(batch: Batch): Promise<void>
}
