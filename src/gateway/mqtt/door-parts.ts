/** What all connections of an MQTT door share. Not how it is made: ./door.ts. */

import type { Clock } from '#fleet/clock.ts'
import type { Log } from '#runtime/log.ts'
import type { Admission } from '../admission.ts'
import type { Live } from '../live.ts'
import type { Holders } from './holders.ts'
import type { Sleepers } from './sleepers.ts'
import type { Tally } from './tally.ts'
import type { Upstream } from './upstream.ts'

export type DoorParts = {
  readonly admission: Admission
  readonly live: Live
  readonly upstream: Upstream
  readonly holders: Holders
  readonly sleepers: Sleepers
  readonly tally: Tally
  readonly log: Log
  readonly clock: Clock
  /** from 0 to 1, not secret */
  readonly random: () => number
  /** a device was admitted with this certificate */
  readonly sighting: (fingerprint: string) => void
  /** may a line be logged about a client of whom nobody knows who it is? */
  readonly anonymousLine: () => boolean
  /** ms from the end of the handshake to a whole CONNECT */
  readonly connectTimeout: number
  /** bytes: the largest CONNECT, and the largest packet after it */
  readonly connectLimit: number
  readonly frameLimit: number
  /** ms, ± 10 % */
  readonly maxConnection: number
  readonly handshakePer: 'connection' | 'message'
}
