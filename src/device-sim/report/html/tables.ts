/** The report as tables and lists: every figure that the plots do not say exactly. */

import { totalOfDoors, type CountsByDoor } from '#device-sim/measure/counts.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { byFrequency, formatBytes, formatClock, formatCount, formatMillis, formatShare } from '../format.ts'
import { table } from './chart.ts'
import { inOrder, wordsOf } from '../measures.ts'
import { struckOf } from './faults.ts'
import { html, type Content, type Markup } from './markup.ts'

/** Of what comes from outside: the rest is in the JSON. */
const MOST_ROWS = 60

const SIGNS = { held: ['✓', 'held'], broken: ['✗', 'broken'], open: ['–', 'not judged'] } as const

/** Never by colour alone. */
const sign = (held: boolean | null): Markup => {
  const kind = held === null ? 'open' : held ? 'held' : 'broken'
  const [mark, word] = SIGNS[kind]
  return html`<span class="sign ${kind}"><span aria-hidden="true">${mark}</span> ${word}</span>`
}

const more = (all: number): Content =>
  all > MOST_ROWS ? html`<p class="dim">and ${formatCount(all - MOST_ROWS)} more, in the JSON</p>` : undefined

export const measuresTable = ({ measures }: SimulationReport): Markup =>
  table(
    'Latency of the whole run',
    ['measure', 'count', 'missing', 'min', 'mean', 'p50', 'p90', 'p99', 'p99.9', 'max', ''],
    inOrder(measures).flatMap((name) => {
      const each = measures[name]
      if (each === undefined) return []
      const { min, mean, p50, p90, p99, p999, max } = each
      const figures = [min, mean, p50, p90, p99, p999, max].map(formatMillis)
      const often = [each.count, each.missing].map(formatCount)
      return [[name, ...often, ...figures, html`<small>${wordsOf(name)}</small>`]]
    }),
    [10],
  )

const share = (n: number, most: number): Markup =>
  html`<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
    <rect class="area c3" width="${Math.max(0.8, (n / most) * 100).toFixed(1)}" height="8" />
  </svg>`

/** By door and what; the most frequent first. */
const frequencies = (caption: string, what: string, doors: CountsByDoor): Markup => {
  const rows = Object.entries(doors)
    .flatMap(([door, counts]) => byFrequency(counts).map(([name, n]) => ({ door, name, n })))
    .toSorted((a, b) => b.n - a.n)
  const most = rows[0]?.n ?? 1
  const all = rows.reduce((sum, { n }) => sum + n, 0)
  return html`${table(
    caption,
    ['door', what, 'count', 'share', ''],
    rows
      .slice(0, MOST_ROWS)
      .map(({ door, name, n }) => [
        door,
        html`<code>${name}</code>`,
        formatCount(n),
        formatShare(n, all),
        share(n, most),
      ]),
    [1, 4],
  )}${more(rows.length)}`
}

const isEmpty = (doors: CountsByDoor): boolean => totalOfDoors(doors) === 0

export const refusalsTable = ({ refused }: SimulationReport): Content =>
  isEmpty(refused)
    ? html`<p>Nothing was refused.</p>`
    : frequencies('Refusals by door and reason', 'reason', refused)

export const errorsTable = ({ errors }: SimulationReport): Content =>
  isEmpty(errors) ? html`<p>No errors.</p>` : frequencies('Errors by door', 'what', errors)

const proof = (evidence: readonly string[]): Content =>
  evidence.length === 0
    ? undefined
    : html`<ul class="proof">
        ${evidence.map((each) => html`<li>${each}</li>`)}
      </ul>`

type Judged = { readonly held: boolean | null }
const worstFirst = <T extends Judged>(all: readonly T[]): T[] => {
  const place = ({ held }: Judged): number => (held === false ? 0 : held === null ? 2 : 1)
  return all.toSorted((a, b) => place(a) - place(b))
}

/** Why it was not judged, and what of it nobody looked at. */
const noteOf = ({ why, unobserved }: SimulationReport['invariants'][number]): Content => {
  const note = [why, unobserved].filter((words) => words !== '').join('; ')
  return note === '' ? undefined : html`<br /><span class="dim">${note}</span>`
}

