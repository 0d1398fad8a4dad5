import { afterEach, describe, expect, test, vi } from 'vitest'
import { createLoadCounts, openLoop, MOST_UNDER_WAY } from '#device-sim/load/open.ts'
import { createGenerator } from '#device-sim/measure/generator.ts'
import type { Sample } from '#device-sim/measure/measures.ts'

type Second = { utilisation?: number; lag?: number; counts?: Sample['counts'] }
const sample = ({ utilisation = 0.2, lag = 2, counts = { admitted_https: 100 } }: Second): Sample => ({
  at: 0,
  counts,
  refused: {},
  errors: {},
  histograms: {},
  devices: 1,
  connected: 1,
  underWay: 1,
  generator: { utilisation, lag, cpu: 200_000, rss: 100 },
})
const verdict = (...parts: readonly (readonly Second[])[]) => {
  const generator = createGenerator()
  for (const [number, seconds] of parts.entries())
    for (const second of seconds) generator.add(number, sample(second))
  return generator.verdict()
}
const times = (count: number, second: Second): Second[] => Array.from({ length: count }, () => second)
const busy = { utilisation: 0.99 }
const idle = { utilisation: 0.05 }
const lagging = { lag: 80 }

const rows: readonly [string, readonly Second[], boolean, RegExp | undefined][] = [
  ['nothing to do', times(60, { ...idle, counts: {} }), false, undefined],
  ['no sample at all', [], false, undefined],
  ['works hard, but keeps up', times(60, { utilisation: 0.94 }), false, undefined],
  ['busy for two seconds now and then', [...times(2, busy), idle, ...times(2, busy), idle], false, undefined],
  [
    'busy for three seconds in a row',
    [...times(20, idle), ...times(3, busy), ...times(20, idle)],
    true,
    /3 seconds in a row/,
  ],
  ['one bad second at its start', [lagging, ...times(5, {})], false, undefined],
  ['nothing but one bad second', [lagging], true, /1 of 1/],
  [
    'late timers in a tenth of the seconds',
    [...times(2, lagging), ...times(18, {})],
    true,
    /2 of 20 seconds/,
  ],
  ['late timers in fewer', [...times(2, lagging), ...times(19, {})], false, undefined],
  [
    'turns begun late by its own fault',
    times(10, { counts: { admitted_https: 100, late: 2 } }),
    true,
    /20 turns \(2.0 %\) began more than 10 ms/,
  ],
  ['hardly any late', times(10, { counts: { admitted_https: 1_000, late: 2 } }), false, undefined],
  [
    // turns pile up under way, but are begun when they are due: the server is slow, and the report may say so
    'a slow server: few answers, nothing late',
    times(60, { ...idle, counts: { admitted_https: 3 } }),
    false,
    undefined,
  ],
  [
    'a server so slow that no more turns may be under way',
    times(60, { ...idle, counts: { admitted_https: 50, dropped: 500 } }),
    false,
    /30000 turns \(90.9 %\) were never begun, .*the server, or the limit/,
  ],
  [
    'an absurd rate: it spends all of its time on turns that it cannot begin',
    times(10, { ...busy, counts: { admitted_https: 500, late: 500, dropped: 90_000 } }),
    true,
    /never begun, for too many were under way$/m,
  ],
  [
    'messages and refusals are turns too',
    times(10, { counts: { published: 1_000, late: 5 } }),
    false,
    undefined,
  ],
]

describe('the load generator', () => {
  test.each(rows)('%s', (_, seconds, bound, reason) => {
    const found = verdict(seconds)
    expect(found).toMatchObject({ bound })
    if (reason === undefined) expect(found.reasons).toEqual([])
    else expect(found.reasons.join('\n')).toMatch(reason)
  })

  test('is bound by any of its parts, and seconds of different parts are not in a row', () => {
    expect(verdict(times(5, idle), times(5, busy)).reasons).toEqual([expect.stringMatching(/^worker 1: /)])
    expect(verdict(times(2, busy), times(2, busy)).bound).toBe(false)
  })

  test('its figures are of all parts', () => {
    expect(verdict([{ lag: 7 }, {}], [{ counts: { late: 1, dropped: 2 } }])).toMatchObject({
      cpu_s: expect.closeTo(0.6, 6),
      worst_lag_ms: 7,
      peak_rss: 200,
      late: 1,
      dropped: 2,
    })
  })
})

/** An open loop of ten seconds against a server that takes `answers` ms, on a clock of the test's. `stalls`: ms that the loop is held up, each second. */
const offered = (o: { rate: number; answers: number; stalls?: number }) => {
  vi.useFakeTimers({ now: 0 })
  const counts = createLoadCounts()
  let underWay = 0
  let answered = 0
  let held = 0
  const generator = createGenerator()
  const take = (dues: readonly number[]): void => {
    underWay += dues.length
    setTimeout(() => {
      underWay -= dues.length
      answered += dues.length
    }, o.answers)
  }
  using _loop = openLoop({
    rate: o.rate,
    arrivals: 'constant',
    phase: 0,
    random: () => 0,
    takers: [{ ready: () => true, take }],
    startsAt: 0,
    // a timer that fires is seen so much later
    clock: () => Date.now() + held,
    counts,
    underWay: () => underWay,
  })
  const before = { late: 0, dropped: 0, answered: 0 }
  for (let second = 1; second <= 10; second++) {
    held += o.stalls ?? 0
    vi.advanceTimersByTime(1_000)
    const { late, dropped } = counts
    generator.add(
      0,
      sample({
        lag: o.stalls ?? 2,
        counts: {
          admitted_https: answered - before.answered,
          late: late - before.late,
          dropped: dropped - before.dropped,
        },
      }),
    )
    Object.assign(before, { late, dropped, answered })
  }
  return { ...generator.verdict(), underWay }
}

describe('an open loop', () => {
  afterEach(() => void vi.useRealTimers())

  test('a slow server: turns pile up under way and are begun when they are due', () => {
    const found = offered({ rate: 100, answers: 5_000 })
    expect(found).toMatchObject({ bound: false, reasons: [], late: 0, dropped: 0 })
    expect(found.underWay).toBeGreaterThan(400)
  })

  test("a server that does not answer: what is dropped is not the generator's doing", () => {
    const found = offered({ rate: 1_000, answers: 60_000 })
    expect(found).toMatchObject({ bound: false, late: 0, underWay: MOST_UNDER_WAY })
    expect(found.dropped).toBeGreaterThan(7_000)
    expect(found.reasons).toEqual([expect.stringMatching(/the server, or the limit/)])
  })

  test('a loop that is held up is its own bottleneck, however fast the server', () => {
    const found = offered({ rate: 1_000, answers: 1, stalls: 100 })
    expect(found.bound).toBe(true)
    expect(found.late).toBeGreaterThan(100)
  })
})
