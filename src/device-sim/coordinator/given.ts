/**
 * Identities that were given (`--certs`), on their way to the worker whose devices have them. A message writes out every text that it holds: so
 * a worker gets its own only, some at a time, and what all have in common once with each. Not the reading of them: that is the command's.
 */

import type { Enrolled } from '../client/identity.ts'
import type { Part } from './messages.ts'

type Packed = Omit<Enrolled, 'rootPem' | 'chainPem'> & {
  /** of the device */
  readonly number: number
  /** where in `texts` */
  readonly root: number
  readonly chain: number
}

export type GivenBatch = {
  readonly kind: 'given'
  readonly texts: readonly string[]
  readonly identities: readonly Packed[]
}

/** About a megabyte of certificates and keys. */
const BATCH = 500

const packed = (given: readonly Enrolled[], numbers: readonly number[]): GivenBatch => {
  const places = new Map<string, number>()
  const place = (text: string): number => {
    const at = places.get(text) ?? places.size
    places.set(text, at)
    return at
  }
  const identities = numbers.map((number): Packed => {
    const { rootPem, chainPem, ...rest } = given[number] as Enrolled
    return { ...rest, number, root: place(rootPem), chain: place(chainPem) }
  })
  return { kind: 'given', texts: [...places.keys()], identities }
}

/** Of the part alone. @param devices how many the fleet has */
export function* givenTo(
  { index, of }: Part,
  given: readonly Enrolled[],
  devices: number,
): Generator<GivenBatch> {
  let numbers: number[] = []
  for (let number = index; number < Math.min(devices, given.length); number += of) {
    numbers.push(number)
    if (numbers.length < BATCH) continue
    yield packed(given, numbers)
    numbers = []
  }
  if (numbers.length > 0) yield packed(given, numbers)
}

export type Given = {
  add(batch: GivenBatch): void
  /** by number of the device; undefined: none were given */
  all(): readonly Enrolled[] | undefined
}

export const createGiven = (): Given => {
  const texts = new Map<string, string>()
  const identities: Enrolled[] = []
  /** one copy of each */
  const kept = (text: string): string => {
    const one = texts.get(text) ?? text
    texts.set(one, one)
    return one
  }
  return {
    add(batch) {
      for (const { number, root, chain, ...rest } of batch.identities)
        identities[number] = {
          ...rest,
          rootPem: kept(batch.texts[root] as string),
          chainPem: kept(batch.texts[chain] as string),
        }
    },
    all: () => (identities.length === 0 ? undefined : identities),
  }
}
