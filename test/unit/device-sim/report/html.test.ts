import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { linearAxis, logAxis, needsLog, timeAxis } from '#device-sim/report/html/axis.ts'
import { binsOf, rateOf } from '#device-sim/report/html/bins.ts'
import { htmlReport } from '#device-sim/report/html/html-report.ts'
import { escaped, html } from '#device-sim/report/html/markup.ts'
import { latencyOf } from '#device-sim/report/measures.ts'
import { elementsOf, readElements, type Element } from '../../../support/elements.ts'
import { NOTHING, sampleReport, type SampleOptions } from '../../../support/simulation-report.ts'

const EVIL = `"><script>alert(1)</script>'&\u202e\u0007\ud800${'long-'.repeat(400)}`

const CASES: readonly (readonly [string, SampleOptions])[] = [
  ['a run', {}],
  ['nothing at all', NOTHING],
  ['one second', { seconds: 1, gathering: 0 }],
  ['an hour of 10,000 devices, with names from outside', { seconds: 3_600, devices: 10_000, foreign: EVIL }],
  ['all failed, with names from outside', { failing: true, foreign: EVIL }],
  ['a generator that was the bottleneck', { bound: true }],
  [
    'a hundred faults at once',
    {
      over: {
        timeline: Array.from({ length: 100 }, (_, i) => ({
          kind: `kind${i % 30}`,
          at_ms: 30_000,
          lasts_ms: 5_000,
          devices: 1,
          struck: 1,
          detail: EVIL,
        })),
      },
    },
  ],
  [
    'figures that are no figures of ours',
    {
      over: {
        measures: {
          [EVIL]: { count: 1, missing: 0, min: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 },
        },
        histograms: { [EVIL]: [{ from: 0, to: 0, count: 1 }] },
      },
    },
  ],
]

const everything = (element: Element): Element[] => [element, ...element.children.flatMap(everything)]

