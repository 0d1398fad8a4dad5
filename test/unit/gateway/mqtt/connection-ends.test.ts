import { generate, type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Denial } from '#fleet/denial.ts'
import type { ClaimOpening } from '#gateway/mqtt/claims.ts'
import { connectPacket, type MqttClient } from '../../../support/mqtt-client.ts'
import { openFront, type Front } from '../../../support/mqtt-front.ts'
import {
  scriptedUpstream,
  type ScriptedLink,
  type ScriptedUpstream,
} from '../../../support/scripted-upstream.ts'

/** Every way in which a connection can end, beside every state in which it can come: what the client hears, and what the broker. */

let upstream: ScriptedUpstream
let front: Front
beforeEach(async () => {
  upstream = scriptedUpstream()
  front = await openFront({ makeUpstream: () => Promise.resolve(upstream) })
})
afterEach(() => front[Symbol.asyncDispose]())

type Version = 4 | 5
const publish = (topic: string, over: Partial<IPublishPacket> = {}): IPublishPacket => ({
  cmd: 'publish',
  topic,
  payload: 'x',
  qos: 0,
  dup: false,
  retain: false,
  ...over,
})
const will = (id = 'lamp-1'): NonNullable<IConnectPacket['will']> => ({
  topic: `devices/${id}/will`,
  payload: Buffer.from('gone'),
  qos: 1,
  retain: false,
})
const enter = (version: Version, over: Partial<IConnectPacket> = {}): Promise<MqttClient> =>
  front.enter('lamp-1', { protocolVersion: version, will: will(), ...over })
const link = (at = -1): ScriptedLink => upstream.links.at(at) as ScriptedLink
const changed = (): void => front.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as never }])
const deny = (reason: Denial): void => {
  front.admission.denied.set('lamp-1', reason)
  front.admission.changed()
}
const turns = async (): Promise<void> => {
  for (let at = 0; at < 5; at++) await new Promise(setImmediate)
}
/** what was said to the broker at the end, hex */
const parting = (at = -1): string | undefined => {
  const last = link(at).hex.at(-1)
  return last?.startsWith('e0') === true ? last : undefined
}
const DISCONNECT = 'e000'

type End = {
  readonly how: (client: MqttClient) => void
  /** MQTT 5; undefined: closed without a word */
  readonly code: number | undefined
  /** of the link; `finish` and `drop` come after a DISCONNECT */
  readonly ending: 'abort' | 'finish' | 'drop'
}

const ENDS: Record<string, End> = {
  'a network that breaks': { how: (client) => client[Symbol.dispose](), code: undefined, ending: 'abort' },
  'a half-closed one': { how: (client) => client.stream.end(), code: undefined, ending: 'abort' },
  'a malformed packet': { how: (client) => client.send(Buffer.of(0)), code: 0x81, ending: 'abort' },
  'a packet too large': {
    how: (client) => client.send(Buffer.from('30ffffff7f', 'hex')),
    code: 0x95,
    ending: 'abort',
  },
  'a second CONNECT': { how: (client) => client.send(connectPacket()), code: 0x82, ending: 'abort' },
  'its revocation': { how: () => (deny('certificate_revoked'), changed()), code: 0x98, ending: 'drop' },
  'its suspension': { how: () => (deny('device_suspended'), changed()), code: 0x98, ending: 'drop' },
  'its retirement': { how: () => (deny('device_retired'), changed()), code: 0x98, ending: 'drop' },
  'a policy': { how: () => (deny('policy_denied'), changed()), code: 0x98, ending: 'drop' },
  'its certificate’s end': {
    how: () => (deny('certificate_expired'), changed()),
    code: 0x87,
    ending: 'drop',
  },
  'an unreadable registry': {
    how: () => (deny('registry_unavailable'), changed()),
    code: 0x83,
    ending: 'drop',
  },
  'the gateway’s end': { how: () => front.live.drain(), code: 0x8b, ending: 'abort' },
  'its own DISCONNECT': {
    how: (client) => client.send({ cmd: 'disconnect' }),
    code: undefined,
    ending: 'finish',
  },
}

