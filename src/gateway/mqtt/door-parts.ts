/** What all connections of a front share. Not how it is made: ./front.ts. */

import type { Clock } from '#fleet/clock.ts'
import type { Config } from '#runtime/config.ts'
import type { Log } from '#runtime/log.ts'
import type { Admission } from '../admission.ts'
import type { Live } from '../live.ts'
import type { Claims } from './claims.ts'
import type { Holders } from './holders.ts'
import type { OpenLocalTopics } from './local-topics.ts'
import type { Places } from './places.ts'
import type { EndsSession } from './session-ends.ts'
import type { Sleepers } from './sleepers.ts'
import type { Takeovers } from './takeovers.ts'
import type { Tally } from './tally.ts'
import type { Timers } from './timers.ts'
import type { Upstream } from './upstream.ts'

export type DoorParts = {
  readonly mqtt: Config['mqtt']
  readonly admission: Admission
  readonly live: Live
  readonly upstream: Upstream
  readonly holders: Holders
  readonly sleepers: Sleepers
  readonly endsSession: EndsSession
  /** by its id */
  readonly wasEverCut: (deviceId: string) => boolean
  readonly places: Places
  readonly takeovers: Takeovers
  readonly timers: Timers
  readonly tally: Tally
  readonly log: Log
  readonly clock: Clock
  /** from 0 to 1, not secret */
  readonly random: () => number
  /** a device was admitted with this certificate */
  readonly sighting: (fingerprint: string) => void
  /** may a line be logged about a client of whom nobody knows who it is? */
  readonly anonymousLine: () => boolean
  /** undefined: nobody enrols over MQTT */
  readonly claims: Claims | undefined
  /** undefined: `$sallyport/…` is closed to devices too */
  readonly openLocal: OpenLocalTopics | undefined
}
