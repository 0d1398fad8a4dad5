/** The progress line of an import: on a terminal, and where there is none. What becomes of the lines on a screen: up/screen.test.ts. */

import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from 'vitest'
import { createProgress, type Progress } from '#cli/progress.ts'
import { fakeIo } from './fake-io.ts'

const START = 1_000_000

/** @param err what the terminal is besides something to write to; @returns what it was given by each call, and the clock */
const progressOn = (err: { isTTY?: boolean }, total = 200, env: Record<string, string> = {}) => {
  const written: string[] = []
  let now = START
  const io = {
    ...fakeIo({ env }),
    clock: () => now,
    err: { ...err, write: (text: string) => written.push(text) },
  }
  const progress = createProgress(io, { total, what: 'devices' })
  const calls = (use: (on: Progress) => void): readonly string[] => {
    const before = written.length
    use(progress)
    return written.slice(before)
  }
  return {
    io,
    calls,
    at: (ms: number, ...step: Parameters<Progress['at']>) => {
      now = START + ms
      return calls((on) => on.at(...step))
    },
  }
}

describe('on a terminal', () => {
  test.each<readonly [string, number, number, string]>([
    ['nothing yet', 0, 200, `${'░'.repeat(24)}   0 %  5 devices  0/s  refused 1`],
    ['a half', 100, 200, `${'█'.repeat(12)}${'░'.repeat(12)}  50 %  5 devices  0/s  refused 1`],
    ['all of it', 200, 200, `${'█'.repeat(24)} 100 %  5 devices  0/s  refused 1`],
    ['a file that has grown since', 300, 200, `${'█'.repeat(24)} 100 %  5 devices  0/s  refused 1`],
    ['of an empty file', 0, 0, `${'█'.repeat(24)} 100 %  5 devices  0/s  refused 1`],
  ])('%s', (_, done, total, line) => {
    const drawn = progressOn({ isTTY: true }, total).at(500, done, 5, 'refused 1')
    expect(drawn.map(stripVTControlCharacters)).toEqual([`${line}\n`])
    expect(line.length).toBeLessThan(78)
  })

  test('it is drawn ten times a second at most, and always at the end', () => {
    const on = progressOn({ isTTY: true })
    expect(on.at(0, 50, 500, '')).toHaveLength(1)
    expect(on.at(99, 100, 1_000, '')).toEqual([])
    expect(on.at(100, 120, 1_200, '')).toHaveLength(1)
    expect(on.at(101, 200, 2_000, '')).toHaveLength(1)
  })

  test('how fast it goes is told of what is done now, not of what was done before it was cut off', () => {
    const on = progressOn({ isTTY: true })
    on.at(0, 100, 80_000, '')
    expect(on.at(2_000, 120, 81_000, '').join('')).toContain('  81000 devices  500/s')
  })

  test('it goes, and what is drawn again takes the place of what was there', () => {
    const on = progressOn({ isTTY: true })
    on.at(0, 50, 1, '')
    const up = '\u001B[1A\r\u001B[J'
    expect(on.at(200, 100, 2, '')[0]?.startsWith(`${up}█`)).toBe(true)
    expect(on.calls((shown) => shown.clear())).toEqual([up])
    on.at(400, 150, 3, '')
    expect(on.calls((shown) => shown[Symbol.dispose]())).toEqual([up])
  })
})

test.each<readonly [string, { isTTY?: boolean }, Record<string, string>]>([
  ['a file or a pipe', {}, {}],
  ['a stream that says that it is none', { isTTY: false }, {}],
  ['a terminal whose cursor cannot be moved', { isTTY: true }, { TERM: 'dumb' }],
])('on %s nothing is written', (_, err, env) => {
  const on = progressOn(err, 200, env)
  expect([
    ...on.at(0, 50, 1, ''),
    ...on.at(500, 200, 2, ''),
    ...on.calls((shown) => shown.clear()),
    ...on.calls((shown) => shown[Symbol.dispose]()),
    on.io.stdout(),
  ]).toEqual([''])
})
