/** One enroll desk to a registry: the second is told who has it, and a desk that was killed leaves nothing behind. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync, symlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { becomeOnlyDesk, openRegistry } from '#registry/sqlite.ts'
import { givenToken, NOW } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let path: string
beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder.path, 'db', 'registry.sqlite')
})
afterEach(() => folder[Symbol.dispose]())

const become = (at = path, patience = 0) => becomeOnlyDesk({ path: at, clock: () => NOW, patience })

it('refuses a second one, in another process too, and says who has it', async () => {
  const desk = spawn(
    process.execPath,
    [join(import.meta.dirname, '../../support/registry-process.ts'), path, 'desk'],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  await once(desk.stdout, 'data')
  await expect(become()).rejects.toMatchObject({
    code: 'config_invalid',
    detail: expect.stringMatching(
      `registry.path: got .*registry.sqlite, .*process ${desk.pid} on ${hostname()}, since 2026-`,
    ) as string,
  })
  desk.kill('SIGKILL')
  await once(desk, 'exit')
  using next = await become()
  expect(next).toBeDefined()
})

it('waits a little for one that is about to stop', async () => {
  const first = await become()
  const second = become(path, 2_000)
  first[Symbol.dispose]()
  using desk = await second
  expect(desk).toBeDefined()
})

it('gives it to one of two that start at once', async () => {
  const outcomes = await Promise.allSettled([become(), become()])
  expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
})

it('knows the registry by another name, and the gateway cannot open the lock', async () => {
  using desk = await become()
  expect(desk).toBeDefined()
  expect(statSync(`${path}.lock`).mode & 0o777).toBe(0o600)
  const link = join(folder.path, 'other.sqlite')
  symlinkSync(path, link)
  await expect(become(link)).rejects.toMatchObject({ code: 'config_invalid' })
})

it("is in nobody else's way: tools write beside the desk", async () => {
  using desk = await become()
  expect(desk).toBeDefined()
  await using registry = await openRegistry({ path, clock: () => NOW })
  expect(await givenToken(registry)).toBeDefined()
})
