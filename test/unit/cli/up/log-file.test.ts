import {
  appendFileSync,
  closeSync,
  existsSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openLogFile, readLogFile } from '#cli/up/log-file.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

test('begins where this start began, and gives whole lines only', () => {
  using dir = temporaryFolder()
  const path = join(dir.path, 'log/enroll.log')
  closeSync(openLogFile(path).fd)
  writeFileSync(path, 'of an earlier start\n')
  const { fd, from } = openLogFile(path)
  using reader = readLogFile(path, from)
  writeSync(fd, 'one\ntw')
  expect(reader.read()).toEqual(['one'])
  writeSync(fd, 'o\n')
  appendFileSync(path, 'ü\n')
  expect(reader.read()).toEqual(['two', 'ü'])
  expect(reader.read()).toEqual([])
  closeSync(fd)
})

test('lines of more than a chunk, and more lines than a chunk', () => {
  using dir = temporaryFolder()
  const path = join(dir.path, 'x.log')
  const long = 'y'.repeat(150_000)
  const many = Array.from({ length: 20_000 }, (_, at) => `line ${at}`)
  writeFileSync(path, `${long}\n${many.join('\n')}\n`)
  using reader = readLogFile(path, 0)
  expect(reader.read()).toEqual([long, ...many])
})

test('nobody else can read it, and it does not grow for ever', () => {
  using dir = temporaryFolder()
  const path = join(dir.path, 'log/x.log')
  closeSync(openLogFile(path).fd)
  expect(statSync(path).mode & 0o077).toBe(0)
  truncateSync(path, 17 * 1024 ** 2)
  const { fd, from } = openLogFile(path)
  closeSync(fd)
  expect(from).toBe(0)
  expect(existsSync(`${path}.1`)).toBe(true)
})

test('nor while it runs: whoever writes writes on, whoever reads misses nothing', () => {
  using dir = temporaryFolder()
  const path = join(dir.path, 'log/x.log')
  const { fd, from } = openLogFile(path)
  using reader = readLogFile(path, from, { turns: true })
  using other = readLogFile(path, from)
  const line = 'y'.repeat(999_999)
  const read: string[] = []
  for (let at = 0; at < 20; at += 1) {
    writeSync(fd, `${line}\n`)
    read.push(...reader.read())
    other.read()
  }
  writeSync(fd, 'last\n')
  expect(read).toEqual(Array.from({ length: 20 }, () => line))
  expect([reader.read(), other.read()]).toEqual([['last'], ['last']])
  expect(statSync(path).size).toBeLessThan(4_000_000)
  expect(statSync(`${path}.1`).size).toBe(17_000_000)
  expect(statSync(`${path}.1`).mode & 0o077).toBe(0)
  closeSync(fd)
})
