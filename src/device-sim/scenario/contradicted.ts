/**
 * Assertions of a scenario's file that its run cannot keep, because options left a door without a device: a scenario asserts something of both doors, and
 * `--mix https=1`, `--devices 1` or a --target of one kind leaves nothing to measure at the other. Not those that somebody typed beside it.
 */

import { doorsOf } from '../life/plan.ts'
import type { Counter, Measure } from '../measure/measures.ts'
import { createRandom } from '../random.ts'
import { parseAssertion, RATES, type Assertion } from './assertions.ts'
import { judgeAssertion, type Figures } from './judge.ts'
import type { Scenario } from './scenario.ts'

type Door = keyof Scenario['doors']

/** The doors themselves, and measures and counters to which nothing is ever added when no device comes in by that door. */
const OF_DOOR: Partial<Readonly<Record<Door | Measure | Counter, Door>>> = {
  https: 'https',
  mqtt: 'mqtt',
  admitted_https: 'https',
  unanswered_https: 'https',
  connect: 'mqtt',
  publish: 'mqtt',
  delivery: 'mqtt',
  admitted_mqtt: 'mqtt',
  published: 'mqtt',
  acknowledged: 'mqtt',
  delivered: 'mqtt',
  duplicates: 'mqtt',
  reordered: 'mqtt',
  gaps: 'mqtt',
  lost: 'mqtt',
  strays: 'mqtt',
  cut: 'mqtt',
  unanswered_mqtt: 'mqtt',
}

const NAMES: {
  readonly [K in Assertion['figure']['kind']]: (
    figure: Extract<Assertion['figure'], { readonly kind: K }>,
  ) => keyof typeof OF_DOOR | undefined
} = {
  latency: ({ measure }) => measure,
  samples: ({ measure }) => measure,
  rate: ({ of }) => RATES[of][0],
  count: ({ counter }) => counter,
  errors: ({ door }) => door,
  refused: ({ door }) => door,
  unexpected: () => undefined,
}

/** undefined: of both, or of none */
const doorOf = ({ figure }: Assertion): Door | undefined => {
  const name = (NAMES[figure.kind] as (it: Assertion['figure']) => keyof typeof OF_DOOR | undefined)(figure)
  return name && OF_DOOR[name]
}

/** What a run measures at a door to which nobody comes. */
const NOTHING: Figures = {
  measures: {},
  counts: {},
  refused: {},
  errors: {},
  ranked: {},
  load: 'closed',
  duration: 1,
  generator: { bound: false, gathering: { bound: false, reasons: [] } },
}

/** Of a share that is too small for this fleet, the seed may decide whether anybody has it: here it is any. */
const empty = ({ doors, devices }: Scenario): readonly Door[] => {
  const used = new Set(doorsOf(doors, devices, createRandom('any', 'doors')))
  return (Object.keys(doors) as Door[]).filter((door) => !used.has(door))
}

/**
 * @param own of the file, as its scenario had them before options
 * @returns the scenario without those of them that cannot hold, and which they were
 */
export const withoutContradicted = (
  scenario: Scenario,
  own: readonly string[],
): { readonly scenario: Scenario; readonly dropped: readonly string[] } => {
  const without = empty(scenario)
  const isLost = (text: string): boolean => {
    const assertion = parseAssertion(text)
    const door = doorOf(assertion)
    return door !== undefined && without.includes(door) && judgeAssertion(assertion, NOTHING).held !== true
  }
  const dropped = own.filter(isLost)
  if (dropped.length === 0) return { scenario, dropped }
  // what was typed stands behind the file's own, and is what somebody wants to know
  const kept = own.filter((text) => !dropped.includes(text))
  return {
    scenario: { ...scenario, assertions: [...kept, ...scenario.assertions.slice(own.length)] },
    dropped,
  }
}
