/**
 * The messages of one topic that were acknowledged and have not come yet: a ring of the newest numbers, which grows from 32 to 1,024 when it has to.
 * Beyond that they are a number without names. Nothing is made for a message. Not the judging: acknowledged-is-delivered.ts.
 */

/** In `at`, by number % size, of the newest `size` numbers: when it was acknowledged (ms since the epoch), or one of these. */
const NOTHING = 0
const CAME_FIRST = -1

const SMALLEST = 32
const LARGEST = 1_024

export type Outstanding = {
  highest: number
  /** the lowest number of which it still knows */
  lowest: number
  at: Float64Array
  /** how many of `at` are outstanding */
  open: number
  /** those that have left the ring, and when the last of them was acknowledged */
  passed: number
  passedAt: number
}

export const createOutstanding = (): Outstanding => ({
  highest: 0,
  lowest: 1,
  at: new Float64Array(SMALLEST),
  open: 0,
  passed: 0,
  passedAt: 0,
})

const slotOf = (o: Outstanding, seq: number): number => seq % o.at.length
const timeOf = (o: Outstanding, seq: number): number => Number(o.at[slotOf(o, seq)])

const grow = (o: Outstanding): void => {
  const { at: before, highest } = o
  o.at = new Float64Array(before.length * 2)
  for (let seq = o.lowest; seq <= highest; seq++) o.at[slotOf(o, seq)] = Number(before[seq % before.length])
}

/** Moves the ring up to `seq`. */
const advance = (o: Outstanding, seq: number): void => {
  // numbers between, of which nothing is known, need no turn of the ring each
  for (let next = Math.max(o.highest + 1, seq - o.at.length + 1); next <= seq; next++) {
    const leaving = timeOf(o, next)
    if (leaving > NOTHING) {
      if (o.at.length < LARGEST) {
        grow(o)
        return advance(o, seq)
      }
      o.open--
      o.passed++
      o.passedAt = Math.max(o.passedAt, leaving)
    }
    o.at[slotOf(o, next)] = NOTHING
  }
  o.highest = seq
  o.lowest = Math.max(o.lowest, seq - o.at.length + 1)
}

const isGone = (o: Outstanding, seq: number): boolean => seq < o.lowest

/** @returns whether it has come already; undefined: that is not known any more */
export const acknowledged = (o: Outstanding, seq: number, at: number): boolean | undefined => {
  if (isGone(o, seq)) return undefined
  if (seq > o.highest) advance(o, seq)
  const slot = slotOf(o, seq)
  if (o.at[slot] === CAME_FIRST) {
    o.at[slot] = NOTHING
    return true
  }
  if (o.at[slot] === NOTHING) o.open++
  o.at[slot] = at
  return false
}

/** @returns whether it was outstanding */
export const delivered = (o: Outstanding, seq: number): boolean => {
  if (isGone(o, seq)) {
    if (o.passed === 0) return false
    o.passed--
    return true
  }
  if (seq > o.highest) advance(o, seq)
  const slot = slotOf(o, seq)
  const was = Number(o.at[slot])
  o.at[slot] = was > NOTHING ? NOTHING : CAME_FIRST
  if (was > NOTHING) o.open--
  return was > NOTHING
}

/** @returns how many were outstanding */
export const forget = (o: Outstanding): number => {
  const count = o.open + o.passed
  if (o.open > 0)
    for (let slot = 0; slot < o.at.length; slot++) if (Number(o.at[slot]) > 0) o.at[slot] = NOTHING
  o.open = 0
  o.passed = 0
  return count
}

/** Those that were acknowledged by `until`, and the lowest number of them that is known. */
export const overdue = (
  o: Outstanding,
  until: number,
): { readonly count: number; readonly first: number | undefined } => {
  let count = o.passedAt <= until ? o.passed : 0
  let first: number | undefined
  if (o.open > 0)
    for (let seq = o.lowest; seq <= o.highest; seq++) {
      const at = timeOf(o, seq)
      if (at <= NOTHING || at > until) continue
      count++
      first ??= seq
    }
  return { count, first }
}
