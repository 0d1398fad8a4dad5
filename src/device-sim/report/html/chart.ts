/**
 * What every plot has in common: its frame, axes, the seconds of faults behind it, a key, what a pointer finds, and the same figures as a
 * table for who does not see it. Not what is plotted: the files beside this one.
 */

import type { Point, SimulationReport } from '#wire/simulation-report.ts'
import { formatClock } from '../format.ts'
import { timeAxis, type Axis } from './axis.ts'
import { binsOf, type Bin } from './bins.ts'
import { html, trusted, type Content, type Markup } from './markup.ts'

export const WIDE = 560
const HIGH = 250
/** The plot itself: what is around it belongs to labels, which are larger on a phone. */
export const AREA = { left: 62, right: WIDE - 12, top: 34, bottom: HIGH - 30 } as const
export const ACROSS = { start: AREA.left, end: AREA.right } as const
export const UP = { start: AREA.bottom, end: AREA.top } as const

const DRAWN = 240
const POINTED_AT = 100
const ROWS = 60

export type Fault = SimulationReport['timeline'][number]
export type Time = {
  readonly axis: Axis
  readonly from: number
  readonly to: number
  readonly series: readonly Point[]
  readonly bins: readonly Bin[]
  readonly faults: readonly Fault[]
}
export type Key = { readonly name: string; readonly style: string }

export type About = {
  /** unique in the page: of letters, digits and hyphens */
  readonly id: string
  readonly title: string
  readonly note: string
  /** what it shows, for who does not see it */
  readonly says: string
}

type Chart = About & {
  readonly y: Axis
  readonly marks: Content
  readonly keys: readonly Key[]
  /** of the table; the first column is made here */
  readonly heads: readonly string[]
  cells(bin: Bin): readonly string[]
}

/** One axis for all plots of a run: what happened at the same time is above one another. */
export const timeOf = ({ series, timeline, run }: SimulationReport): Time => {
  const bins = binsOf(series, DRAWN)
  const from = Math.min(0, bins[0]?.from ?? 0)
  const to = Math.max(series.at(-1)?.at_ms ?? 0, run.duration_ms, from + 1_000)
  return { axis: timeAxis(from, to, ACROSS), from, to, series, bins, faults: timeline }
}

export const middle = (time: Time, { from, to }: Bin): number => time.axis.at((from + to) / 2)

/** What is numbered in the plots, as in the table of faults. */
export const numberOf = (time: Time, fault: Fault): string => String(time.faults.indexOf(fault) + 1)

const LETTER = 6.4

/** Lines of text above a plot: far enough from each other for a phone. */
export const textRow = (row: number): number => 11 + row * 16

/** Texts on two lines above the plot, from left to right; where there is no room a number, or nothing. */
const labels = (
  wanted: readonly { readonly at: number; readonly number: string; readonly name: string }[],
): Markup[] => {
  const taken = [0, 0]
  return wanted
    .toSorted((a, b) => a.at - b.at)
    .flatMap(({ at, number, name }) => {
      for (const text of [`${number} ${name}`.trim(), number]) {
        const width = text.length * LETTER + 6
        const x = Math.min(at, AREA.right - width)
        const row = taken.findIndex((until) => x >= until)
        if (text === '' || row === -1) continue
        taken[row] = x + width
        const rest = text === number ? undefined : html`<tspan class="wide"> ${name}</tspan>`
        return [
          html`<text class="${number === '' ? 'mark wide' : 'mark'}" x="${x + 3}" y="${textRow(row)}"
            >${number === '' ? name : number}${number === '' ? undefined : rest}</text
          >`,
        ]
      }
      return []
    })
}

/** The seconds of faults, and those before the load, behind what is plotted. */
const behind = (time: Time): Markup => {
  const { axis, faults, from } = time
  const height = AREA.bottom - AREA.top
  const shown = faults.filter(({ at_ms }) => at_ms >= from && at_ms <= time.to)
  return html`${
    from < 0
      ? html`<rect
          class="before"
          x="${AREA.left}"
          y="${AREA.top}"
          width="${(axis.at(0) - AREA.left).toFixed(1)}"
          height="${height}"
        />`
      : undefined
  }${shown.map(({ at_ms, lasts_ms }) => {
    const left = axis.at(at_ms)
    const width = lasts_ms === null ? 0 : axis.at(at_ms + lasts_ms) - left
    return html`${width > 0 ? html`<rect class="fault" x="${left.toFixed(1)}" y="${AREA.top}" width="${width.toFixed(1)}" height="${height}" />` : undefined}<path
        class="when"
        d="M${left.toFixed(1)} ${AREA.top - 4}V${AREA.bottom}"
      />`
  })}${labels([
    ...(from < 0 ? [{ at: AREA.left, number: '', name: 'before load' }] : []),
    ...shown.map((fault) => ({ at: axis.at(fault.at_ms), number: numberOf(time, fault), name: fault.kind })),
  ])}`
}

