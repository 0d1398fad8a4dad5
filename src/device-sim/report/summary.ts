/** The end of a run in a few dozen lines of text: the same on a terminal, in a pipe and in a log. Not the page: html/. */

import { total, type CountsByDoor } from '#device-sim/measure/counts.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { clipped, printable } from '../plain-text.ts'
import { byFrequency, formatBytes, formatClock, formatCount, formatMillis } from './format.ts'
import { inOrder } from './measures.ts'
import { remarksOn } from './remarks.ts'

const LABEL = 12
/** Of one line; of reasons; of evidence: all of it is in the reports. */
const WIDEST = 160
/** of what has to be read to the end */
const LONGEST = 400
const MOST_REASONS = 8
const MOST_EVIDENCE = 3

type Row = readonly [label: string, text: string]

const labelled = (rows: readonly Row[]): string[] =>
  rows.map(([label, text]) => clipped(`${label.padEnd(LABEL)}${printable(text)}`, WIDEST))

const counted = (parts: readonly (readonly [number | undefined, string])[]): string =>
  parts
    .filter(([n = 0]) => n > 0)
    .map(([n = 0, what]) => `${formatCount(n)} ${n === 1 ? what.replace(/s$/, '') : what}`)
    .join(', ')

/** Of an open loop all; of a closed one those that are not in any other line. */
const turnsOf = (counts: SimulationReport['counts']): string =>
  counted([
    [counts['due'], 'due'],
    [counts['absent'], 'of devices that were away'],
    [counts['late'], 'begun late'],
    [counts['dropped'], 'dropped'],
    [counts['unanswered'], 'never answered'],
  ])

const doneOf = ({ counts, run, refused, errors, topics }: SimulationReport): Row[] => {
  const named = (name: string, what: string) => [counts[name], what] as const
  const rows: Row[] = [
    [
      'devices',
      counted([
        [run.devices, 'asked for'],
        named('enrolled_rest', 'enrolled by REST'),
        named('enrolled_est', 'by EST'),
        named('enrolled_mqtt', 'by MQTT'),
        named('enrolled_state', 'kept from before'),
        named('enrolled_given', 'given'),
        named('renewed', 'renewals'),
      ]),
    ],
    ['https', counted([named('admitted_https', 'admitted requests')])],
    ['turns', turnsOf(counts)],
    [
      'mqtt',
      counted([
        named('admitted_mqtt', 'connections'),
        named('published', 'published'),
        named('acknowledged', 'acknowledged'),
        named('delivered', 'delivered'),
        named('duplicates', 'duplicates'),
        named('reordered', 'out of order'),
        named('gaps', 'gaps'),
        named('lost', 'lost'),
        named('cut', 'cut'),
      ]),
    ],
    [
      'worst topic',
      topics
        .slice(0, 1)
        .map(
          ({ topic, lost, gaps, reordered, duplicates }) =>
            `${topic}: ${lost} lost, ${gaps} gaps, ${reordered} out of order, ${duplicates} duplicates`,
        )
        .join(''),
    ],
    [
      'traffic',
      `${counted([named('handshakes', 'handshakes'), named('resumed', 'resumed')])}; ${formatBytes(counts['bytes_sent'] ?? 0)} sent, ${formatBytes(counts['bytes_received'] ?? 0)} received`.replace(
        /^; /,
        '',
      ),
    ],
  ]
  // who was turned away at a door, or did not find it, is told that this was all
  return rows.flatMap(([label, text]): Row[] => {
    if (text !== '') return [[label, text]]
    return total(refused[label] ?? {}) + total(errors[label] ?? {}) > 0
      ? [[label, 'nobody was admitted']]
      : []
  })
}

const often = (label: string, doors: CountsByDoor): Row[] => {
  const lines = Object.entries(doors).flatMap(([door, counts]) => {
    const all = byFrequency(counts)
    const shown = all.slice(0, MOST_REASONS).map(([what, n]) => `${what} ${formatCount(n)}`)
    const rest = all.length - shown.length
    return total(counts) === 0
      ? []
      : [`${door}: ${[...shown, ...(rest > 0 ? [`and ${formatCount(rest)} others`] : [])].join(', ')}`]
  })
  return lines.length === 0 ? [[label, 'none']] : lines.map((line, i) => [i === 0 ? label : '', line])
}

const FIGURES = ['p50', 'p90', 'p99', 'p999', 'max'] as const

/** The figures set right, under their heads. */
const latencyLines = ({ measures }: SimulationReport): string[] => {
  const rows = inOrder(measures).flatMap((name) => {
    const found = measures[name]
    return found === undefined
      ? []
      : [
          [
            name,
            ...[found.count, found.missing].map(formatCount),
            ...FIGURES.map((figure) => formatMillis(found[figure])),
          ],
        ]
  })
  if (rows.length === 0) return labelled([['latency', 'nothing was measured']])
  const all = [['latency', 'count', 'missing', 'p50', 'p90', 'p99', 'p99.9', 'max'], ...rows]
  const widths = all[0]?.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0))) ?? []
  return all.map((row) =>
    row
      .map((cell, at) => (at === 0 ? printable(cell).padEnd(LABEL) : cell.padStart(widths[at] ?? 0)))
      .join('  ')
      .replace('  ', ''),
  )
}