describe.each([4, 5] as const)('MQTT %i, a connection that stands', (version) => {
  test.each(Object.entries(ENDS))('is ended by %s', async (_, { how, code, ending }) => {
    const client = await enter(version)
    how(client)
    const heard = await client.closed()
    await vi.waitUntil(() => front.open === 0)
    expect(heard).toMatchObject(
      version === 5 && code !== undefined ? [{ cmd: 'disconnect', reasonCode: code }] : [],
    )
    expect(link(0).endings).toEqual([ending])
    // mqtt-packet writes it longer
    expect(parting(0)?.replace('e0020000', DISCONNECT)).toBe(ending === 'abort' ? undefined : DISCONNECT)
    expect(front.live.size()).toBe(0)
    // and its ClientID is free
    front.admission.denied.clear()
    await turns()
    expect((await enter(version)).stream.writable).toBe(true)
  })

  test('by the broker, which closes', async () => {
    const client = await enter(version)
    link().close()
    expect(await client.closed()).toMatchObject(
      version === 5 ? [{ cmd: 'disconnect', reasonCode: 0x8b }] : [],
    )
  })

  test('once, whatever else comes', async () => {
    upstream.closes = false
    const client = await enter(version)
    for (const { how } of Object.values(ENDS)) how(client)
    await client.closed()
    await turns()
    expect(link().endings).toHaveLength(1)
    link().close()
    await turns()
    expect(front.open).toBe(0)
  })
})

describe.each([4, 5] as const)('MQTT %i, a connection whose broker has not answered', (version) => {
  const REFUSED: Record<string, readonly [code3: number | undefined, code5: number | undefined]> = {
    'a network that breaks': [undefined, undefined],
    'its revocation': [5, 0x87],
    'its suspension': [5, 0x87],
    'a policy': [5, 0x87],
    'an unreadable registry': [3, 0x88],
    'the gateway’s end': [3, 0x88],
  }
  test.each(Object.entries(REFUSED))('is ended by %s', async (name, codes) => {
    upstream.answer = () => undefined
    const client = front.dial('lamp-1', { version })
    client.send(connectPacket({ protocolVersion: version, will: will() }))
    await vi.waitUntil(() => upstream.links.length === 1)
    ENDS[name]?.how(client)
    const heard = await client.closed()
    const code = codes[version === 5 ? 1 : 0]
    const field = version === 5 ? 'reasonCode' : 'returnCode'
    expect(heard).toMatchObject(code === undefined ? [] : [{ cmd: 'connack', [field]: code }])
    await turns()
    expect(front.open).toBe(0)
    // what comes too late is nobody's
    link(0).say(version === 5 ? '2003000000' : '20020000')
  })

  test('says nothing that came with its CONNECT to a broker that refuses it', async () => {
    upstream.answer = () => (version === 5 ? '2003008700' : '20020005')
    const client = front.dial('lamp-1', { version })
    client.send(connectPacket({ protocolVersion: version }), publish('devices/lamp-1/x'))
    await client.closed()
    expect(link().said.map(({ cmd }) => cmd)).toEqual(['connect', 'disconnect'])
  })
})

