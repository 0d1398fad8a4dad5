import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  makeConnect,
  makeForget,
  readConnect,
  type Connect,
  type Will,
} from '#gateway/mqtt/connect-packet.ts'
import {
  isTheirs,
  NO_PROPERTIES,
  numberOf,
  textOf,
  userProperty,
  writeProperties,
  type Property,
} from '#gateway/mqtt/properties.ts'
import { bytesOf, packetOf } from './corpus/notation.ts'
import {
  bodyAt,
  data,
  propertiesIn,
  qos,
  text,
  theirBytes,
  theirReading,
  theirs,
  topic,
} from './corpus/oracle.ts'

const read = (bytes: Buffer) => readConnect(bytes, bodyAt(bytes), bytes.length)
const connectOf = (bytes: Buffer): Connect => {
  const reading = read(bytes)
  if (reading.kind !== 'connect') throw new Error(JSON.stringify(reading))
  return reading.connect
}

// what is malformed: ./corpus/malformed.ts

test.each([
  ['MQTT 3 under the new name', "'MQTT' 03", 3],
  ['MQTT 6', "'MQTT' 06", 6],
  ['MQTT 4 under the old name', "'MQIsdp' 04", 4],
  ['MQTT 5 under the old name', "'MQIsdp' 05", 5],
  ['a bridge of 3.1.1', "'MQTT' 84 02 003c 'a'", 0x84],
  ['level 0', "'MQTT' 00", 0],
  ['level 255', "'MQTT' ff", 255],
])('%s is no version that is spoken here', (_, body, level) =>
  expect(read(packetOf('10', body))).toEqual({ kind: 'version', level }),
)

describe('MQTT 3.1', () => {
  const OLD = "'MQIsdp' 03"
  test.each([
    ['plain', `${OLD} 02 003c 'a'`],
    ['with a reserved flag', `${OLD} 03 003c 'a'`],
    ['a password without a username', `${OLD} 42 003c 'a' 'p'`],
    ['a username that is promised and not there', `${OLD} c2 003c 'a'`],
    ['a password that is promised and not there', `${OLD} c2 003c 'a' 'u'`],
  ])('%s', (_, body) =>
    expect(read(packetOf('10', body))).toEqual({
      kind: 'connect',
      connect: { level: 3, clientId: 'a', clean: true, keepalive: 60, will: undefined },
    }),
  )
})

/** What authentication data needs. */
const withMethod = (list: Property[]): Property[] =>
  textOf(list, 'authenticationMethod') === undefined
    ? list.filter(({ name }) => name !== 'authenticationData')
    : list

const packets = fc.record({
  level: fc.constantFrom(3 as const, 4 as const, 5 as const),
  clientId: text,
  clean: fc.boolean(),
  keepalive: fc.integer({ min: 0, max: 65_535 }),
  will: fc.option(fc.record({ topic, payload: data, qos, retain: fc.boolean() }), { nil: undefined }),
  willProperties: propertiesIn(['will', 'client']),
  properties: propertiesIn(['connect', 'client']).map(withMethod),
  username: fc.option(text, { nil: undefined }),
  password: fc.option(data, { nil: undefined }),
})
type Wanted = typeof packets extends fc.Arbitrary<infer T> ? T : never

const bytesOfTheirs = (wanted: Wanted): Buffer => {
  const { level, will, willProperties, properties, username, password, ...rest } = wanted
  const five = level === 5
  return theirBytes(level, {
    cmd: 'connect',
    protocolId: level === 3 ? 'MQIsdp' : 'MQTT',
    protocolVersion: level,
    ...rest,
    ...(five ? { properties: theirs(properties) } : {}),
    ...(will === undefined ? {} : { will: five ? { ...will, properties: theirs(willProperties) } : will }),
    ...(username === undefined ? {} : { username, ...(password === undefined ? {} : { password }) }),
  })
}

const willOf = ({ level, will, willProperties }: Wanted): Will | undefined => {
  if (will === undefined || level < 5) return will
  const responseTopic = textOf(willProperties, 'responseTopic')
  return {
    ...will,
    properties: writeProperties(willProperties.filter(isTheirs)),
    ...(responseTopic === undefined ? {} : { responseTopic }),
  }
}

const usersIn = (list: readonly Property[]): Property[] =>
  list.filter((property) => property.name === 'userProperty' && isTheirs(property))

test('is read as another library writes it', () => {
  fc.assert(
    fc.property(packets, (wanted) => {
      const { level, clientId, clean, keepalive, properties } = wanted
      const method = textOf(properties, 'authenticationMethod')
      const v5 = {
        sessionExpiry: numberOf(properties, 'sessionExpiryInterval') ?? 0,
        receiveMaximum: numberOf(properties, 'receiveMaximum') ?? 65_535,
        maximumPacketSize: numberOf(properties, 'maximumPacketSize'),
        requestProblemInformation: numberOf(properties, 'requestProblemInformation') !== 0,
        properties: usersIn(properties),
        ...(method === undefined ? {} : { authenticationMethod: method }),
      }
      const expected = { level, clientId, clean, keepalive, will: willOf(wanted) }
      expect(connectOf(bytesOfTheirs(wanted))).toEqual(level === 5 ? { ...expected, v5 } : expected)
    }),
    { numRuns: 300 },
  )
})

