import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Level } from '#gateway/mqtt/packets.ts'
import { writeProperties } from '#gateway/mqtt/properties.ts'
import {
  makeSuback,
  makeSubscribe,
  makeUnsuback,
  makeUnsubscribe,
  readSuback,
  readSubscribe,
  readUnsuback,
  readUnsubscribe,
} from '#gateway/mqtt/subscribe-packets.ts'
import { packetOf } from './corpus/notation.ts'
import { bodyAt, id, propertiesIn, qos, text, theirBytes, theirs } from './corpus/oracle.ts'

const level = fc.constantFrom<Level>(3, 4, 5)
const NONE = Buffer.alloc(0)

const subscriptions = fc.array(
  fc.record({
    topic: text.filter((filter) => !filter.startsWith('$share/')),
    qos,
    nl: fc.boolean(),
    rap: fc.boolean(),
    rh: fc.constantFrom(0, 1, 2),
  }),
  { minLength: 1, maxLength: 20 },
)

test('SUBSCRIBE is read as another library writes it, and written as it does', () => {
  fc.assert(
    fc.property(
      level,
      id,
      subscriptions,
      propertiesIn(['subscribe', 'client']),
      (l, messageId, wanted, list) => {
        const five = l === 5
        const bytes = theirBytes(l, {
          cmd: 'subscribe',
          messageId,
          subscriptions: wanted,
          properties: theirs(list),
        })
        const expected = {
          id: messageId,
          filters: wanted.map((one) => ({
            filter: one.topic,
            qos: one.qos,
            options: five ? one.qos | (one.nl ? 4 : 0) | (one.rap ? 8 : 0) | (one.rh << 4) : one.qos,
          })),
          properties: five ? writeProperties(list) : NONE,
        }
        expect(readSubscribe(bytes, bodyAt(bytes), bytes.length, l)).toEqual(expected)
        expect(makeSubscribe(l, expected)).toEqual(bytes)
      },
    ),
  )
})

test('UNSUBSCRIBE is read as another library writes it, and written as it does', () => {
  const filters = fc.array(text, { minLength: 1, maxLength: 20 })
  fc.assert(
    fc.property(
      level,
      id,
      filters,
      propertiesIn(['unsubscribe', 'client']),
      (l, messageId, unsubscriptions, list) => {
        const bytes = theirBytes(l, {
          cmd: 'unsubscribe',
          messageId,
          unsubscriptions,
          properties: theirs(list),
        })
        const expected = {
          id: messageId,
          filters: unsubscriptions,
          properties: l === 5 ? writeProperties(list) : NONE,
        }
        expect(readUnsubscribe(bytes, bodyAt(bytes), bytes.length, l)).toEqual(expected)
        expect(makeUnsubscribe(l, expected)).toEqual(bytes)
      },
    ),
  )
})

const granted = (codes: readonly number[]) =>
  fc.array(fc.constantFrom(...codes), { minLength: 1, maxLength: 20 })
const SUBACK5 = [0, 1, 2, 0x80, 0x83, 0x87, 0x8f, 0x91, 0x97, 0x9e, 0xa1, 0xa2]
const UNSUBACK5 = [0, 0x11, 0x80, 0x83, 0x87, 0x8f, 0x91]

test('SUBACK is read as another library writes it, and written as it does', () => {
  fc.assert(
    fc.property(
      level,
      id,
      granted(SUBACK5),
      propertiesIn(['suback', 'server']),
      (l, messageId, wanted, list) => {
        const five = l === 5
        const codes = five ? wanted : wanted.map((code) => (code > 2 ? 0x80 : code))
        const bytes = theirBytes(l, { cmd: 'suback', messageId, granted: codes, properties: theirs(list) })
        const properties = five ? writeProperties(list) : NONE
        expect(readSuback(bytes, bodyAt(bytes), bytes.length, l)).toEqual({
          id: messageId,
          codes,
          properties,
        })
        expect(makeSuback(l, messageId, wanted, properties)).toEqual(bytes)
      },
    ),
  )
})

test('UNSUBACK is read as another library writes it, and written as it does', () => {
  fc.assert(
    fc.property(
      level,
      id,
      granted(UNSUBACK5),
      propertiesIn(['unsuback', 'server']),
      (l, messageId, wanted, list) => {
        const five = l === 5
        const bytes = theirBytes(l, { cmd: 'unsuback', messageId, granted: wanted, properties: theirs(list) })
        const properties = five ? writeProperties(list) : NONE
        expect(readUnsuback(bytes, bodyAt(bytes), bytes.length, l)).toEqual({
          id: messageId,
          codes: five ? wanted : [],
          properties,
        })
        expect(makeUnsuback(l, messageId, wanted, properties)).toEqual(bytes)
      },
    ),
  )
})

describe('codes that may stand in an answer, and no others', () => {
  test.each([
    ['SUBACK', 3, readSuback, [0, 1, 2, 0x80]],
    ['SUBACK', 4, readSuback, [0, 1, 2, 0x80]],
    ['SUBACK', 5, readSuback, SUBACK5],
    ['UNSUBACK', 5, readUnsuback, UNSUBACK5],
  ] as const)('%s, level %i', (_, l, read, codes) => {
    const known = Array.from({ length: 256 }, (_unused, code) => code).filter((code) => {
      const bytes = Buffer.from([0, 1, ...(l === 5 ? [0] : []), code])
      return read(bytes, 0, bytes.length, l) !== undefined
    })
    expect(known).toEqual(codes)
  })
})

test('without properties MQTT 5 says that there are none', () => {
  const filters = [{ filter: 'a', qos: 1, options: 1 }]
  expect(makeSubscribe(5, { id: 1, filters })).toEqual(packetOf('82', "0001 [ ] 'a' 01"))
  expect(makeSubscribe(5, { id: 1, filters, properties: NONE })).toEqual(packetOf('82', "0001 [ ] 'a' 01"))
  expect(makeUnsubscribe(5, { id: 1, filters: ['a'] })).toEqual(packetOf('a2', "0001 [ ] 'a'"))
  expect(makeSuback(5, 1, [0x87])).toEqual(packetOf('90', '0001 [ ] 87'))
  expect(makeUnsuback(5, 1, [0x11])).toEqual(packetOf('b0', '0001 [ ] 11'))
})

test('what was read is a copy', () => {
  const bytes = packetOf('82', "0001 [ 0b 07 ] 'a' 01")
  const list = readSubscribe(bytes, 2, bytes.length, 5)
  bytes.fill(0)
  expect(list).toMatchObject({ properties: Buffer.from('020b07', 'hex') })
})

test('a thousand filters are read, and no more', () => {
  const of = (count: number): (string | undefined)[] => {
    const filters = Array.from({ length: count }, () => ({ filter: '#', qos: 0, options: 0 }))
    const one = makeSubscribe(4, { id: 1, filters })
    const other = makeUnsubscribe(4, { id: 1, filters: filters.map(({ filter }) => filter) })
    const read = [
      readSubscribe(one, bodyAt(one), one.length, 4),
      readUnsubscribe(other, bodyAt(other), other.length, 4),
    ]
    return read.map((list) => (typeof list === 'object' ? `${list.filters.length}` : list))
  }
  expect(of(1_000)).toEqual(['1000', '1000'])
  expect(of(1_001)).toEqual(['too many', 'too many'])
  const three = packetOf('82', "0001 'a' 00 'b' 00 'c' 00")
  expect(readSubscribe(three, 2, three.length, 4, 3)).toMatchObject({ id: 1 })
  expect(readSubscribe(three, 2, three.length, 4, 2)).toBe('too many')
})
