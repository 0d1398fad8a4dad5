/** The latency of one measure over time, and how it is spread. Not its figures: tables.ts. */

import type { Latency, SimulationReport } from '#wire/simulation-report.ts'
import { formatClock, formatCount, formatMillis, formatShort } from '../format.ts'
import { linearAxis, logAxis, needsLog, nice, type Axis } from './axis.ts'
import { latencyOf, medianText, wordsOf } from '../measures.ts'
import type { Bin } from './bins.ts'
import {
  ACROSS,
  AREA,
  figure,
  horizontal,
  middle,
  table,
  textRow,
  timeChart,
  UP,
  vertical,
  type Time,
} from './chart.ts'
import { html, type Content, type Markup } from './markup.ts'
import { bandPath, line, path, stepPath } from './shapes.ts'

const BARS = 64

const cellsOf = (measure: string) => (bin: Bin) => {
  const found = latencyOf(bin.points, measure)
  return found === undefined
    ? ['0', '—', '—', '—']
    : [formatCount(found.count), medianText(found), formatMillis(found.p99), formatMillis(found.max)]
}

/** @param id unique in the page */
export const latencyChart = (time: Time, measure: string, id: string): Markup => {
  const found = time.bins.map((bin) => latencyOf(bin.points, measure))
  const all = found.flatMap((each) => (each === undefined ? [] : [each.p50, each.p99, each.max]))
  const above = all.filter((value) => value > 0)
  const most = Math.max(0, ...all)
  const y: Axis = needsLog(all)
    ? logAxis(Math.min(...above), most, UP, formatMillis, true)
    : linearAxis(most, UP, formatMillis)
  const drawn = (style: string, pick: 'p50' | 'p99' | 'max'): Content =>
    line(
      style,
      time.bins.map((bin, i) => {
        const value = found[i]?.[pick]
        return value === undefined ? undefined : { x: middle(time, bin), y: y.at(value) }
      }),
    )
  const band = bandPath(
    time.bins.map((bin, i) => {
      const [x, each] = [middle(time, bin), found[i]]
      return each === undefined
        ? undefined
        : [
            { x, y: y.at(each.p50) },
            { x, y: y.at(each.p99) },
          ]
    }),
  )
  const worst = time.series.find((point) => point.measures[measure]?.max === most)
  const several = time.bins.some((bin) => bin.points.length > 1 || bin.to - bin.from > 1_999)
  const thinned = several ? ` Each point is of several seconds: the highest of their p50, p99 and max.` : ''
  return timeChart(time, {
    id,
    title: measure,
    note: `${wordsOf(measure)}${several ? '; each point is of several seconds, and has the highest of their percentiles' : ''}`,
    says: `p50, p99 and maximum of ${measure} in each second, on a ${y.log ? 'logarithmic' : 'linear'} axis. The slowest took ${formatMillis(most)}${worst === undefined ? '' : `, at ${formatClock(worst.at_ms)}`}.${thinned}`,
    y,
    marks: [
      path('area c0 soft', band),
      drawn('line c2 thin dots', 'max'),
      drawn('line c3 dashes', 'p99'),
      drawn('line c0', 'p50'),
    ],
    keys: [
      { name: 'p50', style: 'line c0' },
      { name: 'p99', style: 'line c3 dashes' },
      { name: `max${y.log ? ' (logarithmic axis)' : ''}`, style: 'line c2 thin dots' },
    ],
    heads: ['count', 'p50', 'p99', 'max'],
    cells: cellsOf(measure),
  })
}

type Bars = { readonly axis: Axis; readonly counts: readonly number[]; edge(i: number): number }