describe('a will', () => {
  const cutWith = async (version: Version, over: Partial<IConnectPacket> = {}): Promise<void> => {
    const client = await enter(version, over)
    deny('certificate_revoked')
    changed()
    await client.closed()
    await turns()
  }

  test.each<[Version, string | undefined, string]>([
    [4, undefined, 'abort'],
    // DISCONNECT with will, and a session that ends now: a will that waits for its delay goes out then
    [5, 'e00704051100000000', 'finish'],
  ])(
    'of a device that is cut goes out where the application says so: MQTT %i',
    async (version, last, how) => {
      front.admission.access = { onRevokeWill: 'publish' }
      await cutWith(version)
      expect(parting(0)).toBe(last)
      expect(link(0).endings).toEqual([how])
    },
  )

  test.each([
    ['publish', undefined, 'abort'],
    ['discard', DISCONNECT, 'drop'],
  ] as const)(
    'of a certificate that is revoked alone, whose session stays: %s',
    async (onRevokeWill, last, how) => {
      await using own = await openFront({
        makeUpstream: () => Promise.resolve(upstream),
        endsSession: () => false,
      })
      own.admission.access = { onRevokeWill }
      const stays = { properties: { sessionExpiryInterval: 60 } }
      const client = await own.enter('lamp-1', { protocolVersion: 5, will: will(), ...stays })
      own.admission.denied.set('lamp-1', 'certificate_revoked')
      own.admission.changed()
      own.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as never }])
      expect(await client.closed()).toMatchObject([{ reasonCode: 0x98 }])
      await turns()
      expect([parting(0), link(0).endings, upstream.links.length]).toEqual([last, [how], 1])
    },
  )

  test('or does not, where there is none', async () => {
    front.admission.access = { onRevokeWill: 'publish' }
    await cutWith(5, { will: undefined as never })
    expect([parting(0), link(0).endings]).toEqual([DISCONNECT, ['drop']])
  })

  test('of one whose network breaks before it is cut does not go out, unless the application says so', async () => {
    for (const [onRevokeWill, last] of [
      ['discard', DISCONNECT],
      ['publish', 'e00704051100000000'],
    ] as const) {
      front.admission.denied.clear()
      front.admission.access = { onRevokeWill }
      const client = await enter(5)
      const its = upstream.links.length - 1
      deny('certificate_revoked')
      client[Symbol.dispose]()
      await vi.waitUntil(() => front.open === 0)
      expect(parting(its)).toBe(last)
      await turns()
    }
  })

  test('on a topic that is closed by now is kept in by a DISCONNECT', async () => {
    const client = await enter(5)
    front.admission.rules = [{ filter: 'elsewhere', acts: ['publish'] }]
    front.admission.changed()
    client[Symbol.dispose]()
    await vi.waitUntil(() => front.open === 0)
    expect([parting(), link().endings]).toEqual([DISCONNECT, ['finish']])
  })

  test.each([
    ['is still open', true, 'e00104'],
    ['is closed by now', false, 'e0020000'],
  ])('that its client asks for goes out when its topic %s: %s', async (_, open, last) => {
    const client = await enter(5)
    if (!open) {
      front.admission.rules = [{ filter: 'elsewhere', acts: ['publish'] }]
      front.admission.changed()
    }
    client.send(Buffer.from('e00104', 'hex'))
    await client.closed()
    expect([parting(), link().endings]).toEqual([last, ['finish']])
  })
})

describe('DISCONNECT of the client', () => {
  test('is the end: what comes behind it is nobody’s', async () => {
    const client = await enter(5)
    client.send({ cmd: 'disconnect' }, publish('devices/lamp-1/late'), Buffer.of(0))
    expect(await client.closed()).toEqual([])
    client.stream.write(generate(publish('devices/lamp-1/later')))
    await turns()
    expect(link().said.map(({ cmd }) => cmd)).toEqual(['connect', 'disconnect'])
  })

  /** is it watched when it has gone? */
  const isWatched = (): boolean => {
    front.admission.asked.length = 0
    changed()
    return front.admission.asked.length > 0
  }
  test.each<[string, number | undefined, number | undefined, boolean]>([
    ['nothing said', undefined, undefined, false],
    ['kept by CONNECT', 60, undefined, true],
    ['kept by CONNECT, given up by DISCONNECT', 60, 0, false],
    ['kept longer by DISCONNECT', 60, 600, true],
  ])('and what stays is watched: %s', async (_, first, last, stays) => {
    const client = await enter(5, { properties: first === undefined ? {} : { sessionExpiryInterval: first } })
    client.send({
      cmd: 'disconnect',
      reasonCode: 0,
      ...(last === undefined ? {} : { properties: { sessionExpiryInterval: last } }),
    } as Packet)
    await client.closed()
    await turns()
    expect(isWatched()).toBe(stays)
  })

  test('a broker may shorten what stays to nothing', async () => {
    upstream.answer = () => '20080000051100000000'
    const client = await enter(5, { properties: { sessionExpiryInterval: 60 } })
    client.send({ cmd: 'disconnect' })
    await client.closed()
    expect(isWatched()).toBe(false)
  })
})

describe('what the broker says right behind its CONNACK', () => {
  test.each<[string, Version, string, number | undefined]>([
    ['DISCONNECT', 5, '2003000000 e00197', 0x97],
    ['a malformed packet', 5, '2003000000 ff00', 0x8b],
    ['a malformed packet', 4, '20020000 ff00', undefined],
  ])('ends a connection that was open: %s, MQTT %i', async (_, version, hex, code) => {
    upstream.answer = () => hex
    const client = front.dial('lamp-1', { version })
    client.send(connectPacket({ protocolVersion: version, will: will() }))
    expect(await client.closed()).toMatchObject([
      { cmd: 'connack', ...(version === 5 ? { reasonCode: 0 } : { returnCode: 0 }) },
      ...(code === undefined ? [] : [{ cmd: 'disconnect', reasonCode: code }]),
    ])
    // its will is not void
    expect([parting(), link().endings]).toEqual([undefined, ['abort']])
  })
})

