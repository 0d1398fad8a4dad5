import { expect, test } from 'vitest'
import { clean, pairs, quote, table } from '#cli/output.ts'

test('what others wrote cannot move the cursor', () => {
  expect(clean('a\u001b[2Jb\nc\u0007')).toBe('a?[2Jb?c?')
  expect(table(['NAME'], [['evil\u001b]0;x\u0007']])[1]).toBe('evil?]0;x?')
  expect(pairs([['tag', 'x\ry']])).toEqual(['tag  x?y'])
})

test('columns are as wide as their widest cell, and nothing trails', () => {
  expect(
    table(
      ['ID', 'STATE'],
      [
        ['pump-7', 'active'],
        ['x', ''],
      ],
    ),
  ).toEqual(['ID      STATE', 'pump-7  active', 'x'])
  expect(
    pairs([
      ['a', '1'],
      ['long', '2'],
      ['left out', undefined],
    ]),
  ).toEqual(['a     1', 'long  2'])
})

test.each([
  ['certs/root.pem', 'certs/root.pem'],
  ['/a path/x', "'/a path/x'"],
  ["it's", String.raw`'it'\''s'`],
  ['$(reboot)', "'$(reboot)'"],
])('%s is one word for a shell', (word, quoted) => {
  expect(quote(word)).toBe(quoted)
})
