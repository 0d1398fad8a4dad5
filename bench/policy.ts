/**
 * What a verdict costs with 1,000 applications and 10,000 rules, in the shapes that they come in: beside one application with one rule. In
 * this process, on core 0, without a door: CPU, the best of the rounds, for other work can only add to it. How it grows from 10 to 10,000 rules; and what it takes to compile
 * all of it after a change.
 */

import { admit, type Facts } from '#policy/admission.ts'
import { SERVER_CORE } from './support/desk.ts'
import { OURS } from './support/machine.ts'
import { pinSelf } from './support/pinned.ts'
import {
  accessOf,
  APPLICATIONS,
  ofManySelectors,
  requestsOf,
  RULES,
  SHAPES,
  type Shape,
} from './support/policy-shapes.ts'
import { inOrderOf, ROUNDS, type Suite } from './support/suite.ts'

const REQUESTS = 200_000
/** ns a verdict, in whatever shape */
const LIMIT = 10_000
/** of the scale curve */
const SCALE = { '10 rules': 10, '100 rules': 100, '1,000 rules': 1_000, '10,000 rules': RULES } as const

/** @returns CPU ns of each; of the whole process, what V8 compiles and collects for it included */
const cost = (count: number, act: (n: number) => void): number => {
  const before = process.cpuUsage()
  for (let n = 0; n < count; n += 1) act(n)
  const { user, system } = process.cpuUsage(before)
  return ((user + system) * 1_000) / count
}

type Subject = { readonly shape: Shape; readonly requests: readonly Facts[] }

const prepare = (shapes: Readonly<Record<string, Shape>>): Readonly<Record<string, Subject>> =>
  Object.fromEntries(
    Object.entries(shapes).map(([what, shape]) => {
      const requests = requestsOf(shape)
      const refused = requests.map(admit).find(({ allow }) => !allow)
      if (refused !== undefined) throw new Error(`${what}: ${JSON.stringify(refused)}`)
      return [what, { shape, requests }]
    }),
  )

const emptyOf = (subjects: object): Record<string, number[]> =>
  Object.fromEntries(Object.keys(subjects).map((what) => [what, []]))

export const suite: Suite = async ({ rounds = ROUNDS, requests = REQUESTS, progress }) => {
  pinSelf(SERVER_CORE)
  const shapes = prepare(SHAPES)
  const scale = prepare(
    Object.fromEntries(Object.entries(SCALE).map(([what, rules]) => [what, ofManySelectors(rules)])),
  )
  const judge = ({ requests: all }: Subject): number =>
    cost(requests, (n) => admit(all[n % APPLICATIONS] as Facts))
  const [verdicts, growing, compiling] = [emptyOf(shapes), emptyOf(scale), emptyOf(shapes)]
  for (let round = 0; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`)
    const inTurn = (subjects: Readonly<Record<string, Subject>>) => inOrderOf(round, Object.entries(subjects))
    const measured = [
      ...inTurn(shapes).map(([what, subject]) => [verdicts, what, judge(subject)] as const),
      ...inTurn(scale).map(([what, subject]) => [growing, what, judge(subject)] as const),
      ...inTurn(shapes).map(
        ([what, { shape }]) => [compiling, what, cost(1, () => accessOf(shape)) / 1_000] as const,
      ),
    ]
    // the first round warms up
    if (round > 0) for (const [into, what, value] of measured) into[what]?.push(value)
  }
  const limits = (of: object): Record<string, number> =>
    Object.fromEntries(Object.keys(of).map((what) => [what, LIMIT]))
  const shared = { base: 'one of each', figure: 'best' } as const
  const facts = { rounds, applications: APPLICATIONS, rules: RULES, ...OURS }
  const unit = 'CPU ns per verdict'
  return [
    {
      ...shared,
      unit,
      variants: verdicts,
      limits: limits(shapes),
      facts: { ...facts, requests_per_round: requests },
    },
    {
      unit: `${unit}, rules of many selectors`,
      base: '10 rules',
      figure: 'best',
      variants: growing,
      limits: limits(scale),
      facts: { rounds, applications: APPLICATIONS, requests_per_round: requests, ...OURS },
    },
    { ...shared, unit: 'CPU µs to compile', variants: compiling, facts },
  ]
}
