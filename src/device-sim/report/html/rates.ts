/** What the devices did and were refused in each second, stacked; and how many there were. */

import { sumCounts, total, totalOfDoors } from '#device-sim/measure/counts.ts'
import type { Point, SimulationReport } from '#wire/simulation-report.ts'
import { clipped } from '#device-sim/plain-text.ts'
import { byFrequency, formatCount, formatMillis, formatPercent, formatShort } from '../format.ts'
import { linearAxis, type Axis } from './axis.ts'
import { mostOf, rateOf } from './bins.ts'
import { AREA, middle, timeChart, UP, type About, type Key, type Time } from './chart.ts'
import { html, type Content, type Markup } from './markup.ts'
import { line, path, stepPath } from './shapes.ts'

/** of a name in a key: it is in full in its table */
const LONGEST = 48

type Layer = { readonly name: string; readonly style: string; count(point: Point): number }

const counted =
  (...names: readonly string[]) =>
  (point: Point): number =>
    names.reduce((sum, name) => sum + (point.counts[name] ?? 0), 0)

const DONE: readonly Layer[] = [
  { name: 'HTTPS requests admitted', style: 'area c0', count: counted('admitted_https') },
  { name: 'MQTT messages published', style: 'area c5', count: counted('published') },
  { name: 'MQTT connections', style: 'area c1', count: counted('admitted_mqtt') },
  {
    name: 'enrolled, renewed',
    style: 'area c2',
    count: counted('enrolled_rest', 'enrolled_est', 'enrolled_mqtt', 'renewed'),
  },
  { name: 'refused', style: 'area c3', count: ({ refused }) => total(refused) },
  { name: 'errors', style: 'area c7', count: ({ errors }) => total(errors) },
]

const perSecond = (rate: number): string => formatShort(Math.round(rate * 100) / 100)

/** On each other, the first lowest. */
const stacked = (time: Time, layers: readonly Layer[], y: Axis): Content => {
  const base = time.bins.map(() => 0)
  return layers.map(({ style, count }) => {
    const steps = time.bins.map((bin, i) => {
      const low = base[i] ?? 0
      const high = low + rateOf(bin, count)
      base[i] = high
      return { left: time.axis.at(bin.from), right: time.axis.at(bin.to), low: y.at(low), high: y.at(high) }
    })
    return path(style, stepPath(steps))
  })
}

const highest = (time: Time, layers: readonly Layer[]): number =>
  Math.max(0, ...time.bins.map((bin) => layers.reduce((sum, { count }) => sum + rateOf(bin, count), 0)))

const stack = (
  time: Time,
  o: About & {
    readonly layers: readonly Layer[]
    /** a second that was asked for: a line across */
    readonly asked?: number | undefined
  },
): Markup => {
  const used = o.layers.filter(({ count }) => time.series.some((point) => count(point) > 0))
  const y = linearAxis(Math.max(highest(time, used), o.asked ?? 0), UP, formatShort)
  const asked = o.asked === undefined ? undefined : y.at(o.asked).toFixed(1)
  return timeChart(time, {
    ...o,
    y,
    marks: html`${stacked(time, used, y)}${asked === undefined ? undefined : html`<path class="line ask dashes" d="M${time.axis.at(0).toFixed(1)} ${asked}H${AREA.right}" />`}`,
    keys: [
      ...used,
      ...(o.asked === undefined
        ? []
        : [{ name: `asked for: ${perSecond(o.asked)}/s`, style: 'line ask dashes' }]),
    ],
    heads: used.map(({ name }) => name),
    cells: (bin) => used.map(({ count }) => perSecond(rateOf(bin, count))),
  })
}

export const throughputChart = (time: Time, { run, counts }: SimulationReport): Markup =>
  stack(time, {
    id: 'throughput',
    title: 'Throughput',
    note: 'what the devices did, a second',
    says: `Requests, messages, refusals and errors in each second, stacked. In all ${formatCount(counts['admitted_https'] ?? 0)} requests were admitted and ${formatCount(counts['published'] ?? 0)} messages published.`,
    layers: DONE,
    asked: run.rate ?? undefined,
  })

/** Beyond these, the others are one: more colours cannot be told apart. */
const REASONS = ['area c3', 'area c1', 'area c4', 'area c0', 'area c2', 'area c5', 'area c6'] as const

