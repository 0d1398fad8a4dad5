import { setImmediate as turn } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import { gatherLines } from '#runtime/lines.ts'
import { createLog } from '#runtime/log.ts'

const open = (isUrgent?: (line: string) => boolean) => {
  const writes: string[] = []
  let exit = (): void => undefined
  const lines = gatherLines({
    write: (text) => writes.push(text),
    ...(isUrgent === undefined ? {} : { isUrgent }),
    atExit: (flush) => {
      exit = flush
    },
  })
  return { writes, lines, exit: () => exit() }
}

it('writes the lines of one turn together, in order, when it ends', async () => {
  const { writes, lines } = open()
  lines.write('a\n')
  lines.write('b\n')
  expect(writes).toEqual([])
  await turn()
  expect(writes).toEqual(['a\nb\n'])
  lines.write('c\n')
  await turn()
  await turn()
  expect(writes).toEqual(['a\nb\n', 'c\n'])
})

it('what is not urgent waits a little longer, for what is', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] })
  try {
    const { writes, lines } = open((line) => line === 'now\n')
    lines.write('a\n')
    await turn()
    expect(writes).toEqual([])
    lines.write('now\n')
    await turn()
    expect(writes).toEqual(['a\nnow\n'])
    lines.write('b\n')
    vi.advanceTimersByTime(10)
    expect(writes).toEqual(['a\nnow\n', 'b\n'])
  } finally {
    vi.useRealTimers()
  }
})

it.each([
  ['ASCII', 'x', 1_000, [4, 4, 2]],
  ['several bytes a character', 'é', 500, [4, 4, 2]],
  ['exactly full', 'x', 2_047, [2, 2, 2, 2, 2]],
  ['one too many', 'x', 2_048, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]],
])(
  'never writes more than 4,096 bytes at once, and whole lines: %s',
  async (_name, letter, length, counts) => {
    const { writes, lines } = open()
    for (let at = 0; at < 10; at += 1) lines.write(`${letter.repeat(length)}\n`)
    await turn()
    expect(writes.map((text) => text.split('\n').length - 1)).toEqual(counts)
    expect(Math.max(...writes.map((text) => Buffer.byteLength(text)))).toBeLessThanOrEqual(4_096)
  },
)

it('a longer line is written alone', async () => {
  const { writes, lines } = open()
  for (const line of ['a\n', `${'x'.repeat(5_000)}\n`, 'b\n']) lines.write(line)
  await turn()
  expect(writes.map(({ length }) => length)).toEqual([2, 5_001, 2])
})

it('an exit writes what is there, once', async () => {
  const { writes, lines, exit } = open()
  lines.write('a\n')
  exit()
  expect(writes).toEqual(['a\n'])
  exit()
  await turn()
  expect(writes).toEqual(['a\n'])
})

it('a fatal line does not wait for the end of the turn, and what was said before it comes before it', () => {
  const { writes, lines } = open()
  const log = createLog('enroll', 'info', lines)
  log.info('first')
  expect(writes).toEqual([])
  log.fatal('broken')
  expect(writes.join('').match(/"msg":"[a-z]+"/g)).toEqual(['"msg":"first"', '"msg":"broken"'])
})

it('what could not be written is not written again, and later lines are', async () => {
  const writes: string[] = []
  let broken = true
  const lines = gatherLines({
    write: (text) => {
      if (broken) throw new Error('EPIPE')
      writes.push(text)
    },
    atExit: () => undefined,
  })
  lines.write('a\n')
  expect(() => lines.flushSync()).toThrow('EPIPE')
  broken = false
  lines.write('b\n')
  await turn()
  expect(writes).toEqual(['b\n'])
})
