import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Level, Side } from '#gateway/mqtt/packets.ts'
import { MALFORMED } from './malformed.ts'
import { packetOf } from './notation.ts'
import { opensFor, readAt, readPieces } from './read-any.ts'
import { WELL_FORMED } from './well-formed.ts'

const REFUSED = { read: [], refused: true }

const malformed = MALFORMED.flatMap(({ type, side, first, rows }) =>
  rows.flatMap(([levels, name, body]) =>
    levels.map((level) => ({ name: `${type}: ${name}`, level, side, bytes: packetOf(first, body) })),
  ),
)
const wellFormed = WELL_FORMED.flatMap(([name, levels, side, first, body, shorter = []]) =>
  levels.map((level) => ({ name, level, side, first, bytes: packetOf(first, body), shorter })),
)

/** as it came, in two pieces cut at every byte, and byte by byte */
const everyWay = (bytes: Buffer): Buffer[][] => [
  [bytes],
  ...Array.from({ length: bytes.length - 1 }, (_, at) => [bytes.subarray(0, at + 1), bytes.subarray(at + 1)]),
  Array.from({ length: bytes.length }, (_, at) => bytes.subarray(at, at + 1)),
]

test('there are hundreds', () => expect(malformed.length).toBeGreaterThan(1_000))

describe('refused', () => {
  test.each(malformed)('$level, $side: $name', ({ level, side, bytes }) => {
    for (const pieces of everyWay(bytes)) expect(readPieces(pieces, level, side)).toEqual(REFUSED)
  })
})

describe('read', () => {
  test.each(wellFormed)('$level, $side: $name', ({ level, side, bytes }) => {
    const whole = readPieces([bytes], level, side)
    expect(whole).toMatchObject({ read: [expect.anything()], refused: false })
    for (const pieces of everyWay(bytes)) expect(readPieces(pieces, level, side)).toEqual(whole)
    const twice = Buffer.concat([bytes, bytes])
    if (bytes[0] !== 0x10)
      for (const pieces of everyWay(twice)) expect(readPieces(pieces, level, side).read).toHaveLength(2)
  })

  test.each(wellFormed)('cut short, $level: $name', ({ level, side, first, bytes, shorter }) => {
    const body = bytes.toString('hex', bytes.length > 129 ? 3 : 2)
    const readable = Array.from({ length: body.length / 2 }, (_, length) => length).filter(
      (length) => !readPieces([packetOf(first, body.slice(0, 2 * length))], level, side).refused,
    )
    expect(readable).toEqual(shorter)
  })
})

const level = fc.constantFrom<Level>(3, 4, 5)
const side = fc.constantFrom<Side>('client', 'broker')
const noise = fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes))

/** Read with other bytes around it, it is the same: nothing outside of it is looked at. */
const readsAlone = (
  bytes: Buffer,
  body: number,
  of: { level: Level; side: Side },
  around: readonly Buffer[],
) => {
  const [before = Buffer.alloc(0), after = Buffer.alloc(0)] = around
  const alone = readAt({ bytes, start: 0, body, end: bytes.length, ...of })
  const amid = Buffer.concat([before, bytes, after])
  const at = before.length
  expect(readAt({ bytes: amid, start: at, body: at + body, end: at + bytes.length, ...of })).toEqual(alone)
}

describe('whatever the bytes', () => {
  test('no reader throws, and none looks beyond its packet', () => {
    const first = fc.integer({ min: 0x10, max: 0xef })
    fc.assert(
      fc.property(
        first,
        fc.uint8Array({ maxLength: 80 }),
        level,
        side,
        noise,
        noise,
        (type, rest, l, s, a, b) => {
          readsAlone(Buffer.from([type, 0, ...rest]), 2, { level: l, side: s }, [a, b])
        },
      ),
      { numRuns: 3_000 },
    )
  })

  test('nor of a good packet with bytes changed', () => {
    const specimen = fc.constantFrom(...wellFormed)
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(specimen, changes, noise, noise, ({ bytes, ...of }, list, a, b) => {
        const changed = Buffer.from(bytes)
        for (const [at, value] of list) changed[1 + (at % (bytes.length - 1))] = value
        readsAlone(changed, bytes.length > 129 ? 3 : 2, { level: of.level, side: of.side }, [a, b])
      }),
      { numRuns: 3_000 },
    )
  })

  test('a stream is the same in any pieces', () => {
    const packets = fc.array(fc.nat(), { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(
        level,
        side,
        packets,
        fc.array(fc.nat(), { maxLength: 6 }),
        noise,
        (l, s, picks, cuts, tail) => {
          const pool = [
            ...wellFormed.filter((one) => one.level === l && one.side === s && one.bytes[0] !== 0x10),
            ...malformed
              .filter((one) => one.level === l && one.side === s && one.bytes[0] !== 0x10)
              .slice(0, 20),
          ]
          const bytes = Buffer.concat([...picks.map((pick) => pool[pick % pool.length]?.bytes ?? tail), tail])
          const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((x, y) => x - y)
          const pieces = [0, ...places].map((from, at) => bytes.subarray(from, places[at] ?? bytes.length))
          expect(readPieces(pieces, l, s)).toEqual(readPieces([bytes], l, s))
        },
      ),
    )
  })
})

test('a hundred megabytes are refused by their announcement', () => {
  for (const { bytes, level: l, side: s } of wellFormed)
    expect(readPieces([Buffer.from([bytes[0] as number, 0x80, 0xc2, 0xd7, 0x2f])], l, s)).toEqual(REFUSED)
  expect(opensFor(5, 'client', 0x10)(0x30)).toBe(false)
})
