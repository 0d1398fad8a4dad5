import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { lockHome } from '#cli/up/lock.ts'
import { writeRunFile } from '#runtime/run-file.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

/** of a process that has ended */
const deadPid = (): number => spawnSync(process.execPath, ['-e', '']).pid

test('one at a time, and the next one when it has ended', async () => {
  using home = temporaryFolder()
  const first = await lockHome(home.path)
  await expect(lockHome(home.path)).rejects.toMatchObject({
    code: 'config_invalid',
    detail: expect.stringMatching(new RegExp(`already up on .*process ${process.pid}.*SALLYPORT_HOME`)),
  })
  first[Symbol.dispose]()
  const second = await lockHome(home.path)
  second[Symbol.dispose]()
  expect(readdirSync(join(home.path, 'run'))).toEqual([])
})

test.each(['', 'x', '-1', '0'])('a lock that says %j is nobody’s', async (text) => {
  using home = temporaryFolder()
  mkdirSync(join(home.path, 'run'))
  writeFileSync(join(home.path, 'run/up.pid'), text)
  using _ = await lockHome(home.path)
})

test('a killed one does not lock for ever', async () => {
  using home = temporaryFolder()
  mkdirSync(join(home.path, 'run'))
  writeFileSync(join(home.path, 'run/up.pid'), String(deadPid()))
  using _ = await lockHome(home.path)
})

test('a process of the same id is not the one that left it: in a container all are process 1', async () => {
  for (const text of [`${process.pid}\n`, `${process.pid} 1\n`, `${process.ppid} 1\n`]) {
    using home = temporaryFolder()
    mkdirSync(join(home.path, 'run'))
    writeFileSync(join(home.path, 'run/up.pid'), text)
    using _ = await lockHome(home.path)
  }
})

test('of several that find a stale lock at once, one gets it', async () => {
  using home = temporaryFolder()
  mkdirSync(join(home.path, 'run'))
  writeFileSync(join(home.path, 'run/up.pid'), String(deadPid()))
  const ends = await Promise.allSettled(Array.from({ length: 5 }, () => lockHome(home.path)))
  expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
})

test('a lock that was stale when we looked, and another’s when we take it away, is given back', async () => {
  using home = temporaryFolder()
  mkdirSync(join(home.path, 'run'))
  const path = join(home.path, 'run/up.pid')
  writeFileSync(path, `${process.ppid}\n`)
  // the first look found the dead one
  const look = vi.spyOn(process, 'kill').mockImplementationOnce(() => {
    throw Object.assign(new Error('no such process'), { code: 'ESRCH' })
  })
  await expect(lockHome(home.path)).rejects.toMatchObject({
    detail: expect.stringContaining(`process ${process.ppid}`),
  })
  look.mockRestore()
  expect(readFileSync(path, 'utf8')).toBe(`${process.ppid}\n`)
  expect(readdirSync(join(home.path, 'run'))).toEqual(['up.pid'])
})

test('a desk that was started by hand is in the way, and the lock is not kept', async () => {
  using home = temporaryFolder()
  writeRunFile(home.path, 'gateway', { https: 'https://localhost:1' })
  await expect(lockHome(home.path)).rejects.toMatchObject({
    detail: expect.stringMatching(/gateway, process \d+/),
  })
  expect(existsSync(join(home.path, 'run/up.pid'))).toBe(false)
})
