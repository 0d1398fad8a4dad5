/** Durations as an administrator writes them, and everything that only looks like one. */

import { expect, test } from 'vitest'
import { formatDuration, parseDuration, parseSignedDuration } from '#fleet/duration.ts'

test.each([
  ['0s', 0],
  ['300ms', 300],
  ['15m', 900_000],
  ['2h45m', 9_900_000],
  ['30d', 2_592_000_000],
  ['', undefined],
  ['15', undefined],
  ['-1s', undefined],
  ['1.5h', undefined],
  ['1 h', undefined],
  ['1h ', undefined],
  ['1w', undefined],
  ['h', undefined],
  ['1h\n', undefined],
  ['9999999999s', undefined],
  ['1s'.repeat(40), undefined],
])('%j → %s', (text, expected) => {
  expect(parseDuration(text)).toBe(expected)
})

test.each([
  [0, '0s'],
  [300, '300ms'],
  [1_000, '1s'],
  [60_000, '1m'],
  [9_900_000, '2h45m'],
  [2_592_000_000, '30d'],
  [90_061_001, '1d1h1m1s1ms'],
])('%d → %s, and back', (ms, text) => {
  expect(formatDuration(ms)).toBe(text)
  expect(parseDuration(text)).toBe(ms)
})

test.each([
  ['-2h', -7_200_000],
  ['2h', 7_200_000],
  ['-0s', 0],
  ['--1s', undefined],
  ['-', undefined],
  ['1s-1s', undefined],
])('signed: %j → %s', (text, expected) => {
  expect(parseSignedDuration(text)).toBe(expected)
})
