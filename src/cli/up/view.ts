/** The few lines that show what is happening: a pure function of figures, width and colour. Not the terminal: that is screen.ts. */

import { stripVTControlCharacters, styleText } from 'node:util'
import { byFrequency, formatCount } from '#device-sim/index.ts'
import type { Figures, Recent } from './tally.ts'

type Style = Parameters<typeof styleText>[0]
export type Paint = (style: Style, text: string) => string

/** Wider is not easier to read; and what is never wider is not torn when a window is made a little narrower. */
const WIDEST = 78
const BARS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'] as const

export const painter = (colours: boolean): Paint =>
  colours ? (style, text) => styleText(style, text, { validateStream: false }) : (_, text) => text

/** Average of the last ten seconds. */
const rate = (history: readonly number[]): string => {
  const last = history.slice(-10)
  return (last.reduce((sum, n) => sum + n, 0) / last.length).toFixed(1)
}

export const graph = (history: readonly number[]): string => {
  const most = Math.max(1, ...history)
  return history.map((n) => (n === 0 ? ' ' : BARS[Math.ceil((n / most) * BARS.length) - 1])).join('')
}

const reasons = (refused: Readonly<Record<string, number>>): string =>
  byFrequency(refused)
    .map(([reason, n]) => `${reason} ${formatCount(n)}`)
    .join(', ')

const duration = (ms: number): string => {
  const seconds = Math.floor(ms / 1_000)
  const two = (n: number): string => String(n).padStart(2, '0')
  return `${two(Math.floor(seconds / 3_600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
}

const clock = (at: number): string => new Date(at).toTimeString().slice(0, 8)

const ESCAPE = /(\p{Cc}\[[\d;]*m)/u

/** Cuts what is seen, not what is written: escape sequences have no width, and those that end a colour are kept. */
export const fit = (line: string, width: number): string => {
  if (stripVTControlCharacters(line).length <= width) return line
  let room = width - 1
  const kept = line.split(ESCAPE).map((part) => {
    if (ESCAPE.test(part)) return part
    const shown = part.slice(0, Math.max(0, room))
    const cut = part.length > room && room >= 0
    room = cut ? -1 : room - part.length
    return cut ? `${shown}…` : shown
  })
  return kept.join('')
}

/** A client may have written it: nothing that moves the cursor, and nothing that is wider than it is long. */
const narrow = (text: string): string => text.replace(/[^ -~]/gu, '?')

const recentLine = (paint: Paint, { at, who, what, good }: Recent): string =>
  `${paint('dim', clock(at))}  ${paint(good ? 'green' : 'yellow', good ? '+' : '-')} ${narrow(who)}  ${narrow(what)}`

const refusals = (paint: Paint, refused: Readonly<Record<string, number>>): string[] =>
  Object.keys(refused).length === 0
    ? []
    : [`${paint('dim', '          refused')}  ${paint('yellow', reasons(refused))}`]

/** @param o.up ms since the start. @param o.width columns of the terminal */
export const render = (
  figures: Figures,
  o: { readonly up: number; readonly width: number; readonly colours: boolean },
): string[] => {
  const paint = painter(o.colours)
  const width = Math.max(1, Math.min(WIDEST, o.width - 1))
  const label = (text: string): string => paint('dim', text.padEnd(10))
  const strong = (n: number): string => paint('bold', formatCount(n))
  const { devices, https, mqtt, history, recent } = figures
  const title = ` Sallyport, up ${duration(o.up)}, Ctrl-C ends it `
  const all = devices.enrolled >= devices.wanted
  const lines = [
    paint('dim', `──${title}${'─'.repeat(Math.max(0, width - title.length - 2))}`),
    ...(devices.wanted === 0
      ? []
      : [
          `${label('devices')}${paint(all ? ['bold', 'green'] : 'bold', formatCount(devices.enrolled))} of ${formatCount(devices.wanted)} enrolled`,
        ]),
    `${label('https')}${strong(https.admitted)} admitted  ${rate(history)}/s  ${paint('cyan', graph(history))}`,
    ...refusals(paint, https.refused),
    ...(devices.wanted === 0
      ? []
      : [
          `${label('mqtt')}${strong(mqtt.connected)} connected  ${strong(mqtt.published)} published  ${strong(mqtt.delivered)} delivered`,
        ]),
    ...refusals(paint, mqtt.refused),
    ...recent.map((entry, at) => `${label(at === 0 ? 'recent' : '')}${recentLine(paint, entry)}`),
  ]
  return lines.map((line) => fit(line, width))
}

/** The same for a log or a pipe: one line. */
export const summary = ({ devices, https, mqtt }: Figures, up: number): string =>
  [
    `up ${duration(up)}:`,
    `${devices.enrolled}/${devices.wanted} devices enrolled;`,
    `https ${https.admitted} admitted, refused: ${reasons(https.refused) || 'none'};`,
    `mqtt ${mqtt.connected} connected, ${mqtt.published} published, ${mqtt.delivered} delivered, refused: ${reasons(mqtt.refused) || 'none'}`,
  ].join(' ')