/** Fewer buckets than the histogram has: of equal length on the axis, which is logarithmic when that is what the values are. */
const barsOf = (buckets: SimulationReport['histograms'][string]): Bars => {
  const low = Math.max(0.001, Math.min(...buckets.map(({ from, to }) => (from > 0 ? from : to / 2))))
  const high = Math.max(low * 1.05, ...buckets.map(({ to }) => to))
  const log = high / low > 4
  const share = (value: number): number =>
    log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low)
  const edge = (i: number): number =>
    log ? low * (high / low) ** (i / BARS) : low + ((high - low) * i) / BARS
  const counts = Array.from({ length: BARS }, () => 0)
  const inside = (value: number): number => Math.min(BARS, Math.max(0, share(Math.max(low, value)) * BARS))
  for (const { from, to, count } of buckets) {
    const [start, end] = [inside(from), inside(to)]
    const first = Math.min(BARS - 1, Math.floor(start))
    // what lies in several bars is shared between them: else those that happen to hold one bucket more would stand out
    for (let at = first; at < Math.max(first + 1, end); at += 1) {
      const part = end - start < 1e-9 ? 1 : (Math.min(end, at + 1) - Math.max(start, at)) / (end - start)
      counts[at] = (counts[at] ?? 0) + count * part
    }
  }
  return { axis: log ? logAxis(low, high, ACROSS, formatMillis) : shortAxis(low, high), counts, edge }
}

/** From `low`, not from 0: the values are close to each other. */
const shortAxis = (low: number, high: number): Axis => {
  const at = (value: number): number =>
    ACROSS.start + ((Math.min(high, Math.max(low, value)) - low) / (high - low)) * (ACROSS.end - ACROSS.start)
  const step = nice((high - low) / 6)
  const first = Math.ceil(low / step)
  const values = Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step)
  return { at, log: false, ticks: values.map((value) => ({ at: at(value), text: formatMillis(value) })) }
}

const MARKED = [
  ['p50', 'p50'],
  ['p99', 'p99'],
  ['p999', 'p99.9'],
] as const

export const histogramChart = (
  measure: string,
  buckets: SimulationReport['histograms'][string],
  latency: Latency | undefined,
  id: string,
): Markup | undefined => {
  if (buckets.length === 0) return undefined
  const { axis, counts, edge } = barsOf(buckets)
  const most = Math.max(...counts)
  const y = linearAxis(most, UP, formatShort)
  const bars = counts
    .map((count, i) => {
      // what is rare is seen all the same: the slowest are what this is looked at for
      const high = count === 0 ? AREA.bottom : Math.min(AREA.bottom - 1.5, y.at(count))
      return stepPath([
        { left: axis.at(edge(i)) + 0.5, right: axis.at(edge(i + 1)) - 0.5, low: AREA.bottom, high },
      ])
    })
    .join('')
  const marks = MARKED.map(([name, text], i) => {
    if (latency === undefined) return undefined
    const x = axis.at(latency[name])
    // beside the first where there is room: three lines of text are too many on a phone
    const row = i === 2 && x - axis.at(latency.p50) > 230 ? 0 : i
    const end = x > AREA.right - 110
    return html`<path
        class="line ${['c0', 'c3', 'c2'][i]} ${['', 'dashes', 'dots'][i]}"
        d="M${x.toFixed(1)} ${AREA.top - 8 + (i % 2) * 6}V${AREA.bottom}"
      /><text
        class="mark"
        text-anchor="${end ? 'end' : 'start'}"
        x="${(x + (end ? -4 : 4)).toFixed(1)}"
        y="${textRow(row)}"
        >${text} ${formatMillis(latency[name])}</text
      >`
  })
  const filled = counts.flatMap((count, i) => (count === 0 ? [] : [[i, count] as const]))
  return figure(
    {
      id,
      title: `${measure}: how it is spread`,
      note: latency === undefined ? '' : `${formatCount(latency.count)} times`,
      says: `How often ${measure} took how long.${latency === undefined ? '' : ` Half took less than ${formatMillis(latency.p50)}, 99 of 100 less than ${formatMillis(latency.p99)}.`}`,
      keys: [],
    },
    html`${horizontal(y)}${vertical(axis)}${path('area c5', bars)}${marks}<path
        class="base"
        d="M${AREA.left} ${AREA.bottom}H${AREA.right}"
      />`,
    html`<details>
      <summary>As a table</summary>
      ${table(
        `${measure}: how it is spread`,
        ['from', 'to', 'count'],
        filled.map(([i, count]) => [
          formatMillis(edge(i)),
          formatMillis(edge(i + 1)),
          formatCount(Math.round(count)),
        ]),
      )}
    </details>`,
  )
}
