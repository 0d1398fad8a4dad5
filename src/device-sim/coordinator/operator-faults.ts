/**
 * The faults that only an operator can bring about: devices revoked, suspended and resumed, a step of the CA's rotation. Each is told to
 * whoever judges with the moment of the operator API's answer, for that is when the promise begins. The devices' own faults: faults/.
 */

import type { Issuer } from '#wire/rest.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Clock } from '#fleet/clock.ts'
import { issuerFor, rotate, type Operator } from '../client/operator.ts'
import type { FleetEvent } from '../events.ts'
import { OPERATOR_FAULTS, type Fault } from '../scenario/scenario.ts'
import { createGate } from '../waiting.ts'
import { until } from './until.ts'

type FaultOf<K extends Fault['kind']> = Extract<Fault, { readonly kind: K }>

export type Planned = {
  readonly fault: Fault
  /** in the timeline */
  readonly index: number
  /** their numbers */
  readonly devices: readonly number[]
}

export type Outcome = {
  readonly index: number
  /** devices to which it was done */
  readonly struck: number
  readonly detail: string
  /** the scenario did not get what it asked for */
  readonly failed: boolean
  /** what it did and could not be undone, in words that name each */
  readonly left?: string
}

export type FaultScope = {
  readonly operator: Operator
  /** ms since the epoch */
  readonly startsAt: number
  readonly clock: Clock
  /** ends the waiting: nothing more is done to anybody, and what is to be undone is undone now */
  readonly signal: AbortSignal
  readonly idOf: (number: number) => string
  readonly tell: (number: number, event: FleetEvent) => void
}

/** Calls under way at once */
const CALLS = 8

const why = (error: unknown): string =>
  error instanceof FleetError ? error.code : error instanceof Error ? error.message : String(error)

type Done = {
  readonly outcome: Outcome
  /** why not, by number of the device */
  readonly undone: ReadonlyMap<number, unknown>
}

/** Why nothing was asked about a device: the run had ended before its turn came. */
const NOT_BEGUN = 'not begun'

/**
 * Of each device, and told one by one: what is done to the first must not be judged by the answer of the last.
 * @param ends from then on no other device is begun with; undefined: all of them, whatever ends the run
 */
const each = async (
  planned: Planned,
  done: string,
  act: (device: string) => Promise<FleetEvent>,
  { idOf, tell }: FaultScope,
  ends?: AbortSignal,
): Promise<Done> => {
  const gate = createGate(CALLS)
  const undone = new Map<number, unknown>()
  await Promise.all(
    planned.devices.map((number) =>
      gate(async () => {
        if (ends?.aborted === true) return void undone.set(number, NOT_BEGUN)
        try {
          tell(number, await act(idOf(number)))
        } catch (error) {
          undone.set(number, error)
        }
      }),
    ),
  )
  const failed = undone.size
  const failures = new Map<string, number>()
  for (const error of undone.values()) failures.set(why(error), (failures.get(why(error)) ?? 0) + 1)
  const good = `${planned.devices.length - failed} of ${planned.devices.length} ${done}`
  const bad = Array.from(failures, ([reason, count]) => `${count} ${reason}`).join(', ')
  const detail = failed === 0 ? good : `${good}; not: ${bad}`
  const struck = planned.devices.length - failed
  return { outcome: { index: planned.index, struck, detail, failed: failed > 0 }, undone }
}

const revoke = async (planned: Planned, fault: FaultOf<'revoke'>, o: FaultScope): Promise<Outcome> => {
  const { outcome } = await each(
    planned,
    'revoked',
    async (device) => {
      await o.operator.revoke(device, fault.reason)
      return { kind: 'revoked', device, at: o.clock() }
    },
    o,
    o.signal,
  )
  return outcome
}

/** Nobody has said no: it went well, or the answer was lost. */
const mayBeDone = (failure: unknown): boolean =>
  !(failure instanceof FleetError) || failure.code === 'target_unreachable'

/** named, of those that stay suspended */
const MOST_NAMED = 100

const stillSuspended = (ids: readonly string[]): string => {
  const more = ids.length > MOST_NAMED ? ` and ${ids.length - MOST_NAMED} more` : ''
  return `still suspended (npx sallyport device resume <id>): ${ids.slice(0, MOST_NAMED).join(' ')}${more}`
}