describe('DISCONNECT of the broker', () => {
  test.each<[string, string, number]>([
    ['use another server, which it names', 'e00e9d0c1c0003612e621f000362656e', 0x9d],
    ['taken over elsewhere', 'e0018e', 0x8e],
    ['for no reason', 'e000', 0],
  ])('goes on with its code, and nothing else of what it says: %s', async (_, hex, code) => {
    const client = await enter(5)
    link().say(hex)
    const [last] = await client.closed()
    expect(last).toMatchObject({ cmd: 'disconnect', reasonCode: code })
    expect((last as { properties?: unknown }).properties).toBeUndefined()
  })
})

describe('what the broker keeps for a device that is cut', () => {
  test.each<[string, Version, Partial<IConnectPacket>, number]>([
    ['3.1.1, a clean session: nothing', 4, {}, 1],
    ['3.1.1, a session', 4, { clean: false }, 2],
    ['5, nothing', 5, {}, 1],
    ['5, a session', 5, { properties: { sessionExpiryInterval: 60 } }, 2],
  ])('is ended: %s', async (_, version, over, links) => {
    const client = await enter(version, over)
    deny('device_retired')
    changed()
    await client.closed()
    await turns()
    await turns()
    expect(upstream.links).toHaveLength(links)
    if (links === 1) return
    // a clean start would make the broker send a will that waits: gone on with, and ended by an expiry of 0
    const [connect] = link(1).said as [IConnectPacket]
    expect(connect).toMatchObject({ cmd: 'connect', protocolVersion: 5, clean: false, clientId: 'lamp-1' })
    expect(connect.properties).not.toHaveProperty('sessionExpiryInterval')
    expect([parting(1), link(1).endings]).toEqual([DISCONNECT, ['finish']])
  })

  test('also when the broker had not answered yet, whatever the client asked', async () => {
    upstream.answer = () => undefined
    const client = front.dial('lamp-1', { version: 5 })
    client.send(connectPacket({ protocolVersion: 5 }))
    await vi.waitUntil(() => upstream.links.length === 1)
    deny('device_retired')
    changed()
    await client.closed()
    await turns()
    expect(upstream.links).toHaveLength(2)
  })

  test('by an older broker in its own way', async () => {
    upstream.answer = (_, level) => (level === 5 ? '20020001' : '20020000')
    front.holders.discard('lamp-9@b')
    await vi.waitUntil(() => upstream.links.length === 2)
    await turns()
    expect(link().said[0]).toMatchObject({
      protocolVersion: 4,
      clean: true,
      clientId: 'lamp-9@b',
      username: 'lamp-9',
    })
    expect(parting()).toBe(DISCONNECT)
  })

  test('or is not, and then nobody goes on with it', async () => {
    upstream.answer = () => '2003008800'
    front.holders.discard('lamp-1')
    const client = front.dial('lamp-1', { version: 5 })
    expect(await client.connect()).toBe(0x88)
    upstream.answer = (_, level) => (level === 5 ? '2003000000' : '20020000')
    await turns()
    expect(await front.dial('lamp-1', { version: 5 }).connect()).toBe(0)
  })

  test('of a whole fleet not all at once', async () => {
    upstream.answer = () => undefined
    for (let at = 0; at < 200; at++) front.holders.discard(`lamp-${at}`)
    await turns()
    expect(upstream.links).toHaveLength(64)
    for (let at = 0; at < 200; at++) {
      link(at).say('2003000000')
      await turns()
    }
    expect(upstream.links).toHaveLength(200)
  })
})

