/**
 * The report of a simulated run: the JSON of `sim run --json`, and what every other form of it (HTML, JUnit, CSV) is made from.
 * Its JSON Schema is printed by `sim schema report`. Not how it is made: src/device-sim.
 */

import Type, { type Static } from 'typebox'

const count = Type.Integer({ minimum: 0 })
const text = Type.String()
const counts = (what: string) => Type.Record(text, count, { description: what })
const ms = (what: string) => Type.Number({ description: `${what}, ms` })
const strict = { additionalProperties: false } as const

export const LatencySchema = Type.Object(
  {
    count,
    min: Type.Number(),
    mean: Type.Number(),
    p50: Type.Number(),
    p90: Type.Number(),
    p99: Type.Number(),
    p999: Type.Number(),
    max: Type.Number(),
  },
  { ...strict, description: 'ms; from an HdrHistogram of three significant digits' },
)

/** `held: null`: not judged; `why` says for what reason. */
const verdict = { held: Type.Union([Type.Boolean(), Type.Null()]), why: text }

export const SimulationReportSchema = Type.Object(
  {
    api_version: Type.Literal(1),
    run: Type.Object(
      {
        scenario: text,
        summary: text,
        seed: text,
        /** repeats it: the same fleet, the same times of faults */
        command: text,
        started: Type.String({ format: 'date-time' }),
        duration_ms: count,
        devices: count,
        workers: count,
        load: Type.Union([Type.Literal('open'), Type.Literal('closed')]),
        /** turns a second that were asked for; null in a closed loop */
        rate: Type.Union([Type.Number(), Type.Null()]),
        targets: Type.Record(text, text),
        node: text,
        openssl: text,
        /** ended before its time: by Ctrl-C, or by trouble that `trouble` names */
        interrupted: Type.Boolean(),
        trouble: Type.Union([text, Type.Null()]),
      },
      strict,
    ),
    verdict: Type.Object({ ok: Type.Boolean(), reasons: Type.Array(text) }, strict),
    generator: Type.Object(
      {
        /** the load generator could not keep up: latencies say nothing of the server, and no assertion about them is judged */
        bound: Type.Boolean(),
        reasons: Type.Array(text),
        cpu_s: Type.Number(),
        worst_lag_ms: Type.Number(),
        /** bytes, of all processes at their highest */
        peak_rss: count,
        late: count,
        dropped: count,
      },
      strict,
    ),
    /** programs of this machine that were measured beside: the desks, when they run here */
    servers: Type.Array(
      Type.Object({ name: text, pid: count, cpu_s: Type.Number(), peak_rss: count }, strict),
    ),
    measures: Type.Record(text, LatencySchema, {
      description: 'by name of MEASURES (docs/simulator.md); absent: never',
    }),
    counts: counts('by name of COUNTERS (docs/simulator.md)'),
    refused: Type.Record(text, counts('reason → how often'), { description: 'by door' }),
    errors: Type.Record(text, counts('what → how often'), { description: 'by door' }),
    invariants: Type.Array(
      Type.Object(
        { name: text, promise: text, ...verdict, checked: count, broken: count, evidence: Type.Array(text) },
        strict,
      ),
    ),
    assertions: Type.Array(
      Type.Object({ text, ...verdict, value: Type.Union([Type.Number(), Type.Null()]) }, strict),
    ),
    drills: Type.Array(
      Type.Object({ expectation: text, held: Type.Boolean(), evidence: text }, strict),
    ),
    /** drills that could not be tried, and why */
    skipped: Type.Record(text, text),
    timeline: Type.Array(
      Type.Object(
        {
          kind: text,
          at_ms: Type.Number(),
          lasts_ms: Type.Union([Type.Number(), Type.Null()]),
          devices: count,
          /** what came of it, or why not */
          detail: text,
        },
        strict,
      ),
    ),
    series: Type.Array(
      Type.Object(
        {
          /** the end of this second, after the start */
          at_ms: count,
          devices: count,
          connected: count,
          under_way: count,
          counts: counts('in this second'),
          refused: counts('`<door> <reason>`, in this second'),
          errors: counts('by door, in this second'),
          measures: Type.Record(
            text,
            Type.Object({ count, p50: Type.Number(), p99: Type.Number(), max: Type.Number() }, strict),
          ),
          generator: Type.Object({ utilisation: Type.Number(), lag_ms: Type.Number() }, strict),
          /** share of one core, by name */
          servers: Type.Record(text, Type.Number()),
        },
        strict,
      ),
    ),
    histograms: Type.Record(
      text,
      Type.Array(Type.Object({ from: ms('from'), to: ms('below'), count }, strict)),
      { description: 'for each measure, its buckets, growing with the value' },
    ),
  },
  { ...strict, title: 'Sallyport simulation report', $id: 'urn:sallyport:simulation-report:1' },
)
export type SimulationReport = Static<typeof SimulationReportSchema>
export type Latency = Static<typeof LatencySchema>
