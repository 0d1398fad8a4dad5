/** What may have been meant: the name that is fewest keystrokes away. Not for programs: only people misspell. */

/** Levenshtein's distance, letters without regard to case. */
const distance = (from: string, to: string): number => {
  let row = Array.from({ length: to.length + 1 }, (_, at) => at)
  for (const [i, letter] of from.toLowerCase().split('').entries()) {
    const next = [i + 1]
    for (const [j, other] of to.toLowerCase().split('').entries())
      next.push(
        Math.min(
          (next[j] as number) + 1,
          (row[j + 1] as number) + 1,
          (row[j] as number) + (letter === other ? 0 : 1),
        ),
      )
    row = next
  }
  return row.at(-1) as number
}

/** Longer than any name of ours: not worth comparing. */
const MOST = 64

/** @returns undefined: none is near enough to be worth a word */
export const nearest = (given: string, known: readonly string[]): string | undefined => {
  if (given.length > MOST) return undefined
  const begun = given.length >= 3 ? known.find((name) => name.startsWith(given)) : undefined
  if (begun !== undefined) return begun
  const [best] = known
    .map((name) => ({ name, off: distance(given, name) }))
    .filter(({ name, off }) => off <= Math.max(1, Math.floor(name.length / 3)))
    .sort((a, b) => a.off - b.off)
  return best?.name
}

/** `one of: a, b, c`, with the one that may have been meant. */
export const oneOf = (given: string, known: readonly string[]): string => {
  const meant = nearest(given, known)
  return `one of: ${known.join(', ')}${meant === undefined ? '' : ` (did you mean ${meant}?)`}`
}
