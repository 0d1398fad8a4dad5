import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import {
  childrenOf,
  derOf,
  headOf,
  integerDer,
  MAX_DER_BYTES,
  namedBitsOf,
  octetsOfBits,
  oidDer,
  oidOf,
  readDer,
  smallIntegerOf,
  TAG,
  tagOf,
  timeDer,
  timeOf,
  tlv,
} from '#pki/der.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const nested = (depth: number): Buffer => {
  let der = tlv(TAG.null)
  for (let at = 0; at < depth; at += 1) der = tlv(TAG.sequence, der)
  return der
}
const refusal = (act: () => unknown): string => {
  try {
    act()
  } catch (error) {
    if (error instanceof FleetError && error.code === 'bad_request') return error.detail
    throw error
  }
  return 'accepted'
}

describe('readDer refuses', () => {
  test.each<[string, Buffer, string]>([
    ['nothing', hex(''), 'is not DER'],
    ['one octet', hex('30'), 'is not DER'],
    ['a length that runs past the end', hex('30 05 02 01 01'), 'is not DER'],
    ['octets after the value', hex('30 03 02 01 01 00'), 'is not DER'],
    ['an indefinite length', hex('30 80 02 01 01 00 00'), 'is not canonical DER'],
    ['a length in long form that fits the short', hex('30 81 03 02 01 01'), 'is not canonical DER'],
    ['a length with a leading zero', hex('30 82 00 03 02 01 01'), 'is not canonical DER'],
    ['an integer with a spare leading zero', hex('02 02 00 01'), 'is not canonical DER'],
    ['an integer with two', hex('02 03 00 00 01'), 'is not canonical DER'],
    ['a negative integer with a spare ff', hex('02 02 ff 80'), 'is not canonical DER'],
    ['an integer without octets', hex('02 00'), 'is not canonical DER'],
    ['an ENUMERATED with a spare leading zero', hex('0a 02 00 01'), 'is not canonical DER'],
    ['a BOOLEAN of 01', hex('01 01 01'), 'holds a BOOLEAN that is not DER'],
    ['a BOOLEAN of two octets', hex('01 02 ff ff'), 'holds a BOOLEAN that is not DER'],
    ['a constructed OCTET STRING', hex('24 03 04 01 00'), 'holds a constructed primitive'],
    ['a constructed BIT STRING', hex('23 04 03 02 00 00'), 'holds a constructed primitive'],
    ['a NULL with something in it', hex('05 01 00'), 'holds a NULL that is not empty'],
    ['a primitive SEQUENCE', hex('10 00'), 'holds a SEQUENCE or SET that is not constructed'],
    [
      'an OID with a padded subidentifier',
      hex('06 04 55 1d 80 11'),
      'holds an OBJECT IDENTIFIER that is not DER',
    ],
    ['an OID that breaks off', hex('06 02 55 9d'), 'holds an OBJECT IDENTIFIER that is not DER'],
    ['an empty OID', hex('06 00'), 'holds an OBJECT IDENTIFIER that is not DER'],
    ['a tag above 30', hex('1f 1f 01 00'), 'is not DER'],
    ['a tag above 30 that happens to parse', hex('1f 01 00'), 'holds a tag above 30'],
    ['deep nesting', nested(40), 'is not DER'],
    ['absurd nesting', nested(5_000), 'is not DER'],
    ['more than 64 KiB', Buffer.alloc(MAX_DER_BYTES + 1), `is larger than ${MAX_DER_BYTES} bytes`],
    ['very many elements', tlv(TAG.sequence, Buffer.alloc(40_000, hex('05 00'))), 'holds too many elements'],
  ])('%s', (_, der, problem) => {
    expect(refusal(() => readDer(der, 'thing'))).toBe(`thing: ${problem}`)
  })
})

describe('typed readers refuse', () => {
  const node = (text: string) => readDer(hex(text), 'x')
  test.each<[string, () => unknown, string]>([
    ['another type', () => childrenOf(node('02 01 01'), TAG.sequence, 'x'), 'is missing or of another type'],
    ['nothing there', () => childrenOf(undefined, TAG.sequence, 'x'), 'is missing or of another type'],
    ['too few', () => childrenOf(node('30 00'), TAG.sequence, 'x', { min: 1 }), 'has too few elements'],
    [
      'too many',
      () => childrenOf(node('30 04 05 00 05 00'), TAG.sequence, 'x', { max: 1 }),
      'has too many elements',
    ],
    [
      'an OID above 2^53',
      () => oidOf(node('06 0a 2a ff ff ff ff ff ff ff ff 7f'), 'x'),
      'the OBJECT IDENTIFIER is out of range',
    ],
    ['unused bits in a key', () => octetsOfBits(node('03 02 04 f0'), 'x'), 'has unused bits'],
    ['an empty BIT STRING', () => octetsOfBits(node('03 00'), 'x'), 'has unused bits'],
    ['named bits without their first octet', () => namedBitsOf(node('03 00'), 'x'), 'is not a BIT STRING'],
    ['9 unused bits', () => namedBitsOf(node('03 02 09 00'), 'x'), 'is not a BIT STRING'],
    [
      'named bits set where unused',
      () => namedBitsOf(node('03 02 07 81'), 'x'),
      'has unused bits that are set',
    ],
    ['unused bits of nothing', () => namedBitsOf(node('03 01 01'), 'x'), 'has unused bits that are set'],
    ['a negative number', () => smallIntegerOf(node('02 01 ff'), 'x'), 'is out of range'],
    ['a number of five octets', () => smallIntegerOf(node('02 05 01 00 00 00 00'), 'x'), 'is out of range'],
  ])('%s', (_, act, problem) => {
    expect(refusal(act)).toBe(`x: ${problem}`)
  })
})

