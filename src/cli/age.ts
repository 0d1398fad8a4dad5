/** How long ago, for people: the largest unit that fits, rounded down. */

import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'

const UNITS = [
  [DAY, 'd'],
  [HOUR, 'h'],
  [MINUTE, 'm'],
  [SECOND, 's'],
] as const

/** @param instant RFC 3339. @param now ms since the epoch */
export const age = (instant: string, now: number): string => {
  const passed = Math.max(0, now - Date.parse(instant))
  const [size, unit] = UNITS.find(([each]) => passed >= each) ?? [SECOND, 's']
  return `${Math.floor(passed / size)}${unit}`
}
