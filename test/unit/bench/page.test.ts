/** docs/performance.md holds what the bench has measured. */

import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { SUITES } from '../../../bench/suites.ts'
import { fillPage, latestIn, markdownTable, sectionOf, type ResultFile } from '../../../bench/support/page.ts'

const file = (over: Partial<ResultFile> = {}): ResultFile => ({
  suite: 'https',
  at: '2026-11-25T20:06:47.081Z',
  command: 'npm run bench https',
  machine: { cores: 2 },
  results: [
    {
      unit: 'µs',
      base: 'nginx',
      variants: { ours: [9, 9], nginx: [10, 10] },
      missing: { haproxy: 'apt-get install haproxy' },
      facts: { rounds: 2, node: 'v26' },
    },
    { unit: 'MB', variants: { ours: [12] }, facts: { rounds: 1, node: 'v26' } },
  ],
  ...over,
})

test('a suite is a command, its tables, and on what it ran', () => {
  expect(sectionOf(file())).toBe(
    `\`npm run bench https\`, 2026-11-25. cores: 2.

**µs**

|       | best | median | ratio to nginx | range of rounds |
| ----- | ---: | -----: | -------------: | --------------: |
| ours  | 9.00 |   9.00 |          0.900 |       0.90–0.90 |
| nginx | 10.0 |   10.0 |              1 |                 |

- 2 rounds: too few to say whether it is steady
- without haproxy: apt-get install haproxy

**MB**

|      | best | median |
| ---- | ---: | -----: |
| ours | 12.0 |   12.0 |

- 1 round: too few to say whether it is steady
- rounds: 1

rounds: 2; node: v26.`,
  )
})

test('a cell may hold a bar', () => {
  expect(markdownTable(['', 'b'], [['x|y', '1']])).toEqual([
    '|      |   b |',
    '| ---- | --: |',
    '| x\\|y |   1 |',
  ])
})

test('only what is between the marks of a suite that has run is written again', () => {
  const page = `# Performance
<!-- bench: https -->
old
<!-- /bench -->
words
<!-- bench: mqtt -->
older figures
<!-- /bench -->
`
  const { text, homeless } = fillPage(
    page,
    new Map([
      ['https', file()],
      ['idle', file({ suite: 'idle' })],
    ]),
  )
  expect(text).toContain('# Performance\n<!-- bench: https -->\n\n`npm run bench https`')
  expect(text).toContain(
    'v26.\n\n<!-- /bench -->\nwords\n<!-- bench: mqtt -->\nolder figures\n<!-- /bench -->\n',
  )
  expect(text).not.toContain('old\n<!--')
  expect(homeless).toEqual(['idle'])
  expect(fillPage(text, new Map([['https', file()]])).text).toBe(text)
})

test('the latest of each suite, in the form of today', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-results-'))
  const write = (name: string, value: object): void =>
    writeFileSync(join(folder, name), JSON.stringify(value))
  write('2026-11-24-https.json', file({ command: 'the day before' }))
  write('2026-11-25-https.json', file({ command: 'today' }))
  write('2026-11-25-mqtt-idle.json', { suite: 'mqtt-idle', results: [] })
  write('notes.json', {})
  expect([...latestIn(folder)].map(([suite, { command }]) => [suite, command])).toEqual([['https', 'today']])
})

test('the page has one place for each suite, and for nothing else', () => {
  const root = join(import.meta.dirname, '../../..')
  const page = readFileSync(join(root, 'docs/performance.md'), 'utf8')
  const places = [...page.matchAll(/<!-- bench: (\S+) -->/g)].map(([, name]) => name)
  const suites = Object.keys(SUITES)
  expect(new Set(places)).toEqual(new Set(suites))
  expect(places).toHaveLength(suites.length)
})
