import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import type { Selectors } from '#fleet/access.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import { createWindows, readWindow, type Windows } from '#policy/access/times.ts'

type Argument = Selectors['time_window']
const BERLIN = 'Europe/Berlin'
const windows = (...all: readonly Argument[]): Windows =>
  createWindows(all.flatMap((argument) => readWindow(argument) ?? []))
const at = (iso: string): number => Date.parse(iso)

const office: Argument = {
  days: ['mon', 'tue', 'wed', 'thu', 'fri'],
  from: '08:00',
  to: '18:00',
  time_zone: BERLIN,
}
const night: Argument = { days: ['fri'], from: '22:00', to: '06:00', time_zone: 'UTC' }
const sunday: Argument = { days: ['sun'], from: '22:00', to: '06:00', time_zone: 'UTC' }
const always: Argument = { from: '00:00', to: '24:00', time_zone: 'America/New_York' }

describe('open', () => {
  // Berlin is UTC+1 in winter and +2 in summer
  test.each<[string, Argument, boolean]>([
    ['2026-11-24T07:00:00Z', office, true],
    ['2026-11-24T06:59:59.999Z', office, false],
    ['2026-11-24T16:59:59.999Z', office, true],
    ['2026-11-24T17:00:00Z', office, false],
    ['2026-07-21T06:00:00Z', office, true],
    ['2026-07-21T16:00:00Z', office, false],
    ['2026-11-28T12:00:00Z', office, false],
    ['2026-11-27T22:00:00Z', night, true],
    ['2026-11-28T05:59:00Z', night, true],
    ['2026-11-28T06:00:00Z', night, false],
    ['2026-11-27T05:00:00Z', night, false],
    ['2026-11-28T22:00:00Z', night, false],
    ['2026-11-29T23:00:00Z', sunday, true],
    ['2026-11-30T05:59:00Z', sunday, true],
    ['2026-11-29T05:00:00Z', sunday, false],
    ['2026-11-24T12:00:00Z', always, true],
    // clocks go from 02:00 to 03:00: there is no 02:30 that night
    ['2026-03-29T00:59:00Z', { from: '02:00', to: '03:00', time_zone: BERLIN }, false],
    ['2026-03-29T01:00:00Z', { from: '02:00', to: '03:00', time_zone: BERLIN }, false],
    ['2026-03-29T01:00:00Z', { from: '03:00', to: '04:00', time_zone: BERLIN }, true],
    // and from 03:00 to 02:00: it is twice
    ['2026-10-25T00:30:00Z', { from: '02:00', to: '03:00', time_zone: BERLIN }, true],
    ['2026-10-25T01:30:00Z', { from: '02:00', to: '03:00', time_zone: BERLIN }, true],
    ['2026-10-25T02:00:00Z', { from: '02:00', to: '03:00', time_zone: BERLIN }, false],
  ])('%s in %j: %s', (iso, argument, open) => {
    expect(windows(argument).open(at(iso))).toBe(open)
  })
  test('any of several, in several zones', () => {
    const both = windows(office, { from: '00:00', to: '01:00', time_zone: 'Asia/Tokyo' })
    expect(both.open(at('2026-11-24T15:30:00Z'))).toBe(true)
    expect(both.open(at('2026-11-28T15:30:00Z'))).toBe(true)
    expect(both.open(at('2026-11-28T14:30:00Z'))).toBe(false)
  })
})

describe('what cannot be read', () => {
  test.each<[string, Partial<Record<keyof Argument, unknown>>]>([
    ['no such zone', { ...office, time_zone: 'Europe/Bielefeld' }],
    ['no zone', { from: '08:00', to: '09:00' }],
    ['a zone that is no text', { ...office, time_zone: 1 }],
    ['no time', { ...office, from: '8:00' }],
    ['no such time', { ...office, from: '25:00' }],
    ['24:00 as a beginning', { ...office, from: '24:00' }],
    ['seconds', { ...office, from: '08:00:00' }],
    ['a window of nothing, or of everything', { ...office, from: '08:00', to: '08:00' }],
    ['no such day', { ...office, days: ['monday'] }],
    ['no days', { ...office, days: [] }],
    ['days that are no list', { ...office, days: 'mon' }],
    ['a prototype key as a day', { ...office, days: ['constructor'] }],
  ])('%s', (_, argument) => {
    expect(readWindow(argument)).toBeUndefined()
  })
})

describe('until when it says the same', () => {
  test.each<[string, Argument, string]>([
    ['2026-11-24T12:00:00Z', office, '2026-11-24T17:00:00Z'],
    ['2026-11-24T12:00:30Z', office, '2026-11-24T17:00:00Z'],
    ['2026-11-24T17:00:00Z', office, '2026-11-25T07:00:00Z'],
    ['2026-11-27T18:00:00Z', office, '2026-11-30T07:00:00Z'],
    ['2026-11-29T23:30:00Z', sunday, '2026-11-30T06:00:00Z'],
    // Friday evening, and clocks are put forward on Sunday
    ['2026-03-27T18:00:00Z', office, '2026-03-29T01:00:00Z'],
  ])('%s in %j: before %s', (iso, argument, until) => {
    expect(windows(argument).until(at(iso))).toBe(at(until) - 1)
  })
  test('what is always open has no end', () => {
    expect(windows(always).until(at('2026-11-24T12:00:00Z'))).toBe(Infinity)
  })
  const time = fc
    .nat(1_439)
    .map((m) => `${String(Math.floor(m / 60)).padStart(2, '0')}:${String(m % 60).padStart(2, '0')}`)
  const argument = fc.record({
    days: fc.uniqueArray(fc.constantFrom(...(office.days ?? [])), { minLength: 1 }),
    from: time,
    to: time,
    time_zone: fc.constantFrom(BERLIN, 'UTC', 'Asia/Kolkata', 'Australia/Lord_Howe', 'America/New_York'),
  })
  test('nothing changes before, in the weeks when clocks change too', () => {
    const start = fc.constantFrom(
      '2026-03-06',
      '2026-03-27',
      '2026-10-02',
      '2026-10-23',
      '2026-10-30',
      '2026-11-24',
    )
    fc.assert(
      fc.property(argument, start, fc.nat(3 * DAY), (given, from, ahead) => {
        const week = windows(given)
        const now = at(`${from}T00:00:00Z`) + ahead
        const until = Math.min(week.until(now), now + 2 * DAY)
        expect(until).toBeGreaterThanOrEqual(now)
        const said = week.open(now)
        for (let then = now; then <= until; then += 7 * MINUTE) expect(week.open(then)).toBe(said)
        expect(week.open(until)).toBe(said)
      }),
      { numRuns: 60 },
    )
  })
})

test('asked a million times a minute, it looks at the clock once', () => {
  const week = windows(office)
  // a minute that no other test asks about
  const noon = at('2031-11-25T12:00:00Z')
  const looks = vi.spyOn(Intl.DateTimeFormat.prototype, 'formatToParts')
  for (let n = 0; n < 60_000; n += 1) week.open(noon + n)
  expect(looks).toHaveBeenCalledTimes(1)
  expect(week.open(noon + 12 * HOUR)).toBe(false)
})