const reasonsOf = (series: readonly Point[]): readonly Layer[] => {
  const names = byFrequency(sumCounts(series.map(({ refused }) => refused))).map(([name]) => name)
  const own = names.slice(0, names.length > REASONS.length ? REASONS.length - 1 : REASONS.length)
  const others = names.slice(own.length)
  return [
    ...own.map((name, i) => ({
      name: clipped(name, LONGEST),
      style: REASONS[i] ?? 'area c7',
      count: (point: Point) => point.refused[name] ?? 0,
    })),
    ...(others.length === 0
      ? []
      : [
          {
            name: `${formatCount(others.length)} other reasons`,
            style: 'area c6',
            count: (point: Point) => others.reduce((sum, name) => sum + (point.refused[name] ?? 0), 0),
          },
        ]),
    { name: 'errors (no verdict)', style: 'area c7', count: ({ errors }) => total(errors) },
  ]
}

/** `undefined`: nothing was refused, and nothing failed */
export const refusalsChart = (time: Time, { refused, series }: SimulationReport): Markup | undefined =>
  series.every((point) => total(point.refused) + total(point.errors) === 0)
    ? undefined
    : stack(time, {
        id: 'refusals',
        title: 'Refusals and errors',
        note: 'a second, by door and reason',
        says: `Refusals in each second, stacked by reason. In all ${formatCount(totalOfDoors(refused))}; the table of refusals has them all.`,
        layers: reasonsOf(series),
      })

type Line = Key & { value(point: Point): number | undefined; text(value: number): string }

const lines = (
  time: Time,
  o: About & {
    readonly lines: readonly Line[]
    /** the axis goes at least so far */
    readonly least: number
    readonly text: (value: number) => string
  },
): Markup => {
  const value = (each: Line) => (point: Point) => each.value(point) ?? 0
  const used = o.lines.filter((each) => time.series.some((point) => each.value(point) !== undefined))
  const most = Math.max(o.least, ...time.series.flatMap((point) => used.map((each) => value(each)(point))))
  const y = linearAxis(most, UP, o.text)
  return timeChart(time, {
    ...o,
    y,
    marks: used.map((each) =>
      line(
        each.style,
        time.bins.map((bin) => ({ x: middle(time, bin), y: y.at(mostOf(bin, value(each))) })),
      ),
    ),
    keys: used,
    heads: used.map(({ name }) => name),
    cells: (bin) => used.map((each) => each.text(mostOf(bin, value(each)))),
  })
}

export const devicesChart = (time: Time, { run }: SimulationReport): Markup =>
  lines(time, {
    id: 'devices',
    title: 'Devices',
    note: 'with an identity, connected, waiting',
    says: `How many of ${formatCount(run.devices)} devices had an identity, how many MQTT connections were open, and how many requests were under way.`,
    least: run.devices,
    text: formatShort,
    lines: [
      { name: 'with an identity', style: 'line c0', value: ({ devices }) => devices, text: formatCount },
      {
        name: 'MQTT connected',
        style: 'line c2 dashes',
        value: ({ connected }) => connected,
        text: formatCount,
      },
      { name: 'under way', style: 'line c3 dots', value: ({ under_way }) => under_way, text: formatCount },
    ],
  })

const SERVERS = ['line c3 dashes', 'line c2 dots', 'line c4 dashes', 'line c1 dots'] as const

export const loadChart = (time: Time, { servers }: SimulationReport): Markup =>
  lines(time, {
    id: 'load',
    title: 'Load',
    note: 'of the generator and the servers, share of a core',
    says: 'How busy the busiest event loop of the load generator was in each second, and how much of one core each measured server used.',
    least: 1,
    text: formatPercent,
    lines: [
      {
        name: 'generator',
        style: 'line c0',
        value: ({ generator }) => generator.utilisation,
        text: formatPercent,
      },
      ...servers.slice(0, SERVERS.length).map(({ name }, i) => ({
        name: clipped(name, LONGEST),
        style: SERVERS[i] ?? 'line c4',
        value: (point: Point) => point.servers[name],
        text: formatPercent,
      })),
    ],
  })

export const lagChart = (time: Time): Markup =>
  lines(time, {
    id: 'lag',
    title: 'Lag of the generator',
    note: 'how late its timers were: latencies below it are not to be trusted',
    says: 'The longest that a timer of the load generator was late, in each second.',
    least: 10,
    text: formatMillis,
    lines: [
      { name: 'worst', style: 'line c0', value: ({ generator }) => generator.lag_ms, text: formatMillis },
    ],
  })
