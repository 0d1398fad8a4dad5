import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeText,
  DISCONNECT,
  field16,
  opensConnect,
  opensFromBroker,
  opensFromClient,
  packet,
  PINGREQ,
  PINGRESP,
  readText,
  readVarint,
  text16,
  varint,
  varintSize,
} from '#gateway/mqtt/packets.ts'
import { theirReading } from './corpus/oracle.ts'

const hex = (text: string): Buffer => Buffer.from(text, 'hex')
const open = (opens: (first: number) => boolean): string =>
  Array.from({ length: 256 }, (_, first) => first)
    .filter(opens)
    .map((first) => first.toString(16))
    .join(' ')

describe('first bytes', () => {
  const publishes = '30 31 32 33 34 35 3a 3b 3c 3d'
  test('before CONNECT', () => expect(open(opensConnect)).toBe('10'))
  test.each([
    [3, `${publishes} 40 50 62 6a 70 82 8a a2 aa c0 e0`],
    [4, `${publishes} 40 50 62 70 82 a2 c0 e0`],
    [5, `${publishes} 40 50 62 70 82 a2 c0 e0`],
  ] as const)('of a client that speaks level %i', (level, firsts) =>
    expect(open(opensFromClient[level])).toBe(firsts),
  )
  test.each([
    [3, `20 ${publishes} 40 50 62 6a 70 90 b0 d0`],
    [4, `20 ${publishes} 40 50 62 70 90 b0 d0`],
    [5, `20 ${publishes} 40 50 62 70 90 b0 d0 e0`],
  ] as const)('of a broker that speaks level %i', (level, firsts) =>
    expect(open(opensFromBroker[level])).toBe(firsts),
  )
})

describe('strings', () => {
  test.each([
    ['a', '61'],
    ['nothing', ''],
    ['two bytes', 'c3a9'],
    ['four bytes', 'f09f92a1'],
    ['a byte order mark, which is a character', 'efbbbf61'],
    ['a noncharacter', 'efbfbf'],
  ])('%s', (_, text) => {
    const bytes = hex(text)
    expect(decodeText(bytes, 0, bytes.length)).toBe(bytes.toString())
  })
  test.each([
    ['NUL', '610061'],
    ['NUL after more than ASCII', 'c3a900'],
    ['an overlong slash', 'c0af'],
    ['an overlong NUL', 'c080'],
    ['half of a surrogate pair', 'eda080'],
    ['a surrogate pair in six bytes', 'eda0bdedb2a1'],
    ['beyond the last code point', 'f4908080'],
    ['a byte that follows nothing', '80'],
    ['a character cut off', 'f09f92'],
  ])('not %s', (_, text) => expect(decodeText(hex(text), 0, text.length / 2)).toBeUndefined())

  test('all that is well formed, and nothing else', () => {
    const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    const decoded = (bytes: Uint8Array): string | undefined => {
      try {
        return utf8.decode(bytes)
      } catch {
        return undefined
      }
    }
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 6 }), fc.string({ unit: 'binary' })), (value) => {
        const bytes = Buffer.from(value as Uint8Array)
        const text = decoded(bytes)
        expect(decodeText(bytes, 0, bytes.length)).toBe(text?.includes('\u0000') === true ? undefined : text)
      }),
      { numRuns: 1_000 },
    )
  })

  test.each([
    ['0001', 2],
    ['00', 1],
    ['000261', 3],
    ['ffff61', 3],
  ])('%s does not fit', (text, end) => expect(readText(hex(text), 0, end)).toBeUndefined())
  test('the end is the end of the packet, not of the memory', () => {
    expect(readText(hex('0002616162'), 0, 3)).toBeUndefined()
    expect(readText(hex('0002616162'), 0, 4)).toEqual({ text: 'aa', next: 4 })
  })

  test('one that is too long for its length is not cut, but refused', () => {
    expect(text16('x'.repeat(65_535))).toHaveLength(65_537)
    expect(() => text16('x'.repeat(65_536))).toThrow('internal')
    expect(() => field16(Buffer.alloc(65_536))).toThrow('internal')
    expect(() => text16('é'.repeat(32_768))).toThrow('internal')
  })
})

describe('Variable Byte Integers', () => {
  test.each([
    [0, '00'],
    [127, '7f'],
    [128, '8001'],
    [16_383, 'ff7f'],
    [16_384, '808001'],
    [2_097_151, 'ffff7f'],
    [2_097_152, '80808001'],
    [268_435_455, 'ffffff7f'],
  ])('%i is %s', (value, text) => {
    expect(Buffer.from(varint(value)).toString('hex')).toBe(text)
    expect(readVarint(hex(text), 0, text.length / 2)).toBe(value)
    expect(varintSize(value)).toBe(text.length / 2)
  })
  test.each(['', '80', 'ffff', 'ffffff', '8000', '808000', 'ff8000', '80808000', 'ffffffff', '8080808001'])(
    '%j is none',
    (text) => expect(readVarint(hex(text), 0, text.length / 2)).toBe(-1),
  )
  test('the end is the end of the packet', () => expect(readVarint(hex('8001'), 0, 1)).toBe(-1))
})

test('packets without a body are what another library takes them for', () => {
  expect(theirReading(4, PINGREQ)).toMatchObject({ cmd: 'pingreq', length: 0 })
  expect(theirReading(4, PINGRESP)).toMatchObject({ cmd: 'pingresp', length: 0 })
  expect(theirReading(4, DISCONNECT)).toMatchObject({ cmd: 'disconnect', length: 0 })
  expect(theirReading(5, DISCONNECT)).toMatchObject({ cmd: 'disconnect', reasonCode: 0 })
})

test('a packet has its length, whatever it is', () => {
  for (const length of [0, 1, 127, 128, 16_383, 16_384, 70_000]) {
    const bytes = packet(0x30, Buffer.alloc(length))
    expect(readVarint(bytes, 1, bytes.length)).toBe(length)
    expect(bytes).toHaveLength(1 + varintSize(length) + length)
  }
})
