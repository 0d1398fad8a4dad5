import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import type { Io, Stream } from '#cli/io.ts'
import { lineOf, renderLive } from '#cli/sim/live-text.ts'
import { createLiveView } from '#cli/sim/live-view.ts'
import { sampleLive, sampleReport } from '../../../support/simulation-report.ts'

const { series } = sampleReport()
const recent = series.slice(10, 25)
const plain = (live: ReturnType<typeof sampleLive>, width = 80): string[] =>
  renderLive(live, recent, { width, colours: false })

test('what it shows, without colours', () => {
  expect(plain(sampleLive())).toEqual([
    `── revocation-drill, Ctrl-C ends it ${'─'.repeat(42)}`,
    expect.stringMatching(/^running {3}█{8}░{16} {2}0:20 of 1:00$/),
    'devices   200 of 200  100 connected  20 under way',
    expect.stringMatching(/^https {5}[\d,]+ admitted {2}[\d.]+\/s {2}[▁▂▃▄▅▆▇█]+$/),
    expect.stringMatching(/^mqtt {6}[\d,]+ published {2}[\d.]+\/s {2}[▁▂▃▄▅▆▇█]+$/),
    'worst 5 s         p50      p99      max     all p50      p99    p99.9',
    ...Array.from({ length: 6 }, () => expect.stringMatching(/^\w+ +[\d.]+ [mµ]s +[\d.]+ [mµ]s/)),
    expect.stringMatching(/^refused {3}\d+ {2}https request_timeout \d+$/),
    'faults    link (60 devices, 0:04 left)',
    expect.stringMatching(/^load {6}generator \d+ % \(busiest\) {2}gateway \d+ % {2}enroll \d+ % {2}lag/),
  ])
})

test.each([
  [
    { kind: 'gathering', done: 50, of: 200 } as const,
    'gathering ██████░░░░░░░░░░░░░░░░░░  50 of 200 have an identity',
  ],
  [
    { kind: 'gathering', done: 0, of: 0 } as const,
    'gathering ████████████████████████  0 of 0 have an identity',
  ],
  [{ kind: 'running', elapsed: 61_000, duration: undefined } as const, 'running   1:01'],
  [
    { kind: 'running', elapsed: 70_000, duration: 60_000 } as const,
    'running   ████████████████████████  1:10 of 1:00',
  ],
  [{ kind: 'draining', elapsed: 60_500 } as const, 'draining  ████████████████████████  1:01'],
])('the phase %j', (phase, line) => {
  expect(plain(sampleLive({ phase }))[1]).toBe(line)
})

test('a generator that is the bottleneck is said, with the first reason', () => {
  const live = sampleLive({ generator: { bound: true, reasons: ['worker 1 was busy 99 %', 'more'] } })
  expect(plain(live).slice(-2)).toEqual([
    '          THE GENERATOR IS THE BOTTLENECK',
    '          worker 1 was busy 99 %',
  ])
  expect(lineOf(live, recent)).toMatch(/; THE GENERATOR IS THE BOTTLENECK$/)
})

test.each([200, 80, 62, 40, 12, 1])('no line is wider than a terminal of %i columns', (width) => {
  for (const colours of [false, true])
    for (const line of renderLive(sampleLive(), recent, { width, colours }))
      expect(stripVTControlCharacters(line).length).toBeLessThan(Math.max(2, width))
})

test('in 40 columns the figures of now are whole', () => {
  expect(plain(sampleLive(), 40)[5]).toBe('worst 5 s       p50      p99      max')
})

test('colours add nothing that is seen', () => {
  const coloured = renderLive(sampleLive(), recent, { width: 80, colours: true })
  expect(coloured.map(stripVTControlCharacters)).toEqual(plain(sampleLive()))
  expect(coloured.join('')).not.toBe(plain(sampleLive()).join(''))
})

test('what a server wrote cannot move the cursor', () => {
  const { totals } = sampleLive()
  const live = sampleLive({ totals: { ...totals, refused: { https: { '\u001b[2J\n': 3 } } } })
  expect(plain(live).join('|')).toContain('refused   3  https ?[2J? 3')
  expect(lineOf(live, recent)).toContain('refused 3 (https ?[2J? 3)')
})

