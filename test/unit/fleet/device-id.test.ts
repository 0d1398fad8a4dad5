/** The device id grammar. */

import { describe, expect, test } from 'vitest'
import { isDeviceId } from '#fleet/device-id.ts'

describe('isDeviceId', () => {
  test.each([
    ['a', true],
    ['Sensor-01', true],
    ['a.b_c~d:e-f', true],
    ['0'.repeat(64), true],
    ['', false],
    ['0'.repeat(65), false],
    ['-leading', false],
    ['.hidden', false],
    ['~x', false],
    ['a/b', false],
    ['a+b', false],
    ['a#', false],
    ['$SYS', false],
    ['a b', false],
    ['a\n', false],
    ['a\u0000b', false],
    ['ä', false],
    ['а', false], // Cyrillic a: a look-alike of the first row
    ['a%2fb', false],
    ['a\u200b', false],
  ])('%j is %s', (text, expected) => {
    expect(isDeviceId(text)).toBe(expected)
  })
})
