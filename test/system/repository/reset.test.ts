import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { run } from '../../support/programs.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const RESET = join(import.meta.dirname, '../../../scripts/reset.js')

let home: ReturnType<typeof temporaryFolder>
beforeEach(() => {
  home = temporaryFolder()
  for (const name of DOOMED.concat(KEPT)) {
    mkdirSync(dirname(join(home.path, name)), { recursive: true })
    writeFileSync(join(home.path, name), '')
  }
})
afterEach(() => {
  home[Symbol.dispose]()
})

const DOOMED = [
  'certs/root.pem',
  'certs/private/root.key',
  'db/sallyport.sqlite',
  'db/sallyport.sqlite-wal',
  'db/gateway-inbox.sqlite-shm',
  'db/sallyport.sqlite.lock',
  'db/sallyport.sqlite.witness',
  'run/enroll.json',
  'log/enroll.log',
]
const KEPT = [
  'certs/README.md',
  'db/README.md',
  'db/migrations/001_first.sql',
  'sallyport.yaml',
  'other/file',
]
const left = (names: readonly string[]): string[] => names.filter((name) => existsSync(join(home.path, name)))

const reset = (...args: string[]) =>
  run(process.execPath, [RESET, ...args], { env: { PATH: process.env['PATH'], SALLYPORT_HOME: home.path } })

it('deletes what start made, and nothing else', async () => {
  const { code, stderr } = await reset('--yes')
  expect(code).toBe(0)
  expect(left(DOOMED)).toEqual([])
  expect(left(KEPT)).toEqual(KEPT)
  expect(stderr).toContain(join(home.path, 'certs/private'))
  expect(await reset('--yes')).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('Nothing to delete'),
  })
})

it('asks, and takes silence for no', async () => {
  expect(await reset()).toMatchObject({ code: 1, stderr: expect.stringContaining('npm run reset -- --yes') })
  expect(left(DOOMED)).toEqual(DOOMED)
})

it.each([
  ['run/enroll.json', JSON.stringify({ pid: process.pid, version: '0', urls: {} })],
  ['run/up.pid', `${process.pid}\n`],
])('refuses while %s is of a process that lives', async (name, text) => {
  writeFileSync(join(home.path, name), text)
  expect(await reset('--yes')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`process ${process.pid}`),
  })
  expect(left(DOOMED)).toEqual(DOOMED)
})

it('does not guess what --force might mean', async () => {
  expect(await reset('--force')).toMatchObject({ code: 2, stderr: expect.stringContaining('usage') })
  expect(readdirSync(home.path).length).toBeGreaterThan(0)
})
