/**
 * The part of a simulated device that both doors share: its identity, renewed when it is due; its way to the network, which faults may cut;
 * and how it ends. Not its traffic: that is https-life.ts and mqtt-life.ts; not how it renews in two phases: identity-keeper.ts.
 */

import { SECOND, type Clock } from '#fleet/clock.ts'
import type { ConnectOptions, Network } from '../client/connection.ts'
import { adviceFor, confirmDevice, renewDevice } from '../client/enroll-device.ts'
import type { Enrolled } from '../client/identity.ts'
import { keyKindOf, newKey } from '../client/key.ts'
import type { LinkFault } from '../client/link.ts'
import { refreshTrust } from '../client/trust.ts'
import { now, offBy } from '../clock.ts'
import type { Door, FleetEvent } from '../events.ts'
import { pause } from '../waiting.ts'
import { createIdentityKeeper, type Holding, type IdentityKeeper } from './identity-keeper.ts'
import type { DevicePlan } from './plan.ts'
import type { RunScope } from './run-scope.ts'
import { store } from './store.ts'
import { isTransient, troubleOf } from './trouble.ts'

/** of a wait, when nobody answers; when the certificate was refused: the end of a suspension is to be seen */
const MOST_DOUBLINGS = 5
const DOUBLINGS_WHEN_REFUSED = 2
/** ms that a connection holds its place among those that are opening. Nothing is due: whoever waits for it begins later */
const HOLDS = SECOND

/** Said by us: a DOMException for each of ten thousand that are cut at once has a stack to be written, and takes longer than the cut. */
const GONE = 'gone'

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
  /** of every connection, to the doors and to the desk */
  readonly network: Network & Pick<ConnectOptions, 'meter'>
  /** for each connection and request: fires when the device is cut off from the network, and when it is ended at once */
  line(): AbortSignal
  isAway(): boolean
  /** resolves when it is back, or is to stop */
  untilBack(): Promise<void>
  /** told of trouble, unless that came of `line` being cut. `at`: when it began */
  report(door: Door, error: unknown, at: number, line: AbortSignal): void
  /** its next wait, cut short when it is to stop */
  wait(...also: readonly AbortSignal[]): Promise<void>
  /**
   * The same, longer with each failure in a row but the first: a server that cannot answer is not helped by asking it again and again.
   * @param refused it did answer: that it does not take the certificate
   */
  backOff(failures: number, refused: boolean): Promise<void>

  /** what is done to it */
  /** every connection is gone, without a word; while it is away there is none */
  cut(): void
  /** it is back when it has come back as often as it has left */
  leave(): void
  comeBack(): void
  /** From now on its link has this fault, until the function that it returns is called. Of several the newest is on it. */
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
  const faults: LinkFault[] = []
  let line = new AbortController()
  let away: (PromiseWithResolvers<void> & { times: number }) | undefined
  const network: VirtualDevice['network'] = {
    meter,
    gate: scope.gates.opening(HOLDS),
    ...(o.mayHaveFault ? { link: () => faults.at(-1) } : {}),
    ...(plan.clockOffset === 0 ? {} : { clock }),
  }
  end.signal.addEventListener('abort', () => line.abort(GONE), { once: true })
  stop.signal.addEventListener('abort', () => away?.resolve(), { once: true })

  const emit = (event: FleetEvent): void => {
    if (!end.signal.aborted) scope.emit(event)
  }
  const report: VirtualDevice['report'] = (door, error, at, on) => {
    if (!on.aborted) emit(troubleOf(plan.id, door, error, at))
  }
  /** the line of what the keeper asks the desk now: one thing at a time */
  let asked = line.signal
  let askedAt = now()
  const asking = (enrolled: Enrolled) => {
    asked = line.signal
    askedAt = now()
    return { server: enroll ?? '', enrolled, signal: asked, meter, network }
  }
  /** The roots may be rotated meanwhile; an identity knows no others than those of the day it was made. */
  const withTrust = async (enrolled: Enrolled): Promise<Enrolled> => {
    const began = now()
    const { server, signal } = asking(enrolled)
    const { rootPem } = enrolled
    try {
      return {
        ...enrolled,
        rootPem: await refreshTrust({ server, identity: enrolled, rootPem, signal, meter, network }),
      }
    } catch (error) {
      // what was trusted before still is; should it not do, the renewal says so
      report('enroll', error, began, signal)
      return enrolled
    }
  }
  const gated = <T>(work: () => Promise<T>): Promise<T> => scope.gates.renewing(work)

  /** made, and asked for; should the answer be lost, asking again with it gets the same certificate, and no third one */
  let nextKeyPem: string | undefined
  const renew = async (enrolled: Enrolled, withNewKey: boolean): Promise<Enrolled> => {
    if (withNewKey) nextKeyPem ??= await scope.gates.keys(() => newKey(keyKindOf(enrolled.keyPem)))
    try {
      const trusting = await withTrust(enrolled)
      const began = now()
      const renewed = await renewDevice({ ...asking(trusting), keyPem: nextKeyPem })
      emit({ kind: 'issued', device: plan.id, at: began })
      nextKeyPem = undefined
      return renewed
    } catch (error) {
      if (!isTransient(error)) nextKeyPem = undefined
      throw error
    }
  }

  // what was given is not this program's to replace
  const renewable = enroll !== undefined && scope.given === undefined
  const { adviceEvery, keyAgreement } = scenario
  const keeper = createIdentityKeeper(holding, {
    clock,
    keyAgreement,
    renew: renewable ? (enrolled, withNewKey) => gated(async () => renew(enrolled, withNewKey)) : undefined,
    confirm: (enrolled) => gated(() => confirmDevice(asking(enrolled))),
    advice:
      adviceEvery === undefined
        ? undefined
        : {
            every: adviceEvery,
            first: adviceEvery * plan.phase,
            ask: (enrolled) => gated(() => adviceFor(asking(enrolled))),
          },
    keep: ({ enrolled, candidate }) =>
      store(plan, scope, {
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
    failed: (error) => report('enroll', error, askedAt, asked),
  })

  return {
    plan,
    scope,
    keeper,
    clock,
    stopping: stop.signal,
    network,
    line: () => line.signal,
    isAway: () => away !== undefined,
    untilBack: async () => away?.promise,
    report,
    wait: (...also) => pause(plan.wait(), stop.signal, ...also),
    backOff(failures, refused) {
      const most = refused ? DOUBLINGS_WHEN_REFUSED : MOST_DOUBLINGS
      return pause(plan.wait() * 2 ** Math.min(Math.max(0, failures - 1), most), stop.signal)
    },
    cut() {
      if (away !== undefined || end.signal.aborted) return
      line.abort(GONE)
      line = new AbortController()
    },
    leave() {
      if (away !== undefined) away.times++
      if (away !== undefined || stop.signal.aborted) return
      away = { ...Promise.withResolvers<void>(), times: 1 }
      emit({ kind: 'away', device: plan.id, at: now() })
      line.abort(GONE)
    },
    comeBack() {
      if (away === undefined || --away.times > 0) return
      const { resolve } = away
      away = undefined
      if (!end.signal.aborted) line = new AbortController()
      emit({ kind: 'back', device: plan.id, at: now() })
      resolve()
      // its certificate may have run out meanwhile
      if (!stop.signal.aborted) void keeper.renewIfDue()
    },
    ail(fault) {
      faults.push(fault)
      return () => {
        const at = faults.indexOf(fault)
        if (at !== -1) faults.splice(at, 1)
      }
    },
  }
}
