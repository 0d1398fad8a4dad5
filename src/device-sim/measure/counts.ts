/**
 * Adding up what is counted by name. Names come from servers that may be anybody's, so none is ever looked up in a plain object:
 * `constructor` is a name like any other, and so is `__proto__`. Not where they are bounded: texts.ts.
 */

export type Counts = Readonly<Record<string, number>>
/** by door, then by name */
export type CountsByDoor = Readonly<Record<string, Counts>>

export const total = (counts: Counts): number => Object.values(counts).reduce((sum, count) => sum + count, 0)

export const totalOfDoors = (doors: CountsByDoor): number =>
  Object.values(doors).reduce((sum, counts) => sum + total(counts), 0)

/** Of all of them, by name. */
export const sumCounts = (many: readonly Counts[]): Record<string, number> => {
  const sums = new Map<string, number>()
  for (const counts of many)
    for (const [name, count] of Object.entries(counts)) sums.set(name, (sums.get(name) ?? 0) + count)
  return Object.fromEntries(sums)
}

/** `{'https ECONNREFUSED': 2}` is `{https: {ECONNREFUSED: 2}}`. */
export const byDoor = (counts: Counts): Record<string, Record<string, number>> => {
  const doors = new Map<string, Map<string, number>>()
  for (const [key, count] of Object.entries(counts)) {
    const space = key.indexOf(' ')
    const door = key.slice(0, space)
    const said = doors.get(door) ?? new Map<string, number>()
    doors.set(door, said.set(key.slice(space + 1), count))
  }
  return Object.fromEntries(Array.from(doors, ([door, said]) => [door, Object.fromEntries(said)]))
}
