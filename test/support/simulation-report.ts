/**
 * A {@link SimulationReport} as a run would have made it, for tests of what is made from reports. Its figures fit together (sums, order of
 * percentiles) and are the same each time. Not measured: nothing ran.
 */

import type { Live } from '#device-sim/report/live.ts'
import { byDoor, sumCounts } from '#device-sim/measure/counts.ts'
import { createRandom } from '#device-sim/random.ts'
import type { Latency, Point, SimulationReport } from '#wire/simulation-report.ts'

export type SampleOptions = {
  /** of load; default 60. 0: it ended before it began */
  readonly seconds?: number
  /** before it; default 4 */
  readonly gathering?: number
  readonly devices?: number
  /** nobody got in, and everything that could break is broken */
  readonly failing?: boolean
  /** the generator was the bottleneck */
  readonly bound?: boolean
  /** stands for what comes from outside: in reasons, errors, evidence, names of servers and the command */
  readonly foreign?: string
  /** put over the report that was made */
  readonly over?: Partial<SimulationReport>
}

/** Of a run in which nothing happened and nothing was judged. */
export const NOTHING: SampleOptions = {
  seconds: 0,
  gathering: 0,
  over: {
    servers: [],
    measures: {},
    counts: {},
    refused: {},
    errors: {},
    topics: [],
    invariants: [],
    assertions: [],
    drills: [],
    skipped: {},
    series: [],
    histograms: {},
  },
}

/** Typical ms, and how often a second for each device. */
const TYPICAL: Readonly<Record<string, readonly [millis: number, rate: number]>> = {
  tcp: [0.21, 0.6],
  handshake: [2.4, 0.6],
  https: [4.1, 0.5],
  connect: [1.3, 0.02],
  publish: [1.1, 0.5],
  delivery: [1.9, 0.5],
  renew: [19, 0.01],
  refusal: [3.4, 0.1],
}

const round = (value: number): number => Math.round(value * 1_000) / 1_000
/** of one second */
const median = (millis: number) => ({ p50: round(millis), p50_low: round(millis) })
const sum = (all: readonly number[]): number => all.reduce((total, n) => total + n, 0)

const timelineOf = (seconds: number, devices: number, foreign: string): SimulationReport['timeline'] => {
  const at = (share: number): number => Math.round(seconds * share) * 1_000
  const hit = (share: number): number => Math.max(1, Math.round(devices * share))
  if (seconds === 0) return []
  return [
    {
      kind: 'link',
      at_ms: at(0.15),
      lasts_ms: at(0.25),
      devices: hit(0.3),
      struck: hit(0.3),
      detail: '200 ms ± 50 ms, 2 % lost',
    },
    {
      kind: 'revoke',
      at_ms: at(0.5),
      lasts_ms: null,
      devices: hit(0.2),
      struck: hit(0.2),
      detail: `keyCompromise${foreign}`,
    },
    { kind: 'offline', at_ms: at(0.6), lasts_ms: at(0.1), devices: hit(1), struck: hit(1), detail: '' },
    { kind: 'reconnect', at_ms: at(0.75), lasts_ms: null, devices: hit(1), struck: hit(1), detail: '' },
    {
      kind: 'rotate',
      at_ms: at(0.85),
      lasts_ms: null,
      devices: devices,
      struck: 0,
      detail: 'activate: not done, the operator API answered conflict',
    },
  ]
}

/** Log-spaced buckets of a bell around p50, and a small one around p99. */
const bucketsOf = ({ count, min, p50, p99, max }: Latency): SimulationReport['histograms'][string] => {
  const steps = 90
  const edge = (i: number): number => min * (max / min) ** (i / steps)
  const bell = (i: number, middle: number): number =>
    Math.exp(-((Math.log(edge(i + 0.5) / middle) / 0.35) ** 2))
  const weights = Array.from({ length: steps }, (_, i) => bell(i, p50) + 0.04 * bell(i, p99))
  const all = sum(weights)
  return weights
    .map((weight, i) => ({ from: edge(i), to: edge(i + 1), count: Math.round((weight / all) * count) }))
    .filter((bucket) => bucket.count > 0)
}

