/** What every device of one run shares, and what they count together. Not one device: virtual-device.ts. */

import type { Clock } from '#fleet/clock.ts'
import type { Enrolled, Targets } from '../client/identity.ts'
import type { Meter } from '../client/meter.ts'
import type { OpeningGate } from '../client/opening-gate.ts'
import type { Credentials } from '../coordinator/messages.ts'
import type { FleetEvent } from '../events.ts'
import type { LoadCounts } from '../load/open.ts'
import type { Scenario } from '../scenario/scenario.ts'
import type { StateStore } from './state.ts'

/** As it is now, in this process. */
export type FleetGauge = {
  /** with an identity, and at work */
  devices: number
  /** MQTT connections that are open */
  connected: number
  /** requests and publications without an answer yet */
  underWay: number
}

export type Gate = <T>(work: () => Promise<T>) => Promise<T>

export type RunScope = {
  readonly scenario: Scenario
  readonly targets: Partial<Targets>
  readonly rootPem: string | undefined
  readonly credentials: Credentials
  /** by number of the device */
  readonly given: readonly Enrolled[] | undefined
  readonly state: StateStore
  /** that of devices whose own is right; what is measured does not hang on it */
  readonly clock: Clock
  readonly meter: Meter | undefined
  /** turns each device has; Infinity: until it is told to stop */
  readonly rounds: number
  /** of a request; undefined: one for each turn */
  readonly path: string | undefined
  readonly method: 'GET' | 'POST'
  /** with `{id}`; undefined: `devices/{id}/telemetry` */
  readonly topic: string | undefined
  /** do those that are to try it try to listen to others' topics? */
  readonly triesOthers: boolean
  /** ms since the epoch: nothing that was sent before it is this run's */
  readonly began: number
  readonly gauge: FleetGauge
  /** of an open loop */
  readonly load: LoadCounts
  readonly gates: {
    /** keys are made by the few threads of libuv's pool, and must not stand in the way of those that have one */
    readonly keys: Gate
    readonly enrolling: Gate
    /** what a device asks of the desk, once it has an identity */
    readonly renewing: Gate
    /** connections of all devices, to whomever. @returns by how many ms each holds its place at most */
    opening(holds: number): OpeningGate
  }
  /** what is done beside the devices, and has to end before the run does; they never reject */
  readonly errands: Set<Promise<void>>
  /** ms that are left for what is under way; Infinity: nobody has said stop */
  drainLeft(): number
  emit(event: FleetEvent): void
  /** A fault of the timeline befell a device. @param index of it */
  onStruck(index: number): void
}
