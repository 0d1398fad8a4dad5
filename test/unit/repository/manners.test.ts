/** What the linter has no rule for. */

import { readFileSync } from 'node:fs'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../../..')
const sources = globSync('src/**/*.ts', { cwd: ROOT }).map((path) => ({
  path,
  text: readFileSync(join(ROOT, path), 'utf8'),
}))

it('no file asks for the time but fleet/clock.ts and the mains', () => {
  const bare = /new Date\(\s*\)|\bDate\(\s*\)/
  const asking = sources.filter(({ path, text }) => bare.test(text) && !/(^|\/)(main|clock)\.ts$/.test(path))
  expect(asking.map(({ path }) => path)).toEqual([])
})

it('every file begins by saying what it is for', () => {
  const silent = sources.filter(({ text }) => !/^(#!.*\n)?\/\*\*/.test(text))
  expect(silent.map(({ path }) => path)).toEqual([])
})
