/**
 * How a simulated device comes to an identity: kept from an earlier run, given, or by enrolling over the protocol that its plan names. Not
 * what it does with it, and not the protocols: those are in client/.
 */

import { MINUTE, SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { now } from '../clock.ts'
import { enrollDevice } from '../client/enroll-device.ts'
import { enrollByEst } from '../client/enroll-est.ts'
import { enrollByMqtt } from '../client/enroll-mqtt.ts'
import type { Enrolled } from '../client/identity.ts'
import { newKey } from '../client/key.ts'
import type { FleetEventOf } from '../events.ts'
import type { EnrollVia } from '../scenario/scenario.ts'
import { pause } from '../waiting.ts'
import { errorOf, isTransient, troubleOf } from './trouble.ts'
import type { Holding } from './identity-keeper.ts'
import type { DevicePlan } from './plan.ts'
import type { RunScope } from './run-scope.ts'
import type { Kept } from './state.ts'
import { store } from './store.ts'

type Asking = {
  readonly plan: DevicePlan
  readonly scope: RunScope
  readonly keyPem: string
  readonly signal: AbortSignal
}

/** ms that a connection holds its place among those that are opening */
const HOLDS = SECOND

const missing = (plan: DevicePlan, what: string): FleetError =>
  new FleetError('config_invalid', `${plan.id} is not enrolled yet and there is no ${what} for it`)

/** @throws `config_invalid`: nothing that going on would mend */
const having = <T>(value: T | undefined, plan: DevicePlan, what: string): T => {
  if (value === undefined) throw missing(plan, what)
  return value
}

/** By the machine's clock: where a device is given its identity, somebody knows what time it is. */
const common = ({ scope, signal }: Asking) => {
  const { rootPem, meter, gates } = scope
  return { rootPem, signal, meter, network: { gate: gates.opening(HOLDS) } }
}
const byToken = (asking: Asking) => {
  const { plan, scope, keyPem } = asking
  return {
    ...common(asking),
    server: having(scope.targets.enroll, plan, 'enroll desk'),
    id: plan.id,
    token: having(scope.credentials.token, plan, 'claim token'),
    keyPem,
  }
}

const WAYS: Readonly<Record<EnrollVia, (asking: Asking) => Promise<Enrolled>>> = {
  rest: (asking) => enrollDevice(byToken(asking)),
  est: (asking) => enrollByEst(byToken(asking)),
  mqtt(asking) {
    const { plan, scope, keyPem } = asking
    const { targets, credentials, rootPem } = scope
    return enrollByMqtt({
      ...common(asking),
      url: having(targets.mqtts, plan, 'MQTT door'),
      id: plan.id,
      claim: having(credentials.claim, plan, 'claim certificate'),
      group: credentials.group,
      keyPem,
      rootPem: having(rootPem, plan, 'root that its claim certificate could trust'),
      server: targets.enroll,
    })
  },
}

type Way = FleetEventOf<'enrolled'>['via']
type Found = { readonly holding: Holding; readonly via: Way; readonly millis: number }

type Ends = { readonly stopping: AbortSignal; readonly signal: AbortSignal }

/** @param key made once, whatever becomes of the attempts: asking again with it gets the same certificate */
const enroll = async (
  { plan, scope, key }: { plan: DevicePlan; scope: RunScope; key: { pem: string | undefined } },
  { stopping, signal }: Ends,
): Promise<Found> => {
  /** Its turn may come when there is nothing left to do it for. @throws the reason of `stopping` */
  const unlessStopped =
    <T>(work: () => Promise<T>) =>
    (): Promise<T> => {
      stopping.throwIfAborted()
      return work()
    }
  if (key.pem === undefined) {
    key.pem = await scope.gates.keys(unlessStopped(() => newKey(plan.keyKind)))
    // before it is used: the answer may be lost with this process
    await store(plan, scope, { keyPem: key.pem })
  }
  const keyPem = key.pem
  return scope.gates.enrolling(
    unlessStopped(async () => {
      const began = now()
      const enrolled = await WAYS[plan.via]({ plan, scope, keyPem, signal })
      const millis = now() - began
      await store(plan, scope, { keyPem, enrolled })
      return { holding: { enrolled, candidate: undefined }, via: plan.via, millis }
    }),
  )
}

/** ms */
const SOONEST = SECOND / 4
const LATEST = 10 * SECOND

/** Longer each time; or for as long as the server said, within reason: everybody else waits for it. */
const patience = (attempt: number, phase: number, error: unknown): number => {
  const told = error instanceof FleetError ? Math.min(error.retryAfter ?? 0, MINUTE / SECOND) : 0
  const own = Math.min(LATEST, SOONEST * 2 ** Math.min(attempt, 10))
  return Math.max(own * (0.5 + phase), told * SECOND)
}

const NOTHING = Symbol()

/** What it has from before. A file that cannot be read is not written over, so its device takes no part. */
const keptOf = async (
  plan: DevicePlan,
  scope: RunScope,
  onUnreadable: (error: FleetError) => void,
): Promise<Kept | undefined | typeof NOTHING> => {
  const began = now()
  try {
    return await scope.state.load(plan.id)
  } catch (error) {
    scope.emit(errorOf(plan.id, 'enroll', error, began))
    if (error instanceof FleetError) onUnreadable(error)
    return NOTHING
  }
}

/**
 * @param o.attempts after which it gives up
 * @param o.stopping no further attempt
 * @param o.signal the attempt that is under way is given up too
 * @param o.onUnreadable its file in the state cannot be read
 * @returns undefined when it was refused an identity, or gave up, or the run ended first
 * @throws `config_invalid`: nothing that going on would mend
 */
export const gather = async (
  plan: DevicePlan,
  scope: RunScope,
  o: Ends & { readonly attempts: number; readonly onUnreadable: (error: FleetError) => void },
): Promise<Holding | undefined> => {
  const came = ({ holding, via, millis }: Found): Holding => {
    const { notAfter } = holding.enrolled
    scope.emit({ kind: 'enrolled', device: plan.id, at: now() - millis, via, millis, notAfter })
    return holding
  }
  if (scope.given !== undefined) {
    const enrolled = having(scope.given[plan.number], plan, 'certificate among those that were given')
    return came({ holding: { enrolled, candidate: undefined }, via: 'given', millis: 0 })
  }
  const kept = await keptOf(plan, scope, o.onUnreadable)
  if (kept === NOTHING || o.signal.aborted) return undefined
  if (kept?.enrolled !== undefined)
    return came({
      holding: { enrolled: kept.enrolled, candidate: kept.candidate },
      via: 'state',
      millis: 0,
    })
  const key = { pem: kept?.keyPem }
  for (let attempt = 1; attempt <= o.attempts && !o.stopping.aborted; attempt++) {
    const began = now()
    try {
      const found = await enroll({ plan, scope, key }, o)
      return o.signal.aborted ? undefined : came(found)
    } catch (error) {
      if (error instanceof FleetError && error.code === 'config_invalid') throw error
      if (o.signal.aborted || error === o.stopping.reason) return undefined
      scope.emit(troubleOf(plan.id, 'enroll', error, began))
      if (!isTransient(error)) return undefined
      if (attempt < o.attempts) await pause(patience(attempt, plan.phase, error), o.stopping)
    }
  }
  return undefined
}
