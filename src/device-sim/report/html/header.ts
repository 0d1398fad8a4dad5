/** The beginning of the page: the verdict, what a reader must know before the figures, and the most important of them. */

import { totalOfDoors } from '#device-sim/measure/counts.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { formatClock, formatCount, formatMillis, formatShort } from '../format.ts'
import { inOrder } from '../measures.ts'
import { remarksOn } from '../remarks.ts'
import { html, trusted, whole, type Content, type Markup } from './markup.ts'

/** the same word at two doors is two */
const reasonsIn = (doors: SimulationReport['refused']): string => {
  const all = Object.values(doors).reduce((sum, door) => sum + Object.keys(door).length, 0)
  return all === 1 ? 'one reason' : `${formatCount(all)} reasons`
}

const list = (items: readonly string[]): Content =>
  items.length === 0
    ? undefined
    : html`<ul>
        ${items.slice(0, 20).map((item) => html`<li>${item}</li>`)}
      </ul>`

const banners = ({ generator, run }: SimulationReport): Content => [
  generator.bound
    ? html`<aside class="banner" role="note">
        <strong>The load generator was the bottleneck: these latencies are not the server’s.</strong>
        <p>
          It could not keep up, so what was slow may have been this machine. Of assertions about latency only
          those were judged that hold in an open loop all the same. Ask for less, or give it more cores.
        </p>
        ${list(generator.reasons)}
      </aside>`
    : undefined,
  generator.gathering.bound
    ? html`<aside class="banner" role="note">
        <strong>The load generator was the bottleneck while the fleet enrolled.</strong>
        <p>What <code>enroll</code> says is in part this machine.</p>
        ${list(generator.gathering.reasons)}
      </aside>`
    : undefined,
  run.trouble === null
    ? undefined
    : html`<aside class="banner" role="note">
        <strong>The simulator itself was in trouble.</strong>
        <p>${run.trouble}</p>
      </aside>`,
  run.interrupted
    ? html`<aside class="banner" role="note">
        <strong>It was ended before its time.</strong>
        <p>This is what was seen until then.</p>
      </aside>`
    : undefined,
]

const facts = ({ run }: SimulationReport): Markup => {
  const rows: readonly (readonly [string, string])[] = [
    ['started', `${run.started.replace('T', ' ').replace(/\.\d+Z$/, '')} UTC`],
    [
      'duration',
      `${formatClock(run.duration_ms)}${run.gathering_ms > 0 ? ` after ${formatMillis(run.gathering_ms)} of gathering` : ''}`,
    ],
    ['devices', formatCount(run.devices)],
    [
      'load',
      run.load === 'open'
        ? `open loop, ${run.rate === null ? '' : `${formatShort(run.rate)}/s`}`
        : 'closed loop',
    ],
    ['seed', run.seed],
    ['workers', formatCount(run.workers)],
    ['machine', run.machine],
    ['versions', `Node ${run.node}, OpenSSL ${run.openssl}`],
    ...Object.entries(run.targets).map(([name, url]) => [name, url] as const),
  ]
  return html`<dl class="facts">
      ${rows.map(
        ([name, value]) =>
          html`<div>
            <dt>${name}</dt>
            <dd>${value}</dd>
          </div>`,
      )}
    </dl>
    <p class="repeat">
      <span class="dim">Repeat it with</span><code tabindex="0">${whole(run.command)}</code>
    </p>`
}

/** In words, with what keeps it from being all that was asked for. */
export const verdictIn = (report: SimulationReport): string =>
  [report.verdict.ok ? 'passed' : 'not ok', ...remarksOn(report)].join(', ')

export const header = (report: SimulationReport): Markup => {
  const { run, verdict } = report
  return html`<header>
    <p class="brand">Sallyport <span>simulation report</span></p>
    <div class="top">
      <div>
        <h1>${run.scenario}</h1>
        <p class="lead">${run.summary}</p>
      </div>
      <p class="verdict ${verdict.ok ? 'good' : 'bad'}">
        <span aria-hidden="true">${verdict.ok ? '✓' : '✗'}</span> ${verdictIn(report)}
      </p>
    </div>
    ${verdict.reasons.length === 0 ? undefined : html`<div class="why">${list(verdict.reasons)}</div>`}${banners(report)}${facts(report)}
  </header> `
}

