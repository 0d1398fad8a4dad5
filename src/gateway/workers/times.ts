/** How long a worker has, in ms. Parameters, because no test waits so long; no settings, because they hang together. */

import { MINUTE } from '#fleet/clock.ts'

export type Times = {
  /** until it can serve */
  readonly start: number
  /** from one question how it is to the next */
  readonly beat: number
  /** so many without an answer: it hangs */
  readonly beats: number
  /** until it has handed its socket over */
  readonly handOver: number
  /** that requests have when another worker has taken over */
  readonly retire: number
  /** from there until it has ended */
  readonly retired: number
  /** until it says what it has counted; else what it said last counts */
  readonly values: number
  /** until it has heard of a logout; whoever waits for that then waits no longer, for it hangs and serves nobody */
  readonly heard: number
  /** until a worker hears that all others have */
  readonly known: number
  /** to stop: its requests have 5 s (https/door.ts), and we are ended 10 s after we were asked to stop (#runtime/run.ts) */
  readonly stop: number
}

export const TIMES: Times = {
  start: 30_000,
  beat: 5_000,
  beats: 3,
  handOver: 5_000,
  retire: MINUTE,
  retired: 5_000,
  values: 1_000,
  heard: 5_000,
  // one message may be under way already
  known: 12_000,
  stop: 8_000,
}
