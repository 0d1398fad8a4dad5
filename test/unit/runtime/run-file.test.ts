import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { readRunFile, removeRunFile, VERSION, writeRunFile } from '#runtime/run-file.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let path: string
beforeEach(() => {
  folder = temporaryFolder()
  mkdirSync(join(folder.path, 'run'))
  path = join(folder.path, 'run', 'enroll.json')
})
afterEach(() => {
  folder[Symbol.dispose]()
})

const urls = { devices: 'https://localhost:1' }
/** a pid that was ours to give and is free again */
const deadPid = (): number => spawnSync(process.execPath, ['-e', '']).pid

it('says who listens where, and is gone afterwards', () => {
  writeRunFile(folder.path, 'enroll', urls)
  expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual({ pid: process.pid, version: VERSION, urls })
  expect(readRunFile(folder.path, 'enroll')).toEqual({ pid: process.pid, version: VERSION, urls })
  expect(readRunFile(folder.path, 'gateway')).toBeUndefined()
  expect(readdirSync(join(folder.path, 'run'))).toEqual(['enroll.json'])
  removeRunFile(folder.path, 'enroll')
  expect(existsSync(path)).toBe(false)
  removeRunFile(folder.path, 'enroll')
})

it.each([
  ['a dead process', () => JSON.stringify({ pid: deadPid(), version: '1', urls })],
  ['a process group', () => JSON.stringify({ pid: -1, version: '1', urls })],
  ['nobody', () => JSON.stringify({ pid: 0, version: '1', urls })],
  ['half a file', () => '{"pid":1,'],
  ['another shape', () => JSON.stringify({ pid: process.pid, urls })],
])('of %s is no run file', (_, text) => {
  writeFileSync(path, text())
  expect(readRunFile(folder.path, 'enroll')).toBeUndefined()
})

it('of another process is not removed', () => {
  writeFileSync(path, JSON.stringify({ pid: process.ppid, version: '1', urls }))
  removeRunFile(folder.path, 'enroll')
  expect(readRunFile(folder.path, 'enroll')?.pid).toBe(process.ppid)
})
