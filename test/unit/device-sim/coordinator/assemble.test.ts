/** What is known of a run becomes its report: times, rates, faults, verdicts. Nothing runs. */

import { describe, expect, test } from 'vitest'
import { assemble } from '#device-sim/coordinator/assemble.ts'
import type { SimulationOptions } from '#device-sim/coordinator/options.ts'
import { createRecord, type Result } from '#device-sim/coordinator/record.ts'
import type { Finding } from '#device-sim/invariants/invariant.ts'
import type { Sample } from '#device-sim/measure/measures.ts'
import { createHistogram } from '#device-sim/measure/histograms.ts'
import { readScenario } from '#device-sim/scenario/read.ts'

const START = 1_800_000_000_000
const kept: Finding = { name: 'full_handshakes', checked: 9, broken: 0, evidence: [] }

const took = (...values: readonly number[]): string => {
  const histogram = createHistogram()
  for (const value of values) histogram.record(value)
  return histogram.take() ?? ''
}
const sample = (at: number, o: Partial<Sample> = {}): Sample => ({
  from: START + at - 1_000,
  at: START + at,
  last: false,
  counts: { admitted_https: 100 },
  refused: {},
  errors: {},
  histograms: {},
  devices: 1,
  connected: 0,
  underWay: 0,
  generator: { utilisation: 0.1, lag: 1, cpu: 1e6, rss: 100 },
  ...o,
})

type Run = {
  readonly yaml?: string
  readonly samples?: readonly Sample[]
  /** ms after the start */
  readonly stopped?: number
  readonly ended?: number
  readonly interrupted?: boolean
  readonly options?: Partial<SimulationOptions>
  readonly ending?: Partial<Result['ending']>
  readonly unseen?: Result['unseen']
  readonly findings?: readonly Finding[]
  readonly outcomes?: Result['outcomes']
}

const reported = (run: Run = {}) => {
  const { yaml = 'duration: 10s', stopped = 10_000, ended = 15_000 } = run
  const stop = new AbortController()
  if (run.interrupted === true) stop.abort()
  const scenario = readScenario(`api_version: 1\ndevices: 4\nramp: 0s\n${yaml}\n`, 'a.yaml')
  const o: SimulationOptions = {
    scenario,
    seed: 'a',
    targets: { https: 'https://localhost:1' },
    rootPem: undefined,
    credentials: {},
    operator: undefined,
    given: undefined,
    foreign: false,
    stateDir: undefined,
    rounds: undefined,
    workers: 1,
    path: undefined,
    method: undefined,
    topic: undefined,
    servers: () => [],
    command: () => 'again',
    signal: stop.signal,
    ...run.options,
  }
  const planned = scenario.timeline.map((fault, index) => ({ fault, index, devices: [0, 1] }))
  using record = createRecord(o, planned)
  record.started(START)
  for (const each of run.samples ?? [sample(1_000)]) record.sample(0, each)
  record.stopping(START + stopped)
  record.ended(START + ended)
  record.result({
    ending: {
      findings: [[kept]],
      unsettled: [],
      struck: planned.map(() => 2),
      trouble: undefined,
      taken: undefined,
      drainCut: false,
      ...run.ending,
    },
    unseen: run.unseen ?? {},
    unobserved: {},
    outcomes: run.outcomes ?? [],
    drilled: { drills: [], skipped: {} },
    findings: [run.findings ?? [kept]],
  })
  return assemble(o, 'a', record, planned)
}

describe('rates', () => {
  test('are over the load, however long the drain was', () => {
    const seconds = Array.from({ length: 10 }, (_, at) => sample((at + 1) * 1_000))
    const yaml = "duration: 10s\nassert: ['rate.https>=100', 'rate.https<100']"
    const { run, assertions } = reported({ yaml, samples: seconds })
    expect(run).toMatchObject({ load_ms: 10_000, duration_ms: 15_000 })
    expect(assertions.map(({ held }) => held)).toEqual([true, false])
  })

  test('and until it was ended, when it was ended early', () => {
    expect(reported({ stopped: 2_000, ended: 4_000 }).run).toMatchObject({
      load_ms: 2_000,
      duration_ms: 4_000,
    })
  })
})

