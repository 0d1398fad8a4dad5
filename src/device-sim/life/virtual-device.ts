/**
 * The part of a simulated device that both doors share: its identity, renewed when it is due; its way to the network, which faults may cut;
 * and how it ends. Not its traffic: that is https-life.ts and mqtt-life.ts; not how it renews in two phases: identity-keeper.ts.
 */

import type { Clock } from '#fleet/clock.ts'
import type { ConnectOptions } from '../client/connection.ts'
import { adviceFor, confirmDevice, renewDevice } from '../client/enroll-device.ts'
import type { Enrolled } from '../client/identity.ts'
import type { LinkFault } from '../client/link.ts'
import { refreshTrust } from '../client/trust.ts'
import { now, offBy } from '../clock.ts'
import type { Door, FleetEvent } from '../events.ts'
import { pause } from '../waiting.ts'
import { createIdentityKeeper, type Holding, type IdentityKeeper } from './identity-keeper.ts'
import type { DevicePlan } from './plan.ts'
import type { RunScope } from './run-scope.ts'
import { troubleOf } from './trouble.ts'

/** of a wait, when nobody answers */
const MOST_DOUBLINGS = 5

/** How a device is ended. Its own controllers: ten thousand listeners on one signal would each be looked through at every turn. */
export type Ends = {
  /** no new turns */
  readonly stop: AbortController
  /** at once; implies `stop` */
  readonly end: AbortController
}

export type VirtualDevice = {
  readonly plan: DevicePlan
  readonly scope: RunScope
  readonly keeper: IdentityKeeper
  /** its own, which may be wrong */
  readonly clock: Clock
  /** no new turns */
  readonly stopping: AbortSignal
  /** of a connection: the meter, the fault on its link, its clock */
  readonly network: Pick<ConnectOptions, 'meter' | 'link' | 'clock'>
  /** for each connection and request: fires when the device is cut off from the network, and when it is ended at once */
  line(): AbortSignal
  isAway(): boolean
  /** resolves when it is back, or is to stop */
  untilBack(): Promise<void>
  /** told of trouble, unless that came of `line` being cut. `at`: when it began */
  report(door: Door, error: unknown, at: number, line: AbortSignal): void
  /** its next wait, cut short when it is to stop */
  wait(...also: readonly AbortSignal[]): Promise<void>
  /** The same, longer with each failure in a row: a server that cannot answer is not helped by asking it again and again. */
  backOff(failures: number): Promise<void>

  /** what is done to it */
  /** every connection is gone, without a word */
  cut(): void
  leave(): void
  comeBack(): void
  /** From now on its link has this fault, until the function that it returns is called, or another takes its place. */
  ail(fault: LinkFault): () => void
}

/** @param o.mayHaveFault a fault will be on its link at some time; without, nothing stands between it and its sockets */
export const createDevice = (
  plan: DevicePlan,
  scope: RunScope,
  holding: Holding,
  o: { readonly ends: Ends; readonly mayHaveFault: boolean; onCandidate(): void },
): VirtualDevice => {
  const { targets, meter, scenario } = scope
  const { enroll } = targets
  const { stop, end } = o.ends
  const clock = plan.clockOffset === 0 ? scope.clock : offBy(plan.clockOffset, scope.clock)
  let link: LinkFault | undefined
  let line = new AbortController()
  let away: PromiseWithResolvers<void> | undefined
  end.signal.addEventListener('abort', () => line.abort(), { once: true })
  stop.signal.addEventListener('abort', () => away?.resolve(), { once: true })

  const emit = (event: FleetEvent): void => {
    if (!end.signal.aborted) scope.emit(event)
  }
  const report: VirtualDevice['report'] = (door, error, at, on) => {
    if (!on.aborted) emit(troubleOf(plan.id, door, error, at))
  }
  /** the line of what the keeper asks the desk now: one thing at a time */
  let asked = line.signal
  const asking = (enrolled: Enrolled) => {
    asked = line.signal
    return { server: enroll ?? '', enrolled, signal: asked, meter }
  }
  /** The roots may be rotated meanwhile; an identity knows no others than those of the day it was made. */
  const withTrust = async (enrolled: Enrolled): Promise<Enrolled> => {
    const began = now()
    const { server, signal } = asking(enrolled)
    const { rootPem } = enrolled
    try {
      return {
        ...enrolled,
        rootPem: await refreshTrust({ server, identity: enrolled, rootPem, signal, meter }),
      }
    } catch (error) {
      // what was trusted before still is; should it not do, the renewal says so
      report('enroll', error, began, signal)
      return enrolled
    }
  }
  const gated = <T>(work: () => Promise<T>): Promise<T> => scope.gates.renewing(work)

  // what was given is not this program's to replace
  const renewable = enroll !== undefined && scope.given === undefined
  const { adviceEvery } = scenario
  const keeper = createIdentityKeeper(holding, {
    clock,
    renew: renewable
      ? (enrolled, newKey) => gated(async () => renewDevice({ ...asking(await withTrust(enrolled)), newKey }))
      : undefined,
    confirm: (enrolled) => confirmDevice(asking(enrolled)),
    advice:
      adviceEvery === undefined
        ? undefined
        : {
            every: adviceEvery,
            first: adviceEvery * plan.phase,
            ask: (enrolled) => gated(() => adviceFor(asking(enrolled))),
          },
    keep: ({ enrolled, candidate }) =>
      scope.state.keep(plan.id, {
        keyPem: enrolled.keyPem,
        enrolled,
        ...(candidate === undefined ? {} : { candidate }),
      }),
    gained: o.onCandidate,
    renewed({ before, now: enrolled, after }) {
      const millis = clock() - after
      emit({
        kind: 'renewed',
        device: plan.id,
        at: now() - millis,
        millis,
        notAfter: enrolled.notAfter,
        before: before.notAfter,
      })
    },
    failed: (error) => report('enroll', error, now(), asked),
  })

  return {
    plan,
    scope,
    keeper,
    clock,
    stopping: stop.signal,
    network: {
      meter,
      ...(o.mayHaveFault ? { link: () => link } : {}),
      ...(plan.clockOffset === 0 ? {} : { clock }),
    },
    line: () => line.signal,
    isAway: () => away !== undefined,
    untilBack: async () => away?.promise,
    report,
    wait: (...also) => pause(plan.wait(), stop.signal, ...also),
    backOff: (failures) => pause(plan.wait() * 2 ** Math.min(failures, MOST_DOUBLINGS), stop.signal),
    cut() {
      line.abort()
      if (!end.signal.aborted) line = new AbortController()
    },
    leave() {
      if (away !== undefined || stop.signal.aborted) return
      away = Promise.withResolvers<void>()
      emit({ kind: 'away', device: plan.id, at: now() })
      line.abort()
    },
    comeBack() {
      if (away === undefined) return
      const { resolve } = away
      away = undefined
      if (!end.signal.aborted) line = new AbortController()
      emit({ kind: 'back', device: plan.id, at: now() })
      resolve()
    },
    ail(fault) {
      link = fault
      return () => {
        if (link === fault) link = undefined
      }
    },
  }
}
