/**
 * HTTP in, MQTT out: a POST to an application of kind `mqtt-publish` through the real door, to a broker that says what the test says. With a real
 * one: test/interop/mqtt-publish.test.ts.
 */

import { parser, type IPublishPacket, type Packet } from 'mqtt-packet'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { HttpsAccess } from '#fleet/access.ts'
import { MINUTE } from '#fleet/clock.ts'
import type { LinkEvents, Upstream } from '#gateway/mqtt/upstream.ts'
import { openDoorHarness, type DoorFront, type DoorHarness } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { openRaw, requestText, type RawClient } from '../support/raw-https.ts'

const FRAME_LIMIT = 4_096

let door: DoorHarness
let lamp: TestLeaf
/** The broker reads no more: what comes is kept here. */
let full = false
let heard: IPublishPacket[]
let links: LinkEvents[]
/** what becomes of a CONNECT and of a PUBLISH */
let onConnect: (events: LinkEvents) => void
let onPublish: (packet: IPublishPacket, events: LinkEvents) => void

const say = (events: LinkEvents, ...bytes: readonly number[]): void => {
  setImmediate(() => {
    events.data(Buffer.from(bytes))
  })
}
const accept = (events: LinkEvents): void => {
  say(events, 0x20, 3, 0, 0, 0)
}
const acknowledge = ({ qos, messageId = 0 }: IPublishPacket, events: LinkEvents): void => {
  if (qos > 0) say(events, qos === 1 ? 0x40 : 0x50, 2, messageId >> 8, messageId & 0xff)
}

const upstream: Upstream = {
  levels: new Set([3, 4, 5]),
  sharedSubscriptions: true,
  readsOtherwise: (topic) => topic.includes('.'),
  login: (username) => ({ username, password: undefined }),
  open: (events) => {
    const reader = parser({ protocolVersion: 5 })
    reader.on('packet', (packet: Packet) => {
      if (packet.cmd === 'connect') onConnect(events)
      if (packet.cmd === 'pubrel') say(events, 0x70, 2, 0, packet.messageId ?? 0)
      if (packet.cmd !== 'publish') return
      heard.push(packet)
      onPublish(packet, events)
    })
    links.push(events)
    return {
      write: (bytes) => reader.parse(Buffer.from(bytes)) >= 0 && !full,
      pause: () => {},
      resume: () => {},
      end: () => {},
    }
  },
  [Symbol.asyncDispose]: async () => {},
}
const frontOf = async (): Promise<DoorFront> => ({
  upstream,
  serve: () => {
    throw new Error('nobody connects')
  },
  [Symbol.asyncDispose]: async () => {},
})

const env = { SALLYPORT_MQTT_FRAME_LIMIT: String(FRAME_LIMIT) }
/** ms, where it is to pass */
const SHORT = 250
const put = async (over: Partial<HttpsAccess> = {}, session?: object, harness = door): Promise<void> => {
  await harness.putHttps({ kind: 'mqtt-publish', path: '/publish/*', origin: [], ...over }, session)
}
beforeAll(async () => {
  heard = []
  links = []
  door = await openDoorHarness({ env, front: frontOf })
  await put()
  lamp = await door.device('lamp-1')
})
afterAll(() => door[Symbol.asyncDispose]())
beforeEach(() => {
  heard.length = 0
  door.log.length = 0
  onConnect = accept
  onPublish = acknowledge
})
const clients: RawClient[] = []
afterEach(() => {
  for (const client of clients.splice(0)) client[Symbol.dispose]()
})
const dial = async (leaf: TestLeaf | undefined = lamp): Promise<RawClient> => {
  const client = await openRaw({ port: door.port, leaf })
  clients.push(client)
  return client
}

type Post = { body?: string; headers?: readonly string[]; method?: string; leaf?: TestLeaf | undefined }
const OWN = '/publish/devices/lamp-1/state'
const post = (target: string, o: Post = {}) =>
  door.say(requestText(target, { method: 'POST', body: 'on', ...o }), 'leaf' in o ? o.leaf : lamp)
