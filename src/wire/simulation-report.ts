/**
 * The report of a simulated run: the JSON of `sim run --json`, and what every other form of it (HTML, JUnit, CSV) is made from.
 * Its JSON Schema is printed by `sim schema report`; docs/simulation-report.md has the same words. Not how it is made: src/device-sim.
 */

import Type, { type Static } from 'typebox'
import { closed, literals, orNull } from './parts.ts'

const about = (description: string) => ({ description })
const count = (what: string) => Type.Integer({ minimum: 0, ...about(what) })
const text = (what: string) => Type.String(about(what))
const texts = (what: string) => Type.Array(Type.String(), about(what))
const number = (what: string) => Type.Number(about(what))
/** A name that comes from outside, and how often */
const counts = (what: string) => Type.Record(Type.String(), Type.Integer({ minimum: 0 }), about(what))
const perDoor = (what: string) =>
  Type.Record(Type.String(), Type.Record(Type.String(), Type.Integer({ minimum: 0 })), about(what))

const Latency = Type.Object(
  {
    count: count('how often'),
    missing: count(
      'turns that are in none of these figures: never answered; in an open loop also dropped, failed, or cut short. An assertion ranks them as the slowest',
    ),
    min: number('ms'),
    mean: number('ms'),
    p50: number('ms, half were faster'),
    p90: number('ms'),
    p99: number('ms'),
    p999: number('ms, 999 of 1,000 were faster'),
    max: number('ms'),
  },
  closed,
)

const held = Type.Union([Type.Boolean(), Type.Null()], about('null: not judged, `why` says for what reason'))

const Run = Type.Object(
  {
    scenario: text('name of the scenario'),
    summary: text('what the scenario is about, in its own words'),
    seed: text('of everything that is drawn by lot'),
    command: text('repeats the run: the same fleet, the same faults at the same times'),
    started: Type.String({
      format: 'date-time',
      ...about('the zero of every other time here: when load and faults began'),
    }),
    gathering_ms: count('how long it took before that, until every device had an identity or was refused'),
    duration_ms: count('from `started` to the end, the drain included'),
    load_ms: count('from `started` until no more was begun: what rates are over'),
    devices: count('how many were asked for'),
    workers: count('processes that made the load; 0: the one that wrote this'),
    load: literals(
      ['open', 'closed'],
      about('closed: each device waits for its answer before it asks again'),
    ),
    rate: orNull(Type.Number(about('turns a second that were asked for; null in a closed loop'))),
    targets: Type.Record(Type.String(), Type.String(), about('URLs, by name')),
    machine: text('that made the load: processor, cores, memory, system'),
    node: text('version'),
    openssl: text('version'),
    interrupted: Type.Boolean(
      about(
        'ended before its time, by Ctrl-C or by what `trouble` names; a run without a duration has no other end than a Ctrl-C, so that this is none',
      ),
    ),
    trouble: orNull(Type.String(about('what of the simulator itself went wrong; null: nothing'))),
  },
  { ...closed, ...about('what was run, and how to run it again') },
)

const Generator = Type.Object(
  {
    bound: Type.Boolean(
      about(
        'the load generator could not keep up while there was load: what was slow may have been its own doing. Of assertions about latency only those are judged that hold in an open loop even so',
      ),
    ),
    reasons: texts('why it is thought so'),
    gathering: Type.Object(
      { bound: Type.Boolean(about('as above')), reasons: texts('why it is thought so') },
      {
        ...closed,
        ...about('the same, while the fleet enrolled: what `enroll` and `rate.enroll` are judged by'),
      },
    ),
    coordinator: Type.Object(
      { bound: Type.Boolean(about('as above')), reasons: texts('why it is thought so') },
      {
        ...closed,
        ...about(
          'the same, of the process in which drills and probes run; in it no latency is measured. With 0 workers it is the one above',
        ),
      },
    ),
    cpu_s: number('seconds of CPU, all processes, the coordinator among them'),
    worst_lag_ms: number('the longest that a timer of any process was late, the coordinator among them'),
    peak_rss: count('bytes of memory, all processes, the coordinator among them, at their highest'),
    late: count('open loop: turns that began more than 10 ms after they were due'),
    dropped: count('open loop: turns that were due and never begun'),
  },
  { ...closed, ...about('how the load generator itself fared') },
)

const Server = Type.Object(
  {
    name: text('of the program'),
    pid: count('its process'),
    cpu_s: number('seconds of CPU during the run'),
    peak_rss: count('bytes of memory at its highest'),
  },
  closed,
)

const Topic = Type.Object(
  {
    device: text('that publishes to it and listens'),
    topic: text('its name, cut after 200 characters'),
    lost: count('as in `counts`, on this topic'),
    gaps: count('as in `counts`, on this topic'),
    reordered: count('as in `counts`, on this topic'),
    duplicates: count('as in `counts`, on this topic'),
  },
  closed,
)

