import { expect, test } from 'vitest'
import { clipped, printable } from '#device-sim/plain-text.ts'
import {
  byFrequency,
  formatBytes,
  formatClock,
  formatCount,
  formatMillis,
  formatShare,
  formatShort,
} from '#device-sim/report/format.ts'

test.each([
  [formatMillis, 0, '0 ms'],
  [formatMillis, 0.001, '1 µs'],
  [formatMillis, 0.2144, '214 µs'],
  [formatMillis, 0.9999, '1 ms'],
  [formatMillis, 4.126, '4.13 ms'],
  [formatMillis, 97.31, '97.3 ms'],
  [formatMillis, 999.4, '999 ms'],
  [formatMillis, 999.6, '1 s'],
  [formatMillis, 1_234, '1.23 s'],
  [formatMillis, 119_000, '119 s'],
  [formatMillis, 210_000, '3.5 min'],
  [formatClock, 0, '0:00'],
  [formatClock, -4_000, '-0:04'],
  [formatClock, -400, '0:00'],
  [formatClock, 61_000, '1:01'],
  [formatClock, 3_723_000, '1:02:03'],
  [formatCount, 1_234_567, '1,234,567'],
  [formatShort, 0.25, '0.25'],
  [formatShort, 4_103, '4,103'],
  [formatShort, 98_210, '98.2k'],
  [formatShort, 14_800_000, '14.8M'],
  [formatShort, 2e9, '2G'],
  [formatBytes, 0, '0 B'],
  [formatBytes, 999, '999 B'],
  [formatBytes, 312_000_000, '312 MB'],
  [formatBytes, 5e18, '5000000 TB'],
] as const)('%o of %d', (format, value, text) => {
  expect(format(value)).toBe(text)
})

test.each([
  [1, 3, '33.33 %'],
  [3, 3, '100 %'],
  [0, 3, '0 %'],
  [0, 0, '—'],
  [1, 1_000_000, '< 0.01 %'],
  [999_999, 1_000_000, '> 99.99 %'],
])('%d of %d: never all or nothing when it is not', (part, all, text) => {
  expect(formatShare(part, all)).toBe(text)
})

test.each([
  ['a\u001b[2Jb\nc', 'a?[2Jb?c'],
  ['\u202egpj.exe', '?gpj.exe'],
  ['ok\ud800', 'ok\ufffd'],
])('%j cannot move a cursor or turn the text round', (text, shown) => {
  expect(printable(text)).toBe(shown)
})

test('what is cut says so, and does not end in half a character', () => {
  expect(clipped('abcdef', 6)).toBe('abcdef')
  expect(clipped('abcdefg', 6)).toBe('abcde…')
  expect(clipped('abcd😀efg', 6)).toBe('abcd\ufffd…')
})

test('the most frequent first, of equals by name', () => {
  expect(byFrequency({ b: 1, a: 1, c: 9 }).map(([name]) => name)).toEqual(['c', 'a', 'b'])
})