/** Resumed at its end, or when the run ends, whatever ends it. */
const suspend = async (planned: Planned, fault: FaultOf<'suspend'>, o: FaultScope): Promise<Outcome> => {
  const out = await each(
    planned,
    'suspended',
    async (device) => {
      await o.operator.suspend(device)
      return { kind: 'suspended', device, at: o.clock() }
    },
    o,
    o.signal,
  )
  const ends = fault.lasts === undefined ? Infinity : o.startsAt + fault.at + fault.lasts
  await until(ends, o.clock, o.signal)
  // all that were begun with: of one that was not suspended, it seems, the answer may have been lost
  const begun = planned.devices.filter((number) => out.undone.get(number) !== NOT_BEGUN)
  const back = await each(
    { ...planned, devices: begun },
    'resumed',
    async (device) => {
      // before it is done: from here on it may get in
      const at = o.clock()
      await o.operator.resume(device)
      return { kind: 'resumed', device, at }
    },
    o,
  )
  const outcome = { ...out.outcome, detail: `${out.outcome.detail}; ${back.outcome.detail}` }
  const still = [...back.undone.keys()].filter((number) => mayBeDone(out.undone.get(number)))
  return still.length === 0 ? outcome : { ...outcome, left: stillSuspended(still.map(o.idOf)) }
}

const step = async (
  { index }: Planned,
  fault: FaultOf<'rotate'>,
  { operator }: FaultScope,
): Promise<Outcome> => {
  try {
    const moved = await rotate(operator, fault.step, fault.force)
    return { index, struck: 0, detail: `issuer ${moved.ski.slice(0, 16)} is ${moved.state}`, failed: false }
  } catch (error) {
    const said = error instanceof FleetError ? error.detail : String(error)
    return { index, struck: 0, detail: `${fault.step}: ${said}`, failed: true }
  }
}

const ACTS: {
  readonly [K in Fault['kind']]?: (p: Planned, f: FaultOf<K>, o: FaultScope) => Promise<Outcome>
} = {
  revoke,
  suspend,
  rotate: step,
}

export const isOperatorFault = ({ kind }: Fault): boolean => OPERATOR_FAULTS.includes(kind)

/** Each at its time. Never rejects. @returns what came of those that were due */
export const runOperatorFaults = async (
  planned: readonly Planned[],
  o: FaultScope,
): Promise<readonly Outcome[]> => {
  const outcomes = await Promise.all(
    planned.map(async (each): Promise<readonly Outcome[]> => {
      const { fault } = each
      const act = ACTS[fault.kind] as ((p: Planned, f: Fault, o: FaultScope) => Promise<Outcome>) | undefined
      if (act === undefined) return []
      await until(o.startsAt + fault.at, o.clock, o.signal)
      return o.signal.aborted ? [] : [await act(each, fault, o)]
    }),
  )
  return outcomes.flat()
}

/** What becomes of an issuer by a step. */
const LEADS_TO = { distribute: 'offered', activate: 'active', retire: 'retired' } as const

/**
 * Can the rotation go as the timeline wants it? Each step needs an issuer that it is due for, or a step before it that brings one there.
 * @returns undefined, or what is missing and how to get it
 */
export const rotationTrouble = (
  timeline: readonly Fault[],
  issuers: readonly Issuer[],
): string | undefined => {
  let now = issuers
  const steps = timeline
    .map((fault, index) => ({ fault, index }))
    .filter((entry): entry is { fault: FaultOf<'rotate'>; index: number } => entry.fault.kind === 'rotate')
    .toSorted((a, b) => a.fault.at - b.fault.at)
  for (const { fault, index } of steps) {
    const issuer = issuerFor(now, fault.step)
    const name = `timeline entry ${index + 1} (rotate: ${fault.step})`
    if (issuer === undefined)
      return `${name}: no issuer of this CA has come as far. Make one, where the root's key is: npx sallyport ca rotate prepare`
    const to = LEADS_TO[fault.step]
    now = now.map((each) => {
      if (each.ski === issuer.ski) return { ...each, state: to }
      // one signs: the one before is retiring
      return to === 'active' && each.state === 'active' ? { ...each, state: 'retiring' } : each
    })
  }
  return undefined
}