describe('faults', () => {
  const yaml =
    'duration: 10s\ntimeline: [{ at: 1s, offline: {} }, { at: 2s, reconnect: {} }, { at: 9s, for: 500ms, offline: {} }]'

  test('how long each lasts: to the end, not at all, so long', () => {
    const { timeline, verdict } = reported({ yaml })
    expect(timeline.map(({ lasts_ms, devices }) => [lasts_ms, devices])).toEqual([
      [9_000, 2],
      [null, 2],
      [500, 2],
    ])
    expect(verdict).toEqual({ ok: true, reasons: [] })
  })

  test('how many each befell: of one that befell nobody the run is not ok', () => {
    const { timeline, verdict } = reported({ yaml, ending: { struck: [2, 1, 0] } })
    expect(timeline.map(({ devices, struck }) => [devices, struck])).toEqual([
      [2, 2],
      [2, 1],
      [0, 0],
    ])
    expect(verdict.reasons).toEqual([
      expect.stringMatching(
        /^timeline entry 3 \(offline\) did not come about: none of its devices was there/,
      ),
    ])
  })

  test('of workers that did not tell nobody knows whom it befell', () => {
    const { timeline, verdict } = reported({ yaml, options: { workers: 2 }, ending: { struck: [0, 0, 0] } })
    expect(timeline.map(({ struck }) => struck)).toEqual([2, 2, 2])
    expect(verdict.reasons.join()).not.toMatch(/did not come about/)
  })

  test('of an operator’s: to how many it was done', () => {
    const { timeline } = reported({
      yaml: 'duration: 10s\ntimeline: [{ at: 1s, revoke: {} }]',
      outcomes: [{ index: 0, struck: 1, detail: '1 of 2 revoked; not: 1 not_found', failed: true }],
    })
    expect(timeline[0]).toMatchObject({ devices: 2, struck: 1, detail: expect.stringMatching(/^1 of 2/) })
  })

  test('one that was not reached hit nobody, and the run is not ok', () => {
    const { timeline, verdict } = reported({ yaml, stopped: 5_000, ended: 6_000 })
    expect(timeline.map(({ devices }) => devices)).toEqual([2, 2, 0])
    expect(verdict.reasons).toEqual([
      'timeline entry 3 (offline) did not come about: the run ended before it',
    ])
  })
})

describe('a Ctrl-C', () => {
  test('in the drain: what it cut off is not the server’s doing alone', () => {
    const run = {
      yaml: "duration: 10s\nassert: ['unanswered==0']",
      interrupted: true,
      ending: { drainCut: true },
    }
    const counts = { admitted_https: 1, unanswered: 2 }
    const { run: about, verdict } = reported({ ...run, samples: [sample(1_000, { counts })] })
    expect(about.interrupted).toBe(true)
    expect(verdict.reasons).toEqual([
      'it was ended before its time',
      expect.stringMatching(/^unanswered==0 does not hold/),
    ])
  })

  test('after the drain is none', () => {
    const { run: about, verdict } = reported({ interrupted: true })
    expect([about.interrupted, verdict.ok]).toEqual([false, true])
  })

  test('as a fault is due: it befell nobody for want of time', () => {
    const run = { stopped: 2_000, interrupted: true, ending: { struck: [0] } }
    const reasons = (at: string): readonly string[] =>
      reported({ ...run, yaml: `timeline: [{ at: ${at}, reconnect: {} }]` }).verdict.reasons
    expect(reasons('1900ms').join()).toMatch(/the run ended before it$/)
    expect(reasons('0s').join()).toMatch(/none of its devices was there/)
  })

  test('before the turn of an operator’s fault: it was done to nobody', () => {
    const yaml = 'duration: 10s\ntimeline: [{ at: 1s, revoke: {} }]'
    const { timeline, verdict } = reported({ yaml, stopped: 2_000, interrupted: true })
    expect(timeline[0]).toMatchObject({ devices: 0, struck: 0 })
    expect(verdict.reasons).toContain('timeline entry 1 (revoke) did not come about: the run ended before it')
  })

  test.each([
    ['before the end that it was to have', 'duration: 10s', ['it was ended before its time']],
    ['of a run that has no other end', '', []],
  ])('%s', (_, yaml, reasons) => {
    const { run, verdict } = reported({ yaml, stopped: 2_000, ended: 3_000, interrupted: true })
    expect(run.interrupted).toBe(reasons.length > 0)
    expect(verdict).toEqual({ ok: reasons.length === 0, reasons })
  })
})