type Tile = { readonly name: string; readonly value: string; readonly note: string; readonly bad?: boolean }

const rate = (n: number, { run }: SimulationReport): string =>
  run.load_ms > 0 ? `${formatShort(Math.round((n / run.load_ms) * 10_000) / 10)}/s` : ''

const judged = (name: string, all: readonly { readonly held: boolean | null }[]): Tile => {
  const tried = all.filter(({ held }) => held !== null)
  const held = tried.filter((each) => each.held).length
  const open = all.length - tried.length
  const broken = tried.length - held
  return {
    name,
    value: tried.length === 0 ? '—' : `${held} of ${tried.length}`,
    note: [
      broken > 0 ? `${broken} broken` : tried.length > 0 ? 'held' : 'none judged',
      open > 0 && tried.length > 0 ? `${open} not judged` : '',
    ]
      .filter(Boolean)
      .join(', '),
    bad: broken > 0,
  }
}

/** Those that could not be tried are no part of what held. */
const drillsTile = ({ drills, skipped }: SimulationReport): readonly Tile[] => {
  const untried = Object.keys(skipped).length
  if (drills.length + untried === 0) return []
  const tile = judged('drills', drills)
  const left = `${formatCount(untried)} not tried`
  return [untried === 0 ? tile : { ...tile, note: drills.length === 0 ? left : `${tile.note}, ${left}` }]
}

const tilesOf = (report: SimulationReport): readonly Tile[] => {
  const { counts, refused, errors, measures, invariants, assertions, run, generator } = report
  const count = (name: string): number => counts[name] ?? 0
  const enrolled = ['rest', 'est', 'mqtt', 'state', 'given'].reduce(
    (sum, via) => sum + count(`enrolled_${via}`),
    0,
  )
  const first = inOrder(measures).find((name) => name !== 'refusal')
  const latency = first === undefined ? undefined : measures[first]
  const [refusals, failures] = [totalOfDoors(refused), totalOfDoors(errors)]
  return [
    {
      name: 'devices',
      value: formatCount(enrolled),
      note: `of ${formatCount(run.devices)} with an identity`,
      bad: !report.verdict.ok && enrolled < run.devices,
    },
    {
      name: 'requests',
      value: formatShort(count('admitted_https')),
      note: rate(count('admitted_https'), report),
    },
    {
      name: 'messages',
      value: formatShort(count('published')),
      note: `${formatShort(count('delivered'))} delivered`,
    },
    ...(latency === undefined || first === undefined
      ? []
      : [
          {
            name: `${first} p99`,
            value: formatMillis(latency.p99),
            note: generator.bound
              ? 'not the server’s'
              : latency.missing > 0
                ? `without ${formatShort(latency.missing)} that are missing`
                : `p50 ${formatMillis(latency.p50)}`,
          },
        ]),
    {
      name: 'refused',
      value: formatShort(refusals),
      note: refusals === 0 ? '' : reasonsIn(refused),
    },
    {
      name: 'errors',
      value: formatShort(failures),
      note: failures === 0 ? '' : 'no verdict',
      bad: !report.verdict.ok && failures > 0,
    },
    judged('invariants', invariants),
    ...(assertions.length > 0 ? [judged('assertions', assertions)] : []),
    ...drillsTile(report),
  ]
}

export const tiles = (report: SimulationReport): Markup =>
  html`<section aria-label="Summary">
    <ul class="tiles">
      ${tilesOf(report).map(({ name, value, note, bad }) => html`<li${bad === true ? trusted(' class="bad"') : undefined}><span class="name">${name}</span><strong>${value}</strong><small>${note}</small></li>`)}
    </ul>
  </section> `