describe('time', () => {
  test.each([4, 5] as const)('the policy’s duration ends a connection: MQTT %i', async (version) => {
    front.admission.duration = 100
    const client = await enter(version)
    expect(await client.closed()).toMatchObject(version === 5 ? [{ reasonCode: 0xa0 }] : [])
    expect(link().endings).toEqual(['abort'])
    expect(front.admission.recorded.at(-1)).toMatchObject({ decision: { reason: 'session_expired' } })
  })

  test('also when it became one while the client was connected', async () => {
    const client = await enter(5)
    front.admission.duration = 50
    front.live.recheck([{ kind: 'access' }])
    expect(await client.closed()).toMatchObject([{ reasonCode: 0xa0 }])
  })

  test('a duration longer than mqtt.max_connection is the one that counts', async () => {
    await using own = await openFront({
      makeUpstream: () => Promise.resolve(upstream),
      mqtt: { max_connection: 20 },
    })
    own.admission.duration = 60_000
    const client = await own.enter('lamp-1')
    own.admission.duration = 0
    const short = await own.enter('lamp-2')
    // that one’s time is up, and so would be the other’s
    await short.closed()
    expect(client.ended).toBe(false)
  })

  test('silence is counted by the keep-alive that the client was told', async () => {
    await using own = await openFront({
      makeUpstream: () => Promise.resolve(upstream),
      mqtt: { max_keepalive: 1_000 },
    })
    const client = await own.enter('lamp-1', { protocolVersion: 5, keepalive: 600 })
    const began = performance.now()
    expect(await client.closed()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8d }])
    expect(performance.now() - began).toBeGreaterThan(1_400)
  })
})

describe('a takeover', () => {
  test('waits for the broker to be done with the one before', async () => {
    upstream.closes = false
    const first = await enter(5)
    const second = front.dial('lamp-1', { version: 5 })
    second.send(connectPacket({ protocolVersion: 5 }))
    expect(await first.closed()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }])
    await turns()
    expect(upstream.links).toHaveLength(1)
    expect(link().endings).toEqual(['abort'])
    link().close()
    expect(await second.until('connack')).toMatchObject({ reasonCode: 0 })
  })

  const war = async (times: number, each: (client: MqttClient) => Promise<unknown>): Promise<void> => {
    let last: MqttClient | undefined
    for (let at = 0; at <= times; at++) {
      const client = await enter(4, { clean: true })
      // as a socket does
      client.stream.once('end', () => client.stream.end())
      if (last !== undefined) await last.closed()
      await turns()
      await each(client)
      last = client
    }
  }
  const ping = async (client: MqttClient): Promise<void> => {
    client.send({ cmd: 'pingreq' })
    await vi.waitUntil(() => link().said.at(-1)?.cmd === 'pingreq')
  }

  test('again and again between living connections raises a suspicion, once', async () => {
    await war(3, ping)
    expect(front.suspects).toEqual([])
    await war(3, ping)
    expect(front.suspects).toEqual(['of lamp-1'])
  })

  test('of connections that only say CONNECT, and close in order when they are told', async () => {
    await war(4, () => Promise.resolve())
    await vi.waitUntil(() => front.suspects.length === 1)
  })

  test.each([
    ['said nothing since', () => Promise.resolve()],
    // a device that roams says something, loses its network, and comes back
    ['spoke until a moment ago', ping],
  ])('of connections whose network is dead, and which %s, raises none', async (_, each) => {
    for (let at = 0; at < 8; at++) {
      const client = front.dial('lamp-1')
      client.send(connectPacket())
      // it does not end when it is told, as one that hears nothing
      await client.until('connack')
      await each(client)
    }
    await turns()
    expect(front.suspects).toEqual([])
  })

  test('of one that speaks on while the newer one comes is a sign, whether it ends or not', async () => {
    let client = await enter(4)
    for (let at = 0; at < 4; at++) {
      const newer = front.dial('lamp-1')
      await ping(client)
      newer.send(connectPacket())
      await newer.until('connack')
      client = newer
    }
    expect(front.suspects).toEqual(['of lamp-1'])
  })

  test('elsewhere, which the broker tells, is told as one, and is one', async () => {
    for (let at = 0; at < 4; at++) {
      const client = await enter(5)
      client.stream.once('end', () => client.stream.end())
      link().say('e0018e')
      expect(await client.closed()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8e }])
      await vi.waitUntil(() => front.open === 0)
      await turns()
    }
    expect(front.suspects).toEqual(['of lamp-1'])
    expect(await front.metrics()).toMatch(/mqtt_ended_total\{reason="taken_over",desk="gateway"\} 4/)
  })
})

