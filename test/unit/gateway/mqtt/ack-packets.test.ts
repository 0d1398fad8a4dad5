import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { makeAck, makeDisconnect, readAck, readDisconnect } from '#gateway/mqtt/ack-packets.ts'
import { DISCONNECT, TYPE } from '#gateway/mqtt/packets.ts'
import { numberOf } from '#gateway/mqtt/properties.ts'
import { packetOf } from './corpus/notation.ts'
import { bodyAt, id, propertiesIn, said, theirBytes, theirReading, theirs } from './corpus/oracle.ts'

const CODES = {
  puback: [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  pubrec: [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
  pubrel: [0x00, 0x92],
  pubcomp: [0x00, 0x92],
} as const
const names = ['puback', 'pubrec', 'pubrel', 'pubcomp'] as const

describe.each(names)('%s', (cmd) => {
  const type = TYPE[cmd]
  const codes = fc.constantFrom<number>(...CODES[cmd])

  test('is read as another library writes it', () => {
    fc.assert(
      fc.property(id, codes, propertiesIn([cmd, 'client']), (messageId, reasonCode, list) => {
        for (const level of [3, 4] as const) {
          const bytes = theirBytes(level, { cmd, messageId })
          expect(readAck(bytes, bodyAt(bytes), bytes.length, level, type)).toEqual({ id: messageId, code: 0 })
        }
        const properties = list.length === 0 ? {} : { properties: theirs(list) }
        const bytes = theirBytes(5, { cmd, messageId, reasonCode, ...properties })
        expect(readAck(bytes, bodyAt(bytes), bytes.length, 5, type)).toEqual({
          id: messageId,
          code: reasonCode,
        })
      }),
    )
  })

  test('is made so that another library reads it', () => {
    fc.assert(
      fc.property(id, codes, (messageId, code) => {
        for (const level of [3, 4] as const)
          expect(makeAck(level, type, messageId, code)).toEqual(theirBytes(level, { cmd, messageId }))
        const made = makeAck(5, type, messageId, code)
        expect(theirReading(5, made)).toMatchObject({ cmd, messageId, reasonCode: code })
        expect(readAck(made, 2, made.length, 5, type)).toEqual({ id: messageId, code })
        expect(made).toHaveLength(code === 0 ? 4 : 5)
      }),
    )
  })

  test('carries its codes and no others', () => {
    const known = Array.from({ length: 256 }, (_, code) => code).filter(
      (code) => readAck(Buffer.of(0, 1, code), 0, 3, 5, type) !== undefined,
    )
    expect(known).toEqual(CODES[cmd])
  })
})

test('one acknowledgement does not remember the last', () => {
  expect(readAck(Buffer.of(0, 1, 0x87), 0, 3, 5, TYPE.puback)).toEqual({ id: 1, code: 0x87 })
  expect(readAck(Buffer.of(0, 2), 0, 2, 5, TYPE.puback)).toEqual({ id: 2, code: 0 })
})
test('no other type is one', () => {
  for (const type of [0, TYPE.connect, TYPE.publish, TYPE.subscribe, TYPE.auth, 16])
    expect(readAck(Buffer.of(0, 1), 0, 2, 5, type)).toBeUndefined()
})

describe('DISCONNECT', () => {
  const FROM_CLIENT = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99]
  const SERVERS = [0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2]
  const FROM_BROKER = [...FROM_CLIENT, ...SERVERS].toSorted((a, b) => a - b)

  test.each([
    ['client', FROM_CLIENT],
    ['broker', FROM_BROKER],
  ] as const)('codes of a %s, and no others', (side, codes) => {
    const known = Array.from({ length: 256 }, (_, code) => code).filter(
      (code) => readDisconnect(Buffer.of(code), 0, 1, 5, side) !== undefined,
    )
    expect(known).toEqual(codes)
  })

  test('is read as another library writes it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...FROM_CLIENT), propertiesIn(['disconnect', 'client']), (code, list) => {
        const bytes = theirBytes(5, { cmd: 'disconnect', reasonCode: code, properties: theirs(list) })
        const sessionExpiry = numberOf(list, 'sessionExpiryInterval')
        expect(readDisconnect(bytes, bodyAt(bytes), bytes.length, 5, 'client')).toEqual(
          said({ code, sessionExpiry }),
        )
      }),
    )
  })

  test('is made so that another library reads it', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...FROM_BROKER),
        fc.option(fc.constant('other.example:8883'), { nil: undefined }),
        fc.option(fc.constant('why'), { nil: undefined }),
        (code, serverReference, reasonString) => {
          const made = makeDisconnect(5, code, { serverReference, reasonString })
          const properties = said({ serverReference, reasonString })
          expect(theirReading(5, made)).toMatchObject({ cmd: 'disconnect', reasonCode: code })
          expect(theirReading(5, made)['properties'] ?? {}).toEqual(properties)
          expect(readDisconnect(made, bodyAt(made), made.length, 5, 'broker')).toEqual({ code })
        },
      ),
    )
  })

  test('says no more than it must', () => {
    expect(makeDisconnect(5, 0)).toEqual(packetOf('e0', ''))
    expect(makeDisconnect(5, 0x8e)).toEqual(packetOf('e0', '8e'))
    for (const level of [3, 4] as const)
      expect(makeDisconnect(level, 0x8e, { reasonString: 'why' })).toEqual(DISCONNECT)
  })
})
