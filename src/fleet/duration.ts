/** Durations as people write them: Go-style `300ms`, `15m`, `2h45m`, and `30d`. Whole string or nothing; never negative. */

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const whole = /^(?:\d{1,9}(?:ms|s|m|h|d))+$/
const part = /(\d+)(ms|s|m|h|d)/g

/** @returns milliseconds, or undefined when `text` is not a duration. `0s` is 0. */
export const parseDuration = (text: string): number | undefined => {
  if (text.length > 64 || !whole.test(text)) return undefined
  let total = 0
  for (const [, count, unit] of text.matchAll(part))
    total += Number(count) * (UNITS[unit as string] as number)
  return total
}

/** As {@link parseDuration}, and `-2h` is two hours before: for clocks that are wrong, and nothing that lasts. */
export const parseSignedDuration = (text: string): number | undefined => {
  const ms = parseDuration(text.replace(/^-/, ''))
  // never -0, which is not 0 to everybody
  return ms === undefined || ms === 0 || !text.startsWith('-') ? ms : -ms
}

const DESCENDING = ['d', 'h', 'm', 's', 'ms'] as const

/** The shortest text that {@link parseDuration} reads as `ms`: `30d`, `1h30m`, `0s`. Not negative. */
export const formatDuration = (ms: number): string => {
  let rest = ms
  let text = ''
  for (const unit of DESCENDING) {
    const size = UNITS[unit] as number
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count > 0) text += `${count}${unit}`
  }
  return text === '' ? '0s' : text
}