describe.each(CASES)('%s', (_, options) => {
  const page = htmlReport(sampleReport(options))
  const root = readElements(page)
  const all = everything(root)

  test('is well-formed, with nothing that runs or is fetched', () => {
    const names = new Set(all.map(({ name }) => name))
    for (const name of [
      'script',
      'link',
      'img',
      'iframe',
      'object',
      'base',
      'form',
      'image',
      'use',
      'foreignObject',
    ])
      expect(names).not.toContain(name)
    for (const { attributes } of all)
      for (const [name, value] of Object.entries(attributes)) {
        expect(name).not.toMatch(/^(on|style$|src|srcset$|xlink)/)
        if (name === 'href') expect(value).toMatch(/^#[a-z-]+$/)
      }
    expect(elementsOf(root, 'style')[0]?.text).not.toMatch(/url\(|@import/)
  })

  test('its policy allows its own style sheet and nothing else', () => {
    const policy = all.find(({ attributes }) => attributes['http-equiv'] === 'Content-Security-Policy')
    const sheet = elementsOf(root, 'style')
    const hash = createHash('sha256')
      .update(sheet[0]?.text ?? '')
      .digest('base64')
    expect(sheet).toHaveLength(1)
    expect(policy?.attributes['content']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`,
    )
  })

  test('is smaller than 1 MB', () => {
    expect(Buffer.byteLength(page)).toBeLessThan(1_000_000)
  })

  test('every plot has a title and words; every id is there once; every table a caption', () => {
    const ids = all.flatMap(({ attributes }) => attributes['id'] ?? [])
    expect(new Set(ids).size).toBe(ids.length)
    for (const plot of all.filter(
      ({ name, attributes }) => name === 'svg' && attributes['class'] === 'plot',
    )) {
      const [title, words] = (plot.attributes['aria-labelledby'] ?? '').split(' ')
      expect(plot.attributes['role']).toBe('img')
      expect(ids).toEqual(expect.arrayContaining([title, words]))
    }
    for (const table of elementsOf(root, 'table')) expect(elementsOf(table, 'caption')).toHaveLength(1)
    for (const { attributes } of elementsOf(root, 'a')) expect(ids).toContain(attributes['href']?.slice(1))
  })

  test('no figure is lost on the way to a plot', () => {
    expect(page).not.toMatch(/NaN|Infinity|undefined|\[object/)
  })
})

test('the verdict, its reasons and the command are at the top', () => {
  const text = (options: SampleOptions): string => {
    const [header] = elementsOf(readElements(htmlReport(sampleReport(options))), 'header')
    return header === undefined
      ? ''
      : everything(header)
          .map((each) => each.text)
          .join(' ')
  }
  expect(text({})).toMatch(/passed/)
  expect(text({})).toMatch(/sallyport sim run revocation-drill --devices 200/)
  expect(text({})).not.toMatch(/bottleneck/)
  expect(text({ failing: true })).toMatch(/not ok.*revoked_stay_out was broken 2 times/s)
  expect(text({ bound: true })).toMatch(/these latencies are not the server/)
})

test.each<[string, SampleOptions, string, string | undefined]>([
  ['all were tried', { over: { skipped: {} } }, 'passed', '7 of 7 held'],
  [
    'one could not be',
    { over: { skipped: { clone: 'there is no operator token' } } },
    'passed, 1 drill not tried',
    '7 of 7 held, 1 not tried',
  ],
  [
    'none could be',
    { over: { drills: [], skipped: { clone: 'no token', bad_target: 'no token' } } },
    'passed, 2 drills not tried',
    '— 2 not tried',
  ],
  ['there were to be none', { over: { drills: [], skipped: {} } }, 'passed', undefined],
])('drills: %s; the badge, the title and the tile say so', (_, options, verdict, drills) => {
  const root = readElements(htmlReport(sampleReport(options)))
  const withClass = (name: string, of: string): readonly Element[] =>
    elementsOf(root, name).filter(({ attributes }) => (attributes['class'] ?? '').split(' ').includes(of))
  const words = (element: Element | undefined): string => element?.text.replace(/\s+/g, ' ').trim() ?? ''
  expect(words(withClass('p', 'verdict')[0])).toBe(verdict)
  expect(words(elementsOf(root, 'title')[0])).toMatch(new RegExp(`^${verdict}: `))
  const tile = elementsOf(root, 'li').find(
    ({ children }) => children[0]?.attributes['class'] === 'name' && words(children[0]) === 'drills',
  )
  const [, value, note] = tile?.children ?? []
  expect(tile === undefined ? undefined : `${words(value)} ${words(note)}`).toBe(drills)
})

test('the faults are numbered in every plot over time, and are in words in theirs', () => {
  const root = readElements(htmlReport(sampleReport()))
  const plots = elementsOf(root, 'figure')
  const words = plots.find(({ attributes }) => attributes['id'] === 'faults')
  expect(elementsOf(words as Element, 'desc')[0]?.text).toMatch(
    /^1: link at 0:09 for 0:15, 60 devices: 200 ms/,
  )
  for (const id of ['throughput', 'refusals', 'latency-0']) {
    const plot = plots.find(({ attributes }) => attributes['id'] === id)
    const marks = everything(plot as Element).filter(({ attributes }) => attributes['class'] === 'mark')
    expect(marks.map(({ text }) => text.trim()).toSorted(), id).toEqual(['1', '2', '3', '4', '5'])
  }
})

test.each([
  ['<b>&"\'', '&lt;b&gt;&amp;&quot;&#39;'],
  ['a\u202eb\u0000', 'a\\u202eb\\u0000'],
  ['a\nb', 'a\nb'],
  ['\udfff', '\ufffd'],
])('%j is text', (text, markup) => {
  expect(escaped(text)).toBe(markup)
  expect(html`<p title="${text}">${[text, html`<b>${1}</b>`]}${undefined}</p>`.markup).toBe(
    `<p title="${markup}">${markup}<b>1</b></p>`,
  )
})

const span = { start: 0, end: 100 }
const texts = (axis: { readonly ticks: readonly { readonly text: string }[] }): string[] =>
  axis.ticks.map(({ text }) => text)

test.each([
  [linearAxis(0, span, String), ['0', '0.5', '1']],
  [linearAxis(7, span, String), ['0', '2', '4', '6', '8']],
  [linearAxis(200, span, String), ['0', '50', '100', '150', '200']],
  [logAxis(3, 50, span, String, true), ['2', '5', '10', '20', '50']],
  [logAxis(0.09, 90, span, String, true), ['0.03', '0.1', '0.3', '1', '3', '10', '30', '100']],
  [logAxis(0.05, 9_000, span, String, true), ['0.01', '0.1', '1', '10', '100', '1000', '10000']],
  [timeAxis(-4_000, 60_000, span), ['0:00', '0:10', '0:20', '0:30', '0:40', '0:50', '1:00']],
  [timeAxis(0, 1_000, span), ['0:00', '0:01']],
  [timeAxis(0, 3_600_000, span), ['0:00', '10:00', '20:00', '30:00', '40:00', '50:00', '1:00:00']],
])('marks at round values (%#)', (axis, marks) => {
  expect(texts(axis)).toEqual(marks)
  expect(axis.at(Number.MAX_VALUE)).toBe(100)
})

test('an axis is logarithmic where the values are orders apart', () => {
  expect(needsLog([1, 2, 20])).toBe(false)
  expect(needsLog([1, 2, 26])).toBe(true)
  expect(needsLog([0, 0, 5])).toBe(false)
})

test('of several seconds: the range of their medians, and the worst of the others', () => {
  const { series } = sampleReport({ seconds: 10, gathering: 0 })
  const [bin, ...others] = binsOf(series, 1)
  const all = series.map(({ measures }) => measures['https']).filter((each) => each !== undefined)
  expect(others).toEqual([])
  expect(latencyOf(bin?.points ?? [], 'https')).toEqual({
    count: all.reduce((sum, { count }) => sum + count, 0),
    p50: Math.max(...all.map(({ p50 }) => p50)),
    p50_low: Math.min(...all.map(({ p50_low }) => p50_low)),
    p99: Math.max(...all.map(({ p99 }) => p99)),
    max: Math.max(...all.map(({ max }) => max)),
  })
  expect(latencyOf(series, 'never')).toBeUndefined()
})

test.each([
  [3_664, 240, 229, 16_000],
  [60, 240, 60, 1_000],
  [1, 240, 1, 1_000],
  [0, 240, 0, 0],
])('%d seconds in at most %d bins', (seconds, most, count, width) => {
  const bins = binsOf(sampleReport({ seconds, gathering: 0 }).series, most)
  expect(bins).toHaveLength(count)
  expect((bins[0]?.to ?? 0) - (bins[0]?.from ?? 0)).toBe(width)
  expect(bins.flatMap(({ points }) => points)).toHaveLength(seconds)
})

test('a point counts what happened since the one before, be it late or of several seconds', () => {
  const { series } = sampleReport({ seconds: 5, gathering: 0 })
  const bins = binsOf(series.toSpliced(2, 1), 240)
  expect(bins.map(({ from, to }) => [from, to])).toEqual([
    [0, 1_000],
    [1_000, 2_000],
    [2_000, 4_000],
    [4_000, 5_000],
  ])
  expect(bins.map((bin) => rateOf(bin, () => 10))).toEqual([10, 10, 5, 10])
  expect(
    binsOf(
      series.map((point) => ({ ...point, at_ms: point.at_ms * 2, span_ms: 2_000 })),
      240,
    )[0]?.from,
  ).toBe(0)
})
