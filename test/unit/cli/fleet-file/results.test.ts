/** The result file of an import is its bookmark: what is in it is not sent again, and it belongs to one file. */

import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openResults } from '#cli/fleet-file/results.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const row = (number: number, result: 'created' | 'refused' = 'created') => ({
  row: number,
  id: `d${number}`,
  result,
})

test('goes on after the last whole row, whatever a crash left behind it', async () => {
  using folder = temporaryFolder()
  const [source, path] = [join(folder.path, 'fleet.csv'), join(folder.path, 'results')]
  writeFileSync(source, 'id\nd1\nd2\nd3\n')
  const first = await openResults(path, source)
  expect(first).toMatchObject({ done: 0, counts: {} })
  first.append([row(1), row(2, 'refused')])
  const whole = readFileSync(path, 'utf8')
  appendFileSync(path, '{"row":3,"id":"d3","res')
  const second = await openResults(path, source)
  expect(second).toMatchObject({ done: 2, counts: { created: 1, refused: 1 } })
  expect(readFileSync(path, 'utf8')).toBe(whole)
  second.append([row(3)])
  expect(await openResults(path, source)).toMatchObject({ done: 3, counts: { created: 2, refused: 1 } })
})

test('a last line without its end is no line', async () => {
  using folder = temporaryFolder()
  const [source, path] = [join(folder.path, 'fleet.csv'), join(folder.path, 'results')]
  writeFileSync(source, 'id\nd1\nd2\n')
  const results = await openResults(path, source)
  results.append([row(1)])
  const one = readFileSync(path, 'utf8')
  results.append([row(2)])
  writeFileSync(path, readFileSync(path, 'utf8').trimEnd())
  expect(await openResults(path, source)).toMatchObject({ done: 1, counts: { created: 1 } })
  expect(readFileSync(path, 'utf8')).toBe(one)
})

test.each<[string, string]>([
  ['of the same file before it was changed', '{"source_sha256":"00"}\n'],
  ['that is none', 'id,name\n'],
])('a result file %s is refused, and stays as it is', async (_, text) => {
  using folder = temporaryFolder()
  const [source, path] = [join(folder.path, 'fleet.csv'), join(folder.path, 'results')]
  writeFileSync(source, 'id\nd1\n')
  writeFileSync(path, text)
  await expect(openResults(path, source)).rejects.toMatchObject({ code: 'config_invalid' })
  expect(readFileSync(path, 'utf8')).toBe(text)
})
