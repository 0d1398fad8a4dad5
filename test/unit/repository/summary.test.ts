import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { temporaryFolder } from '../../support/temporary.ts'

const SUMMARY = join(import.meta.dirname, '../../../.ci/summary.js')

const tests = (passed: number, failed: number): string =>
  JSON.stringify({ numPassedTests: passed, numFailedTests: failed, numPendingTests: 0 })
const demo = (passed: number, ...failed: string[]): string =>
  JSON.stringify({ expectations: { passed, failed } })
const well = { 'install.status': '0\n', 'check.status': '0\n', 'test.status': '0\n', 'demo.status': '0\n' }
const said = { 'test.json': tests(10, 0), 'demo.json': `> demo\n${demo(5)}\n` }

it.each<[string, Record<string, string>, string, number]>([
  ['all is well', { ...well, ...said }, '15 passed, 0 failed', 0],
  [
    'two tests failed',
    { ...well, ...said, 'test.status': '1', 'test.json': tests(8, 2) },
    '13 passed, 2 failed',
    1,
  ],
  [
    'an expectation failed',
    { ...well, ...said, 'demo.status': '1', 'demo.json': demo(4, 'x') },
    '14 passed, 1 failed',
    1,
  ],
  ['the check failed', { ...well, ...said, 'check.status': '1' }, '15 passed, 1 failed', 1],
  [
    'the runner failed though no test did',
    { ...well, ...said, 'test.status': '1' },
    '15 passed, 1 failed',
    1,
  ],
  [
    'the demonstration died',
    { ...well, ...said, 'demo.status': '137', 'demo.json': '' },
    '10 passed, 1 failed',
    1,
  ],
  ['the report is missing', { ...well, 'demo.json': demo(5) }, '5 passed, 1 failed', 1],
  ['no test ran', { ...well, ...said, 'test.json': tests(0, 0) }, '5 passed, 1 failed', 1],
  ['nothing happened', {}, '0 passed, 4 failed', 1],
])('%s', (_, files, line, code) => {
  using folder = temporaryFolder()
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder.path, name), text)
  const { status, stdout } = spawnSync(process.execPath, [SUMMARY, folder.path], { encoding: 'utf8' })
  expect(stdout.trim().split('\n').at(-1)).toBe(line)
  expect(status).toBe(code)
})
