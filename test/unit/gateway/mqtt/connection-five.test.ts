import type { IConnectPacket, Packet } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { MqttAccess } from '#fleet/access.ts'
import type { Denial } from '#fleet/denial.ts'
import { connectPacket, type MqttClient } from '../../../support/mqtt-client.ts'
import { openFront, type Front } from '../../../support/mqtt-front.ts'
import type { Timed, Timers } from '#gateway/mqtt/timers.ts'
import { scriptedUpstream, type ScriptedUpstream } from '../../../support/scripted-upstream.ts'

/** MQTT 5 at the door, before a broker that says what the test tells it. */

let upstream: ScriptedUpstream
let front: Front
beforeEach(async () => {
  upstream = scriptedUpstream()
  front = await openFront({ makeUpstream: () => Promise.resolve(upstream) })
})
afterEach(() => front[Symbol.asyncDispose]())

type Over = Partial<IConnectPacket>
const five = (over: Over = {}): IConnectPacket => connectPacket({ protocolVersion: 5, ...over })
const dial = (id = 'lamp-1', own = front): MqttClient => own.dial(id === '' ? undefined : id, { version: 5 })
const enter = (over: Over = {}, own = front): Promise<MqttClient> =>
  own.enter('lamp-1', { protocolVersion: 5, ...over })
const will = (topic: string, properties = {}): NonNullable<IConnectPacket['will']> => ({
  topic,
  payload: Buffer.from('gone'),
  qos: 1,
  retain: false,
  properties,
})
const connack = async (client: MqttClient): Promise<Extract<Packet, { cmd: 'connack' }>> =>
  client.until('connack')
const asked = (at = -1): IConnectPacket => upstream.links.at(at)?.said[0] as IConnectPacket

test('an UNSUBSCRIBE that the broker does not answer: its client is not held for ever', async () => {
  const waits = new Map<Timed, number>()
  let now = 0
  const timers: Timers = {
    now: () => now,
    by: (timed, at) => void waits.set(timed, at),
    drop: (timed) => void waits.delete(timed),
    [Symbol.dispose]: () => {},
  }
  await using own = await openFront({ makeUpstream: () => Promise.resolve(upstream), timers })
  const client = await enter({ keepalive: 0 }, own)
  const unsubscribe = (messageId: number): void => {
    client.send({ cmd: 'unsubscribe', messageId, unsubscriptions: ['a'] })
  }
  const link = upstream.links.at(-1)
  const ring = (ms: number): void => {
    now += ms
    for (const timed of waits.keys()) timed.ring(now)
  }
  unsubscribe(1)
  await expect.poll(() => link?.said.at(-1)).toMatchObject({ cmd: 'unsubscribe', messageId: 1 })
  ring(59_000)
  link?.say('b004000100 00')
  await client.until('unsuback')
  ring(59_000)
  expect(own.open).toBe(1)
  unsubscribe(2)
  await expect.poll(() => link?.said.at(-1)).toMatchObject({ cmd: 'unsubscribe', messageId: 2 })
  ring(61_000)
  expect(await client.until('disconnect')).toMatchObject({ reasonCode: 0x8b })
})

