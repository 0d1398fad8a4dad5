/** What the live view says: lines as a pure function of the run, its last seconds, width and colour. Not the terminal: live-view.ts. */

import {
  byFrequency,
  formatClock,
  formatCount,
  formatMillis,
  formatPercent,
  formatShort,
  inOrder,
  latencyOf,
  medianText,
  printable,
  totalOfDoors,
  type CountsByDoor,
  type Live,
  type Phase,
} from '#device-sim/index.ts'
import type { Point } from '#wire/simulation-report.ts'
import { fit, graph, painter, type Paint } from '../up/view.ts'

/** What is never wider is not torn when a window is made a little narrower. */
const WIDEST = 78
const LABEL = 10
/** Below this, figures of the whole run are left out. */
const WIDE = 62
/** seconds that count as now */
const NOW = 5
const MOST_MEASURES = 6
const MOST_FAULTS = 4
const MOST_REASONS = 5

type Look = { readonly width: number; readonly colours: boolean }

/** undefined: nobody knows */
const shareOf = (phase: Phase): number | undefined => {
  if (phase.kind === 'draining') return 1
  if (phase.kind === 'gathering') return phase.of === 0 ? 1 : phase.done / phase.of
  return phase.duration === undefined ? undefined : phase.elapsed / Math.max(1, phase.duration)
}

const progressOf = (phase: Phase): string => {
  if (phase.kind === 'gathering')
    return `${formatCount(phase.done)} of ${formatCount(phase.of)} have an identity`
  const of =
    phase.kind === 'running' && phase.duration !== undefined ? ` of ${formatClock(phase.duration)}` : ''
  return `${formatClock(phase.elapsed)}${of}`
}

const bar = (share: number, width: number): string => {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width)
  return `${'█'.repeat(full)}${'░'.repeat(width - full)}`
}

/** Over the last seconds, however long they were. */
const rateOf = (recent: readonly Point[], ...names: readonly string[]): number => {
  const last = recent.slice(-NOW)
  const sum = last.reduce((all, { counts }) => all + names.reduce((n, name) => n + (counts[name] ?? 0), 0), 0)
  const span = last.reduce((all, { span_ms }) => all + span_ms, 0)
  return span === 0 ? 0 : (sum / span) * 1_000
}
const perSecond = (rate: number): string => `${formatShort(Math.round(rate * 10) / 10)}/s`

const flat = (doors: CountsByDoor): Record<string, number> =>
  Object.fromEntries(
    Object.entries(doors).flatMap(([door, counts]) =>
      Object.entries(counts).map(([name, n]) => [`${door} ${name}`, n]),
    ),
  )

const reasonsOf = (doors: CountsByDoor): string => {
  const all = byFrequency(flat(doors))
  const rest = all.length - MOST_REASONS
  return [
    ...all.slice(0, MOST_REASONS).map(([name, n]) => `${printable(name)} ${formatCount(n)}`),
    ...(rest > 0 ? [`and ${formatCount(rest)} more reasons`] : []),
  ].join(', ')
}

const faultOf = ({ kind, devices, left }: Live['faults'][number]): string =>
  `${kind} (${formatCount(devices)} devices${left === undefined ? '' : `, ${formatClock(left)} left`})`

const faultsOf = ({ faults }: Live): string =>
  [
    ...faults.slice(0, MOST_FAULTS).map(faultOf),
    ...(faults.length > MOST_FAULTS ? [`and ${faults.length - MOST_FAULTS} more`] : []),
  ].join(', ')

const CELL = 9

/** The highest of each of the last seconds, and the whole run beside them, where there is room for both. */
const latencies = (live: Live, recent: readonly Point[], paint: Paint, width: number): string[] => {
  const names = inOrder(live.totals.measures)
    .filter((name) => name !== 'refusal')
    .slice(0, MOST_MEASURES)
  if (names.length === 0) return []
  const both = width >= WIDE
  const cells = (texts: readonly string[]): string => texts.map((text) => text.padStart(CELL)).join('')
  const label = both ? 12 : LABEL
  const head = `${`worst ${NOW} s`.padEnd(label)}${cells(['p50', 'p99', 'max'])}${both ? `   ${cells(['all p50', 'p99', 'p99.9'])}` : ''}`
  const rows = names.map((name) => {
    const now = latencyOf(recent.slice(-NOW), name)
    const all = live.totals.measures[name]
    const last = now === undefined ? ['·', '·', '·'] : [now.p50, now.p99, now.max].map(formatMillis)
    const ever = all === undefined ? [] : [all.p50, all.p99, all.p999].map(formatMillis)
    return `${paint(
      'dim',
      printable(name)
        .slice(0, label - 1)
        .padEnd(label),
    )}${cells(last)}${both ? paint('dim', `   ${cells(ever)}`) : ''}`
  })
  return [paint('dim', head), ...rows]
}

