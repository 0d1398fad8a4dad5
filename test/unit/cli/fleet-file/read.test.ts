/** Files of devices, row by row: three formats, the same rows; what cannot be read is said with its place. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatOf, type Format } from '#cli/fleet-file/format.ts'
import { objectTexts } from '#cli/fleet-file/objects.ts'
import { readRows, type Row } from '#cli/fleet-file/read.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const rowsOf = async (text: string, format: Format): Promise<Row[]> => {
  using folder = temporaryFolder()
  const path = join(folder.path, `fleet.${format}`)
  writeFileSync(path, text)
  return await Array.fromAsync(readRows(path, format))
}
const linesOf = async (text: string, format: Format) =>
  (await rowsOf(text, format)).map(({ line, problem }) => line ?? problem)

const SPKI = 'ab'.repeat(32)
const EXPECTED = [
  { id: 'pump-1', group: 'pumps', tags: { site: 'hall "3", east' }, spki_sha256: SPKI, state: 'suspended' },
  { id: 'pump-2' },
]

describe('the same rows in each format', () => {
  const csv = `id,group,tags,spki_sha256,state\r\npump-1,pumps,"{""site"":""hall \\""3\\"", east""}",${SPKI},suspended\r\npump-2,,,,\r\n`
  test.each<[string, Format, string]>([
    ['csv', 'csv', csv],
    [
      'csv with a byte order mark, blank lines and spaces',
      'csv',
      `\uFEFF${csv.replace('pump-2', '\r\n  pump-2  ')}`,
    ],
    [
      'csv with a column for each tag',
      'csv',
      `state,id,group,spki_sha256,tags.site\nsuspended,pump-1,pumps,${SPKI},"hall ""3"", east"\n,pump-2,,,\n`,
    ],
    ['json', 'json', JSON.stringify(EXPECTED, null, 2)],
    ['ndjson', 'ndjson', EXPECTED.map((line) => JSON.stringify(line)).join('\n')],
  ])('%s', async (_, format, text) => {
    expect(await linesOf(text, format)).toEqual(EXPECTED)
  })
})

test.each<[string, Format, string, unknown]>([
  ['tags that are no JSON', 'csv', 'id,tags\na,{site}\n', expect.stringMatching(/^tags: a JSON object/)],
  ['tags that are no texts', 'csv', 'id,tags\na,"{""n"":1}"\n', expect.stringMatching(/^tags: /)],
  ['a record with too few cells', 'csv', 'id,group\na\n', expect.stringMatching(/line 2/)],
  ['a record with too many', 'csv', 'id\na,b\n', expect.stringMatching(/line 2/)],
  [
    'a tag of JavaScript',
    'ndjson',
    '{"id":"a","tags":{"__proto__":"x"}}',
    expect.stringMatching(/^a tag is called/),
  ],
  [
    'a tag of JavaScript as a column',
    'csv',
    'id,tags.__proto__\na,x\n',
    expect.stringMatching(/^a tag is called/),
  ],
  ['an unknown name', 'ndjson', '{"id":"a","grp":"x"}', expect.stringMatching(/^grp: not one of/)],
  ['a number as id', 'ndjson', '{"id":7}', expect.stringMatching(/are texts/)],
  ['no JSON', 'ndjson', '{"id":}', 'not valid JSON'],
  [
    'a prototype in disguise',
    'ndjson',
    '{"id":"a","__proto__":{"x":1}}',
    expect.stringMatching(/__proto__: not one of/),
  ],
])('a bad row is refused by itself: %s', async (_, format, text, problem) => {
  expect(await linesOf(text, format)).toEqual([problem])
})

test.each<[string, Format, string, RegExp]>([
  ['no column id', 'csv', 'group\na\n', /no column id/],
  ['an unknown column', 'csv', 'id,colour\na,red\n', /column colour/],
  ['a column twice', 'csv', 'id,id\na,b\n', /column id is there twice/],
  ['an open quote', 'csv', 'id\n"a\n', /Quote/],
  ['a huge record', 'csv', `id\n${'x'.repeat(70_000)}\n`, /65536|Max Record/i],
  ['text between objects', 'json', '[{"id":"a"} x]', /object 2: expected/],
  ['an array that does not end', 'json', '[{"id":"a"},\n', /ends before the array/],
  ['more after the array', 'json', '[{"id":"a"}]]', /object 2: expected/],
  ['two commas', 'json', '[{"id":"a"},,{"id":"b"}]', /object 2: expected/],
  ['an object that does not end', 'ndjson', '{"id":"a"', /object 1: the file ends inside/],
  ['a huge object', 'ndjson', `{"id":"${'x'.repeat(200_000)}"}`, /longer than 65536/],
])('a bad file ends the import, with the place: %s', async (_, format, text, message) => {
  await expect(rowsOf(text, format)).rejects.toMatchObject({
    code: 'config_invalid',
    detail: expect.stringMatching(message),
  })
})

test('a file that is not there', async () => {
  await expect(Array.fromAsync(readRows('/nowhere/fleet.csv', 'csv'))).rejects.toMatchObject({
    code: 'config_invalid',
    detail: expect.stringContaining('ENOENT'),
  })
})

test('objects are found wherever the chunks are cut', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.constant({ nested: '}{"' })), { maxKeys: 4 }),
        { maxLength: 6 },
      ),
      fc.boolean(),
      fc.array(fc.nat(40), { maxLength: 12 }),
      async (objects, pretty, cuts) => {
        const text = JSON.stringify(objects, null, pretty ? 2 : 0)
        const chunks: string[] = []
        let at = 0
        for (const cut of cuts) chunks.push(text.slice(at, (at += cut)))
        chunks.push(text.slice(at))
        const found = await Array.fromAsync(objectTexts(Readable.from(chunks)))
        expect(found.map((each) => JSON.parse(each))).toEqual(JSON.parse(text))
      },
    ),
  )
})

test.each<[string, Format | undefined, Format]>([
  ['a.csv', undefined, 'csv'],
  ['a.JSON', undefined, 'json'],
  ['a.jsonl', undefined, 'ndjson'],
  ['a.txt', 'csv', 'csv'],
])('format of %s, asked %s: %s', (path, asked, format) => {
  expect(formatOf(path, asked)).toBe(format)
})

test('a name that says nothing needs --format', () => {
  expect(() => formatOf('fleet', undefined)).toThrow(/--format/)
})
