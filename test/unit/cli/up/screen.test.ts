import { expect, test } from 'vitest'
import { createScreen } from '#cli/up/screen.ts'

const terminal = (columns: number) => {
  const written: string[] = []
  return { columns, written, write: (text: string) => written.push(text) }
}

test('draws again in the same place, and takes it away', () => {
  const to = terminal(80)
  const screen = createScreen(to)
  screen.draw(['one', 'two'])
  screen.draw(['three'])
  screen.clear()
  expect(to.written).toEqual(['one\ntwo\n', '\u001b[2A\r\u001b[Jthree\n', '\u001b[1A\r\u001b[J'])
})

test('a window that was made narrower has wrapped what it shows', () => {
  const to = terminal(80)
  const screen = createScreen(to)
  screen.draw(['x'.repeat(70), 'two'])
  to.columns = 30
  screen.draw(['y'])
  expect(to.written[1]).toBe('\u001b[4A\r\u001b[Jy\n')
})

test('clearing nothing writes nothing that moves', () => {
  const to = terminal(80)
  createScreen(to).clear()
  expect(to.written.join('')).toBe('')
})