test.each<[string, readonly number[]]>([
  ['03 01 00', []],
  ['03 02 07 80', [0]],
  ['03 02 00 80', [0]],
  ['03 02 01 06', [5, 6]],
  ['03 03 07 80 80', [0, 8]],
])('named bits %s are %j', (der, bits) => {
  expect(namedBitsOf(readDer(hex(der), 'x'), 'x')).toEqual(bits)
})

describe('times', () => {
  const time = (tag: number, text: string): number => timeOf(readDer(tlv(tag, Buffer.from(text)), 'x'), 'x')
  test.each<[string, number, string, string]>([
    ['2049 is UTCTime', TAG.utcTime, '491231235959Z', '2049-12-31T23:59:59.000Z'],
    ['a two-digit 50 is 1950', TAG.utcTime, '500101000000Z', '1950-01-01T00:00:00.000Z'],
    ['2050 is GeneralizedTime', TAG.generalizedTime, '20500101000000Z', '2050-01-01T00:00:00.000Z'],
    ['29 February of a leap year', TAG.utcTime, '280229120000Z', '2028-02-29T12:00:00.000Z'],
    ['"no expiry" (RFC 5280 §4.1.2.5)', TAG.generalizedTime, '99991231235959Z', '9999-12-31T23:59:59.000Z'],
  ])('%s', (_, tag, text, expected) => {
    expect(new Date(time(tag, text)).toISOString()).toBe(expected)
    if (!text.startsWith('50')) expect(timeDer(Date.parse(expected))).toEqual(tlv(tag, Buffer.from(text)))
  })

  test.each<[string, number, string]>([
    ['without seconds', TAG.utcTime, '4912312359Z'],
    ['with an offset', TAG.utcTime, '491231235959+0000'],
    ['with a fraction', TAG.generalizedTime, '20500101000000.5Z'],
    ['without Z', TAG.generalizedTime, '20500101000000'],
    ['of 31 February', TAG.utcTime, '260231000000Z'],
    ['of month 13', TAG.utcTime, '261301000000Z'],
    ['of day 0', TAG.utcTime, '260100000000Z'],
    ['of 24 o’clock', TAG.utcTime, '260101240000Z'],
    ['of second 60', TAG.utcTime, '260101235960Z'],
  ])('%s is refused', (_, tag, text) => {
    expect(refusal(() => time(tag, text))).toBe('x: is not a time')
  })

  test('a date that cannot be written is ours, not the client’s', () => {
    expect(() => timeDer(Date.UTC(1949, 0, 1))).toThrow(expect.objectContaining({ code: 'internal' }))
  })

  test('whole seconds are written, rounded down', () => {
    expect(timeOf(readDer(timeDer(1_795_507_559_999), 'x'), 'x')).toBe(1_795_507_559_000)
  })
})

test.each([0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000])(
  'a length of %i is the shortest',
  (length) => {
    const head = headOf(TAG.octetString, length)
    const octets = length < 0x80 ? 0 : Math.ceil((32 - Math.clz32(length)) / 8)
    expect(head).toHaveLength(2 + octets)
    expect(octets === 0 ? head[1] : head.readUIntBE(2, octets)).toBe(length)
  },
)

test.each<[string, string]>([
  ['00', '02 01 00'],
  ['7f', '02 01 7f'],
  ['80', '02 02 00 80'],
  ['00 00 01', '02 01 01'],
  ['', '02 01 00'],
])('the magnitude %s is written %s', (magnitude, der) => {
  expect(integerDer(hex(magnitude))).toEqual(hex(der))
})

test.each(['1.2.840.113549.1.1.11', '2.5.29.17', '1.3.6.1.4.1.4294967295.1', '0.9.2342.19200300.100.1.25'])(
  'OID %s',
  (oid) => {
    expect(oidOf(readDer(oidDer(oid), 'x'), 'x')).toBe(oid)
  },
)

describe('for any input', () => {
  test('octets are read or refused, never anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => {
        const outcome = refusal(() => expect(derOf(readDer(octets, 'x'))).toEqual(Buffer.from(octets)))
        expect(outcome).toMatch(/^(accepted|x: )/)
      }),
      { numRuns: 2_000 },
    )
  })

  /** Any tree of the types that we write. */
  const { tree } = fc.letrec<{ tree: Buffer; leaf: Buffer; branch: Buffer }>((tie) => ({
    tree: fc.oneof({ depthSize: 'small', withCrossShrink: true }, tie('leaf'), tie('branch')),
    leaf: fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((octets) => tlv(TAG.octetString, octets)),
      fc.uint8Array({ maxLength: 40 }).map((octets) => integerDer(octets)),
      fc.boolean().map((value) => tlv(TAG.boolean, Buffer.of(value ? 0xff : 0))),
      fc.constant(tlv(TAG.null)),
      fc.integer({ min: 0, max: 30 }).map((n) => tlv(0x80 | n, Buffer.from('abc'))),
    ),
    branch: fc
      .tuple(fc.constantFrom(TAG.sequence, TAG.set, 0xa0, 0xa3), fc.array(tie('tree'), { maxLength: 5 }))
      .map(([tag, children]) => tlv(tag, ...children)),
  }))
  test('what we write, we read, and it is the same', () => {
    fc.assert(
      fc.property(tree, (der) => {
        // forge takes a primitive [30] for a BMPString and [2] for an INTEGER: it refuses some of them, and misreads none
        const outcome = refusal(() => {
          const node = readDer(der, 'x')
          expect(derOf(node)).toEqual(der)
          expect(tagOf(node)).toBe(der[0])
        })
        if (!der.includes(0x9e)) expect(outcome).toBe('accepted')
      }),
    )
  })
})
