import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { findOperatorToken, findUrl, readConfig } from '#cli/settings.ts'
import { writeRunFile } from '#runtime/run-file.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { fakeIo } from './fake-io.ts'

const token = (letter: string): string => `spo1.${letter.repeat(16)}.${'b'.repeat(43)}`

const put = (path: string, text: string, mode = 0o600): string => {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text, { mode })
  chmodSync(path, mode)
  return path
}

test('a URL: flag, then environment, then run file, then default', () => {
  using home = temporaryFolder()
  const env = { SALLYPORT_HOME: home.path }
  const given = { ...env, SALLYPORT_ENROLL_OPERATOR_URL: 'http://127.0.0.1:2/' }
  const find = (from: Record<string, string>, flag?: string): string => {
    const io = fakeIo({ env: from })
    return findUrl(io, readConfig(io, {}), 'operator', flag)
  }
  expect(find(env)).toBe('http://127.0.0.1:8080')
  expect(find({ ...env, SALLYPORT_ENROLL_OPERATOR_LISTEN: '127.0.0.1:3' })).toBe('http://127.0.0.1:3')
  writeRunFile(home.path, 'enroll', { operator: 'http://127.0.0.1:1' })
  expect(find(env)).toBe('http://127.0.0.1:1')
  expect(find(given)).toBe('http://127.0.0.1:2')
  expect(find(given, 'https://enroll.example.com')).toBe('https://enroll.example.com')
})

test.each([
  ['devices', 'http://localhost:8443'],
  ['devices', 'localhost:8443'],
  ['operator', 'ftp://localhost'],
  ['mqtts', 'mqtt://localhost'],
] as const)('%s: %s is refused', (which, url) => {
  using home = temporaryFolder()
  const io = fakeIo({ env: { SALLYPORT_HOME: home.path } })
  expect(() => findUrl(io, readConfig(io, {}), which, url)).toThrow(/expected a URL like/)
})

test('an operator token: flag, then environment, then the file of the home', () => {
  using home = temporaryFolder()
  const env = { SALLYPORT_HOME: home.path }
  const find = (from: Record<string, string>, file?: string): string => {
    const io = fakeIo({ env: from, cwd: home.path })
    return findOperatorToken(io, readConfig(io, {}), file === undefined ? {} : { operatorTokenFile: file })
  }
  expect(() => find(env)).toThrow(/--offline --save/)
  put(join(home.path, 'certs/private/operator.token'), `${token('a')}\n`)
  put(join(home.path, 'mine'), `${token('c')}\n`)
  expect(find(env)).toBe(token('a'))
  expect(find({ ...env, SALLYPORT_OPERATOR_TOKEN: token('b') })).toBe(token('b'))
  expect(find({ ...env, SALLYPORT_OPERATOR_TOKEN: token('b') }, 'mine')).toBe(token('c'))
})

test('an operator token that others can read, or that is none, is refused', () => {
  using home = temporaryFolder()
  const find = (file: string): string => {
    const io = fakeIo({ env: { SALLYPORT_HOME: home.path }, cwd: home.path })
    return findOperatorToken(io, readConfig(io, {}), { operatorTokenFile: file })
  }
  put(join(home.path, 'open'), token('a'), 0o644)
  put(join(home.path, 'other'), 'spt1.x')
  expect(() => find('open')).toThrow(/chmod 600/)
  expect(() => find('other')).toThrow(/does not hold an operator token/)
  // and what it holds instead is not shown
  expect(() => find('other')).not.toThrow(/spt1/)
})