export const horizontal = (axis: Axis): Markup[] =>
  axis.ticks.map(
    ({ at, text }) =>
      html`<path class="grid" d="M${AREA.left} ${at.toFixed(1)}H${AREA.right}" /><text
          class="tick"
          text-anchor="end"
          x="${AREA.left - 6}"
          y="${(at + 4).toFixed(1)}"
          >${text}</text
        >`,
  )

/** On a phone every other text is left out. */
export const vertical = (axis: Axis, bottom: number = AREA.bottom): Markup[] =>
  axis.ticks.map(
    ({ at, text }, i) =>
      html`<path class="base" d="M${at.toFixed(1)} ${bottom}v4" /><text
          class="tick${i % 2 === 1 ? ' wide' : ''}"
          text-anchor="${at > AREA.right - 14 ? 'end' : 'middle'}"
          x="${at.toFixed(1)}"
          y="${bottom + 18}"
          >${text}</text
        >`,
  )

const legend = (keys: readonly Key[]): Content =>
  keys.length === 0
    ? undefined
    : html`<ul class="keys">
        ${keys.map(({ name, style }) => html`<li><svg class="key" viewBox="0 0 22 12" aria-hidden="true">${style.includes('line') ? html`<path class="${style}" d="M1 6H21" />` : html`<rect class="${style}" width="22" height="12" rx="2" />`}</svg>${name}</li>`)}
      </ul>`

/** Columns of figures; the first cell of a row is its name. @param words columns (from 0) of words, which are set left */
export const table = (
  caption: string,
  heads: readonly string[],
  rows: readonly (readonly Content[])[],
  words: readonly number[] = [],
): Markup => {
  const at = (i: number): Content =>
    i === 0 ? undefined : trusted(` class="${words.includes(i) ? 'w' : 'n'}"`)
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${caption}">
    <table>
      <caption>
        ${caption}
      </caption>
      <thead>
        <tr>
          ${heads.map((head, i) => html`<th scope="col" ${at(i)}>${head}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              ${row.map((cell, i) => (i === 0 ? html`<th scope="row">${cell}</th>` : html`<td${at(i)}>${cell}</td>`))}
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`
}

const span = ({ from, to }: Bin): string =>
  to - from <= 1_000 ? formatClock(to) : `${formatClock(from)} to ${formatClock(to)}`

const asTable = (time: Time, chart: Chart): Markup => {
  const bins = binsOf(time.series, ROWS)
  const rows = bins.map((bin) => [span(bin), ...chart.cells(bin)])
  return html`<details>
    <summary>As a table</summary>
    ${table(chart.title, ['time', ...chart.heads], rows)}
  </details>`
}

const pointers = (time: Time, chart: Chart): Markup[] =>
  binsOf(time.series, POINTED_AT).map((bin) => {
    const [left, right] = [time.axis.at(bin.from), time.axis.at(bin.to)]
    const texts = chart.cells(bin).map((cell, i) => `${chart.heads[i]}: ${cell}`)
    return html`<rect
      class="at"
      x="${left.toFixed(1)}"
      y="${AREA.top}"
      width="${(right - left).toFixed(1)}"
      height="${AREA.bottom - AREA.top}"
      ><title>${[span(bin), ...texts].join('\n')}</title></rect
    >`
  })

export const figure = (
  o: About & { readonly keys: readonly Key[]; readonly high?: number },
  drawn: Content,
  below: Content,
): Markup =>
  html`<figure id="${o.id}">
    <figcaption><strong>${o.title}</strong> <span>${o.note}</span></figcaption>
    <svg
      class="plot"
      viewBox="0 0 ${WIDE} ${o.high ?? HIGH}"
      role="img"
      aria-labelledby="${o.id}-t ${o.id}-d"
    >
      <title id="${o.id}-t">${o.title}</title>
      <desc id="${o.id}-d">${o.says}</desc>
      ${drawn}</svg
    >${legend(o.keys)}${below}
  </figure> `

export const timeChart = (time: Time, chart: Chart): Markup =>
  figure(
    chart,
    html`${behind(time)}${horizontal(chart.y)}${vertical(time.axis)}${chart.marks}<path
        class="base"
        d="M${AREA.left} ${AREA.bottom}H${AREA.right}"
      />${pointers(time, chart)}`,
    asTable(time, chart),
  )
