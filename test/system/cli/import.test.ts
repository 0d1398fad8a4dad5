/** `device import` and `device export` against a real desk: row by row, resumable, and there and back again without a change. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Device } from '#wire/rest.ts'
import { startFleet, type Fleet } from '../../support/fleet.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet()
}, 60_000)
afterAll(() => fleet[Symbol.asyncDispose]())

const file = (name: string): string => join(fleet.home, name)
const write = (name: string, text: string): void => writeFileSync(file(name), text)
const linesIn = (name: string): Record<string, unknown>[] =>
  readFileSync(file(name), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

const run = async (...args: string[]): Promise<{ code: number; answer: Record<string, unknown> }> => {
  const { code, stdout, stderr } = await fleet.cli([...args, '--json'])
  return { code, answer: JSON.parse(stdout === '' ? stderr : stdout) as Record<string, unknown> }
}

const many = (count: number): string =>
  `id,group,tags.site\n${Array.from({ length: count }, (_, n) => `lamp-${n},default,hall ${n % 7}\n`).join('')}`

test('a file is registered, and sending it again changes nothing', { timeout: 60_000 }, async () => {
  write('lamps.csv', many(1_300))
  expect(await run('device', 'import', 'lamps.csv')).toMatchObject({
    code: 0,
    answer: { rows: 1_300, created: 1_300, refused: 0, resumed_after: 0 },
  })
  expect(linesIn('lamps.csv.results.ndjson')).toHaveLength(1_301)
  expect(await run('device', 'import', 'lamps.csv', '--results', 'again.ndjson')).toMatchObject({
    code: 0,
    answer: { created: 0, unchanged: 1_300 },
  })
  const { answer } = await run('device', 'show', 'lamp-8')
  expect(answer as unknown as Device).toMatchObject({ state: 'registered', tags: { site: 'hall 1' } })
})

test('cut off after 700 rows it goes on with row 701', { timeout: 60_000 }, async () => {
  write('cut.csv', many(1_300).replaceAll('lamp-', 'cut-'))
  await run('device', 'import', 'cut.csv')
  const results = readFileSync(file('cut.csv.results.ndjson'), 'utf8').split('\n')
  // what a crash leaves: whole rows, and half a one
  write('cut.csv.results.ndjson', `${results.slice(0, 701).join('\n')}\n${results[701]?.slice(0, 9)}`)
  const { answer } = await run('device', 'import', 'cut.csv')
  expect(answer).toMatchObject({ rows: 1_300, created: 700, unchanged: 600, resumed_after: 700 })
  expect(
    linesIn('cut.csv.results.ndjson')
      .slice(1)
      .map(({ row }) => row),
  ).toEqual(Array.from({ length: 1_300 }, (_, n) => n + 1))
})

test('refused rows have their reasons, the others are registered, and the exit code is 1', async () => {
  write(
    'bad.ndjson',
    '{"id":"good-1"}\n{"id":"a/b"}\n{"id":"good-2","group":"nowhere"}\n{"id":7}\n{"id":"good-3"}\n',
  )
  const { code, stdout, stderr } = await fleet.cli(['device', 'import', 'bad.ndjson'])
  expect(code).toBe(1)
  expect(stdout).toMatch(/^5 rows: 2 created, 0 updated, 0 unchanged, 3 refused\n/)
  expect(stderr).toContain('3 of 5 rows were refused')
  expect(
    linesIn('bad.ndjson.results.ndjson')
      .slice(1)
      .map(({ result, reason }) => reason ?? result),
  ).toEqual(['created', 'device_id_invalid', 'not_found', 'bad_request', 'created'])
})

test.each(['csv', 'json', 'ndjson'])(
  'an export as %s is an import that changes nothing',
  { timeout: 60_000 },
  async (format) => {
    write(
      'some.json',
      JSON.stringify([
        { id: 'mill-1', tags: { 'a.b': 'x "y", {z}' }, spki_sha256: 'ab'.repeat(32) },
        { id: 'mill-2', state: 'suspended' },
      ]),
    )
    await run('device', 'import', 'some.json', '--results', `some-${format}.ndjson`)
    const exported = await run('device', 'export', `all.${format}`)
    expect(exported.code).toBe(0)
    expect(await run('device', 'import', `all.${format}`)).toMatchObject({
      code: 0,
      answer: { rows: exported.answer['rows'], unchanged: exported.answer['rows'], created: 0, updated: 0 },
    })
    expect((await run('device', 'export', `all.${format}`)).code).toBe(2)
  },
)

test.each<[string, string[], number, RegExp]>([
  ['a file that is not there', ['device', 'import', 'nowhere.csv'], 2, /ENOENT/],
  ['a name without a format', ['device', 'import', 'fleet'], 2, /--format/],
  [
    'a result file of another import',
    ['device', 'import', 'lamps.csv', '--results', 'cut.csv.results.ndjson'],
    2,
    /another file/,
  ],
  ['a key hash that is none', ['key', 'block', 'abc'], 2, /64 hex/],
])('%s', async (_, args, exit, message) => {
  const { code, answer } = await run(...args)
  expect(code).toBe(exit)
  expect(answer['detail']).toMatch(message)
})
