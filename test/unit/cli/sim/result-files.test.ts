/** Where results go: refused before a run, written whole or not at all, on a disk that is full. */

import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { checkResultFiles, writeResultFiles, type ResultFile } from '#cli/sim/result-files.ts'
import { mountSmallDisk } from '../../../support/small-disk.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
beforeEach(() => {
  folder = temporaryFolder()
})
afterEach(() => folder[Symbol.dispose]())

const file = (option: string, path: string): ResultFile<string> => ({
  option,
  path,
  write: (report) => report.toUpperCase(),
})

test.each([
  ['nowhere/a.html', /--html nowhere\/a\.html: its directory does not exist/],
  ['dir', /it is there, and is no file/],
  ['plain/a.html', /its directory is no directory/],
])('%s is refused', (path, says) => {
  mkdirSync(join(folder.path, 'dir'))
  writeFileSync(join(folder.path, 'plain'), '')
  expect(() => checkResultFiles([file('--html', path)], folder.path)).toThrow(says)
})

test('a device is not replaced by a file', () => {
  symlinkSync('/dev/null', join(folder.path, 'null'))
  expect(() => checkResultFiles([file('--out', 'null')], folder.path)).toThrow(/is no file/)
  expect(() => checkResultFiles([file('--out', '/dev/null')], folder.path)).toThrow(/is no file/)
})

test('two results are not one file', () => {
  const both = [file('--html', 'a'), file('--csv', './a')]
  expect(() => checkResultFiles(both, folder.path)).toThrow('--csv ./a: --html goes there too')
})

test('good places are left as they were, and are written whole', () => {
  const files = [file('--html', 'a'), file('--csv', 'b')]
  writeFileSync(join(folder.path, 'b'), 'before')
  checkResultFiles(files, folder.path)
  expect(readdirSync(folder.path)).toEqual(['b'])
  expect(readFileSync(join(folder.path, 'b'), 'utf8')).toBe('before')
  expect(writeResultFiles(files, folder.path, 'report')).toEqual([])
  expect(readFileSync(join(folder.path, 'a'), 'utf8')).toBe('REPORT')
  expect(readdirSync(folder.path)).toEqual(['a', 'b'])
})

const disk = mountSmallDisk('256k')
test.skipIf(disk === undefined)('on a full disk the others come, and nothing half-written stays', () => {
  using small = disk as NonNullable<typeof disk>
  writeFileSync(join(small.path, 'old'), 'before')
  small.fill()
  const files = [file('--html', join(small.path, 'old')), file('--csv', 'b')]
  expect(writeResultFiles(files, folder.path, 'x'.repeat(9_999))).toEqual([
    `--html ${join(small.path, 'old')} was not written: the disk is full`,
  ])
  expect(readFileSync(join(small.path, 'old'), 'utf8')).toBe('before')
  expect(readdirSync(small.path).toSorted()).toEqual(['filler', 'old'])
  expect(readFileSync(join(folder.path, 'b'), 'utf8')).toHaveLength(9_999)
})