const loadLines = (
  { last, generator, workers }: Live,
  paint: Paint,
  label: (text: string) => string,
): string[] => [
  ...(last === undefined
    ? []
    : [
        `${label('load')}generator ${formatPercent(last.generator.utilisation)}${workers > 1 ? ' (busiest)' : ''}${Object.entries(
          last.servers,
        )
          .map(([name, share]) => `  ${printable(name)} ${formatPercent(share)}`)
          .join('')}  lag ${formatMillis(last.generator.lag_ms)}`,
      ]),
  ...(generator.bound
    ? [
        `${label('')}${paint(['bold', 'yellow'], 'THE GENERATOR IS THE BOTTLENECK')}`,
        ...generator.reasons.slice(0, 1).map((reason) => `${label('')}${paint('yellow', printable(reason))}`),
      ]
    : []),
]

/** @param recent the last seconds, oldest first */
export const renderLive = (
  live: Live,
  recent: readonly Point[],
  { width: columns, colours }: Look,
): string[] => {
  const paint = painter(colours)
  const width = Math.max(1, Math.min(WIDEST, columns - 1))
  const label = (text: string): string => paint('dim', text.padEnd(LABEL))
  const strong = (n: number): string => paint('bold', formatShort(n))
  const { phase, totals, last } = live
  const { counts } = totals
  const history = (name: string): string =>
    width < WIDE ? '' : `  ${paint('cyan', graph(recent.slice(-20).map((point) => rateOf([point], name))))}`
  const title = ` ${printable(live.scenario)}, Ctrl-C ends it `
  const share = shareOf(phase)
  const refused = totalOfDoors(totals.refused)
  const errors = totalOfDoors(totals.errors)
  const lines = [
    paint('dim', `──${title}${'─'.repeat(Math.max(0, width - title.length - 2))}`),
    `${label(phase.kind)}${share === undefined ? '' : `${paint('cyan', bar(share, width < 50 ? 10 : 24))}  `}${progressOf(phase)}`,
    `${label('devices')}${strong(last?.devices ?? 0)} of ${formatCount(live.devices)}  ${strong(last?.connected ?? 0)} connected  ${strong(last?.under_way ?? 0)} under way`,
    `${label('https')}${strong(counts['admitted_https'] ?? 0)} admitted  ${perSecond(rateOf(recent, 'admitted_https'))}${history('admitted_https')}`,
    `${label('mqtt')}${strong(counts['published'] ?? 0)} published  ${perSecond(rateOf(recent, 'published'))}${history('published')}`,
    ...latencies(live, recent, paint, width),
    ...(refused === 0
      ? []
      : [`${label('refused')}${strong(refused)}  ${paint('yellow', reasonsOf(totals.refused))}`]),
    ...(errors === 0
      ? []
      : [`${label('errors')}${strong(errors)}  ${paint('red', reasonsOf(totals.errors))}`]),
    ...(live.faults.length === 0 ? [] : [`${label('faults')}${paint('magenta', faultsOf(live))}`]),
    ...loadLines(live, paint, label),
  ]
  return lines.map((line) => fit(line, width))
}

/** The same for a log or a pipe: one line. */
export const lineOf = (live: Live, recent: readonly Point[]): string => {
  const { phase, totals, last, faults, generator } = live
  const door = (name: string, count: string, measure: string): string[] => {
    const rate = rateOf(recent, count)
    const now = latencyOf(recent.slice(-NOW), measure)
    return now === undefined && (totals.counts[count] ?? 0) === 0
      ? []
      : [
          `${name} ${perSecond(rate)}${now === undefined ? '' : ` p50 ${medianText(now)} p99 ${formatMillis(now.p99)}`}`,
        ]
  }
  const refused = totalOfDoors(totals.refused)
  const errors = totalOfDoors(totals.errors)
  return [
    `${phase.kind} ${progressOf(phase)}`,
    `${formatCount(last?.devices ?? 0)}/${formatCount(live.devices)} devices, ${formatCount(last?.connected ?? 0)} connected`,
    ...door('https', 'admitted_https', 'https'),
    ...door('mqtt', 'published', 'publish'),
    `refused ${formatCount(refused)}${refused === 0 ? '' : ` (${reasonsOf(totals.refused)})`}`,
    `errors ${formatCount(errors)}`,
    ...(faults.length === 0 ? [] : [`faults: ${faultsOf(live)}`]),
    ...(generator.bound ? ['THE GENERATOR IS THE BOTTLENECK'] : []),
  ].join('; ')
}
