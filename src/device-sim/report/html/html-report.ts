/**
 * The report as one page: a single file that fetches nothing and runs nothing, so that it can be sent to somebody, opened from a disk, or
 * printed. What is in it of device ids, reasons and errors came over a network: all of it is text (markup.ts). Not what is in its parts.
 */

import { createHash } from 'node:crypto'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { timeOf } from './chart.ts'
import { faultsChart } from './faults.ts'
import { header, tiles, verdictIn } from './header.ts'
import { inOrder } from '../measures.ts'
import { histogramChart, latencyChart } from './latency.ts'
import { html, trusted, type Content, type Markup } from './markup.ts'
import { devicesChart, lagChart, loadChart, refusalsChart, throughputChart } from './rates.ts'
import { STYLE } from './style.ts'
import {
  assertionsTable,
  countsTable,
  drillsTable,
  errorsTable,
  faultsTable,
  invariantsTable,
  measuresTable,
  programsTable,
  refusalsTable,
  topicsTable,
} from './tables.ts'

const POLICY = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; base-uri 'none'; form-action 'none'`

// in one piece: the policy knows it by its hash, to the letter
const SHEET = trusted(`<style>${STYLE}</style>`)

/** More measures than there are would be somebody else's file. */
const MOST_MEASURES = 16

const section = (id: string, title: string, content: Content): Markup =>
  html`<section aria-labelledby="${id}">
    <h2 id="${id}">${title}</h2>
    ${content}
  </section> `

const plots = (...all: readonly Content[]): Content => html`<div class="plots">${all}</div>`

const nothing = html`<p>Nothing was measured.</p>`

const overTime = (report: SimulationReport): Content => {
  const time = timeOf(report)
  return report.series.length === 0
    ? html`${nothing}${plots(faultsChart(time))}`
    : plots(
        throughputChart(time, report),
        refusalsChart(time, report),
        devicesChart(time, report),
        loadChart(time, report),
        lagChart(time),
        faultsChart(time),
      )
}

const latencies = (report: SimulationReport): Content => {
  const time = timeOf(report)
  const names = inOrder(report.measures).slice(0, MOST_MEASURES)
  return names.length === 0
    ? nothing
    : html`${measuresTable(report)}${plots(
        names.map((name, i) => [
          latencyChart(time, name, `latency-${i}`),
          histogramChart(name, report.histograms[name] ?? [], report.measures[name], `spread-${i}`),
        ]),
      )}`
}

const SECTIONS: readonly (readonly [id: string, title: string, (report: SimulationReport) => Content])[] = [
  ['over-time', 'Over time', overTime],
  ['latency', 'Latency', latencies],
  ['promises', 'Security invariants', invariantsTable],
  ['assertions', 'Assertions', assertionsTable],
  ['drills', 'Drills', drillsTable],
  ['refused', 'Refusals and errors', (report) => [refusalsTable(report), errorsTable(report)]],
  ['timeline', 'Injected faults', faultsTable],
  [
    'figures',
    'Counters and programs',
    (report) =>
      html`<div class="pair">
          <div>${countsTable(report)}</div>
          <div>${programsTable(report)}</div>
        </div>
        ${topicsTable(report)}`,
  ],
]

const contents = html`<nav aria-label="Contents">
  <ul>
    ${SECTIONS.map(([id, title]) => html`<li><a href="#${id}">${title}</a></li>`)}
  </ul>
</nav> `

/** A whole document, well under 1 MB whatever the report holds. */
export const htmlReport = (report: SimulationReport): string => {
  const { run } = report
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${POLICY}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="referrer" content="no-referrer" />
        <title>${verdictIn(report)}: ${run.scenario}, Sallyport simulation report</title>
        ${SHEET}
      </head>
      <body>
        ${header(report)}
        <main>
          ${tiles(report)}${contents}${SECTIONS.map(([id, title, content]) => section(id, title, content(report)))}
        </main>
        <footer>
          <p>
            Made by <code>sallyport sim run</code>. All times are what the simulated devices saw; zero is when
            the load began. Every figure of this page, second by second, is in the JSON of the same run.
          </p>
        </footer>
      </body>
    </html> `.markup
}
