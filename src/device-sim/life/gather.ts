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
import { troubleOf } from './trouble.ts'
import type { Holding } from './identity-keeper.ts'
import type { DevicePlan } from './plan.ts'
import type { RunScope } from './run-scope.ts'

type Asking = {
  readonly plan: DevicePlan
  readonly scope: RunScope
  readonly keyPem: string
  readonly signal: AbortSignal
}

const missing = (plan: DevicePlan, what: string): FleetError =>
  new FleetError('config_invalid', `${plan.id} is not enrolled yet and there is no ${what} for it`)

/** @throws `config_invalid`: nothing that going on would mend */
const having = <T>(value: T | undefined, plan: DevicePlan, what: string): T => {
  if (value === undefined) throw missing(plan, what)
  return value
}

const WAYS: Readonly<Record<EnrollVia, (asking: Asking) => Promise<Enrolled>>> = {
  rest: ({ plan, scope: { targets, credentials, rootPem, meter }, keyPem, signal }) =>
    enrollDevice({
      server: having(targets.enroll, plan, 'enroll desk'),
      id: plan.id,
      token: having(credentials.token, plan, 'claim token'),
      keyPem,
      rootPem,
      signal,
      meter,
    }),
  est: ({ plan, scope: { targets, credentials, rootPem, meter }, keyPem, signal }) =>
    enrollByEst({
      server: having(targets.enroll, plan, 'enroll desk'),
      id: plan.id,
      token: having(credentials.token, plan, 'claim token'),
      keyPem,
      rootPem,
      signal,
      meter,
    }),
  mqtt: ({ plan, scope: { targets, credentials, rootPem, meter }, keyPem, signal }) =>
    enrollByMqtt({
      url: having(targets.mqtts, plan, 'MQTT door'),
      id: plan.id,
      claim: having(credentials.claim, plan, 'claim certificate'),
      group: credentials.group,
      keyPem,
      rootPem: having(rootPem, plan, 'root that its claim certificate could trust'),
      server: targets.enroll,
      signal,
      meter,
    }),
}

type Way = FleetEventOf<'enrolled'>['via']
type Found = { readonly holding: Holding; readonly via: Way; readonly millis: number }

type Ends = { readonly stopping: AbortSignal; readonly signal: AbortSignal }

const enroll = async (
  plan: DevicePlan,
  scope: RunScope,
  kept: string | undefined,
  { stopping, signal }: Ends,
) => {
  /** Its turn may come when there is nothing left to do it for. @throws the reason of `stopping` */
  const unlessStopped =
    <T>(work: () => Promise<T>) =>
    (): Promise<T> => {
      stopping.throwIfAborted()
      return work()
    }
  const keyPem = kept ?? (await scope.gates.keys(unlessStopped(() => newKey(plan.keyKind))))
  // before it is used: should the answer be lost, asking again with this key gets the same certificate
  if (kept === undefined) await scope.state.keep(plan.id, { keyPem })
  return scope.gates.enrolling(
    unlessStopped(async () => {
      const began = now()
      const enrolled = await WAYS[plan.via]({ plan, scope, keyPem, signal })
      const millis = now() - began
      await scope.state.keep(plan.id, { keyPem, enrolled })
      return { holding: { enrolled, candidate: undefined }, via: plan.via, millis }
    }),
  )
}

const find = async (plan: DevicePlan, scope: RunScope, ends: Ends): Promise<Found> => {
  if (scope.given !== undefined) {
    const enrolled = having(scope.given[plan.number], plan, 'certificate among those that were given')
    return { holding: { enrolled, candidate: undefined }, via: 'given', millis: 0 }
  }
  const kept = await scope.state.load(plan.id)
  if (kept?.enrolled === undefined) return enroll(plan, scope, kept?.keyPem, ends)
  return { holding: { enrolled: kept.enrolled, candidate: kept.candidate }, via: 'state', millis: 0 }
}

/** Worth asking again: nobody has said no. */
const isTransient = (error: unknown): boolean =>
  error instanceof FleetError &&
  ['target_unreachable', 'registry_unavailable', 'rate_limited', 'internal'].includes(error.code)

/** ms */
const SOONEST = SECOND / 4
const LATEST = 10 * SECOND

/** Longer each time; or for as long as the server said, within reason: everybody else waits for it. */
const patience = (attempt: number, phase: number, error: unknown): number => {
  const told = error instanceof FleetError ? Math.min(error.retryAfter ?? 0, MINUTE / SECOND) : 0
  const own = Math.min(LATEST, SOONEST * 2 ** Math.min(attempt, 10))
  return Math.max(own * (0.5 + phase), told * SECOND)
}

/**
 * @param o.attempts after which it gives up
 * @param o.stopping no further attempt
 * @param o.signal the attempt that is under way is given up too
 * @returns undefined when it was refused an identity, or gave up, or the run ended first
 * @throws `config_invalid`: nothing that going on would mend
 */
export const gather = async (
  plan: DevicePlan,
  scope: RunScope,
  o: Ends & { readonly attempts: number },
): Promise<Holding | undefined> => {
  for (let attempt = 1; attempt <= o.attempts && !o.stopping.aborted; attempt++) {
    const began = now()
    try {
      const { holding, via, millis } = await find(plan, scope, o)
      if (o.signal.aborted) return undefined
      const { notAfter } = holding.enrolled
      scope.emit({ kind: 'enrolled', device: plan.id, at: now() - millis, via, millis, notAfter })
      return holding
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