const Invariant = Type.Object(
  {
    name: text('as in docs/simulator.md'),
    promise: text('what is promised'),
    held,
    why: text('the reason when it is not judged, else empty'),
    unobserved: text('what of it nobody looked at, though it is judged; empty: nothing'),
    checked: count('how often it was put to the test; 0 says nothing'),
    broken: count('how often it did not hold'),
    evidence: texts('the first few that broke it, in words'),
  },
  closed,
)

const Assertion = Type.Object(
  {
    text: text('as it was written'),
    held,
    why: text('in words: what was found, or the reason when it is not judged'),
    value: orNull(Type.Number(about('what was measured; null: nothing'))),
  },
  closed,
)

const Drill = Type.Object(
  {
    expectation: text('begins with the name of the drill'),
    held: Type.Boolean(about('whether it came true')),
    evidence: text('what was seen when it did not'),
  },
  closed,
)

const Event = Type.Object(
  {
    kind: text('of the fault'),
    at_ms: number('when'),
    lasts_ms: orNull(Type.Number(about('how long; null: done at once'))),
    devices: count('how many were chosen for it; 0: none in particular, or it did not come about'),
    struck: count(
      'how many of them it befell: not those that were away, had no certificate, or were at a door where it cannot be',
    ),
    detail: text('what came of it, or why it did not'),
  },
  closed,
)

const Point = Type.Object(
  {
    at_ms: Type.Integer(about('the end of it. Not above 0 while the fleet gathers its identities')),
    span_ms: count(
      'how long it is: a second; more when a process was late, and of runs beyond an hour; less at the end',
    ),
    devices: count('with an identity'),
    connected: count('open MQTT connections'),
    under_way: count('requests and connections that wait for an answer'),
    counts: counts('since the point before, as in `counts`'),
    refused: counts('since the point before, by `<door> <reason>`'),
    errors: counts('since the point before, by door'),
    measures: Type.Record(
      Type.String(),
      Type.Object(
        {
          count: count('how often'),
          p50: number('ms; of several seconds the highest of theirs'),
          p50_low: number('ms; of several seconds the lowest of theirs'),
          p99: number('ms; of several seconds the highest of theirs'),
          max: number('ms'),
        },
        closed,
      ),
      about('since the point before, as in `measures`. Percentiles are never averaged'),
    ),
    generator: Type.Object(
      {
        utilisation: number('of the busiest event loop, 0 to 1'),
        lag_ms: number('the longest that a timer was late'),
      },
      { ...closed, ...about('the load generator') },
    ),
    servers: Type.Record(Type.String(), Type.Number(), about('share of one core, by name')),
  },
  closed,
)

const Bucket = Type.Object(
  { from: number('ms'), to: number('ms, below it'), count: count('how often') },
  closed,
)

export const SimulationReportSchema = Type.Object(
  {
    api_version: Type.Literal(1, about('of this form: fields may be added to it, and none is changed')),
    run: Run,
    verdict: Type.Object(
      {
        ok: Type.Boolean(
          about(
            'something was admitted or enrolled, no invariant broken, every assertion held, no drill failed and, when there were to be any, one ran, every fault came about, no trouble, and it was not ended before its duration',
          ),
        ),
        reasons: texts('why it is not'),
      },
      { ...closed, ...about('exit code 0 or 1') },
    ),
    generator: Generator,
    servers: Type.Array(
      Server,
      about('programs of this machine that were measured beside: the desks, when they run here'),
    ),
    measures: Type.Record(
      Type.String(),
      Latency,
      about('by name, as in docs/simulator.md; absent: never. From an HdrHistogram of three digits'),
    ),
    counts: counts('by name, as in docs/simulator.md'),
    refused: perDoor('by door, by reason'),
    errors: perDoor('by door, by what happened: no verdict, such as an unreachable target'),
    topics: Type.Array(
      Topic,
      about(
        'the topics on which something was lost, passed over, out of order or twice: the ten worst of all',
      ),
    ),
    invariants: Type.Array(Invariant, about('promises that every run is held to')),
    assertions: Type.Array(Assertion, about('thresholds of the scenario and of `--assert`')),
    drills: Type.Array(Drill, about('what was expected of the attacks that ran beside the fleet')),
    skipped: Type.Record(Type.String(), Type.String(), about('drills that could not be tried, and why')),
    timeline: Type.Array(Event, about('faults that were injected')),
    series: Type.Array(Point, about('one point a second, and of runs beyond an hour one for several')),
    histograms: Type.Record(
      Type.String(),
      Type.Array(Bucket),
      about('for each measure, its buckets, growing with the value'),
    ),
  },
  { ...closed, title: 'Sallyport simulation report', $id: 'urn:sallyport:simulation-report:1' },
)
export type SimulationReport = Static<typeof SimulationReportSchema>
export type Latency = Static<typeof Latency>
/** one second, or a few */
export type Point = SimulationReport['series'][number]
