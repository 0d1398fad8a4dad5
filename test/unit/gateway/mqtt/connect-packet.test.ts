import fc from 'fast-check'
import { generate, parser, type IConnectPacket } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import { makeCleanConnect, makeConnect, readConnect } from '#gateway/mqtt/connect-packet.ts'

const read = (bytes: Buffer) => readConnect(bytes, (bytes[1] as number) > 127 ? 3 : 2, bytes.length)
const hex = (body: string): Buffer => {
  const bytes = Buffer.from(body.replaceAll(' ', ''), 'hex')
  return Buffer.concat([Buffer.of(0x10, bytes.length), bytes])
}
const written = (bytes: Buffer): IConnectPacket => {
  const reader = parser()
  let found: IConnectPacket | undefined
  reader.on('packet', (packet) => (found = packet as IConnectPacket))
  reader.parse(bytes)
  if (found === undefined) throw new Error('not a packet')
  return found
}

const NAME = '0004 4d515454 04'
const ID = '0001 61'

describe('refused', () => {
  test.each([
    ['no body', ''],
    ['half a name', '0004 4d51'],
    ['a name without a level', '0004 4d515454'],
    ['another name', '0004 6d717474 04 02 0000 0001 61'],
    ['an inherited name', '0009 5f5f70726f746f 5f5f 04 02 0000 0001 61'],
    ['a name that is not UTF-8', '0004 4d5154ff 04 02 0000 0001 61'],
    ['no flags', NAME],
    ['no keep-alive', `${NAME} 02`],
    ['no ClientID', `${NAME} 02 0000`],
    ['a ClientID beyond the end', `${NAME} 02 0000 0002 61`],
    ['a ClientID that is not UTF-8', `${NAME} 02 0000 0002 c0af`],
    ['NUL in the ClientID', `${NAME} 02 0000 0001 00`],
    ['the reserved flag', `${NAME} 03 0000 ${ID}`],
    ['will QoS 3', `${NAME} 1e 0000 ${ID} 0001 74 0000`],
    ['will QoS without a will', `${NAME} 0a 0000 ${ID}`],
    ['will retain without a will', `${NAME} 22 0000 ${ID}`],
    ['a will without a topic', `${NAME} 06 0000 ${ID}`],
    ['a will with an empty topic', `${NAME} 06 0000 ${ID} 0000 0000`],
    ['a will without a payload', `${NAME} 06 0000 ${ID} 0001 74`],
    ['a will payload beyond the end', `${NAME} 06 0000 ${ID} 0001 74 0009 00`],
    ['a will on a filter', `${NAME} 06 0000 ${ID} 0001 2b 0000`],
    ['NUL in the will topic', `${NAME} 06 0000 ${ID} 0002 7400 0000`],
    ['a password without a username', `${NAME} 42 0000 ${ID} 0001 70`],
    ['no username where one is promised', `${NAME} 82 0000 ${ID}`],
    ['a username that is not UTF-8', `${NAME} 82 0000 ${ID} 0001 ff`],
    ['no password where one is promised', `${NAME} c2 0000 ${ID} 0001 75`],
    ['bytes left over', `${NAME} 02 0000 ${ID} 00`],
  ])('%s', (_, body) => expect(read(hex(body)).kind).toBe('malformed'))

  test.each([
    ['MQTT 5', '0004 4d515454 05', true],
    ['MQTT 3 under the new name', '0004 4d515454 03', false],
    ['MQTT 4 under the old name', '0006 4d5149736470 04', false],
    ['MQTT 5 under the old name', '0006 4d5149736470 05', false],
    ['level 0', '0004 4d515454 00', false],
    ['level 255', '0004 4d515454 ff', false],
  ])('%s, as another version', (_, body, five) => expect(read(hex(body))).toEqual({ kind: 'version', five }))
})

describe('MQTT 3.1', () => {
  const OLD = '0006 4d5149736470 03'
  test.each([
    ['plain', `${OLD} 02 003c ${ID}`],
    ['with a reserved flag', `${OLD} 03 003c ${ID}`],
    ['a password without a username', `${OLD} 42 003c ${ID} 0001 70`],
    ['a username that is promised and not there', `${OLD} c2 003c ${ID}`],
    ['a password that is promised and not there', `${OLD} c2 003c ${ID} 0001 75`],
  ])('%s', (_, body) =>
    expect(read(hex(body))).toEqual({
      kind: 'connect',
      connect: { level: 3, clientId: 'a', clean: true, keepalive: 60, will: undefined },
    }),
  )
})

const text = fc.string({ minLength: 1, maxLength: 30 })
const packets = fc.record({
  clientId: text,
  clean: fc.boolean(),
  keepalive: fc.integer({ min: 0, max: 65_535 }),
  will: fc.option(
    fc.record({
      topic: fc.stringMatching(/^[a-z/]{1,20}$/),
      payload: fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)),
      qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
      retain: fc.boolean(),
    }),
    { nil: undefined },
  ),
  username: fc.option(text, { nil: undefined }),
  password: fc.option(
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    { nil: undefined },
  ),
  version: fc.constantFrom(3 as const, 4 as const),
})

test('is read as another library writes it, and goes on under its own name, without its secrets', () => {
  fc.assert(
    fc.property(packets, ({ version, username, password, will, ...rest }) => {
      fc.pre(!rest.clientId.includes('\u0000') && username?.includes('\u0000') !== true)
      const bytes = generate({
        cmd: 'connect',
        protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
        protocolVersion: version,
        ...rest,
        ...(will === undefined ? {} : { will }),
        ...(username === undefined ? {} : { username, ...(password === undefined ? {} : { password }) }),
      })
      const reading = read(bytes)
      expect(reading).toEqual({ kind: 'connect', connect: { level: version, ...rest, will } })
      if (reading.kind !== 'connect') return
      const again = written(makeConnect(reading.connect, 'lamp-1'))
      expect(again).toMatchObject({
        clientId: 'lamp-1',
        username: 'lamp-1',
        clean: rest.clean,
        keepalive: rest.keepalive,
      })
      expect(again.password ?? null).toBeNull()
      expect(again.will === undefined ? undefined : { ...again.will }).toEqual(will)
      expect(again.protocolVersion).toBe(version)
    }),
  )
})

test('any cut of a good one is refused, and no byte changed makes it throw', () => {
  const bytes = generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId: 'lamp-1',
    clean: true,
    keepalive: 60,
    username: 'u',
    password: Buffer.from('p'),
    will: { topic: 'a/b', payload: Buffer.from('w'), qos: 1, retain: false },
  })
  for (let end = 2; end < bytes.length; end++) expect(readConnect(bytes, 2, end).kind).not.toBe('connect')
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(255), (at, value) => {
      const changed = Buffer.from(bytes)
      changed[at] = value
      readConnect(changed, 2, changed.length)
    }),
  )
})

test('ends a session', () => {
  expect(written(makeCleanConnect('lamp-1'))).toMatchObject({ clientId: 'lamp-1', clean: true, keepalive: 0 })
})
