import type { IConnectPacket } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { TopicRule } from '#fleet/access.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { connectPacket, type MqttClient } from '../../../support/mqtt-client.ts'
import { openFront, type Front } from '../../../support/mqtt-front.ts'
import { scriptedUpstream, type ScriptedUpstream } from '../../../support/scripted-upstream.ts'

/** What is asked of a connection again when something has changed, beside who it is: its will, its ClientID, and the WebSocket that it came in. */

let upstream: ScriptedUpstream
let front: Front
beforeEach(async () => {
  upstream = scriptedUpstream()
  front = await openFront({ makeUpstream: () => Promise.resolve(upstream) })
})
afterEach(() => front[Symbol.asyncDispose]())

const DISCONNECT = 'e000'
const PUBLISH: TopicRule = { filter: 'devices/#', acts: ['publish'] }
const REPLIES: TopicRule = { filter: 'replies/#', acts: ['receive'] }
const change = (rules: readonly TopicRule[]): void => {
  front.admission.rules = rules
  front.admission.changed()
}
const recheck = (): void => front.live.recheck([{ kind: 'access' }])
const turns = async (): Promise<void> => {
  for (let at = 0; at < 5; at++) await new Promise(setImmediate)
}
const reasons = async (): Promise<string[]> =>
  [...(await front.metrics()).matchAll(/mqtt_ended_total\{reason="(\w+)"/g)].map(
    ([, reason]) => reason as string,
  )

describe('a will', () => {
  const will = (over = {}): NonNullable<IConnectPacket['will']> => ({
    topic: 'devices/w',
    payload: Buffer.from('gone'),
    qos: 1,
    retain: false,
    properties: { responseTopic: 'replies/a' },
    ...over,
  })
  const enter = (version: 4 | 5, over: Partial<IConnectPacket> = {}): Promise<MqttClient> => {
    front.admission.rules = [PUBLISH, REPLIES]
    const own = version === 5 ? will() : will({ properties: undefined })
    return front.enter('lamp-1', { protocolVersion: version, will: own, ...over })
  }

  test.each<[string, 4 | 5, readonly TopicRule[]]>([
    ['its topic', 4, [REPLIES]],
    ['its topic', 5, [REPLIES]],
    ['its Response Topic', 5, [PUBLISH]],
  ])('is taken back as soon as %s is closed, and its session stays: MQTT %i', async (_, version, rules) => {
    const stays = version === 5 ? { properties: { sessionExpiryInterval: 60 } } : { clean: false }
    const client = await enter(version, stays)
    change(rules)
    recheck()
    expect(await client.closed()).toMatchObject(
      version === 5 ? [{ cmd: 'disconnect', reasonCode: 0x87 }] : [],
    )
    await turns()
    const [link, ...more] = upstream.links
    expect([link?.hex.at(-1), link?.endings, more]).toEqual([DISCONNECT, ['finish'], []])
    expect(await reasons()).toEqual(['topic_denied'])
    // and it may come again, without that will
    expect(await front.dial('lamp-1').connect({ clean: false })).toBe(0)
  })

  test.each([[4], [5]] as const)('that is still allowed ends nothing: MQTT %i', async (version) => {
    const client = await enter(version)
    change([...front.admission.rules])
    recheck()
    await turns()
    expect([client.ended, upstream.links[0]?.endings]).toEqual([false, []])
  })

  test('whose Response Topic was closed a moment ago does not go out when the network breaks', async () => {
    const client = await enter(5)
    change([PUBLISH])
    client[Symbol.dispose]()
    await vi.waitUntil(() => front.open === 0)
    expect([upstream.links[0]?.hex.at(-1), upstream.links[0]?.endings]).toEqual([DISCONNECT, ['finish']])
  })

  test('that its client asks for neither', async () => {
    const client = await enter(5)
    change([PUBLISH])
    client.send(Buffer.from('e00104', 'hex'))
    await client.closed()
    expect(upstream.links[0]?.hex.at(-1)).toBe('e0020000')
  })

  test('of one that the broker has not answered is taken back too', async () => {
    front.admission.rules = [PUBLISH, REPLIES]
    upstream.answer = () => undefined
    const client = front.dial('lamp-1', { version: 5 })
    client.send(connectPacket({ protocolVersion: 5, will: will() }))
    await vi.waitUntil(() => upstream.links.length === 1)
    change([PUBLISH])
    recheck()
    expect(await client.closed()).toMatchObject([{ cmd: 'connack', reasonCode: 0x87 }])
    expect(upstream.links[0]?.endings).toEqual(['finish'])
  })
})

describe('a ClientID', () => {
  const enter = async (id: string): Promise<MqttClient> => {
    const client = front.dial('lamp-1', { version: 5 })
    expect(await client.connect({ clientId: id })).toBe(0)
    return client
  }

  test('that it would not be given any more is no reason to stay: it could not take over from itself', async () => {
    front.admission.access = { clientId: 'forced', connections: 3 }
    const clients = [await enter('lamp-1'), await enter('a'), await enter('b c')]
    recheck()
    await turns()
    expect(clients.map(({ ended }) => ended)).toEqual([false, false, false])
    front.admission.access = { clientId: 'forced', connections: 1 }
    front.admission.changed()
    recheck()
    expect(await Promise.all(clients.slice(1).map((client) => client.closed()))).toMatchObject(
      Array.from({ length: 2 }, () => [{ cmd: 'disconnect', reasonCode: 0x87 }]),
    )
    expect(clients[0]?.ended).toBe(false)
    expect(front.admission.recorded.at(-1)?.decision).toMatchObject({ reason: 'client_id_mismatch' })
    // which is a takeover now
    await enter('a')
    expect(await clients[0]?.closed()).toMatchObject([{ reasonCode: 0x8e }])
  })

  test('of which there are fewer by now, and any of which it may ask for again, stays', async () => {
    front.admission.access = { clientId: 'prefix', connections: 3 }
    const clients = [await enter('lamp-1'), await enter('lamp-1@a')]
    front.admission.access = { clientId: 'prefix', connections: 1 }
    recheck()
    await turns()
    expect(clients.map(({ ended }) => ended)).toEqual([false, false])
  })

  test('one too many is not recorded as let in', async () => {
    front.admission.access = { clientId: 'prefix', connections: 1 }
    await enter('lamp-1')
    expect(await front.dial('lamp-1', { version: 5 }).connect({ clientId: 'lamp-1@x' })).toBe(0x97)
    expect(front.admission.recorded.map(({ decision }) => decision.allow)).toEqual([true])
    expect(front.log.at(-1)).toMatchObject({ msg: 'closed', reason: 'quota_exceeded' })
  })

  test('is recorded as it was asked for', async () => {
    front.admission.access = { clientId: 'forced', connections: 1 }
    await enter('mine')
    expect(front.admission.recorded[0]?.ask).toMatchObject({ act: 'connect', clientId: 'mine' })
  })
})

test('a WebSocket is asked about its Upgrade at CONNECT, and with every change', async () => {
  const web = { websocket: true, authority: 'a.test:443', origin: 'https://panel.test' } as const
  const client = front.dial('lamp-1', { web })
  expect(await client.connect()).toBe(0)
  recheck()
  const asked = front.admission.asked.filter((ask) => ask.door === 'mqtt' && ask.act === 'connect')
  expect(asked).toHaveLength(2)
  for (const ask of asked) expect(ask).toMatchObject(web)
  const other = front.dial('lamp-2')
  await other.connect({ clientId: 'lamp-2' })
  expect(front.admission.asked.at(-1)).not.toHaveProperty('websocket')
})

describe('a report-only policy that would end what stands', () => {
  const reported = (): (string | undefined)[] =>
    front.admission.recorded.map(({ decision }) => (decision.allow ? decision.wouldDeny : 'refused'))

  test.each([[4], [5]] as const)('is recorded once, and ends nothing: MQTT %i', async (version) => {
    const clients = [
      await front.enter('lamp-1', { protocolVersion: version }),
      await front.enter('lamp-2', { protocolVersion: version, clientId: 'lamp-2' }),
    ]
    expect(reported()).toEqual([undefined, undefined])
    for (const policy of ['draft', 'draft', undefined, 'other']) {
      front.admission.wouldDeny = policy
      recheck()
      recheck()
      front.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as DeviceId }])
      await turns()
    }
    expect(reported().slice(2)).toEqual(['draft', 'draft', 'other', 'other'])
    // asked as when it came, with the ClientID that it has
    expect(front.admission.recorded.slice(2, 4).map(({ ask }) => ask)).toMatchObject([
      { act: 'connect', clientId: 'lamp-1' },
      { act: 'connect', clientId: 'lamp-2' },
    ])
    expect(clients.map(({ ended }) => ended)).toEqual([false, false])
  })
  test('that was there when it came is said of its CONNECT, and not again', async () => {
    front.admission.wouldDeny = 'draft'
    await front.enter('lamp-1')
    recheck()
    await turns()
    expect(reported()).toEqual(['draft'])
  })
})
