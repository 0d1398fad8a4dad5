/** From the file's own form, which was held against its schema, to the scenario that is run. Not reading (read.ts), not bounds (conform.ts). */

import { KEY_KINDS } from '#fleet/certificate.ts'
import { formatDuration, parseSignedDuration } from '#fleet/duration.ts'
import { ScenarioFileSchema, type FaultKey, type ScenarioFile, type TimelineEntry } from '#wire/scenario.ts'
import { DRILLS } from '../drills/table.ts'
import { assertionProblem } from './assertions.ts'
import type { Complain } from './complaint.ts'
import { filled, type Schema } from './conform.ts'
import { checkConsistency } from './consistency.ts'
import { oneOf } from './nearest.ts'
import type { Fault, Load, Scenario, Weights } from './scenario.ts'

export const SCHEMA = ScenarioFileSchema as unknown as Schema

/** What `filled` leaves out: there is no default, and that means something. */
type Unsaid = 'duration' | 'certificate_ttl' | 'advice_every' | 'assert'
type Whole<T> = T extends readonly (infer Item)[]
  ? readonly Whole<Item>[]
  : T extends object
    ? { readonly [K in keyof T]-?: Whole<Exclude<T[K], undefined>> }
    : T
type WholeFile = Whole<Omit<ScenarioFile, Unsaid | 'timeline' | 'load'>> &
  Pick<ScenarioFile, Unsaid> & {
    readonly load: ScenarioFile['load']
    readonly timeline: readonly TimelineEntry[]
  }

/** Of a text that the schema has let through. */
const ms = (text: string | undefined): number => parseSignedDuration(text ?? '0s') ?? 0

const loadOf = ({ open, closed }: NonNullable<ScenarioFile['load']>): Load =>
  open === undefined
    ? { kind: 'closed', pace: ms(closed?.pace), jitter: closed?.jitter ?? 0 }
    : { kind: 'open', rate: open.rate, arrivals: open.arrivals ?? 'poisson' }

type Effects = { [K in FaultKey]: NonNullable<TimelineEntry[K]> }
type Share = Pick<Fault, 'at' | 'lasts' | 'share'>

const FAULTS: { readonly [K in FaultKey]: (share: Share, it: Effects[K]) => Fault } = {
  link: (share, it) => ({
    ...share,
    kind: 'link',
    delay: ms(it.delay),
    jitter: ms(it.jitter),
    loss: it.loss ?? 0,
    halfOpen: it.half_open ?? false,
    slowHandshake: ms(it.slow_handshake),
  }),
  offline: (share) => ({ ...share, kind: 'offline' }),
  reconnect: (share) => ({ ...share, kind: 'reconnect' }),
  renew: (share, it) => ({ ...share, kind: 'renew', newKey: it.new_key ?? false }),
  clone: (share, it) => ({ ...share, kind: 'clone', rival: it.rival ?? 'renewal' }),
  revoke: (share, it) => ({ ...share, kind: 'revoke', reason: it.reason ?? 'unspecified' }),
  suspend: (share) => ({ ...share, kind: 'suspend' }),
  rotate: (share, it) => ({ ...share, kind: 'rotate', step: it.step, force: it.force ?? false }),
}

const faultOf = (entry: TimelineEntry): Fault => {
  const share: Share = {
    at: ms(entry.at),
    lasts: entry.for === undefined ? undefined : ms(entry.for),
    share: entry.share ?? 1,
  }
  const key = (Object.keys(FAULTS) as FaultKey[]).find((name) => entry[name] !== undefined) as FaultKey
  return (FAULTS[key] as (share: Share, it: unknown) => Fault)(share, entry[key])
}

const drillsOf = (asked: 'all' | readonly string[] | undefined, complain: Complain): readonly string[] => {
  const known = DRILLS.map(({ name }) => name)
  if (asked === 'all') return known
  for (const [at, name] of (asked ?? []).entries())
    if (!known.includes(name)) complain(`drills[${at}]`, JSON.stringify(name), oneOf(name, known))
  return [...new Set(asked)]
}

/** Nothing is done to the fleet: then nothing may go wrong. By a clock that is wrong a server's certificate may be. */
const usualAssertions = (timeline: readonly Fault[], clocks: Scenario['clocks']): readonly string[] => {
  if (timeline.length > 0) return []
  return ['refused==0', ...(clocks.share === 0 ? ['errors==0'] : []), 'unanswered==0']
}

const assertionsOf = (asked: readonly string[], complain: Complain): readonly string[] => {
  for (const [at, text] of asked.entries()) {
    const problem = assertionProblem(text)
    if (problem !== undefined) complain(`assert[${at}]`, problem.got, problem.expected)
  }
  return asked
}

/** What a person would have to write to say all of it: with every default. */
export const wholeFile = (file: ScenarioFile, scenario: Scenario): ScenarioFile => ({
  ...(filled(SCHEMA, file) as ScenarioFile),
  ramp: formatDuration(scenario.ramp),
  drills: [...scenario.drills],
  assert: [...scenario.assertions],
})

/** In the order that the type says, whatever the file's. */
const inOrder = <K extends string>(names: readonly K[], weights: Weights<K>): Weights<K> =>
  Object.fromEntries(names.map((name) => [name, weights[name]])) as Weights<K>

/**
 * @param name of the file, without its ending
 * @param file as the schema has it, without defaults
 * @throws what `complain` throws
 */
export const resolve = (name: string, file: ScenarioFile, complain: Complain): Scenario => {
  const it = filled(SCHEMA, file) as WholeFile
  const timeline = it.timeline.map(faultOf)
  const clocks = { share: it.clocks.share, from: ms(it.clocks.from), to: ms(it.clocks.to) }
  const duration = it.duration === undefined ? undefined : ms(it.duration)
  const scenario: Scenario = {
    name,
    summary: it.summary,
    devices: it.devices,
    // one that nobody asked for does not outlast the run
    ramp: file.ramp === undefined ? Math.min(ms(it.ramp), duration ?? Infinity) : ms(it.ramp),
    duration,
    load: loadOf(it.load ?? {}),
    payload: it.payload,
    doors: inOrder(['https', 'mqtt'], it.doors),
    enroll: inOrder(['rest', 'est', 'mqtt'], it.enroll),
    keys: inOrder(KEY_KINDS, it.keys),
    keyAgreement: it.key_agreement,
    certificateTtl: it.certificate_ttl,
    adviceEvery: it.advice_every === undefined ? undefined : ms(it.advice_every),
    mqtt: {
      version: it.mqtt.version === 5 ? 5 : 4,
      qos: it.mqtt.qos === 0 ? 0 : 1,
      clean: it.mqtt.clean,
      keepalive: ms(it.mqtt.keepalive) / 1_000,
      subscribe: it.mqtt.subscribe,
    },
    clocks,
    timeline,
    drills: drillsOf(it.drills, complain),
    bounds: { revokedWithin: ms(it.bounds.revoked_within), drain: ms(it.bounds.drain) },
    assertions: assertionsOf(it.assert ?? usualAssertions(timeline, clocks), complain),
  }
  checkConsistency(scenario, complain)
  return scenario
}