describe('the gateway stops', () => {
  test('and says where to go', async () => {
    await using own = await openFront({
      makeUpstream: () => Promise.resolve(upstream),
      mqtt: { server_reference: 'other.test:8883' },
    })
    const client = await own.enter('lamp-1', { protocolVersion: 5 })
    const old = await own.enter('lamp-2')
    own.live.drain()
    expect(await client.closed()).toMatchObject([
      { cmd: 'disconnect', reasonCode: 0x9d, properties: { serverReference: 'other.test:8883' } },
    ])
    expect(await old.closed()).toEqual([])
    expect(await own.metrics()).toMatch(/mqtt_ended_total\{reason="drained",desk="gateway"\} 2/)
  })

  test('also before it has let somebody in', async () => {
    await using own = await openFront({
      makeUpstream: () => Promise.resolve(upstream),
      mqtt: { server_reference: 'other.test:8883' },
    })
    upstream.answer = () => undefined
    const client = own.dial('lamp-1', { version: 5 })
    client.send(connectPacket({ protocolVersion: 5 }))
    await vi.waitUntil(() => upstream.links.length === 1)
    own.live.drain()
    expect(await client.closed()).toMatchObject([
      { cmd: 'connack', reasonCode: 0x9d, properties: { serverReference: 'other.test:8883' } },
    ])
  })
})

describe('who comes to enrol', () => {
  const opening = (over: Partial<Extract<ClaimOpening, { kind: 'open' }>> = {}): ClaimOpening => ({
    kind: 'open',
    connack: Buffer.from('20020000', 'hex'),
    decide: () => 'skip',
    frameLimit: 1_000,
    keepalive: 0,
    lifetime: 60_000,
    closed: () => {},
    ...over,
  })
  const open = (answer: (client: { goodbye(): void }) => ClaimOpening): Promise<Front> =>
    openFront({
      makeUpstream: () => Promise.resolve(upstream),
      claims: { takes: (peer) => peer.leaf?.commonName === 'claim', open: ({ client }) => answer(client) },
    })

  test.each<[Denial, string, number]>([
    ['certificate_untrusted', 'claim', 0],
    ['certificate_unknown', 'claim', 0],
    ['no_application', 'claim', 0],
    ['certificate_revoked', 'claim', 5],
    ['session_resumed', 'claim', 5],
    ['registry_unavailable', 'claim', 3],
    ['certificate_untrusted', 'stranger', 5],
  ])('%s, as %s: CONNACK %i', async (reason, id, code) => {
    await using own = await open(() => opening())
    own.admission.denied.set(id, reason)
    const client = own.dial(id)
    expect(await client.connect({ clientId: '' })).toBe(code)
    expect(upstream.links).toHaveLength(0)
    expect(own.sightings).toEqual([])
    expect(own.live.size()).toBe(0)
  })

  test('has no broker, and what it may the door says', async () => {
    const closed = vi.fn()
    const seen: number[] = []
    await using own = await open((client) =>
      opening({
        closed,
        decide: (bytes, start) => {
          seen.push(bytes[start] as number)
          if (bytes[start] === 0xe0) client.goodbye()
          return 'skip'
        },
      }),
    )
    own.admission.denied.set('claim', 'certificate_untrusted')
    const client = own.dial('claim')
    client.send(connectPacket({ clientId: '' }), { cmd: 'pingreq' }, { cmd: 'disconnect' })
    await client.closed()
    expect(seen).toEqual([0xc0, 0xe0])
    expect(closed).toHaveBeenCalledOnce()
    expect([upstream.links.length, own.open]).toEqual([0, 0])
  })

  test('is sent away when there is no room, and when its time is up', async () => {
    await using full = await open(() => ({ kind: 'refused', reason: 'quota_exceeded', detail: 'too many' }))
    full.admission.denied.set('claim', 'certificate_untrusted')
    expect(await full.dial('claim').connect({ clientId: '' })).toBe(3)
    const closed = vi.fn()
    await using own = await open(() => opening({ lifetime: 30, closed }))
    own.admission.denied.set('claim', 'certificate_untrusted')
    const client = own.dial('claim')
    expect(await client.connect({ clientId: '' })).toBe(0)
    await client.closed()
    expect(closed).toHaveBeenCalledOnce()
  })

  test('may send no more than it is allowed to', async () => {
    await using own = await open(() => opening())
    own.admission.denied.set('claim', 'certificate_untrusted')
    const client = own.dial('claim')
    await client.connect({ clientId: '' })
    client.send(publish('$sallyport/x', { payload: Buffer.alloc(1_001) }))
    await client.closed()
  })
})
