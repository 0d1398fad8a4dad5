import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createSecretKey, readPrivateFile, readSecretKey, writePrivateFile } from '#runtime/secrets.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let path: string
beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder.path, 'registry.key')
})
afterEach(() => {
  folder[Symbol.dispose]()
})

const bytes = Buffer.alloc(32, 0xfb)

const refused = (message: string): unknown =>
  expect.objectContaining({ code: 'config_invalid', message: expect.stringContaining(message) })

describe('a secret key', () => {
  it.each([
    ['hex', bytes.toString('hex')],
    ['hex in capitals with a line break', `${bytes.toString('hex').toUpperCase()}\r\n`],
    ['base64', `${bytes.toString('base64')}\n`],
    ['base64url', bytes.toString('base64url')],
  ])('is read from %s', (_, text) => {
    writeFileSync(path, text, { mode: 0o600 })
    expect(readSecretKey(path)).toEqual(bytes)
  })

  it.each([
    ['empty', ''],
    ['short', bytes.subarray(1).toString('hex')],
    ['long', `${bytes.toString('hex')}00`],
    ['not hex', 'g'.repeat(64)],
    ['two lines', `${bytes.toString('hex')}\n\n`],
  ])('is refused when %s', (_, text) => {
    writeFileSync(path, text, { mode: 0o600 })
    expect(() => readSecretKey(path)).toThrow(refused('expected 32 bytes'))
  })

  it('is made once, 0600, and never over an old one', () => {
    const made = createSecretKey(path)
    expect(readSecretKey(path)).toEqual(made)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(() => createSecretKey(path)).toThrow(expect.objectContaining({ code: 'conflict' }))
    expect(readSecretKey(path)).toEqual(made)
    expect(readdirSync(folder.path)).toEqual(['registry.key'])
  })
})

describe('a private file', () => {
  it.each([0o640, 0o604, 0o644, 0o660, 0o602])('of mode %o is refused, with the cure', (mode) => {
    writeFileSync(path, 'x')
    chmodSync(path, mode)
    expect(() => readPrivateFile(path)).toThrow(refused(`run chmod 600 ${path}`))
  })

  it('of mode 0400 is fine', () => {
    writeFileSync(path, 'x')
    chmodSync(path, 0o400)
    expect(readPrivateFile(path)).toBe('x')
  })

  it('is judged by what a link points to', () => {
    const open = join(folder.path, 'open')
    writeFileSync(open, 'x', { mode: 0o644 })
    symlinkSync(open, path)
    expect(() => readPrivateFile(path)).toThrow(refused('may be read by others'))
  })

  it('that is missing, a folder or huge is said to be so', () => {
    expect(() => readPrivateFile(path)).toThrow(refused('does not exist'))
    mkdirSync(path, { mode: 0o700 })
    expect(() => readPrivateFile(path)).toThrow(refused('is not a file'))
    const huge = join(folder.path, 'huge')
    writeFileSync(huge, Buffer.alloc(65_537), { mode: 0o600 })
    expect(() => readPrivateFile(huge)).toThrow(refused('too large'))
  })

  it('is replaced whole, 0600 whatever was there', () => {
    writeFileSync(path, 'old', { mode: 0o644 })
    writePrivateFile(path, 'new')
    expect(readFileSync(path, 'utf8')).toBe('new')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder.path)).toEqual(['registry.key'])
  })

  it('leaves nothing behind when it cannot be written', () => {
    expect(() => writePrivateFile(join(folder.path, 'none', 'x'), 'new')).toThrow(/ENOENT/)
    mkdirSync(path)
    expect(() => writePrivateFile(path, 'new')).toThrow()
    expect(readdirSync(folder.path)).toEqual(['registry.key'])
  })
})
