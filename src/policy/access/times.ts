/**
 * Windows of the week in a time zone: is one open, and until when does that hold? Minutes of local time, whatever the clocks do there.
 * Not the clock: `now` is an argument.
 */

import { WEEKDAYS, type Selectors, type Weekday } from '#fleet/access.ts'
import { MINUTE } from '#fleet/clock.ts'
import { createRanges, type Ranges, type Span } from './ranges.ts'

const DAY_MINUTES = 24 * 60
const WEEK_MINUTES = 7 * DAY_MINUTES

/** Minutes since Monday 00:00 there. */
type Zone = (now: number) => number

const createZone = (timeZone: string): Zone => {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  let minute = NaN
  let local = 0
  return (now) => {
    const asked = Math.floor(now / MINUTE)
    if (asked === minute) return local
    const parts: Partial<Record<string, string>> = Object.fromEntries(
      format.formatToParts(asked * MINUTE).map(({ type, value }) => [type, value]),
    )
    const day = WEEKDAYS.indexOf(parts['weekday']?.toLowerCase() as Weekday)
    local = day * DAY_MINUTES + Number(parts['hour']) * 60 + Number(parts['minute'])
    minute = asked
    return local
  }
}

/** There are as many as the tz database has names; each costs a formatter, so they outlive a version of the access snapshot. */
const zones = new Map<string, Zone>()

/** undefined: no such zone */
const zoneOf = (timeZone: string): Zone | undefined => {
  const name = timeZone.toLowerCase()
  const known = zones.get(name)
  if (known !== undefined) return known
  try {
    const zone = createZone(name)
    zones.set(name, zone)
    return zone
  } catch {
    return undefined
  }
}

/** Minutes of the week, `high` exclusive. */
export type Window = { readonly zone: Zone; readonly spans: readonly Span<number>[] }

const TIME = /^([01]\d|2[0-3]):([0-5]\d)$/

/** `24:00` only as an end. */
const readTime = (text: unknown, end: boolean): number | undefined => {
  if (typeof text !== 'string') return undefined
  if (end && text === '24:00') return DAY_MINUTES
  const [, hours, minutes] = TIME.exec(text) ?? []
  return hours === undefined ? undefined : Number(hours) * 60 + Number(minutes)
}

const isWeekday = (day: unknown): day is Weekday => (WEEKDAYS as readonly unknown[]).includes(day)

/** A window belongs to the day on which it opens. Where both times are the same nobody can say what was meant. @returns undefined: not one */
export const readWindow = (
  argument: Readonly<Partial<Record<keyof Selectors['time_window'], unknown>>>,
): Window | undefined => {
  const { days = WEEKDAYS, time_zone: timeZone } = argument
  const [from, to] = [readTime(argument.from, false), readTime(argument.to, true)]
  if (from === undefined || to === undefined || from === to || typeof timeZone !== 'string') return undefined
  if (!Array.isArray(days) || days.length === 0 || !days.every(isWeekday)) return undefined
  const zone = zoneOf(timeZone)
  if (zone === undefined) return undefined
  const length = (to - from + DAY_MINUTES) % DAY_MINUTES || DAY_MINUTES
  const spans = days.flatMap((day): Span<number>[] => {
    const low = WEEKDAYS.indexOf(day) * DAY_MINUTES + from
    const high = low + length
    if (high <= WEEK_MINUTES) return [{ low, high }]
    return [
      { low, high: WEEK_MINUTES },
      { low: 0, high: high - WEEK_MINUTES },
    ]
  })
  return { zone, spans }
}

/** Minutes of the week at which it may open or close. What is open on Sunday at 24:00 and on Monday at 00:00 does neither. */
const edgesOf = ({ spans }: Ranges<number>): readonly number[] => {
  const edges = spans.flatMap(({ low, high }) => [low, high])
  const round = spans[0]?.low === 0 && spans.at(-1)?.high === WEEK_MINUTES
  return round ? edges.slice(1, -1) : edges
}

/** The first minute, since the epoch, that could be on the other side of an edge. */
const minuteOfEdge = (zone: Zone, edges: readonly number[], minute: number): number => {
  const local = zone(minute * MINUTE)
  const wait = Math.min(...edges.map((edge) => (edge - local + WEEK_MINUTES) % WEEK_MINUTES || WEEK_MINUTES))
  if (wait === Infinity) return Infinity
  const isAsExpected = (after: number): boolean =>
    zone((minute + after) * MINUTE) === (local + after) % WEEK_MINUTES
  if (isAsExpected(wait)) return minute + wait
  // clocks are put forward or back before that: then is the time to look again
  let [same, other] = [0, wait]
  while (other - same > 1) {
    const middle = (same + other) >> 1
    if (isAsExpected(middle)) same = middle
    else other = middle
  }
  return minute + other
}

export type Windows = {
  open(now: number): boolean
  /** ms: until when {@link open} says the same; perhaps less */
  until(now: number): number
}

export const createWindows = (windows: readonly Window[]): Windows => {
  const weeks = [...Map.groupBy(windows, ({ zone }) => zone)].map(([zone, of]) => {
    const week = createRanges(of.flatMap(({ spans }) => spans))
    return { zone, week, edges: edgesOf(week) }
  })
  let minute = NaN
  let until = 0
  return {
    // in the middle of the minute: spans that touch are one, and an end is not in it
    open: (now) => weeks.some(({ zone, week }) => week.has(zone(now) + 0.5)),
    until: (now) => {
      const asked = Math.floor(now / MINUTE)
      if (asked !== minute) {
        until = Math.min(...weeks.map(({ zone, edges }) => minuteOfEdge(zone, edges, asked))) * MINUTE - 1
        minute = asked
      }
      return until
    },
  }
}
