import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { adjustConnack, makeConnack, readConnack } from '#gateway/mqtt/connack-packet.ts'
import type { Level } from '#gateway/mqtt/packets.ts'
import { isTheirs, numberOf, userProperty, type Property } from '#gateway/mqtt/properties.ts'
import { bodyAt, propertiesIn, theirBytes, theirReading, theirs } from './corpus/oracle.ts'

const read = (bytes: Buffer, level: Level) => readConnack(bytes, bodyAt(bytes), bytes.length, level)

const OLD_CODES = [0, 1, 2, 3, 4, 5]
const CODES = [
  0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a,
  0x9b, 0x9c, 0x9d, 0x9f,
]
const bytes = fc.integer({ min: 0, max: 255 })

test('codes are read that a CONNACK may carry, and no others', () => {
  for (const level of [3, 4, 5] as const)
    for (let code = 0; code < 256; code++) {
      const packet = theirBytes(level, {
        cmd: 'connack',
        returnCode: code,
        reasonCode: code,
        sessionPresent: false,
      })
      const known = (level === 5 ? CODES : OLD_CODES).includes(code)
      expect(read(packet, level)).toEqual(known ? { sessionPresent: false, code, properties: [] } : undefined)
    }
})

test('is read as another library writes it', () => {
  fc.assert(
    fc.property(fc.boolean(), propertiesIn(['connack', 'server']), (sessionPresent, list) => {
      const packet = { cmd: 'connack', sessionPresent, reasonCode: 0, properties: theirs(list) }
      expect(read(theirBytes(5, packet), 5)).toEqual({ sessionPresent, code: 0, properties: list })
    }),
    { numRuns: 300 },
  )
})

test('of 3.1 there is no session', () => {
  expect(read(Buffer.of(0x20, 2, 1, 0), 3)).toEqual({ sessionPresent: false, code: 0, properties: [] })
  expect(makeConnack(3, 0, { sessionPresent: true })).toEqual(Buffer.of(0x20, 2, 0, 0))
  expect(adjustConnack({ sessionPresent: true, code: 0, properties: [] }, 3, LIMITS)).toEqual(
    Buffer.of(0x20, 2, 0, 0),
  )
})

test('is made as another library does', () => {
  fc.assert(
    fc.property(
      bytes,
      fc.boolean(),
      fc.option(fc.constant('why'), { nil: undefined }),
      (code, present, reason) => {
        const o = { sessionPresent: present, ...(reason === undefined ? {} : { reasonString: reason }) }
        expect(makeConnack(4, code, o)).toEqual(
          theirBytes(4, { cmd: 'connack', returnCode: code, sessionPresent: present }),
        )
        const properties = reason === undefined ? {} : { reasonString: reason }
        expect(makeConnack(5, code, o)).toEqual(
          theirBytes(5, { cmd: 'connack', reasonCode: code, sessionPresent: present, properties }),
        )
      },
    ),
  )
})

const LIMITS = { topicAliasMaximum: 10, receiveMaximum: 100, maximumPacketSize: 5_000 }

describe('the broker’s, as the client gets it', () => {
  const adjusted = (list: readonly Property[], o: object = {}): unknown => {
    const made = adjustConnack({ sessionPresent: true, code: 0, properties: list }, 5, { ...LIMITS, ...o })
    expect(read(made, 5)).toBeDefined()
    return theirReading(5, made)['properties']
  }

  test('with what the door says', () =>
    expect(adjusted([], { assignedClientId: 'lamp-1', serverKeepAlive: 60, sessionExpiry: 0 })).toEqual({
      topicAliasMaximum: 10,
      receiveMaximum: 100,
      maximumPacketSize: 5_000,
      assignedClientIdentifier: 'lamp-1',
      serverKeepAlive: 60,
      sessionExpiryInterval: 0,
    }))
  test('the lower limit holds', () => {
    const list = [
      { name: 'receiveMaximum', value: 20 },
      { name: 'maximumPacketSize', value: 1_000_000 },
      { name: 'topicAliasMaximum', value: 3 },
    ] as const
    expect(adjusted(list)).toEqual({ receiveMaximum: 20, maximumPacketSize: 5_000, topicAliasMaximum: 10 })
  })
  test('no aliases, not said', () =>
    expect(adjusted([{ name: 'topicAliasMaximum', value: 3 }], { topicAliasMaximum: 0 })).toEqual({
      receiveMaximum: 100,
      maximumPacketSize: 5_000,
    }))
  test('its keep-alive and its expiry stay when the door says nothing', () => {
    const list = [
      { name: 'serverKeepAlive', value: 30 },
      { name: 'sessionExpiryInterval', value: 7 },
    ] as const
    expect(adjusted(list)).toMatchObject({ serverKeepAlive: 30, sessionExpiryInterval: 7 })
    expect(adjusted(list, { serverKeepAlive: 9, sessionExpiry: 0 })).toMatchObject({
      serverKeepAlive: 9,
      sessionExpiryInterval: 0,
    })
  })
  test('its own names and ways stay its own; what it can do is passed on', () => {
    const passed = [
      'maximumQos',
      'retainAvailable',
      'wildcardSubscriptionAvailable',
      'sharedSubscriptionAvailable',
    ]
    const list: Property[] = [
      { name: 'assignedClientIdentifier', value: 'x' },
      { name: 'serverReference', value: 'x' },
      { name: 'responseInformation', value: 'x' },
      { name: 'authenticationMethod', value: 'x' },
      { name: 'authenticationData', value: Buffer.from('x') },
      userProperty('sallyport-identity', 'x'),
      userProperty('k', 'v'),
      { name: 'reasonString', value: 'welcome' },
      ...passed.map((name): Property => ({ name: name as Property['name'], value: 0 })),
    ]
    expect(adjusted(list)).toEqual({
      ...LIMITS,
      userProperties: { k: 'v' },
      reasonString: 'welcome',
      maximumQoS: 0,
      retainAvailable: false,
      wildcardSubscriptionAvailable: false,
      sharedSubscriptionAvailable: false,
    })
  })

  test('whatever it says, it is a CONNACK, and nobody else’s word is in it', () => {
    fc.assert(
      fc.property(propertiesIn(['connack', 'server']), (properties) => {
        const made = adjustConnack({ sessionPresent: false, code: 0, properties }, 5, LIMITS)
        const list = read(made, 5)?.properties ?? []
        expect(list.every(isTheirs)).toBe(true)
        expect(numberOf(list, 'receiveMaximum')).toBeLessThanOrEqual(100)
        expect(numberOf(list, 'maximumPacketSize')).toBeLessThanOrEqual(5_000)
        expect(numberOf(list, 'topicAliasMaximum')).toBe(10)
      }),
    )
  })
  test('before MQTT 5 it is what it was', () =>
    expect(adjustConnack({ sessionPresent: true, code: 0, properties: [] }, 4, LIMITS)).toEqual(
      Buffer.of(0x20, 2, 1, 0),
    ))
})