const MARK = (held: boolean | null): string => (held === null ? '\u2013' : held ? '\u2713' : '\u2717')

const judged = (
  title: string,
  all: readonly {
    readonly held: boolean | null
    readonly name: string
    readonly text: string
    readonly evidence: readonly string[]
  }[],
): string[] => {
  if (all.length === 0) return []
  const width = Math.min(40, Math.max(...all.map(({ name }) => name.length)))
  return [
    '',
    title,
    ...all.flatMap(({ held, name, text, evidence }) => [
      clipped(`  ${MARK(held)} ${printable(name).padEnd(width)}  ${printable(text)}`.trimEnd(), WIDEST),
      ...evidence.slice(0, MOST_EVIDENCE).map((each) => clipped(`      ${printable(each)}`, LONGEST)),
    ]),
  ]
}

const invariantsOf = ({ invariants }: SimulationReport): string[] =>
  judged(
    'invariants',
    invariants.map(({ name, held, why, checked, broken, evidence }) => ({
      name,
      held,
      evidence,
      text:
        held === null
          ? `not judged: ${why}`
          : held
            ? `checked ${formatCount(checked)} times`
            : `BROKEN ${formatCount(broken)} of ${formatCount(checked)} times`,
    })),
  )

const assertionsOf = ({ assertions }: SimulationReport): string[] =>
  judged(
    'assertions',
    assertions.map(({ text, held, why }) => ({ name: text, held, text: why, evidence: [] })),
  )

const drillsOf = ({ drills, skipped }: SimulationReport): string[] => {
  const failed = drills.filter(({ held }) => !held)
  const left = Object.entries(skipped)
  return [
    ...(drills.length === 0
      ? []
      : ['', `drills: ${drills.length - failed.length} of ${drills.length} expectations held`]),
    ...judged('', [
      ...failed.map(({ expectation, evidence }) => ({
        name: expectation,
        held: false,
        text: evidence,
        evidence: [],
      })),
      ...left.map(([name, why]) => ({ name, held: null, text: `not tried: ${why}`, evidence: [] })),
    ]).slice(2),
  ]
}

const NOT_MEASURED =
  'CPU and memory of the servers were not measured: no desk of this machine and home is at these URLs'

const generatorOf = ({ generator, servers }: SimulationReport): string[] => {
  const cpu = (name: string, seconds: number, rss: number): string =>
    `${name} ${formatMillis(seconds * 1_000)} of CPU, ${formatBytes(rss)}`
  return labelled([
    ['generator', generator.bound ? 'WAS THE BOTTLENECK: latencies are not those of the server' : 'kept up'],
    ...generator.reasons.map((reason): Row => ['', reason]),
    ...generator.gathering.reasons.map((reason): Row => ['', `while gathering: ${reason}`]),
    [
      '',
      `${cpu('it used', generator.cpu_s, generator.peak_rss)}; its timers were at most ${formatMillis(generator.worst_lag_ms)} late`,
    ],
    ...servers.map(({ name, cpu_s, peak_rss }): Row => ['', cpu(name, cpu_s, peak_rss)]),
    ...(servers.length === 0 ? [['', NOT_MEASURED] satisfies Row] : []),
  ])
}

const loadOf = ({ run }: SimulationReport): string =>
  run.load === 'open' && run.rate !== null ? `open loop at ${formatCount(run.rate)}/s` : 'closed loop'

/** @param reports where other forms of it are, by name: `{html: 'out/report.html'}` */
export const summaryLines = (
  report: SimulationReport,
  reports: Readonly<Record<string, string>> = {},
): string[] => {
  const { run, verdict } = report
  const verdictLine = [
    `${MARK(verdict.ok)} ${run.scenario}: ${verdict.ok ? 'passed' : 'NOT OK'}`,
    ...remarksOn(report),
  ].join(', ')
  return [
    printable(verdictLine),
    ...verdict.reasons.slice(0, 20).map((reason) => clipped(`    ${printable(reason)}`, LONGEST)),
    '',
    ...labelled([
      [
        'run',
        `${formatClock(run.duration_ms)} after ${formatMillis(run.gathering_ms)} of gathering, ${loadOf(report)}, ${run.workers === 1 ? 'one worker' : `${formatCount(run.workers)} workers`}, seed ${run.seed}`,
      ],
      ...doneOf(report),
      ...often('refused', report.refused),
      ...often('errors', report.errors),
    ]),
    '',
    ...latencyLines(report),
    ...invariantsOf(report),
    ...assertionsOf(report),
    ...drillsOf(report),
    '',
    ...generatorOf(report),
    ...labelled(
      Object.entries(reports).map(([name, path], i) => [i === 0 ? 'reports' : '', `${name} ${path}`]),
    ),
  ]
}