describe('CONNECT', () => {
  test.each([4, 5] as const)('MQTT %i, for one message: a will would be another', async (version) => {
    front.admission.access = { handshakePer: 'message' }
    const client = front.dial('lamp-1', { version })
    const packet = connectPacket({ protocolVersion: version, will: will('devices/lamp-1/gone') })
    expect(await client.connect(packet)).toBe(0)
    expect(asked()).not.toHaveProperty('will')
    client[Symbol.dispose]()
    await expect.poll(() => front.open).toBe(0)
    expect(asked()).toMatchObject({ clean: true })
  })
  test.each<[string, string, Over, number, Denial?]>([
    ['a good one', 'lamp-1', {}, 0],
    ['no certificate', '', {}, 0x87, 'certificate_required'],
    ['another ClientID', 'lamp-1', { clientId: 'lamp-2' }, 0x85, 'client_id_mismatch'],
    ['an empty ClientID', 'lamp-1', { clientId: '' }, 0],
    ['a will of its own', 'lamp-1', { will: will('devices/lamp-1/gone') }, 0],
    ['a will on a foreign topic', 'lamp-1', { will: will('devices/lamp-2/gone') }, 0x87, 'topic_denied'],
    [
      'a will that is answered to its own topic',
      'lamp-1',
      { will: will('devices/lamp-1/gone', { responseTopic: 'devices/lamp-1/answer' }) },
      0,
    ],
    [
      'a will that is answered to a foreign topic',
      'lamp-1',
      { will: will('devices/lamp-1/gone', { responseTopic: 'devices/lamp-2/answer' }) },
      0x87,
      'topic_denied',
    ],
  ])('%s', async (_, id, packet, code, reason) => {
    const client = dial(id)
    expect(await client.connect(packet)).toBe(code)
    if (code !== 0) await client.closed()
    const last = front.admission.recorded.at(-1)?.decision
    expect(last?.allow === false ? last.reason : undefined).toBe(reason)
    expect(upstream.links).toHaveLength(code === 0 ? 1 : 0)
  })

  test.each(['$sallyport/x', '$sallyport/certificates/renew/accepted'])(
    'a will of the door itself, whatever the rules say: %s',
    async (topic) => {
      front.admission.rules = [{ filter: '$sallyport/#', acts: ['publish', 'receive'] }]
      expect(await dial().connect({ will: will(topic) })).toBe(0x87)
      const responseTopic = topic
      front.admission.rules = [{ filter: '#', acts: ['publish', 'receive'] }]
      expect(await dial().connect({ will: will('a', { responseTopic }) })).toBe(0x87)
      expect(upstream.links).toHaveLength(0)
    },
  )

  test.each<[string, string, string]>([
    [
      'an authentication method',
      '101a00044d5154540502003c0a 150007504c41494e2d31 00 036c 6131',
      '2003008c00',
    ],
    ['malformed after its version', '101000044d5154540502003c05 00000664657631', '2003008100'],
    ['a level yet to come', '100f00044d5154540602003c000364657631', '20020001'],
  ])('%s', async (_, hex, answer) => {
    const client = dial()
    let all = ''
    client.stream.on('data', (chunk: Buffer) => (all += chunk.toString('hex')))
    // lengths made right
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    bytes[1] = bytes.length - 2
    client.send(bytes)
    await client.closed()
    expect(all).toBe(answer)
    expect(front.admission.asked).toEqual([])
  })

  test('an empty ClientID whose session stays, which MQTT 5 allows and mqtt-packet does not write', async () => {
    const client = dial()
    client.send(Buffer.from('100d00044d5154540500003c000000', 'hex'))
    expect((await connack(client)).properties).toMatchObject({ assignedClientIdentifier: 'lamp-1' })
    expect(asked()).toMatchObject({ clean: false, clientId: 'lamp-1' })
  })

  test('with an authentication method gets 0x8C, and nobody is asked', async () => {
    const client = dial()
    client.send(five({ properties: { authenticationMethod: 'PLAIN' } }))
    expect(await connack(client)).toMatchObject({ reasonCode: 0x8c })
    expect(upstream.links).toHaveLength(0)
  })

  test.each<[Denial, number]>([
    ['certificate_revoked', 0x87],
    ['registry_unavailable', 0x88],
    ['rate_limited', 0x9f],
  ])('refused for %s', async (reason, code) => {
    front.admission.denied.set('lamp-1', reason)
    const client = dial()
    expect(await client.connect()).toBe(code)
    await client.closed()
    expect(front.open).toBe(0)
  })

  test('of a version that the broker is known not to speak', async () => {
    await using own = await openFront({ makeUpstream: () => Promise.resolve(scriptedUpstream([3, 4])) })
    expect(await dial('lamp-1', own).connect()).toBe(0x84)
    expect(own.admission.asked).toEqual([])
  })

  test('as the broker gets it', async () => {
    const userProperties = { mine: 'kept', 'sallyport-identity': 'root', 'sallyport-x': 'y' }
    await enter({
      keepalive: 60,
      username: 'root',
      password: Buffer.from('secret'),
      clean: false,
      properties: {
        sessionExpiryInterval: 3_600,
        receiveMaximum: 7,
        topicAliasMaximum: 9,
        requestResponseInformation: true,
        userProperties,
      },
      will: will('devices/lamp-1/w', { willDelayInterval: 5, userProperties }),
    })
    expect(asked()).toMatchObject({
      protocolVersion: 5,
      clean: false,
      clientId: 'lamp-1',
      username: 'lamp-1',
      keepalive: 60,
      properties: {
        sessionExpiryInterval: 3_600,
        receiveMaximum: 7,
        // what is larger the door would have to refuse
        maximumPacketSize: 256 * 1024 + 1024,
        userProperties: { mine: 'kept', 'sallyport-identity': 'lamp-1' },
      },
      will: {
        topic: 'devices/lamp-1/w',
        properties: { willDelayInterval: 5, userProperties: { mine: 'kept' } },
      },
    })
    expect(asked().properties).not.toHaveProperty('topicAliasMaximum')
    expect(asked().properties?.userProperties).not.toHaveProperty('sallyport-x')
    expect(asked().password).toBeUndefined()
    expect(upstream.links[0]?.about).toEqual({
      clientId: 'lamp-1',
      identity: 'lamp-1',
      level: 5,
      address: '192.0.2.1',
      connections: 1,
    })
  })
})

