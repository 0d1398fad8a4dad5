/**
 * The last line of .ci/run. A test and an expectation of the demonstration count as one each; a step that ended badly without saying
 * which of them failed counts as one failure, so that a runner that dies cannot look like a run that passed.
 *   node .ci/summary.js <folder with <step>.status, test.json, demo.json>
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const folder = process.argv[2] ?? '.'
const STEPS = ['install', 'check', 'test', 'demo']

const read = (name) => {
  try {
    return readFileSync(join(folder, name), 'utf8')
  } catch {
    return ''
  }
}

/** Of the text's last line that is JSON: npm may have said something before it. */
const lastJson = (text) => {
  for (const line of text.trim().split('\n').reverse()) {
    try {
      return JSON.parse(line)
    } catch {
      continue
    }
  }
  return undefined
}

const COUNTS = {
  test: () => {
    const report = lastJson(read('test.json'))
    return {
      passed: report?.numPassedTests ?? 0,
      failed: report?.numFailedTests ?? 0,
      skipped: (report?.numPendingTests ?? 0) + (report?.numTodoTests ?? 0),
    }
  },
  demo: () => {
    const line = lastJson(read('demo.json'))
    return {
      passed: line?.expectations?.passed ?? 0,
      failed: line?.expectations?.failed?.length ?? 0,
      skipped: 0,
    }
  },
}

let passed = 0
let failed = 0
for (const step of STEPS) {
  const counts = COUNTS[step]?.() ?? { passed: 0, failed: 0, skipped: 0 }
  const ok = read(`${step}.status`).trim() === '0'
  const silent = (!ok && counts.failed === 0) || (ok && COUNTS[step] !== undefined && counts.passed === 0)
  passed += counts.passed
  failed += counts.failed + (silent ? 1 : 0)
  const told =
    COUNTS[step] === undefined
      ? ''
      : ` (${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped)`
  console.log(`${step}: ${ok ? 'ok' : 'failed'}${told}`)
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
