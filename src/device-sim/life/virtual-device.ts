/**
 * The part of a simulated device that both doors share: its identity, from the state or by enrolling, renewed when it is due.
 * Not its traffic: that is https-life.ts and mqtt-life.ts; not how it renews in two phases: identity-keeper.ts.
 */

import type { SecureContext } from 'node:tls'
import type { Clock } from '#fleet/clock.ts'
import { DENIALS } from '#fleet/denial.ts'
import { FleetError } from '#fleet/errors.ts'
import { confirmDevice, enrollDevice, renewDevice } from '../client/enroll-device.ts'
import type { Door, FleetEvent } from '../events.ts'
import { createIdentityKeeper, type Holding } from './identity-keeper.ts'
import type { Targets } from '../client/identity.ts'
import { newKey } from '../client/key.ts'
import type { Meter } from '../client/meter.ts'
import type { DevicePlan } from './plan.ts'
import type { FleetState } from './state.ts'
import { pause } from '../waiting.ts'

/** What every device of one run shares. */
export type RunScope = {
  readonly targets: Targets
  readonly rootPem: string | undefined
  readonly token: string | undefined
  readonly state: FleetState
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly meter: Meter | undefined
  /** turns each device has; Infinity: until the signal */
  readonly rounds: number
  emit(event: FleetEvent): void
}

export type VirtualDevice = {
  readonly plan: DevicePlan
  readonly scope: RunScope
  /** with the certificate to use now: one that is new is tried first */
  readonly context: () => SecureContext
  /** Is that a new one, which no door has admitted yet? */
  readonly trying: () => boolean
  /** Renews when renew_after has passed. Never throws: the certificate at hand may still do. */
  renewIfDue(): Promise<void>
  /** What a door said to it. Never throws. */
  tried(admitted: boolean): Promise<void>
  report(door: Door, error: unknown): void
  /** its next wait, cut short by the run's end */
  wait(...also: readonly AbortSignal[]): Promise<void>
}

/** A refusal is a verdict with a reason; everything else is trouble. */
const eventOf = (device: string, door: Door, error: unknown): FleetEvent => {
  if (error instanceof FleetError && error.code !== 'target_unreachable' && error.code !== 'internal')
    return { kind: 'refused', device, door, reason: error.code }
  return { kind: 'error', device, door, detail: error instanceof Error ? error.message : String(error) }
}

export const isDenial = (reason: string | undefined): boolean =>
  (DENIALS as readonly (string | undefined)[]).includes(reason)

/** Worth asking again: nobody has said no. */
const isTransient = (error: unknown): boolean =>
  error instanceof FleetError &&
  ['target_unreachable', 'registry_unavailable', 'rate_limited', 'internal'].includes(error.code)

const obtainIdentity = async (plan: DevicePlan, scope: RunScope): Promise<Holding> => {
  const kept = await scope.state.load(plan.id)
  if (kept?.enrolled !== undefined) {
    scope.emit({ kind: 'enrolled', device: plan.id, reused: true })
    return { enrolled: kept.enrolled, candidate: kept.candidate }
  }
  if (scope.token === undefined)
    throw new FleetError(
      'config_invalid',
      `${plan.id} is not enrolled yet and there is no claim token for it`,
    )
  const keyPem = kept?.keyPem ?? (await newKey(plan.keyKind))
  // before it is used: should the answer be lost, asking again with this key gets the same certificate
  await scope.state.keep(plan.id, { keyPem })
  const { targets, token, rootPem, signal, meter } = scope
  const enrolled = await enrollDevice({
    server: targets.enroll,
    id: plan.id,
    token,
    keyPem,
    rootPem,
    signal,
    meter,
  })
  await scope.state.keep(plan.id, { keyPem, enrolled })
  scope.emit({ kind: 'enrolled', device: plan.id, reused: false })
  return { enrolled, candidate: undefined }
}

/**
 * @returns undefined when the device was refused an identity, or had no turn left, or the run ended first
 * @throws `config_invalid`: nothing that going on would mend
 */
export const createDevice = async (
  plan: DevicePlan,
  scope: RunScope,
  gate: <T>(work: () => Promise<T>) => Promise<T>,
): Promise<VirtualDevice | undefined> => {
  const { signal } = scope
  const report = (door: Door, error: unknown): void => {
    if (!signal.aborted) scope.emit(eventOf(plan.id, door, error))
  }
  const wait = (...also: readonly AbortSignal[]): Promise<void> => pause(plan.wait(), signal, ...also)

  let holding: Holding | undefined
  for (let attempt = 1; holding === undefined; attempt++) {
    // an attempt is a turn: a bounded run ends also when nobody answers
    if (signal.aborted || attempt > scope.rounds) return undefined
    try {
      holding = await gate(() => obtainIdentity(plan, scope))
    } catch (error) {
      if (error instanceof FleetError && error.code === 'config_invalid') throw error
      report('enroll', error)
      if (!isTransient(error)) return undefined
      await wait()
    }
  }
  const { targets, meter, clock } = scope
  const keeper = createIdentityKeeper(holding, {
    clock,
    renew: (enrolled) => renewDevice({ server: targets.enroll, enrolled, signal, meter }),
    confirm: (enrolled) => confirmDevice({ server: targets.enroll, enrolled, signal, meter }),
    keep: ({ enrolled, candidate }) =>
      scope.state.keep(plan.id, {
        keyPem: enrolled.keyPem,
        enrolled,
        ...(candidate === undefined ? {} : { candidate }),
      }),
    renewed: () => scope.emit({ kind: 'renewed', device: plan.id }),
    failed: (error) => report('enroll', error),
  })
  return {
    plan,
    scope,
    context: keeper.context,
    trying: keeper.trying,
    renewIfDue: keeper.renewIfDue,
    tried: keeper.tried,
    report,
    wait,
  }
}