const reasonOf = ({ body }: { body: string }): string => (JSON.parse(body) as { reason: string }).reason

describe('a message', () => {
  test('goes out as the device’s, and its acknowledgement is the answer', async () => {
    const reply = await post(OWN, { headers: ['Content-Type: application/json'], body: '{"on":true}' })
    expect(reply).toMatchObject({ status: 204, body: '', headers: { connection: 'close' } })
    expect(reply.headers).not.toHaveProperty('content-length')
    expect(heard).toEqual([
      expect.objectContaining({
        topic: 'devices/lamp-1/state',
        qos: 1,
        retain: false,
        dup: false,
        payload: Buffer.from('{"on":true}'),
        properties: {
          contentType: 'application/json',
          userProperties: Object.assign(Object.create(null), { 'sallyport-device': 'lamp-1' }) as object,
        },
      }),
    ])
    for (const seen of [
      { door: 'https', reason: 'allowed', path: OWN },
      { door: 'mqtt', act: 'publish', topic: 'devices/lamp-1/state', reason: 'allowed', identity: 'lamp-1' },
    ])
      expect(door.log).toContainEqual(expect.objectContaining(seen))
    expect(JSON.stringify(door.log)).not.toContain('"on":true')
    expect(door.origin.seen).toEqual([])
  })
  test.each([
    ['?qos=0', 0, 202],
    ['?qos=1', 1, 204],
    ['?qos=2', 2, 204],
  ])('%s', async (query, qos, status) => {
    expect(await post(`${OWN}${query}`)).toMatchObject({ status, body: '' })
    expect(heard).toMatchObject([{ qos }])
  })
  test('of nothing, and in pieces', async () => {
    expect((await door.say(requestText(OWN, { method: 'POST' }), lamp)).status).toBe(204)
    const chunked = `${requestText(OWN, { method: 'POST', headers: ['Transfer-Encoding: chunked'] })}2\r\non\r\n3\r\n, o\r\n0\r\n\r\n`
    expect((await door.say(chunked, lamp)).status).toBe(204)
    expect(heard.map(({ payload }) => payload.toString())).toEqual(['', 'on, o'])
  })
  test('whose body is waited for', async () => {
    const client = await dial()
    client.send(requestText(OWN, { method: 'POST', headers: ['Content-Length: 2', 'Expect: 100-continue'] }))
    await client.until(/ 100 Continue\r\n\r\n/)
    client.send('on')
    expect(await client.closed()).toMatch(/ 204 /)
  })
  test('on a topic with what a URL must escape', async () => {
    expect((await post('/publish/devices/lamp-1/a%20%C3%BC%25')).status).toBe(204)
    expect(heard).toMatchObject([{ topic: 'devices/lamp-1/a ü%' }])
  })
  test('retained, where the application lets it', async () => {
    await put({ retain: true })
    expect((await post(`${OWN}?retain=true`)).status).toBe(204)
    await put()
    expect(heard).toMatchObject([{ retain: true }])
  })
  test('one after the other within a session, and one cookie', async () => {
    await put({}, { sessionDuration: 15 * MINUTE })
    const client = await dial()
    const request = requestText(OWN, { method: 'POST', body: 'on' })
    client.send(request)
    const first = await client.reply()
    expect([first.status, first.headers['set-cookie']]).toEqual([
      204,
      expect.stringMatching(/^CF_Authorization=/),
    ])
    client.send(request + requestText(`${OWN}?qos=0`, { method: 'POST', body: 'off' }))
    expect([(await client.reply()).status, (await client.reply()).status]).toEqual([204, 202])
    // a mistake is no reason to leave
    client.send(requestText(`${OWN}?qos=7`, { method: 'POST', body: '' }))
    expect((await client.reply()).status).toBe(400)
    await put()
    expect(heard).toHaveLength(3)
  })
})

