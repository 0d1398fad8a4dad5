/** A scenario with some of it said otherwise, by options of a command: held to the same bounds, and named as the option is. Not the options. */

import { formatDuration } from '#fleet/duration.ts'
import { assertionProblem } from './assertions.ts'
import { complain, shown, type Complain } from './complaint.ts'
import { expectedOf, isValue, type Schema } from './conform.ts'
import { checkConsistency } from './consistency.ts'
import { oneOf } from './nearest.ts'
import { SCHEMA } from './resolve.ts'
import type { EnrollVia, Load, Scenario, Weights } from './scenario.ts'

/** undefined: as the scenario has it. Times in ms. */
export type Overrides = {
  readonly devices?: number | undefined
  /** turns a second: makes it an open loop */
  readonly rate?: number | undefined
  /** makes it a closed loop */
  readonly pace?: number | undefined
  readonly duration?: number | undefined
  readonly ramp?: number | undefined
  /** what is not named is 0 */
  readonly mix?: Partial<Scenario['doors']> | undefined
  readonly enroll?: Partial<Weights<EnrollVia>> | undefined
  readonly payload?: number | undefined
  /** beside the scenario's own */
  readonly assertions?: readonly string[] | undefined
}

/** What each part of a scenario is called on the command line; the others are the file's own. */
const OPTIONS: Readonly<Record<string, string>> = {
  devices: '--devices',
  'load.open.rate': '--rate',
  'load.closed.pace': '--pace',
  duration: '--for',
  ramp: '--ramp',
  doors: '--mix',
  enroll: '--enroll',
  payload: '--payload',
}

const at = (path: string): Schema =>
  path.split('.').reduce((schema, name) => schema.properties?.[name] as Schema, SCHEMA)

const checked = (path: string, value: unknown, display = shown(value)): void => {
  const schema = at(path)
  if (!isValue(schema, value)) complain(OPTIONS[path] ?? path, display, expectedOf(schema))
}

const checkedSpan = (path: string, ms: number): void => {
  const text = formatDuration(ms)
  checked(path, text, text)
}

const loadOf = ({ load }: Scenario, { rate, pace }: Overrides): Load => {
  if (rate !== undefined && pace !== undefined)
    complain('--pace', 'it beside --rate', 'one of them: an open loop has no pace')
  if (rate !== undefined) {
    checked('load.open.rate', rate)
    return { kind: 'open', rate, arrivals: load.kind === 'open' ? load.arrivals : 'poisson' }
  }
  if (pace === undefined) return load
  checkedSpan('load.closed.pace', pace)
  return { kind: 'closed', pace, jitter: load.kind === 'closed' ? load.jitter : 0.5 }
}

const weightsOf = <K extends string>(
  path: 'doors' | 'enroll',
  own: Weights<K>,
  given: Partial<Weights<K>> | undefined,
): Weights<K> => {
  if (given === undefined) return own
  const names = Object.keys(own) as K[]
  for (const [name, weight] of Object.entries(given)) {
    const option = OPTIONS[path] as string
    if (!names.includes(name as K)) complain(option, shown(name), oneOf(name, names))
    if (!isValue(at(`${path}.${name}`), weight))
      complain(option, `${name}=${shown(weight)}`, expectedOf(at(`${path}.${name}`)))
  }
  return Object.fromEntries(names.map((name) => [name, given[name] ?? 0])) as Weights<K>
}

/**
 * @returns the scenario, its other parts as they are. A ramp that nobody gives does not outlast a duration that somebody does
 * @throws FleetError `config_invalid`: "--rate: got …, expected …"
 */
export const override = (scenario: Scenario, o: Overrides): Scenario => {
  if (o.devices !== undefined) checked('devices', o.devices)
  if (o.payload !== undefined) checked('payload', o.payload)
  if (o.duration !== undefined) checkedSpan('duration', o.duration)
  if (o.ramp !== undefined) checkedSpan('ramp', o.ramp)
  for (const text of o.assertions ?? []) {
    const problem = assertionProblem(text)
    if (problem !== undefined) complain(`--assert ${shown(text)}`, problem.got, problem.expected)
  }
  const duration = o.duration ?? scenario.duration
  const made: Scenario = {
    ...scenario,
    devices: o.devices ?? scenario.devices,
    duration,
    ramp: o.ramp ?? Math.min(scenario.ramp, duration ?? Infinity),
    load: loadOf(scenario, o),
    doors: weightsOf('doors', scenario.doors, o.mix),
    enroll: weightsOf('enroll', scenario.enroll, o.enroll),
    payload: o.payload ?? scenario.payload,
    assertions: [...scenario.assertions, ...(o.assertions ?? [])],
  }
  const stop: Complain = (path, got, expected) =>
    complain(OPTIONS[path] ?? `${scenario.name}: ${path}`, got, expected)
  checkConsistency(made, stop)
  return made
}

/**
 * `https=1,mqtt=3`, as options say weights.
 * @throws FleetError `config_invalid`
 */
export const parseWeights = (option: string, text: string): Readonly<Record<string, number>> => {
  const entries = text.split(',').map((part) => {
    const [, name, weight] = /^([a-z]{1,16})=(\d{1,7}(?:\.\d{1,3})?)$/.exec(part) ?? []
    if (name === undefined) return complain(option, shown(text), 'weights such as https=1,mqtt=3')
    return [name, Number(weight)] as const
  })
  const twice = entries.find(([name], at) => entries.findIndex(([other]) => other === name) !== at)
  if (twice !== undefined) complain(option, `${twice[0]} twice`, 'each name once')
  return Object.fromEntries(entries)
}