/** A report, such as a run of `revocation-drill` would make. */
export const sampleReport = (o: SampleOptions = {}): SimulationReport => {
  const { seconds = 60, gathering = 4, devices = 200, failing = false, bound = false, foreign = '' } = o
  const random = createRandom('sample', 'report')
  const noise = (spread: number): number => 1 + (random.next() - 0.5) * spread
  const timeline = timelineOf(seconds, devices, foreign)
  const during = (kind: string, at: number): boolean =>
    timeline.some(
      (each) => each.kind === kind && at > each.at_ms && at <= each.at_ms + (each.lasts_ms ?? 1_000),
    )
  const revoked = timeline.find(({ kind }) => kind === 'revoke')?.at_ms ?? Infinity

  const eachSecond = Math.floor(devices / Math.max(1, gathering))
  const newAt = (at: number): number => (at === 0 ? devices - eachSecond * (gathering - 1) : eachSecond)

  const gathered = (at: number): Point => ({
    at_ms: at,
    span_ms: 1_000,
    devices: failing ? 0 : Math.round(devices * ((gathering * 1_000 + at) / (gathering * 1_000))),
    connected: 0,
    under_way: failing ? 0 : 12,
    counts: failing ? {} : { enrolled_rest: newAt(at), handshakes: newAt(at) },
    refused: failing ? { [`enroll token_spent${foreign}`]: newAt(at) } : {},
    errors: {},
    measures: failing
      ? {}
      : {
          enroll: {
            count: newAt(at),
            ...median(31 * noise(0.3)),
            p99: round(88 * noise(0.3)),
            max: round(140 * noise(0.3)),
          },
        },
    generator: { utilisation: round(0.6 * noise(0.2)), lag_ms: round(9 * noise(0.5)) },
    servers: { [`enroll${foreign}`]: round(0.8 * noise(0.2)), gateway: 0.02 },
  })

  const loaded = (at: number): Point => {
    const away = during('offline', at)
    const slow = during('link', at) ? 1 : 0
    const storm = during('reconnect', at - 1_000) || during('reconnect', at) ? 1 : 0
    const live = failing || away ? 0 : devices * (at > revoked ? 0.8 : 1)
    const measures: Point['measures'] = {}
    for (const [name, [typical, rate]] of Object.entries(TYPICAL)) {
      const often = Math.round(
        (name === 'refusal' ? (at > revoked ? devices * 0.2 : 0) : live) * rate * noise(0.2),
      )
      if (often === 0) continue
      const p50 = typical * noise(0.2) * (1 + storm * 3) * (bound ? 9 : 1)
      const p99 = p50 * 2.6 * noise(0.4) + slow * 410 * noise(0.2)
      measures[name] = {
        count: often,
        ...median(p50),
        p99: round(p99),
        max: round(p99 * (1.2 + random.next())),
      }
    }
    const https = measures['https']?.count ?? 0
    const published = measures['publish']?.count ?? 0
    const refusals = measures['refusal']?.count ?? 0
    return {
      at_ms: at,
      span_ms: 1_000,
      devices: failing ? 0 : devices,
      connected: Math.round(live / 2),
      under_way: Math.round(live * 0.02 * (1 + slow * 4)),
      counts: failing
        ? {}
        : {
            ...(gathering === 0 && at === 1_000 ? { enrolled_state: devices } : {}),
            admitted_https: https,
            admitted_mqtt: measures['connect']?.count ?? 0,
            published,
            acknowledged: published,
            delivered: measures['delivery']?.count ?? 0,
            renewed: measures['renew']?.count ?? 0,
            handshakes: measures['handshake']?.count ?? 0,
            bytes_sent: https * 2_100 + published * 190,
            bytes_received: https * 3_400 + published * 150,
            ...(bound ? { late: 40, dropped: 25 } : {}),
          },
      refused: {
        ...(refusals > 0
          ? {
              'https certificate_revoked': Math.ceil(refusals * 0.6),
              [`mqtt connack_5${foreign}`]: Math.floor(refusals * 0.4),
            }
          : {}),
        ...(failing
          ? {
              [`https certificate_required${foreign}`]: Math.round(devices / 2),
              'mqtt connack_5': Math.round(devices / 2),
            }
          : {}),
        ...(slow > 0 && !failing ? { 'https request_timeout': 1 } : {}),
      },
      errors: { ...(failing ? { https: 7 } : {}), ...(storm > 0 ? { mqtt: 3 } : {}) },
      measures,
      generator: {
        utilisation: round(Math.min(1, (bound ? 0.99 : 0.43) * noise(0.15))),
        lag_ms: round((bound ? 210 : 6) * noise(0.6)),
      },
      servers: {
        gateway: round(0.62 * noise(0.2) * (live / devices + 0.1)),
        [`enroll${foreign}`]: round(0.08 * noise(0.5)),
      },
    }
  }

  const series = [
    ...Array.from({ length: gathering }, (_, i) => gathered((i + 1 - gathering) * 1_000)),
    ...Array.from({ length: seconds }, (_, i) => loaded((i + 1) * 1_000)),
  ]

  const names = [...new Set(series.flatMap((point) => Object.keys(point.measures)))]
  const measures: Record<string, Latency> = {}
  for (const name of names) {
    const all = series.flatMap((point) => point.measures[name] ?? [])
    const middle = all.map(({ p50 }) => p50).toSorted((a, b) => a - b)
    const p50 = middle[Math.floor(middle.length / 2)] ?? 0
    const max = Math.max(...all.map((each) => each.max))
    const p99 = Math.min(max * 0.8, Math.max(...all.map((each) => each.p99)))
    measures[name] = {
      count: sum(all.map((each) => each.count)),
      missing: bound && ['https', 'publish'].includes(name) ? seconds * 25 : 0,
      min: round(p50 * 0.4),
      mean: round(p50 * 1.2),
      p50,
      p90: round(Math.min(p99, p50 * 1.7)),
      p99: round(p99),
      p999: round((p99 + max) / 2),
      max,
    }
  }

  const invariant = (
    name: string,
    promise: string,
    checked: number,
    broken: readonly string[] = [],
    why = '',
  ) => ({
    name,
    promise,
    held: why === '' ? broken.length === 0 : null,
    why,
    unobserved: name === 'revoked_stay_out' ? 'the target lets nobody listen' : '',
    checked,
    broken: broken.length,
    evidence: [...broken],
  })
  const evidence = failing
    ? [
        `sim-3f2a-17${foreign}: GET /telemetry got 200 4,210 ms after it was revoked`,
        'sim-3f2a-90: a PUBLISH was delivered 3,902 ms after it was revoked',
      ]
    : []

  return {
    api_version: 1,
    run: {
      scenario: 'revocation-drill',
      summary:
        'A fifth of the fleet is revoked in the middle of its work, on a network that is not at its best.',
      seed: '3f2a9c',
      command: `sallyport sim run revocation-drill --devices ${devices} --rate ${devices} --seed 3f2a9c --ca ca/root.pem${foreign}`,
      started: '2026-03-04T05:06:07.890Z',
      gathering_ms: gathering * 1_000,
      duration_ms: seconds * 1_000,
      load_ms: seconds * 1_000,
      devices,
      workers: 2,
      load: 'open',
      rate: devices,
      targets: {
        enroll: 'https://127.0.0.1:8444',
        https: 'https://127.0.0.1:8443',
        mqtts: 'mqtts://127.0.0.1:8883',
      },
      machine: '2 × AMD EPYC 7B13, 7.8 GiB, linux 6.12 x64',
      node: '26.9.0',
      openssl: '3.5.6',
      interrupted: false,
      trouble: null,
    },
    verdict: failing
      ? {
          ok: false,
          reasons: [
            'invariant revoked_stay_out was broken 2 times',
            'assertion https.p99<500ms is false',
            `drill other_ca failed${foreign}`,
          ],
        }
      : bound
        ? {
            ok: false,
            reasons: ['assertion https.p99<500ms not judged: the load generator was the bottleneck'],
          }
        : { ok: true, reasons: [] },
    generator: {
      bound,
      reasons: bound ? ['worker 1 was busy 99 % of the time for 41 s', '1,500 turns were never begun'] : [],
      gathering: { bound: false, reasons: [] },
      coordinator: { bound: false, reasons: [] },
      cpu_s: round(seconds * 0.9),
      worst_lag_ms: bound ? 312.5 : 14.25,
      peak_rss: 312_000_000,
      late: bound ? seconds * 40 : 0,
      dropped: bound ? seconds * 25 : 0,
    },
    servers: [
      { name: 'gateway', pid: 4_242, cpu_s: round(seconds * 0.62), peak_rss: 141_000_000 },
      { name: `enroll${foreign}`, pid: 4_243, cpu_s: round(seconds * 0.08 + 3), peak_rss: 98_000_000 },
    ],
    measures,
    counts: sumCounts(series.map((point) => point.counts)),
    refused: byDoor(sumCounts(series.map((point) => point.refused))),
    errors: Object.fromEntries(
      Object.entries(sumCounts(series.map((point) => point.errors))).map(([door, n]) => [
        door,
        { [`connection reset by peer${foreign}`]: n },
      ]),
    ),
    topics: failing
      ? [
          {
            device: 'sim-3f2a-0017',
            topic: `devices/a${foreign}`,
            lost: 4,
            gaps: 2,
            reordered: 1,
            duplicates: 3,
          },
        ]
      : [],
    invariants: [
      invariant(
        'revoked_stay_out',
        'from T after the operator was told that a device is revoked, nothing of it gets in',
        1_204,
        evidence,
      ),
      invariant('certificate_required', 'nobody is admitted without a client certificate', 48),
      invariant('full_handshakes', 'no TLS session is ever resumed', 7_011),
      invariant('one_request_per_connection', 'a second request on a connection is never answered', 12),
      invariant('no_token_returned', 'no answer carries a token', 9_120),
      invariant('own_topics_only', 'no device is sent what is on the topics of another', 3_300),
      invariant(
        'clones_noticed',
        'a copied certificate is noticed at its first rival renewal',
        0,
        [],
        'no certificate was copied in this scenario',
      ),
    ],
    assertions: [
      {
        text: 'https.p99<500ms',
        held: bound ? null : !failing,
        why: bound
          ? 'not judged: the load generator was the bottleneck'
          : `https.p99 is ${failing ? 'unknown: nothing was measured' : '498.2 ms'}`,
        value: failing || bound ? null : 498.2,
      },
      { text: 'lost==0', held: true, why: 'lost is 0', value: 0 },
    ],
    drills: [
      ...[
        'no_certificate https',
        'no_certificate mqtt',
        'expired https',
        'expired mqtt',
        'resumed_session https',
        'pipelined_requests one_answer',
      ].map((expectation) => ({ expectation, held: true, evidence: '' })),
      {
        expectation: 'other_ca https',
        held: !failing,
        evidence: failing ? `expected certificate_untrusted, got 200${foreign}` : '',
      },
    ],
    skipped: { clone: 'it needs an operator token' },
    timeline,
    series,
    histograms: Object.fromEntries(
      Object.entries(measures).map(([name, latency]) => [name, bucketsOf(latency)]),
    ),
    ...o.over,
  }
}

/** The same run in its twentieth second. */
export const sampleLive = (over: Partial<Live> = {}): Live => {
  const at = 20_000
  const { run, measures, series, timeline } = sampleReport()
  const seen = series.filter(({ at_ms }) => at_ms <= at)
  return {
    scenario: run.scenario,
    devices: run.devices,
    workers: run.workers,
    phase: { kind: 'running', elapsed: at, duration: 60_000 },
    totals: {
      measures,
      counts: sumCounts(seen.map(({ counts }) => counts)),
      refused: byDoor(sumCounts(seen.map(({ refused }) => refused))),
      errors: {},
    },
    last: seen.at(-1),
    faults: timeline
      .filter(({ at_ms, lasts_ms }) => lasts_ms !== null && at_ms <= at && at_ms + lasts_ms > at)
      .map(({ kind, devices, at_ms, lasts_ms }) => ({ kind, devices, left: at_ms + (lasts_ms ?? 0) - at })),
    generator: { bound: false, reasons: [] },
    ...over,
  }
}
