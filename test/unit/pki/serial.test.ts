/** Serials: positive, never shorter, and in order of time where they are asked for so. */

import { expect, it } from 'vitest'
import { newSerial, newSerialAt, serialFromText } from '#pki/serial.ts'

const NOW = Date.UTC(2026, 5, 1, 12)
const FORM = /^[4-7][0-9a-f]{31}$/

it.each([
  ['of chance', () => newSerial()],
  ['of now', () => newSerialAt(NOW)],
  ['of the epoch', () => newSerialAt(0)],
  ['of a clock before it', () => newSerialAt(-1)],
  ['of the last date a certificate may say', () => newSerialAt(Date.UTC(9999, 11, 31))],
  ['of a fraction', () => newSerialAt(NOW + 0.5)],
])('%s have 16 octets that begin with 01, and none comes twice', (_of, make) => {
  const made = Array.from({ length: 2_000 }, make)
  for (const serial of made) expect(serial).toMatch(FORM)
  expect(new Set(made).size).toBe(made.length)
})

it('stand in the order of their milliseconds, and have 80 random bits behind them', () => {
  const made = Array.from({ length: 500 }, (_, n) => newSerialAt(NOW + n))
  expect(made.toSorted()).toEqual(made)
  expect(newSerialAt(NOW).slice(0, 12)).toBe(newSerialAt(NOW).slice(0, 12))
  expect(new Set(Array.from({ length: 2_000 }, () => newSerialAt(NOW).slice(12))).size).toBe(2_000)
  // each of the 80 bits is 0 sometimes and 1 sometimes
  const tails = Array.from({ length: 200 }, () => BigInt(`0x${newSerialAt(NOW).slice(12)}`))
  const ones = tails.reduce((all, tail) => all | tail)
  const zeros = tails.reduce((all, tail) => all & tail)
  expect([ones, zeros]).toEqual([2n ** 80n - 1n, 0n])
})

it.each([
  ['4A:0B', '4a0b'],
  ['4a0b', '4a0b'],
  ['a', '0a'],
  ['0', '00'],
  ['00', '00'],
  ['007f', '7f'],
  ['80', '0080'],
  ['0080', '0080'],
  ['000000ff', '00ff'],
  ['ab'.repeat(31), `00${'ab'.repeat(31)}`],
  ['7b'.repeat(32), '7b'.repeat(32)],
  ['ab'.repeat(32), undefined],
  ['7b'.repeat(33), undefined],
  ['', undefined],
  [':', undefined],
  ['-1', undefined],
  ['0x1', undefined],
  ['4a 0b', undefined],
])('from text: %s → %s', (text, expected) => {
  expect(serialFromText(text)).toBe(expected)
})