describe('CONNACK', () => {
  /** broker's properties in hex */
  const answered = async (properties: string, over: Over = {}, own = front): Promise<unknown> => {
    const section = Buffer.from(properties.replaceAll(' ', ''), 'hex')
    upstream.answer = () =>
      Buffer.concat([Buffer.of(0x20, section.length + 3, 0, 0, section.length), section]).toString('hex')
    const client = dial('lamp-1', own)
    client.send(five(over))
    return (await connack(client)).properties
  }

  test('says what the door allows, and the broker where it allows less', async () => {
    expect(await answered('')).toEqual({
      topicAliasMaximum: 16,
      receiveMaximum: 256,
      maximumPacketSize: 256 * 1024,
    })
    expect(await answered('21 0005 27 00001000 22 0003 24 01')).toEqual({
      topicAliasMaximum: 16,
      receiveMaximum: 5,
      maximumPacketSize: 4096,
      maximumQoS: 1,
    })
  })

  test('gives the ClientID to who left it to the door, and never the broker’s', async () => {
    expect(await answered('', { clientId: '' })).toMatchObject({
      assignedClientIdentifier: 'lamp-1',
    })
    expect(await answered('12 0003 616263', { clientId: 'lamp-1' })).not.toHaveProperty(
      'assignedClientIdentifier',
    )
  })

  test('keeps from the client what is the broker’s and the door’s', async () => {
    const said = await answered(
      '1c 0001 61 1a 0001 62 26 000b 73616c6c79706f72742d78 0001 79 26 0001 61 0001 62',
    )
    expect(said).toEqual({
      topicAliasMaximum: 16,
      receiveMaximum: 256,
      maximumPacketSize: 256 * 1024,
      userProperties: { a: 'b' },
    })
  })

  test.each<[string, number, number | undefined, string, number, number | undefined]>([
    ['the client’s', 60, undefined, '', 60, undefined],
    ['none', 0, undefined, '', 0, undefined],
    ['the door’s for none', 0, 30, '', 30, 30],
    ['the door’s for too long a one', 60, 30, '', 30, 30],
    ['the client’s, which is shorter', 20, 30, '', 20, undefined],
    ['the broker’s, which is shorter', 60, 30, '13 000a', 30, 10],
    ['the door’s, which is shorter than the broker’s', 60, 30, '13 0050', 30, 30],
  ])('keep-alive: %s', async (_, wanted, longest, properties, told, answer) => {
    await using own = await openFront({
      makeUpstream: () => Promise.resolve(upstream),
      mqtt: { max_keepalive: longest === undefined ? undefined : longest * 1_000 },
    })
    const said = (await answered(properties, { keepalive: wanted }, own)) as Record<string, unknown>
    expect(asked().keepalive).toBe(told)
    expect(said['serverKeepAlive']).toBe(answer)
  })

  test.each<[string, 4 | 5, string | undefined, number]>([
    ['it does not know MQTT 5', 5, '2003008400', 0x84],
    ['it has never heard of MQTT 5', 5, '20020001', 0x84],
    ['it refuses the client', 5, '2003008700', 0x88],
    ['it is full', 5, '2003009700', 0x88],
    ['it says nonsense', 5, '2003000500', 0x88],
    ['it does not know 3.1.1', 4, '20020001', 1],
    ['it refuses the client of 3.1.1', 4, '20020005', 3],
  ])('when the broker says no: %s', async (_, version, answer, code) => {
    upstream.answer = () => answer
    const client = front.dial('lamp-1', { version })
    expect(await client.connect()).toBe(code)
    await client.closed()
    expect(front.open).toBe(0)
  })

  test('when the broker closes', async () => {
    upstream.answer = (link) => {
      link.close()
      return undefined
    }
    expect(await dial().connect()).toBe(0x88)
  })
})

