import fc from 'fast-check'
import { generate, type Packet } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import {
  decodeText,
  makeAck,
  makeConnack,
  makeSuback,
  makeSubscribe,
  opensConnect,
  opensFromBroker,
  opensFromClient,
  readSubscribe,
  readText,
  readUnsubscribe,
  TYPE,
} from '#gateway/mqtt/packets.ts'

const hex = (text: string): Buffer => Buffer.from(text, 'hex')
const open = (opens: (first: number) => boolean): string[] =>
  Array.from({ length: 256 }, (_, first) => first)
    .filter(opens)
    .map((first) => first.toString(16))

describe('first bytes', () => {
  const publishes = ['30', '31', '32', '33', '34', '35', '3a', '3b', '3c', '3d']
  test('before CONNECT', () => expect(open(opensConnect)).toEqual(['10']))
  test('of a client that speaks 3.1.1', () =>
    expect(open(opensFromClient[4])).toEqual([...publishes, '40', '50', '62', '70', '82', 'a2', 'c0', 'e0']))
  test('of one that speaks 3.1', () =>
    expect(open(opensFromClient[3])).toEqual([
      ...publishes,
      '40',
      '50',
      '62',
      '6a',
      '70',
      '82',
      '8a',
      'a2',
      'aa',
      'c0',
      'e0',
    ]))
  test('of a broker', () =>
    expect(open(opensFromBroker)).toEqual(['20', ...publishes, '40', '50', '62', '70', '90', 'b0', 'd0']))
})

describe('strings', () => {
  test.each([
    ['a', '61'],
    ['nothing', ''],
    ['two bytes', 'c3a9'],
    ['four bytes', 'f09f92a1'],
    ['a byte order mark, which is a character', 'efbbbf61'],
  ])('%s', (_, text) => {
    const bytes = hex(text)
    expect(decodeText(bytes, 0, bytes.length)).toBe(bytes.toString())
  })
  test.each([
    ['NUL', '610061'],
    ['an overlong slash', 'c0af'],
    ['an overlong NUL', 'c080'],
    ['half of a surrogate pair', 'eda080'],
    ['a surrogate pair in six bytes', 'eda0bdedb2a1'],
    ['beyond the last code point', 'f4908080'],
    ['a byte that follows nothing', '80'],
    ['a character cut off', 'f09f92'],
  ])('not %s', (_, text) => expect(decodeText(hex(text), 0, text.length / 2)).toBeUndefined())

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
})

const qos = fc.constantFrom(0, 1, 2)
const filters = fc.array(fc.record({ topic: fc.string({ minLength: 1, unit: 'binary' }), qos }), {
  minLength: 1,
  maxLength: 20,
})
const id = fc.integer({ min: 1, max: 65_535 })
const bodyAt = (bytes: Buffer): number => {
  let at = 1
  while ((bytes[at] as number) > 127) at++
  return at + 1
}
const wellFormed = (text: string): boolean => text.isWellFormed() && !text.includes('\u0000')

test('SUBSCRIBE is read as another library writes it, and written as it does', () => {
  fc.assert(
    fc.property(id, filters, (messageId, subscriptions) => {
      fc.pre(subscriptions.every(({ topic }) => wellFormed(topic)))
      const bytes = generate({ cmd: 'subscribe', messageId, subscriptions } as Packet)
      const list = {
        id: messageId,
        filters: subscriptions.map(({ topic, qos: wanted }) => ({ filter: topic, qos: wanted })),
      }
      expect(readSubscribe(bytes, bodyAt(bytes), bytes.length)).toEqual(list)
      expect(makeSubscribe(list)).toEqual(bytes)
    }),
  )
})

test('UNSUBSCRIBE is read as another library writes it', () => {
  fc.assert(
    fc.property(id, filters, (messageId, subscriptions) => {
      const unsubscriptions = subscriptions.map(({ topic }) => topic)
      fc.pre(unsubscriptions.every(wellFormed))
      const bytes = generate({ cmd: 'unsubscribe', messageId, unsubscriptions } as Packet)
      expect(readUnsubscribe(bytes, bodyAt(bytes), bytes.length)).toEqual({
        id: messageId,
        filters: unsubscriptions,
      })
    }),
  )
})

test('a list cut short is not a list', () => {
  const bytes = generate({
    cmd: 'subscribe',
    messageId: 1,
    subscriptions: [
      { topic: 'abc', qos: 1 },
      { topic: 'd', qos: 0 },
    ],
  })
  const ends = Array.from({ length: bytes.length - 1 }, (_, at) => at + 2)
  const readable = ends.filter((end) => readSubscribe(bytes, 2, end) !== undefined)
  // after the first filter, and whole
  expect(readable).toEqual([10, 14])
})

test('answers are as another library writes them', () => {
  expect(makeConnack(5)).toEqual(generate({ cmd: 'connack', returnCode: 5, sessionPresent: false }))
  expect(makeSuback(513, [0, 2, 0x80])).toEqual(
    generate({ cmd: 'suback', messageId: 513, granted: [0, 2, 0x80] }),
  )
  for (const cmd of ['puback', 'pubrec', 'pubrel', 'pubcomp'] as const)
    expect(makeAck(TYPE[cmd], 0x1234)).toEqual(generate({ cmd, messageId: 0x1234 }))
})
