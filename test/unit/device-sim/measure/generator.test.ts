import { afterEach, describe, expect, test, vi } from 'vitest'
import { createLoadCounts, openLoop, MOST_UNDER_WAY } from '#device-sim/load/open.ts'
import { createGenerator } from '#device-sim/measure/generator.ts'
import { createHistogram, decodeHistogram } from '#device-sim/measure/histograms.ts'
import type { Sample } from '#device-sim/measure/measures.ts'

/** `took`: ms, of every answer in that second */
type Second = { utilisation?: number; lag?: number; counts?: Sample['counts']; took?: number }
const sample = ({ utilisation = 0.2, lag = 2, counts = { due: 100 } }: Second): Sample => ({
  from: 0,
  at: 1_000,
  last: false,
  counts,
  refused: {},
  errors: {},
  histograms: {},
  devices: 1,
  connected: 1,
  underWay: 1,
  generator: { utilisation, lag, cpu: 200_000, rss: 100 },
})
const measured = ({ took }: Second) => {
  if (took === undefined) return []
  const histogram = createHistogram()
  histogram.record(took)
  return [['https', decodeHistogram(histogram.take() ?? '')] as const]
}
const verdict = (...parts: readonly (readonly Second[])[]) => {
  const generator = createGenerator()
  for (const [number, seconds] of parts.entries())
    for (const second of seconds) generator.add(number, sample(second), measured(second))
  return { ...generator.verdict(), ...generator.figures() }
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
  ['late by much of what it measured', times(20, { ...lagging, took: 120 }), true, /half of the p99/],
  ['late by little of what it measured', times(20, { ...lagging, took: 400 }), false, undefined],
  ['late by little', times(20, { lag: 45, took: 1 }), false, undefined],
  [
    'turns begun late by its own fault',
    times(10, { counts: { due: 100, late: 2 } }),
    true,
    /20 turns \(2.0 %\) began more than 10 ms/,
  ],
  ['hardly any late', times(10, { counts: { due: 1_000, late: 2 } }), false, undefined],
  [
    // turns pile up under way, but are begun when they are due: the server is slow, and the report may say so
    'a slow server: few answers, nothing late',
    times(60, { ...idle, counts: { due: 100, admitted_https: 3 } }),
    false,
    undefined,
  ],
  [
    'a server so slow that no more turns may be under way',
    times(60, { ...idle, counts: { due: 550, dropped: 500 } }),
    false,
    /30000 turns \(90.9 %\) were never begun, .*the server, or the limit/,
  ],
  [
    'an absurd rate: it spends all of its time on turns that it cannot begin',
    times(10, { ...busy, counts: { due: 90_500, late: 500, dropped: 90_000 } }),
    true,
    /never begun, for too many were under way$/m,
  ],
  [
    'few are dropped: it is said all the same',
    times(10, { counts: { due: 1_000, dropped: 1 } }),
    false,
    /10 turns \(0.1 %\) were never begun/,
  ],
  [
    'the turns of devices that are away are no turns of its own',
    times(10, { counts: { due: 1_000, absent: 900, late: 2 } }),
    true,
    /20 turns \(2.0 %\) began/,
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
    expect(verdict(times(5, idle), times(5, busy)).reasons).toEqual([expect.stringMatching(/^worker 2: /)])
    expect(verdict(times(2, busy), times(2, busy)).bound).toBe(false)
  })

  test('its figures are of all parts', () => {
    expect(verdict([{ lag: 7 }, {}], [{ counts: { late: 1, dropped: 2 } }])).toMatchObject({
      cpu: expect.closeTo(0.6, 6),
      worstLag: 7,
      peakRss: 200,
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
  let held = 0
  const generator = createGenerator()
  const take = (dues: readonly number[]): void => {
    underWay += dues.length
    setTimeout(() => {
      underWay -= dues.length
    }, o.answers)
  }
  using _loop = openLoop({
    rate: o.rate,
    arrivals: 'constant',
    random: () => 0,
    takers: [{ ready: () => true, take }],
    startsAt: 0,
    tick: 0,
    most: MOST_UNDER_WAY,
    // a timer that fires is seen so much later
    clock: () => Date.now() + held,
    counts,
    underWay: () => underWay,
  })
  const before = { due: 0, late: 0, dropped: 0 }
  for (let second = 1; second <= 10; second++) {
    held += o.stalls ?? 0
    vi.advanceTimersByTime(1_000)
    const { due, late, dropped } = counts
    generator.add(
      0,
      sample({
        lag: o.stalls ?? 2,
        counts: { due: due - before.due, late: late - before.late, dropped: dropped - before.dropped },
      }),
      [],
    )
    Object.assign(before, { due, late, dropped })
  }
  return { ...generator.verdict(), ...generator.figures(), underWay }
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

describe('the coordinator', () => {
  const own = (o: { utilisation?: number; lag?: number }) => ({
    utilisation: 0.1,
    lag: 1,
    cpu: 50_000,
    rss: 70,
    ...o,
  })
  test.each([
    ['has time', 20, {}, false],
    ['decodes what the parts have said', 20, { lag: 200 }, false],
    ['is late by much of what a drill waits', 20, { lag: 300 }, true],
    ['is late once', 1, { lag: 300 }, false],
    ['has no time to itself', 3, { utilisation: 0.99 }, true],
  ] as const)('%s', (_, seconds, how, bound) => {
    const generator = createGenerator()
    for (let second = 0; second < seconds; second++) {
      generator.add(0, sample({}), [])
      generator.addCoordinator(own(how))
    }
    expect(generator.coordinator().bound).toBe(bound)
    // no latency is measured in it
    expect(generator.verdict().bound).toBe(false)
    expect(generator.figures()).toMatchObject({
      cpu: expect.closeTo(seconds * 0.25, 6),
      peakRss: 170,
      worstLag: Math.max(2, 'lag' in how ? how.lag : 1),
    })
  })
})