describe('ClientIDs', () => {
  const rule = (access: Partial<MqttAccess>): void => {
    front.admission.access = access
  }
  test.each<[Partial<MqttAccess>, string, string | undefined]>([
    [{ clientId: 'equal', connections: 2 }, 'lamp-1@a', undefined],
    [{ clientId: 'prefix', connections: 2 }, 'lamp-1@a', 'lamp-1@a'],
    [{ clientId: 'prefix', connections: 2 }, 'lamp-2@a', undefined],
    [{ clientId: 'forced' }, 'anything at all', 'lamp-1'],
    [{ clientId: 'forced', connections: 2 }, 'sensor', 'lamp-1@sensor'],
  ])('%j: %s', async (access, clientId, id) => {
    rule(access)
    const client = dial()
    expect(await client.connect({ clientId })).toBe(id === undefined ? 0x85 : 0)
    expect(upstream.links[0]?.about.clientId).toBe(id)
    if (id === undefined) return
    // it is asked about again under the name that it has
    front.admission.asked.length = 0
    front.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as never }])
    expect(front.admission.asked).toMatchObject([{ clientId: id }])
    client.send({ cmd: 'pingreq' })
    await vi.waitUntil(() => upstream.links[0]?.said.at(-1)?.cmd === 'pingreq')
  })

  test('as many connections as there may be, and a takeover needs no other', async () => {
    rule({ clientId: 'prefix', connections: 2 })
    const [a, b] = [await enter({ clientId: 'lamp-1@a' }), await enter({ clientId: 'lamp-1@b' })]
    expect(await dial().connect({ clientId: 'lamp-1@c' })).toBe(0x97)
    const again = await enter({ clientId: 'lamp-1@a' })
    expect(await a.closed()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }])
    b.send({ cmd: 'disconnect' })
    await b.closed()
    await vi.waitUntil(() => front.open === 1)
    expect(await dial().connect({ clientId: 'lamp-1@c' })).toBe(0)
    expect(again.ended).toBe(false)
    expect(await front.metrics()).toContain('ended_total{reason="quota_exceeded",desk="gateway"} 1')
  })

  test('in MQTT 3.1.1 one too many is answered 3', async () => {
    rule({ clientId: 'prefix', connections: 2 })
    await enter({ clientId: 'lamp-1@a' })
    await enter({ clientId: 'lamp-1@b' })
    expect(await front.dial('lamp-1').connect({ clientId: 'lamp-1@c' })).toBe(3)
  })

  test('every one of them is cut with its device', async () => {
    rule({ clientId: 'prefix', connections: 3 })
    const all = [await enter({ clientId: 'lamp-1@a' }), await enter({ clientId: 'lamp-1@b' })]
    front.admission.denied.set('lamp-1', 'certificate_revoked')
    front.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as never }])
    for (const client of all)
      expect(await client.closed()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x98 }])
  })
})

describe('one message for each handshake', () => {
  test('by the application, whatever the setting: nothing is kept, and the client is told', async () => {
    front.admission.access = { handshakePer: 'message' }
    const client = dial()
    client.send(five({ clean: false, properties: { sessionExpiryInterval: 60 } }))
    expect((await connack(client)).properties).toMatchObject({ sessionExpiryInterval: 0 })
    expect(asked()).toMatchObject({ clean: true })
    expect(asked().properties).not.toHaveProperty('sessionExpiryInterval')
  })

  test('not by an application that says otherwise than the setting', async () => {
    await using own = await openFront({
      makeUpstream: () => Promise.resolve(upstream),
      mqtt: { handshake_per: 'message' },
    })
    own.admission.access = { handshakePer: 'connection' }
    await enter({ clean: false }, own)
    expect(asked()).toMatchObject({ clean: false })
  })
})