/** Of what stands in a CONNECT, and may go on beside the user properties. */
const goesOn = (list: readonly Property[]): Property[] => [
  ...list.filter(
    ({ name, value }) =>
      (name === 'sessionExpiryInterval' && value !== 0) ||
      (name === 'receiveMaximum' && value !== 65_535) ||
      name === 'maximumPacketSize' ||
      (name === 'requestProblemInformation' && value === 0),
  ),
  ...usersIn(list),
]

test('goes on under the name that it is given, without its secrets and without names of ours', () => {
  const names = fc.record({
    clientId: text,
    username: text,
    password: fc.option(data, { nil: undefined }),
    identity: text,
  })
  fc.assert(
    fc.property(packets, names, (wanted, as) => {
      const { level, clean, keepalive, will } = wanted
      const again = theirReading(level, makeConnect(connectOf(bytesOfTheirs(wanted)), as))
      const properties = [...goesOn(wanted.properties), userProperty('sallyport-identity', as.identity)]
      expect(again).toMatchObject({
        protocolVersion: level,
        clientId: as.clientId,
        username: as.username,
        clean,
        keepalive,
      })
      expect(again['password'] ?? undefined).toEqual(as.password)
      expect(again['properties']).toEqual(level === 5 ? theirs(properties) : undefined)
      const left = again['will'] as Record<string, unknown> | undefined
      const kept = level === 5 ? theirs(wanted.willProperties.filter(isTheirs)) : {}
      expect(left && { ...left, properties: left['properties'] ?? {} }).toEqual(
        will && { ...will, properties: kept },
      )
    }),
    { numRuns: 300 },
  )
})

test('what is made is read as it was meant', () => {
  fc.assert(
    fc.property(packets, (wanted) => {
      const connect = connectOf(bytesOfTheirs(wanted))
      const { v5, ...rest } = connect
      const { authenticationMethod: _, ...spoken } = v5 ?? {}
      const again = connectOf(makeConnect(connect, { clientId: connect.clientId, username: 'u' }))
      expect(again).toEqual(v5 === undefined ? rest : { ...rest, v5: spoken })
    }),
  )
})

test('the keep-alive that is given, or the client’s', () => {
  const connect = connectOf(packetOf('10', "'MQTT' 04 02 003c 'a'"))
  expect(connectOf(makeConnect(connect, { clientId: 'a', username: 'a' })).keepalive).toBe(60)
  expect(connectOf(makeConnect(connect, { clientId: 'a', username: 'a', keepalive: 7 })).keepalive).toBe(7)
})

test('nobody says who it is but the door', () => {
  const body = `'MQTT' 05 06 003c [ 26 'sallyport-identity' 'root' 26 'Sallyport-X' '' 26 'k' 'v' ] 'a' [ 26 'sallyport-identity' 'root' ] 't' ''`
  const connect = connectOf(packetOf('10', body))
  expect(connect.v5?.properties).toEqual([userProperty('k', 'v')])
  expect(connect.will?.properties).toEqual(NO_PROPERTIES)
  const made = makeConnect(connect, { clientId: 'c', username: 'u', identity: 'lamp-1' })
  expect(made.toString('latin1').match(/sallyport-/gi)).toHaveLength(1)
  expect(made.includes(bytesOf("26 'sallyport-identity' 'lamp-1'"))).toBe(true)
})

test('the will is a copy: the memory it stood in is used again', () => {
  const bytes = packetOf('10', "'MQTT' 05 06 003c [ ] 'a' [ 03 'text' 09 'data' ] 't' 'payload'")
  const { will } = connectOf(bytes)
  bytes.fill(0)
  expect(will).toEqual({
    topic: 't',
    payload: Buffer.from('payload'),
    qos: 0,
    retain: false,
    properties: bytesOf("[ 03 'text' 09 'data' ]"),
  })
})

describe('what a broker remembers is ended', () => {
  const login = { username: 'lamp-1', password: Buffer.from('p') }
  test.each([3, 4] as const)('level %i: by a clean session', (level) =>
    expect(theirReading(level, makeForget(level, 'lamp-1@x', login))).toMatchObject({
      clientId: 'lamp-1@x',
      username: 'lamp-1',
      password: Buffer.from('p'),
      clean: true,
      keepalive: 0,
    }),
  )
  test('MQTT 5: by a session that is gone on with, and ends', () => {
    const made = theirReading(5, makeForget(5, 'lamp-1', login))
    expect(made).toMatchObject({ clientId: 'lamp-1', clean: false })
    // no session expiry: it ends with its connection (§3.1.2.11.2)
    expect(made['properties']).toEqual({ receiveMaximum: 1 })
    expect(made['will']).toBeUndefined()
  })
})