describe('what nobody has seen is not held', () => {
  const of = (run: Run, name: string) => {
    const found = reported(run).invariants.find((each) => each.name === name)
    return [found?.held, found?.why]
  }
  test('of a worker that died', () => {
    expect(of({}, 'full_handshakes')).toEqual([true, ''])
    const run = { options: { workers: 2 } }
    expect(of(run, 'full_handshakes')).toEqual([null, '1 of 2 workers did not tell what they had seen'])
  })

  test.each([
    ['clones_noticed', '1 copies got in'],
    ['renewed_in_time', 'certificate_ttl 45s was not asked for'],
  ])('of %s: %s', (name, why) => {
    const findings = [{ ...kept, name } as Finding]
    expect(of({ findings }, name)).toEqual([true, ''])
    expect(of({ findings, unseen: { [name]: why } }, name)).toEqual([null, why])
  })
})

test('the gathering has a verdict of its own, and its figures count', () => {
  const bad = { utilisation: 1, lag: 900, cpu: 5e6, rss: 900 }
  const enroll = { enroll: took(10), handshake: took(700) }
  const yaml = "duration: 10s\nassert: ['enroll.p99<1s', 'https.p99<1s', 'handshake.p99<10ms']"
  const samples = [
    ...[-3_000, -2_000, -1_000, 0].map((at) => sample(at, { generator: bad, histograms: enroll })),
    sample(1_000, { histograms: { https: took(9), handshake: took(2) } }),
  ]
  const { generator, assertions } = reported({ yaml, samples })
  expect(generator).toMatchObject({
    bound: false,
    gathering: { bound: true },
  })
  // with those of this process, which coordinates
  expect(generator.worst_lag_ms).toBeGreaterThanOrEqual(900)
  expect(generator.peak_rss).toBeGreaterThan(1_000_000)
  expect(generator.cpu_s).toBeGreaterThanOrEqual(21)
  expect(assertions.map(({ held }) => held)).toEqual([null, true, true])
})

test('without workers the coordinator is who makes the load', () => {
  const bad = { utilisation: 1, lag: 900, cpu: 5e6, rss: 900 }
  const samples = [1_000, 2_000, 3_000, 4_000].map((at) => sample(at, { generator: bad }))
  const { generator } = reported({ samples, options: { workers: 0 } })
  expect(generator.bound).toBe(true)
  expect(generator.coordinator).toEqual({ bound: true, reasons: generator.reasons })
})

test('turns that are missing rank as the slowest', () => {
  const yaml = "duration: 10s\nload: { open: { rate: 10 } }\nassert: ['https.p99<50ms', 'https.p50<50ms']"
  const histograms = { https: took(...Array.from({ length: 97 }, () => 3)) }
  const counts = { due: 100, dropped: 1, unanswered: 1, unanswered_https: 1, admitted_https: 97 }
  const samples = [sample(1_000, { counts, errors: { 'https ECONNRESET': 1 }, histograms })]
  const { assertions, measures } = reported({ yaml, samples })
  expect(measures['https']).toMatchObject({ count: 97, missing: 3, p99: expect.closeTo(3, 1) })
  expect(assertions.map(({ held, value }) => [held, value])).toEqual([
    [false, null],
    [true, expect.closeTo(3, 1)],
  ])
})
