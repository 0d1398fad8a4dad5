import { existsSync, mkdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, test } from 'vitest'
import { createDemoHome } from '#cli/demo/home.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

test('a home is its own, for the owner alone, and gone afterwards', () => {
  using folder = temporaryFolder()
  let path: string
  {
    using home = createDemoHome(folder.path)
    path = home.path
    expect(basename(path)).toMatch(new RegExp(`^demo-${process.pid}-`))
    expect(statSync(path).mode & 0o777).toBe(0o700)
    mkdirSync(join(path, 'certs'))
  }
  expect(existsSync(path)).toBe(false)
})

test('what a killed demo left is taken away; what others hold is not', () => {
  using folder = temporaryFolder()
  const at = (name: string): string => join(folder.path, 'run', name)
  const names = { dead: 'demo-4194305-abc', alive: `demo-${process.ppid}-abc`, other: 'fleet', odd: 'demo-x' }
  for (const name of Object.values(names)) mkdirSync(at(name), { recursive: true })
  using _home = createDemoHome(folder.path)
  expect(existsSync(at(names.dead))).toBe(false)
  for (const name of [names.alive, names.other, names.odd]) expect(existsSync(at(name))).toBe(true)
})
