/**
 * The messages of one topic that were acknowledged and have not come yet: a ring of the newest numbers, which grows from 32 to 1,024 when it has to.
 * Those that leave it, which are lost or very late, are kept by number, and beyond 2,048 only counted. Nothing is made for a message that comes. Not the judging: acknowledged-is-delivered.ts;
 * nor the counting of what a topic has lost, acknowledged or not: measure/topics.ts.
 */

/** In `at`, by number % size, of the newest `size` numbers: when it was acknowledged (ms since the epoch), or one of these. */
const NOTHING = 0
const CAME_FIRST = -1

const SMALLEST = 32
const LARGEST = 1_024
/** of those that have left the ring */
const MOST_PASSED = 2_048

export type Outstanding = {
  highest: number
  /** the lowest number of which it still knows */
  lowest: number
  at: Float64Array
  /** how many of `at` are outstanding */
  open: number
  /** those that have left the ring: number → when it was acknowledged */
  readonly passed: Map<number, number>
  /** of `passed` */
  readonly mostPassed: number
  /** more of them, and when the last of these was acknowledged */
  nameless: number
  namelessAt: number
}

/** of those of which no number is kept */
const NOBODY = new Map<number, number>()

/** @param mostPassed that are kept by number; 0: where only their count is wanted */
export const createOutstanding = (mostPassed = MOST_PASSED): Outstanding => ({
  highest: 0,
  lowest: 1,
  at: new Float64Array(SMALLEST),
  open: 0,
  passed: mostPassed === 0 ? NOBODY : new Map(),
  mostPassed,
  nameless: 0,
  namelessAt: 0,
})

const slotOf = (o: Outstanding, seq: number): number => seq % o.at.length
const timeOf = (o: Outstanding, seq: number): number => Number(o.at[slotOf(o, seq)])

const grow = (o: Outstanding): void => {
  const { at: old, highest } = o
  o.at = new Float64Array(old.length * 2)
  for (let seq = o.lowest; seq <= highest; seq++) o.at[slotOf(o, seq)] = Number(old[seq % old.length])
}

const pass = (o: Outstanding, seq: number, at: number): void => {
  if (o.passed.size < o.mostPassed) o.passed.set(seq, at)
  else {
    o.nameless++
    o.namelessAt = Math.max(o.namelessAt, at)
  }
}

/** The number that has the slot of `seq`, which is to have it. */
const before = ({ highest, at: { length } }: Outstanding, seq: number): number =>
  highest - ((((highest - seq) % length) + length) % length)

/** Moves the ring up to `seq`. */
const advance = (o: Outstanding, seq: number): void => {
  // numbers between, of which nothing is known, need no turn of the ring each
  for (let next = Math.max(o.highest + 1, seq - o.at.length + 1); next <= seq; next++) {
    const leaving = timeOf(o, next)
    // what came first is waited for as well: so far nothing has been overwritten that said something
    if (leaving !== NOTHING && o.at.length < LARGEST) {
      grow(o)
      return advance(o, seq)
    }
    if (leaving > NOTHING) {
      o.open--
      pass(o, before(o, next), leaving)
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
  // a number that is not among them had come before: this is a duplicate. Of those without a number nobody knows
  if (isGone(o, seq)) {
    if (o.passed.delete(seq)) return true
    if (o.nameless === 0) return false
    o.nameless--
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
  const count = o.open + o.passed.size + o.nameless
  if (o.open > 0)
    for (let slot = 0; slot < o.at.length; slot++) if (Number(o.at[slot]) > 0) o.at[slot] = NOTHING
  o.open = 0
  o.passed.clear()
  o.nameless = 0
  return count
}

/** Those that were acknowledged by `until`, and the lowest number of them that is known. */
export const overdue = (
  o: Outstanding,
  until: number,
): { readonly count: number; readonly first: number | undefined } => {
  let count = o.namelessAt <= until ? o.nameless : 0
  let first: number | undefined
  for (const [seq, at] of o.passed) {
    if (at > until) continue
    count++
    first = Math.min(first ?? seq, seq)
  }
  if (o.open > 0)
    for (let seq = o.lowest; seq <= o.highest; seq++) {
      const at = timeOf(o, seq)
      if (at <= NOTHING || at > until) continue
      count++
      first ??= seq
    }
  return { count, first }
}
