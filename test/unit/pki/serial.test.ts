/** Serials: positive, never shorter, random in every bit that may be; and how people write them. */

import { expect, it } from 'vitest'
import { newSerial, serialFromText } from '#pki/serial.ts'

it('have 16 octets that begin with 01, and none comes twice', () => {
  const made = Array.from({ length: 5_000 }, newSerial)
  for (const serial of made) expect(serial).toMatch(/^[4-7][0-9a-f]{31}$/)
  expect(new Set(made).size).toBe(made.length)
})

it('have 126 bits that are 0 sometimes and 1 sometimes', () => {
  const made = Array.from({ length: 400 }, () => BigInt(`0x${newSerial()}`))
  const ones = made.reduce((all, serial) => all | serial)
  const zeros = made.reduce((all, serial) => all & serial)
  expect([ones, zeros]).toEqual([2n ** 127n - 1n, 2n ** 126n])
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
