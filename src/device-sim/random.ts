/**
 * Seeded randomness: the same seed gives the same fleet, whatever order its devices happen to run in.
 * Not for keys, serials or anything secret: those come from node:crypto.
 */

import { createHash } from 'node:crypto'

export type Random = {
  /** in [0, 1) */
  next(): number
  /** in [low, high) */
  between(low: number, high: number): number
}

/** One independent stream per (seed, label): sfc32, its state filled from SHA-256. */
export const createRandom = (seed: string, label: string): Random => {
  const words = createHash('sha256').update(`${seed}\0${label}`).digest()
  let a = words.readUInt32LE(0)
  let b = words.readUInt32LE(4)
  let c = words.readUInt32LE(8)
  let counter = 1
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + sum
    return (sum >>> 0) / 2 ** 32
  }
  return { next, between: (low, high) => low + next() * (high - low) }
}