describe('refused, and nothing goes out', () => {
  afterEach(() => {
    expect(heard).toEqual([])
  })
  test.each([
    ['another device’s topic', '/publish/devices/lamp-2/state', 403, 'topic_denied'],
    ['its own, above itself', '/publish/devices', 403, 'topic_denied'],
    ['one that this broker reads as another', '/publish/devices/lamp-1/a.b', 403, 'topic_denied'],
    ['everybody’s', '/publish/fleet/broadcast/a', 403, 'topic_denied'],
    ['the broker’s', '/publish/$SYS/broker', 400, 'bad_target'],
    ['ours', '/publish/$sallyport/certificates/renew', 400, 'bad_target'],
    ['a wildcard', '/publish/devices/lamp-1/+', 400, 'bad_target'],
    ['a wildcard, encoded', '/publish/devices/lamp-1/%23', 400, 'bad_target'],
    ['an encoded slash', '/publish/devices%2Flamp-1/state', 400, 'bad_target'],
    ['encoded twice', '/publish/devices%252Flamp-2/state', 400, 'bad_target'],
    ['encoded twice, in parts', '/publish/devices/lamp-1/%25%32%66', 400, 'bad_target'],
    ['a dot segment', '/publish/devices/lamp-1/../lamp-2/state', 400, 'bad_target'],
    ['a dot segment, encoded', '/publish/devices/lamp-1/%2e%2e/lamp-2', 400, 'bad_target'],
    ['NUL', '/publish/devices/lamp-1/%00', 400, 'bad_target'],
    ['a line break', '/publish/devices/lamp-1/%0a', 400, 'bad_target'],
    ['no UTF-8', '/publish/devices/lamp-1/%ff', 400, 'bad_target'],
    ['overlong UTF-8', '/publish/devices/lamp-1/%c0%af', 400, 'bad_target'],
    ['an empty level', '/publish/devices/lamp-1//state', 400, 'bad_target'],
    ['no topic', '/publish/', 400, 'bad_target'],
    ['the prefix', '/publish', 403, 'no_application'],
    ['two of one parameter', `${OWN}?qos=1&qos=2`, 400, 'bad_request'],
    ['another parameter', `${OWN}?topic=a`, 400, 'bad_request'],
    ['retained, where the application does not let it', `${OWN}?retain=true`, 403, 'topic_denied'],
  ])('%s', async (_, target, status, reason) => {
    const reply = await post(target)
    expect([reply.status, reasonOf(reply)]).toEqual([status, reason])
  })
  test('an encoded slash, even where the application lets those through', async () => {
    await put({ encodedSlashes: true })
    expect(reasonOf(await post('/publish/devices%2Flamp-1/state'))).toBe('bad_target')
    await put()
  })
  test.each([['GET'], ['PUT'], ['DELETE'], ['OPTIONS'], ['PATCH'], ['PROPFIND']])('%s', async (method) => {
    const reply = await post(OWN, { method })
    expect([reply.status, reply.headers['allow']]).toEqual([405, 'POST'])
  })
  test('an Upgrade', async () => {
    const headers = ['Upgrade: websocket', 'Connection: Upgrade']
    expect((await post(OWN, { headers })).status).toBe(422)
  })
  test('no certificate: that, whatever else is wrong', async () => {
    expect(reasonOf(await post('/publish/$SYS?x', { leaf: undefined }))).toBe('certificate_required')
  })
  test('a page of another site', async () => {
    expect(reasonOf(await post(OWN, { headers: ['Origin: https://evil.test'] }))).toBe('origin_denied')
  })
  test('a host without MQTT', async () => {
    await door.putApplication({
      mqtt: undefined,
      https: { kind: 'mqtt-publish', path: '/publish/*', origin: [] },
    })
    expect(reasonOf(await post(OWN))).toBe('no_application')
    await put()
  })
  test('a token in place of a certificate: topics are a certificate’s', async () => {
    await door.putPolicy({ decision: 'non_identity', include: [{ any_valid_service_token: {} }] })
    const reply = await post(OWN, { leaf: undefined, headers: await door.serviceToken('robot') })
    expect([reply.status, reasonOf(reply)]).toEqual([403, 'certificate_required'])
    await door.putPolicy({})
  })
  test.each([
    ['announced', `${requestText(OWN, { method: 'POST', headers: ['Content-Length: 4096'] })}`],
    [
      'in pieces',
      `${requestText(OWN, { method: 'POST', headers: ['Transfer-Encoding: chunked'] })}1000\r\n${'x'.repeat(4_096)}\r\n`,
    ],
  ])('a body that no packet holds, %s', async (_, text) => {
    expect((await door.say(text, lamp)).status).toBe(413)
  })
  test('a body that is larger than the application takes', async () => {
    await put({ bodyLimit: 1 })
    expect((await post(OWN)).status).toBe(413)
    await put()
  })
  test.each([['x'.repeat(300)], ['text/\xff']])('Content-Type: %s', async (value) => {
    const reply = await door.say(
      Buffer.from(requestText(OWN, { method: 'POST', headers: [`Content-Type: ${value}`] }), 'latin1'),
      lamp,
    )
    expect(reasonOf(reply)).toBe('bad_request')
  })
  test('a body that stops arriving', async () => {
    await put({ timeout: SHORT })
    const text = requestText(OWN, { method: 'POST', headers: ['Content-Length: 10'] })
    expect((await door.say(`${text}on`, lamp)).status).toBe(408)
    await put()
  })
  test('a device that is revoked while its body arrives', async () => {
    const leaf = await door.device('lamp-3')
    const client = await dial(leaf)
    client.send(requestText('/publish/devices/lamp-3/a', { method: 'POST', headers: ['Content-Length: 2'] }))
    await expect.poll(() => door.log.length).toBeGreaterThan(0)
    await door.setState('lamp-3', 'revoked')
    client.send('on')
    expect(await client.closed()).toContain('certificate_revoked')
  })
  test('a topic that is closed while the body arrives', async () => {
    const client = await dial()
    client.send(requestText(OWN, { method: 'POST', headers: ['Content-Length: 2'] }))
    await expect.poll(() => door.log.length).toBeGreaterThan(0)
    await door.putApplication({
      mqtt: { topics: [{ filter: 'elsewhere/#', acts: ['publish'] }] },
      https: { kind: 'mqtt-publish', path: '/publish/*', origin: [] },
    })
    client.send('on')
    expect(await client.closed()).toContain('topic_denied')
    await put()
  })
})

