/** What mqtt-clients.ts is told, and what it answers, over IPC. */

export type ClientOf = {
  readonly clientId: string
  readonly cert: string
  readonly key: string
  /** a topic filter, subscribed to at `qos` once it is in */
  readonly filter?: string
  readonly qos?: 0 | 1
}
export type Order =
  /** connects them, a few at a time; @returns {@link Count} */
  | {
      readonly kind: 'open'
      readonly port: number
      readonly host: string
      readonly clients: readonly ClientOf[]
    }
  /** each: handshake, CONNECT, CONNACK, DISCONNECT; so many, as many at a time as there are clients */
  | {
      readonly kind: 'visits'
      readonly port: number
      readonly host: string
      readonly clients: readonly ClientOf[]
      readonly count: number
    }
  /**
   * Open clients `from`.. publish `each` messages to `topic`, and so many deliveries are waited for. `window`: deliveries that may be outstanding;
   * `batch`: messages in one write.
   */
  | {
      readonly kind: 'publish'
      readonly from: readonly string[]
      readonly topic: string
      readonly qos: 0 | 1
      readonly each: number
      /** clients that get each message */
      readonly receivers: number
      readonly window: number
      readonly batch: number
      readonly bytes: number
    }
  /** resolves when so many of those that are open have been ended by the server; @returns when, ms since the epoch, by ClientID */
  | { readonly kind: 'ends'; readonly count: number }
  /** all of them, at once and without a word */
  | { readonly kind: 'drop' }

export type Count = {
  readonly ok: number
  readonly failed: string | undefined
  /** ms, from the start of each connection to its CONNACK */
  readonly took?: readonly number[]
}
export type Ended = { readonly at: Readonly<Record<string, number>> }

/** `failed`: mosquitto 2.0.11 now and then stops in the middle of QoS 1, whoever is before it. */
export const STALLED = 'stalled'
