/**
 * Which devices a run has, when each comes, and whom a fault hits: a pure function of (scenario, seed), so that a run can be repeated, and
 * so that every worker knows its own part without being told. Not keys: those are never repeated.
 */

import type { KeyKind } from '#fleet/certificate.ts'
import { SECOND } from '#fleet/clock.ts'
import type { Part } from '../coordinator/messages.ts'
import { createRandom, type Random } from '../random.ts'
import type { EnrollVia, Scenario, Weights } from '../scenario/scenario.ts'

export type DevicePlan = {
  /** in the whole fleet, from 0 */
  readonly number: number
  readonly id: string
  readonly door: 'https' | 'mqtt'
  readonly keyKind: KeyKind
  readonly via: EnrollVia
  /** it tries once to listen to others' topics too */
  readonly triesOthers: boolean
  /** ms by which its own clock is wrong */
  readonly clockOffset: number
  /** ms after the start of the run */
  readonly start: number
  /** in [0, 1): where it stands in a period that all devices share, so that they do not act as one */
  readonly phase: number
  /** the next wait, ms */
  wait(): number
}

export const deviceId = (seed: string, number: number): string =>
  `sim-${seed}-${String(number + 1).padStart(4, '0')}`

/** Each as often as its weight says, spread evenly: every beginning of it is as near to the weights as whole devices can be. */
const spread = <K extends string>(weights: Weights<K>, length: number): readonly K[] => {
  const kinds = (Object.entries(weights) as [K, number][]).filter(([, weight]) => weight > 0)
  const total = kinds.reduce((sum, [, weight]) => sum + weight, 0)
  const given = kinds.map(() => 0)
  return Array.from({ length }, (_, at) => {
    let next = 0
    let most = -Infinity
    kinds.forEach(([, weight], kind) => {
      // in units of a weight, so that whole ones are counted exactly
      const owed = weight * (at + 1) - (given[kind] as number) * total
      if (owed <= most) return
      most = owed
      next = kind
    })
    given[next] = (given[next] as number) + 1
    return (kinds[next] as [K, number])[0]
  })
}

/** The same items in a seeded order. */
const shuffle = <T>(items: readonly T[], random: Random): readonly T[] =>
  items
    .map((item) => ({ item, rank: random.next() }))
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ item }) => item)

/** {@link spread}, shuffled within each `block`: what is dealt from two such rows does not go hand in hand. */
const dealt = <K extends string>(
  weights: Weights<K>,
  length: number,
  block: number,
  random: Random,
): readonly K[] => {
  const even = spread(weights, Math.ceil(length / block) * block)
  const blocks = Array.from({ length: even.length / block }, (_, at) =>
    shuffle(even.slice(at * block, (at + 1) * block), random),
  )
  return blocks.flat()
}

/** devices after which the shares of the weights are exact, when that is soon */
const periodOf = (weights: Weights<string>): number => {
  const all = Object.values(weights).filter((weight) => weight > 0)
  const scaled = all.map((weight) => weight / Math.min(...all))
  const whole = [scaled, all].find((each) => each.every(Number.isInteger))
  const period = whole?.reduce((sum, weight) => sum + weight, 0) ?? Infinity
  return period <= LONGEST_PERIOD ? period : USUAL_PERIOD
}
const LONGEST_PERIOD = 16
const USUAL_PERIOD = 4

/**
 * Spread evenly, and not in step with the numbers: every second device is another process's, which would have all of one door. The first ones
 * are in the order of the weights.
 */
export const doorsOf = (weights: Scenario['doors'], length: number, random: Random) => {
  const period = periodOf(weights)
  const rest = dealt(weights, length, period, random).slice(period)
  return [...spread(weights, period), ...rest].slice(0, length)
}

/** Of kinds of keys: the default scenario has all of them in every ten. */
const KEYS_IN = 10
/** of ways to enrol: with equal weights, each twice */
const WAYS_IN = 6

/** ms between two attempts of a device that was turned away, where no pace says so: 0.5 to 1.5 times */
const RETRY = { pace: SECOND, jitter: 0.5 }

/** of the devices that come by MQTT, those that try others' topics too */
const TRIES = 0.05

export const numbersOf = (devices: number): readonly number[] =>
  Array.from({ length: devices }, (_, at) => at)

/** Exactly the share, and at least one, of whatever there is. */
const someOf = (numbers: readonly number[], share: number, random: Random): ReadonlySet<number> =>
  new Set(shuffle(numbers, random).slice(0, Math.max(1, Math.round(share * numbers.length))))

/** The numbers of the devices that the fault at `index` of the timeline hits. */
export const chosen = (scenario: Scenario, seed: string, index: number): ReadonlySet<number> => {
  const share = scenario.timeline[index]?.share ?? 0
  return someOf(numbersOf(scenario.devices), share, createRandom(seed, `fault ${index}`))
}

/** In a seeded order: whose turn it is in an open loop. */
export const inTurn = <T>(items: readonly T[], seed: string): readonly T[] =>
  shuffle(items, createRandom(seed, 'turns'))

/** The devices of the part, in the order of their numbers. A larger fleet begins with the smaller one. */
export const planFleet = (
  scenario: Scenario,
  seed: string,
  part: Part = { index: 0, of: 1 },
): readonly DevicePlan[] => {
  const { devices, ramp, load } = scenario
  const doors = doorsOf(scenario.doors, devices, createRandom(seed, 'doors'))
  const keys = dealt(scenario.keys, devices, KEYS_IN, createRandom(seed, 'keys'))
  const vias = dealt(scenario.enroll, devices, WAYS_IN, createRandom(seed, 'enroll'))
  const { share, from, to } = scenario.clocks
  const numbers = numbersOf(devices)
  const wrong = share === 0 ? new Set() : someOf(numbers, share, createRandom(seed, 'clocks'))
  const listeners = numbers.filter((number) => doors[number] === 'mqtt')
  const trying = someOf(listeners, TRIES, createRandom(seed, 'others'))
  const { pace, jitter } = load.kind === 'closed' ? load : RETRY
  return numbers
    .filter((number) => number % part.of === part.index)
    .map((number) => {
      const random = createRandom(seed, `device ${number}`)
      return {
        number,
        id: deviceId(part.name ?? seed, number),
        door: doors[number] as 'https' | 'mqtt',
        keyKind: keys[number] as KeyKind,
        via: vias[number] as EnrollVia,
        triesOthers: trying.has(number),
        clockOffset: wrong.has(number) ? Math.round(random.between(from, to)) : 0,
        start: (ramp * number) / devices,
        phase: random.next(),
        wait: () => pace * random.between(1 - jitter, 1 + jitter),
      }
    })
}