test('one connection, one message: what follows is no request', async () => {
  const client = await dial()
  client.send(requestText(OWN, { method: 'POST', body: 'on' }).repeat(3))
  expect((await client.closed()).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 204'])
  expect(heard).toHaveLength(1)
})
test('what is smuggled into a body is its body', async () => {
  const inner = requestText('/publish/devices/lamp-2/state', { method: 'POST', body: 'x' })
  await post(OWN, { body: inner })
  expect(heard.map(({ topic, payload }) => [topic, payload.toString()])).toEqual([
    ['devices/lamp-1/state', inner],
  ])
})
test('two lengths: neither', async () => {
  const text = requestText(OWN, {
    method: 'POST',
    headers: ['Content-Length: 2', 'Transfer-Encoding: chunked'],
  })
  expect((await door.say(`${text}0\r\n\r\n`, lamp)).status).toBe(400)
  expect(heard).toEqual([])
})

describe('the broker', () => {
  test('does not acknowledge in time: 504, and the next message goes out all the same', async () => {
    onPublish = () => {}
    await put({ timeout: SHORT })
    const reply = await post(OWN)
    expect([reply.status, reasonOf(reply)]).toEqual([504, 'origin_timeout'])
    onPublish = acknowledge
    await put()
    expect((await post(OWN)).status).toBe(204)
  })
  test('refuses', async () => {
    onPublish = ({ messageId = 0 }, events) => say(events, 0x40, 3, 0, messageId, 0x87)
    const reply = await post(OWN)
    expect([reply.status, reasonOf(reply)]).toEqual([502, 'origin_unreachable'])
    expect(reply.body).toContain('0x87')
  })
  test('is lost before it acknowledges: 502, and the message is not said again', async () => {
    onPublish = (_, events) => {
      events.closed()
    }
    const reply = await post(OWN)
    expect(reply.status).toBe(502)
    expect(reply.body).toContain('may have arrived')
    onPublish = acknowledge
    // not at once: it is connected again after a pause
    await expect.poll(async () => (await post(`${OWN}?qos=2`)).status).toBe(204)
    expect(heard.filter(({ qos }) => qos === 1)).toHaveLength(1)
  })
  test('does not answer, and the client leaves: nothing breaks', async () => {
    onPublish = () => {}
    const client = await dial()
    client.send(requestText(OWN, { method: 'POST', body: 'on' }))
    await expect.poll(() => heard.length).toBe(1)
    client[Symbol.dispose]()
    await expect.poll(() => door.core.live.size()).toBe(0)
    acknowledge(heard[0] as IPublishPacket, links.at(-1) as LinkEvents)
    onPublish = acknowledge
    expect((await post(OWN)).status).toBe(204)
  })
  test('and the device is revoked meanwhile: what went out was allowed', async () => {
    const leaf = await door.device('lamp-4')
    let late: (() => void) | undefined
    onPublish = (packet, events) => {
      late = () => {
        acknowledge(packet, events)
      }
    }
    const client = await dial(leaf)
    client.send(requestText('/publish/devices/lamp-4/a', { method: 'POST', body: 'on' }))
    await expect.poll(() => heard.length).toBe(1)
    const other = await dial(leaf)
    other.send(requestText('/publish/devices/lamp-4/a', { method: 'POST', headers: ['Content-Length: 2'] }))
    await expect.poll(() => door.core.live.size()).toBe(2)
    await door.setState('lamp-4', 'revoked')
    expect(await other.closed()).toContain('certificate_revoked')
    late?.()
    expect(await client.closed()).toMatch(/ 204 /)
    onPublish = acknowledge
    expect(reasonOf(await post('/publish/devices/lamp-4/a', { leaf }))).toBe('certificate_revoked')
  })
})

test('a device that is revoked while its message waits for the broker: it does not go out', async () => {
  const leaf = await door.device('lamp-5')
  onPublish = () => {}
  full = true
  const first = await dial()
  first.send(requestText(OWN, { method: 'POST', body: 'first' }))
  await expect.poll(() => heard.length).toBe(1)
  const second = await dial(leaf)
  second.send(requestText('/publish/devices/lamp-5/a', { method: 'POST', body: 'second' }))
  await expect
    .poll(() => door.log.some((line) => line['topic'] === 'devices/lamp-5/a' && line['reason'] === 'allowed'))
    .toBe(true)
  await door.setState('lamp-5', 'revoked')
  expect(await second.closed()).toContain('certificate_revoked')
  full = false
  onPublish = acknowledge
  links.at(-1)?.drain()
  acknowledge(heard[0] as IPublishPacket, links.at(-1) as LinkEvents)
  expect(await first.closed()).toMatch(/ 204 /)
  expect((await post(OWN)).status).toBe(204)
  expect(heard.map(({ topic }) => topic)).toEqual(['devices/lamp-1/state', 'devices/lamp-1/state'])
})

test('is counted', async () => {
  await post(OWN)
  const text = await door.metrics()
  expect(text).toMatch(/sallyport_mqtt_published_total\{[^}]*outcome="acknowledged"/)
  expect(text).toMatch(/sallyport_mqtt_publisher_up\{[^}]*\} 1/)
  expect(text).toMatch(/sallyport_decisions_total\{[^}]*door="mqtt",reason="topic_denied"/)
})

test('without a way to a broker: 502', async () => {
  await using bare = await openDoorHarness()
  await put({}, undefined, bare)
  const leaf = await bare.device('lamp-1')
  const reply = await bare.say(requestText(OWN, { method: 'POST', body: 'on' }), leaf)
  expect(reply.status).toBe(502)
})
