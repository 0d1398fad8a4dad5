/** The timeline of what was done to the fleet: a row for each kind, the numbers as in the other plots. */

import { formatClock, formatCount } from '../format.ts'
import { ACROSS, AREA, figure, numberOf, vertical, WIDE, type Fault, type Time } from './chart.ts'
import { html, trusted, type Content, type Markup } from './markup.ts'

const ROW = 24
const TOP = 10
/** Of one kind at the same time: more than these are drawn over each other. */
const LANES = 6

type Bar = { readonly fault: Fault; readonly left: number; readonly right: number; readonly lane: number }

/** Side by side where they can be, else below each other. */
const lanesOf = (time: Time, faults: readonly Fault[]): readonly Bar[] => {
  const taken: number[] = []
  return faults
    .toSorted((a, b) => a.at_ms - b.at_ms)
    .map((fault) => {
      const left = time.axis.at(fault.at_ms)
      const right = fault.lasts_ms === null ? left : time.axis.at(fault.at_ms + fault.lasts_ms)
      const free = taken.findIndex((until) => left >= until)
      const lane = free === -1 ? Math.min(taken.length, LANES - 1) : free
      taken[lane] = Math.max(right, left + 26)
      return { fault, left, right, lane }
    })
}

/** How many it befell, of those that were chosen. */
export const struckOf = ({ struck, devices }: Fault): string =>
  struck === devices ? formatCount(devices) : `${formatCount(struck)} of ${formatCount(devices)}`

const words = (fault: Fault): string =>
  [
    `${fault.kind} at ${formatClock(fault.at_ms)}`,
    fault.lasts_ms === null ? '' : ` for ${formatClock(fault.lasts_ms)}`,
    `, ${struckOf(fault)} devices`,
    fault.detail === '' ? '' : `: ${fault.detail}`,
  ].join('')

const drawn = (time: Time, { fault, left, right, lane }: Bar, top: number): Content => {
  const y = top + lane * ROW + 3
  const number = numberOf(time, fault)
  const shape =
    right - left < 3
      ? html`<path class="area c3" d="M${left.toFixed(1)} ${y}l6 9l-6 9l-6 -9z" />`
      : html`<rect
          class="area c1"
          x="${left.toFixed(1)}"
          y="${y}"
          width="${(right - left).toFixed(1)}"
          height="18"
          rx="3"
        />`
  const inside = right - left > 24
  const last = left > AREA.right - 20
  return html`<g
    ><title>${words(fault)}</title>${shape}<text
      class="${inside ? 'tick on' : 'tick'}"
      ${last ? trusted(' text-anchor="end"') : undefined}
      x="${(inside ? left + 6 : last ? left - 9 : Math.max(right, left + 6) + 3).toFixed(1)}"
      y="${y + 13}"
      >${number}</text
    ></g
  >`
}

/** `undefined`: nothing was done to it */
export const faultsChart = (time: Time): Markup | undefined => {
  if (time.faults.length === 0) return undefined
  const kinds = [...new Set(time.faults.map(({ kind }) => kind))].slice(0, 20)
  let top = TOP
  const rows = kinds.map((kind) => {
    const bars = lanesOf(
      time,
      time.faults.filter((fault) => fault.kind === kind),
    )
    const from = top
    top += ROW * (1 + Math.max(...bars.map(({ lane }) => lane)))
    return html`<path class="grid" d="M${ACROSS.start} ${top}H${AREA.right}" /><text
        class="tick row"
        text-anchor="end"
        x="${AREA.left - 6}"
        y="${from + 16}"
        >${kind.slice(0, 12)}</text
      >${bars.map((bar) => drawn(time, bar, from))}`
  })
  return figure(
    {
      id: 'faults',
      title: 'Injected faults',
      note: 'numbered as in the other plots',
      says: time.faults.map((fault, i) => `${i + 1}: ${words(fault)}`).join('. '),
      keys: [
        { name: 'for a time', style: 'area c1' },
        { name: 'done at once', style: 'area c3' },
      ],
      high: top + 30,
    },
    html`${vertical(time.axis, top)}${rows}<path class="base" d="M${AREA.left} ${top}H${WIDE - 12}" />`,
    undefined,
  )
}