export const invariantsTable = ({ invariants }: SimulationReport): Content =>
  invariants.length === 0
    ? html`<p>None was judged.</p>`
    : table(
        'Security invariants',
        ['invariant', 'verdict', 'checked', 'broken', 'promise and evidence'],
        worstFirst(invariants).map((each) => [
          html`<code>${each.name}</code>`,
          sign(each.held),
          formatCount(each.checked),
          formatCount(each.broken),
          html`${each.promise}${noteOf(each)}${proof(each.evidence)}`,
        ]),
        [1, 4],
      )

export const assertionsTable = ({ assertions }: SimulationReport): Content =>
  assertions.length === 0
    ? html`<p>None was made.</p>`
    : table(
        'Assertions',
        ['assertion', 'verdict', 'found'],
        worstFirst(assertions).map((each) => [html`<code>${each.text}</code>`, sign(each.held), each.why]),
        [1, 2],
      )

export const drillsTable = ({ drills, skipped }: SimulationReport): Content => {
  const failed = drills.filter(({ held }) => !held)
  const held = drills.filter((each) => each.held)
  const left = Object.entries(skipped)
  if (drills.length + left.length === 0) return html`<p>None ran.</p>`
  return html`${
      failed.length === 0
        ? undefined
        : table(
            'Expectations that failed',
            ['expectation', 'verdict', 'evidence'],
            failed.map((each) => [html`<code>${each.expectation}</code>`, sign(false), each.evidence]),
            [1, 2],
          )
    }
    <p>${sign(true)} ${formatCount(held.length)} of ${formatCount(drills.length)} expectations.</p>
    ${
      held.length === 0
        ? undefined
        : html`<details>
            <summary>Those that held</summary>
            <ul class="many">
              ${held.map(({ expectation }) => html`<li><code>${expectation}</code></li>`)}
            </ul>
          </details>`
    }${left.length === 0 ? undefined : table('Not tried', ['not tried', 'why'], left, [1])}`
}

export const faultsTable = ({ timeline }: SimulationReport): Content =>
  timeline.length === 0
    ? html`<p>None were injected.</p>`
    : table(
        'Injected faults',
        ['no.', 'kind', 'at', 'lasts', 'devices', 'what came of it'],
        timeline.map((each, i) => [
          String(i + 1),
          each.kind,
          formatClock(each.at_ms),
          each.lasts_ms === null ? '—' : formatMillis(each.lasts_ms),
          struckOf(each),
          each.detail,
        ]),
        [1, 5],
      )

const valueOf = (name: string, n: number): string =>
  name.startsWith('bytes_') ? formatBytes(n) : formatCount(n)

/** Those on which something was not as it should be. */
export const topicsTable = ({ topics }: SimulationReport): Content =>
  topics.length === 0
    ? undefined
    : table(
        'Worst topics',
        ['topic', 'device', 'lost', 'gaps', 'out of order', 'twice'],
        topics.map(({ topic, device, lost, gaps, reordered, duplicates }) => [
          html`<code>${topic}</code>`,
          device,
          ...[lost, gaps, reordered, duplicates].map(formatCount),
        ]),
        [0, 1],
      )

export const countsTable = ({ counts }: SimulationReport): Markup => {
  const rows = Object.entries(counts).map(([name, n]) => [name, valueOf(name, n)])
  return rows.length === 0
    ? html`<p>Nothing was counted.</p>`
    : table('Counters', ['counter', 'in all'], rows)
}

export const programsTable = ({ generator, servers, run }: SimulationReport): Markup =>
  table(
    'Programs',
    ['program', 'CPU', 'of a core', 'peak memory', ''],
    [
      {
        name: 'load generator',
        ...generator,
        note: `${run.workers === 1 ? 'one worker' : `${run.workers} workers`}, worst lag ${formatMillis(generator.worst_lag_ms)}`,
      },
      ...servers.map((server) => ({ ...server, note: `process ${server.pid}` })),
    ].map(({ name, cpu_s, peak_rss, note }) => [
      name,
      `${formatCount(Math.round(cpu_s * 10) / 10)} s`,
      formatShare(cpu_s * 1_000, run.duration_ms + run.gathering_ms),
      formatBytes(peak_rss),
      html`<small>${note}</small>`,
    ]),
    [4],
  )