test('before the first second there is something to see', () => {
  const live = sampleLive({
    last: undefined,
    totals: { measures: {}, counts: {}, refused: {}, errors: {} },
    faults: [],
  })
  expect(renderLive(live, [], { width: 80, colours: false })).toHaveLength(5)
  expect(lineOf(live, [])).toBe('running 0:20 of 1:00; 0/200 devices, 0 connected; refused 0; errors 0')
})

describe('the view', () => {
  const terminal = (o: {
    readonly out?: Partial<Stream>
    readonly err?: Partial<Stream>
    readonly env?: Io['env']
  }) => {
    const written = { out: '', err: '' }
    let now = 0
    const io: Io = {
      out: { write: (text) => (written.out += text), ...o.out },
      err: { write: (text) => (written.err += text), ...o.err },
      env: { NO_COLOR: '1', ...o.env },
      cwd: '/',
      clock: () => now,
      goOnUnread: () => {},
    }
    return { io, written, wait: (ms: number) => (now += ms) }
  }
  const TTY = { isTTY: true, columns: 80, rows: 30 } as const

  test('redraws in place on a terminal, and leaves nothing behind', () => {
    const { io, written } = terminal({ out: TTY })
    const view = createLiveView(io, { json: false })
    view.draw(sampleLive())
    const first = written.out
    view.draw(sampleLive())
    const rows = first.split('\n').length - 1
    expect(written.out.slice(first.length)).toBe(`\u001b[${rows}A\r\u001b[J${first}`)
    view[Symbol.dispose]()
    expect(written.out.endsWith(`\u001b[${rows}A\r\u001b[J`)).toBe(true)
    const ended = written.out
    view.draw(sampleLive())
    view[Symbol.dispose]()
    expect(written.out).toBe(ended)
  })

  test('a note is above the view, and is not drawn over', () => {
    const { io, written } = terminal({ out: TTY })
    using view = createLiveView(io, { json: false })
    view.draw(sampleLive())
    const first = written.out
    view.note('a worker\u001b[2J ended')
    const rows = first.split('\n').length - 1
    expect(written.out.slice(first.length)).toBe(`\u001b[${rows}A\r\u001b[Ja worker?[2J ended\n${first}`)
  })

  test('is not higher than the window', () => {
    const { io, written } = terminal({ out: { ...TTY, rows: 6 } })
    using view = createLiveView(io, { json: false })
    view.draw(sampleLive())
    expect(written.out.split('\n')).toHaveLength(6)
  })

  test('in a pipe: a line every five seconds, and at a new phase', () => {
    const { io, written, wait } = terminal({})
    using view = createLiveView(io, { json: false })
    for (let second = 0; second < 12; second += 1) {
      view.draw(sampleLive())
      wait(1_000)
    }
    view.draw(sampleLive({ phase: { kind: 'draining', elapsed: 60_000 } }))
    view.note('done')
    const lines = written.out.split('\n')
    expect(lines.map((line) => line.split(' ')[0])).toEqual([
      'running',
      'running',
      'running',
      'draining',
      'done',
      '',
    ])
    expect(written.out).not.toContain('\u001b')
  })

  test.each([{ TERM: 'dumb' }])('%j has lines', (env) => {
    const { io, written } = terminal({ out: TTY, env })
    using view = createLiveView(io, { json: false })
    view.draw(sampleLive())
    expect(written.out).toMatch(/^running 0:20 of 1:00; .*\n$/)
  })

  test('with --json stdout is left alone', () => {
    const quiet = terminal({})
    using silent = createLiveView(quiet.io, { json: true })
    silent.draw(sampleLive())
    silent.note('a note')
    expect(quiet.written).toEqual({ out: '', err: 'a note\n' })
    const shown = terminal({ out: TTY, err: TTY })
    using view = createLiveView(shown.io, { json: true })
    view.draw(sampleLive())
    expect(shown.written.out).toBe('')
    expect(shown.written.err).toMatch(/^── revocation-drill/)
  })
})

test('a rate is over the time that its seconds took', () => {
  const point = recent.at(-1) ?? expect.fail('a point')
  const long = { ...point, span_ms: 4_000, counts: { admitted_https: 400 } }
  const short = { ...point, span_ms: 500, counts: { admitted_https: 50 } }
  expect(lineOf(sampleLive(), [long, short])).toContain('https 100/s')
  const several = { ...long, measures: { https: { count: 9, p50: 8, p50_low: 2, p99: 9, max: 9 } } }
  expect(lineOf(sampleLive(), [several])).toContain('p50 2 ms to 8 ms p99 9 ms')
})
