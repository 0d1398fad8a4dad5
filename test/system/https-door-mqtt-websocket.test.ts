/**
 * MQTT over WebSocket at the HTTPS door, up to the stream that the front gets: which Upgrade is one, who may have it, and frames into bytes and
 * back. What a front makes of the stream: mqtt-websocket.test.ts.
 */

import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket, type ClientOptions } from 'ws'
import { MINUTE } from '#fleet/clock.ts'
import type { MqttAccess } from '#fleet/access.ts'
import type { Peer } from '#fleet/peer.ts'
import type { Connection } from '#gateway/mqtt/connection.ts'
import type { Upstream } from '#gateway/mqtt/upstream.ts'
import { openDoorHarness, type DoorFront, type DoorHarness } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { openRaw, requestText, type RawClient } from '../support/raw-https.ts'

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const FRAME_LIMIT = 64 * 1_024

type Served = {
  readonly stream: Duplex
  readonly peer: Peer
  readonly host: string | undefined
  readonly web: unknown
  text(): string
}

let door: DoorHarness
let lamp: TestLeaf
let served: Served[]

const frontOf = async (): Promise<DoorFront> => ({
  upstream: {} as Upstream,
  serve: (stream, peer, host, _, web) => {
    const chunks: Buffer[] = []
    stream.on('error', () => {}).on('data', (chunk: Buffer) => chunks.push(chunk))
    served.push({ stream, peer, host, web, text: () => Buffer.concat(chunks).toString('latin1') })
    return {} as Connection
  },
  [Symbol.asyncDispose]: async () => {},
})

const options = { front: frontOf, drainWithin: 300, env: { SALLYPORT_MQTT_FRAME_LIMIT: String(FRAME_LIMIT) } }
const putMqtt = async (over: Partial<MqttAccess> = {}, harness = door): Promise<void> => {
  await harness.putApplication({ mqtt: { topics: [], ...over } })
}
beforeAll(async () => {
  door = await openDoorHarness(options)
  await putMqtt()
  lamp = await door.device('lamp-1')
})
afterAll(() => door[Symbol.asyncDispose]())
beforeEach(() => {
  served = []
  door.log.length = 0
})
const clients: Disposable[] = []
afterEach(() => {
  for (const client of clients.splice(0)) client[Symbol.dispose]()
})

const handshake = (o: { target?: string; protocol?: string; headers?: readonly string[] } = {}): string =>
  requestText(o.target ?? '/mqtt', {
    headers: [
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Key: ${KEY}`,
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Protocol: ${o.protocol ?? 'mqtt'}`,
      ...(o.headers ?? []),
    ],
  })

/** a whole client of another library */
const connect = async (o: { leaf?: TestLeaf; headers?: Record<string, string>; to?: DoorHarness } = {}) => {
  const to = o.to ?? door
  const { keyPem, fullPem } = o.leaf ?? lamp
  const socket = new WebSocket(`wss://127.0.0.1:${to.port}/mqtt`, ['mqtt'], {
    headers: { host: 'a.test', ...o.headers },
    servername: 'a.test',
    rejectUnauthorized: false,
    key: keyPem,
    cert: fullPem,
    // the types know less than what goes on to TLS
  } as ClientOptions)
  clients.push({
    [Symbol.dispose]: () => {
      socket.terminate()
    },
  })
  socket.on('error', () => {})
  await once(socket, 'open')
  return socket
}
const only = (): Served => {
  expect(served).toHaveLength(1)
  return served[0] as Served
}
const closing = async (socket: WebSocket): Promise<number> => ((await once(socket, 'close')) as [number])[0]

describe('one is opened', () => {
  test('for a device, with the protocol and nothing else', async () => {
    const client = await openRaw({ port: door.port, leaf: lamp })
    clients.push(client)
    client.send(handshake({ headers: ['Sec-WebSocket-Extensions: permessage-deflate'] }))
    const head = (await client.until(/\r\n\r\n/)).toLowerCase()
    expect(head).toMatch(/^http\/1\.1 101 /)
    expect(head).toContain('\r\nsec-websocket-protocol: mqtt\r\n')
    expect(head).toContain('\r\nstrict-transport-security: ')
    expect(head).not.toContain('extensions')
    expect(only()).toMatchObject({
      host: 'a.test',
      peer: { serverName: 'a.test', leaf: { commonName: 'lamp-1' } },
    })
    expect(door.origin.seen).toEqual([])
  })
  test.each([['mqtt'], ['mqttv3.1, mqtt'], ['mqtt,mqttv3.1']])('of %s', async (protocol) => {
    const client = await openRaw({ port: door.port, leaf: lamp })
    clients.push(client)
    client.send(handshake({ protocol }))
    expect(await client.until(/\r\n\r\n/)).toMatch(/\r\nSec-WebSocket-Protocol: mqtt\r\n/)
  })
  test('of a page of this host, or a listed one', async () => {
    await putMqtt({ allowedOrigins: ['https://panel.test'] })
    for (const origin of ['https://a.test', 'https://panel.test']) await connect({ headers: { origin } })
    await putMqtt()
    // CONNECT, and every change, is judged by it too
    expect(served.map(({ web }) => web)).toEqual(
      ['https://a.test', 'https://panel.test'].map((origin) => ({
        websocket: true,
        authority: 'a.test',
        origin,
      })),
    )
  })
  test('and what is said behind the handshake is heard', async () => {
    const client = await openRaw({ port: door.port, leaf: lamp })
    clients.push(client)
    client.send(Buffer.concat([Buffer.from(handshake()), frame(2, 'early')]))
    await expect.poll(() => served[0]?.text()).toBe('early')
  })
})

describe('another application’s, as before', () => {
  test.each([
    ['another protocol', handshake({ protocol: 'mqttv3.1' })],
    ['in other letters', handshake({ protocol: 'MQTT' })],
    ['twice', handshake({ protocol: 'mqtt, mqtt' })],
    ['a list that is none', handshake({ protocol: 'mqtt,,' })],
    ['no protocol', handshake().replace(/Sec-WebSocket-Protocol.*\r\n/, '')],
    ['below the path', handshake({ target: '/mqtt/' })],
    ['with a query', handshake({ target: '/mqtt?a=1' })],
  ])('%s', async (_, text) => {
    expect((await door.say(text, lamp)).body).toContain('unsupported')
    expect(served).toEqual([])
  })
  test('no Upgrade', async () => {
    expect((await door.say(requestText('/mqtt', { headers: ['Connection: close'] }), lamp)).status).toBe(200)
    expect(door.origin.seen.splice(0)).toHaveLength(1)
  })
  test.each([
    ['the application is not for WebSockets', { topics: [], websocket: false }],
    ['there is none for MQTT', undefined],
  ])('%s', async (_, mqtt) => {
    await door.putApplication({ mqtt })
    expect((await door.say(handshake(), lamp)).body).toContain('unsupported')
    // and a stranger hears what he hears elsewhere
    expect((await door.say(handshake())).body).toContain('certificate_required')
    await putMqtt()
    expect(served).toEqual([])
  })
})

describe('refused before there is one, with the reason', () => {
  const say = async (text: string, leaf?: TestLeaf) => {
    const reply = await door.say(text, leaf)
    expect(reply.headers['connection']).toBe('close')
    expect(served).toEqual([])
    expect(door.origin.seen).toEqual([])
    return { ...reply, reason: (JSON.parse(reply.body) as { reason: string }).reason }
  }
  test('no certificate: that, whatever else is wrong', async () => {
    const text = handshake({ headers: ['Origin: https://evil.test'] }).replace('Version: 13', 'Version: 8')
    expect(await say(text)).toMatchObject({ status: 403, reason: 'certificate_required' })
    expect(door.log).toContainEqual(
      expect.objectContaining({ door: 'mqtt', act: 'connect', reason: 'certificate_required' }),
    )
  })
  test.each([
    [
      'of another CA',
      () => door.pki.device({ id: 'lamp-1', by: door.pki.other.devices }),
      'certificate_untrusted',
    ],
    ['not on record', () => door.device('ghost', { registered: false }), 'certificate_unknown'],
    [
      'revoked',
      async () => {
        const leaf = await door.device('lamp-9')
        await door.setState('lamp-9', 'revoked')
        return leaf
      },
      'certificate_revoked',
    ],
  ])('a certificate %s', async (_, leaf, reason) => {
    expect(await say(handshake(), await leaf())).toMatchObject({ status: 403, reason })
  })
  test('by a policy', async () => {
    await door.putPolicy({ include: [{ common_name: { common_name: 'x' } }] })
    expect(await say(handshake(), lamp)).toMatchObject({ status: 403, reason: 'policy_denied' })
    await door.putPolicy({})
  })
  test.each([
    ['of another site', 'https://evil.test'],
    ['of any site', 'null'],
    ['of the same host, but not secure', 'http://a.test'],
    ['of the same host at another port', 'https://a.test:8443'],
  ])('a page %s', async (_, origin) => {
    expect(await say(handshake({ headers: [`Origin: ${origin}`] }), lamp)).toMatchObject({
      status: 403,
      reason: 'origin_denied',
    })
  })
  test('another host than in TLS', async () => {
    expect(await say(handshake().replace('a.test', 'b.test'), lamp)).toMatchObject({
      reason: 'host_mismatch',
    })
  })
  test.each([['8'], ['12'], ['13, 8'], ['']])('version "%s" of WebSockets', async (version) => {
    const reply = await say(handshake().replace('Version: 13', `Version: ${version}`), lamp)
    expect(reply).toMatchObject({
      status: 426,
      reason: 'upgrade_required',
      headers: { 'sec-websocket-version': '13', upgrade: 'websocket' },
    })
  })
  test.each([['short=='], [`${KEY}, ${KEY}`]])('the key %s', async (key) => {
    expect(await say(handshake().replace(KEY, key), lamp)).toMatchObject({
      status: 400,
      reason: 'bad_request',
    })
  })
  test('behind another request: No Duration', async () => {
    await door.putApplication({ mqtt: { topics: [] }, sessionDuration: 15 * MINUTE })
    const client = await openRaw({ port: door.port, leaf: lamp })
    clients.push(client)
    client.send(requestText('/'))
    await client.reply()
    client.send(handshake())
    expect(await client.reply()).toMatchObject({
      status: 421,
      body: expect.stringContaining('handshake_not_fresh') as string,
    })
    await client.closed()
    door.origin.seen.length = 0
    await putMqtt()
    expect(served).toEqual([])
  })
  test('more at once than one identity may have', async () => {
    await using small = await openDoorHarness({ ...options, env: { SALLYPORT_LIMITS_MAX_CONNECTIONS: '20' } })
    await putMqtt({}, small)
    const leaf = await small.device('lamp-1')
    for (let at = 0; at < 8; at += 1) await connect({ leaf, to: small })
    expect((await small.say(handshake(), leaf)).status).toBe(429)
    clients.splice(0, 1)[0]?.[Symbol.dispose]()
    await expect
      .poll(async () => {
        const client = await openRaw({ port: small.port, leaf })
        clients.push(client)
        client.send(handshake())
        return client.until(/\r\n\r\n/)
      })
      .toMatch(/ 101 /)
  })
})

/** A frame as a client sends it, masked with zeros. @param first FIN and opcode */
const frame = (
  opcode: number,
  payload: string | Buffer,
  o: { fin?: boolean; length?: number } = {},
): Buffer => {
  const bytes = Buffer.from(payload)
  const length = o.length ?? bytes.length
  const size = Buffer.alloc(length < 126 ? 1 : length < 65_536 ? 3 : 9)
  if (length < 126) size[0] = length
  else if (length < 65_536) size.writeUInt16BE(length, 1)
  else size.writeBigUInt64BE(BigInt(length), 1)
  if (length >= 126) size[0] = length < 65_536 ? 126 : 127
  size[0] = (size[0] as number) | 0x80
  return Buffer.concat([Buffer.of((o.fin === false ? 0 : 0x80) | opcode), size, Buffer.alloc(4), bytes])
}
const closeCode = (text: string): number | undefined => {
  const bytes = Buffer.from(text, 'latin1')
  const at = bytes.lastIndexOf(0x88)
  return at === -1 || (bytes[at + 1] as number) < 2 ? undefined : bytes.readUInt16BE(at + 2)
}
const open = async (): Promise<RawClient> => {
  const client = await openRaw({ port: door.port, leaf: lamp })
  clients.push(client)
  client.send(handshake())
  await client.until(/\r\n\r\n/)
  return client
}

describe('bytes', () => {
  test('of any number of messages and frames are one stream, and so are the answers', async () => {
    const client = await open()
    client.send(
      Buffer.concat([
        frame(2, 'on'),
        frame(2, ''),
        frame(2, 'e t', { fin: false }),
        frame(9, 'still there?'),
      ]),
    )
    client.send(Buffer.concat([frame(0, 'w', { fin: false }), frame(0, 'o')]))
    await expect.poll(() => served[0]?.text()).toBe('one two')
    expect(client.text()).toContain('still there?')
    only().stream.write('three')
    await client.until(/three$/)
  })
  test('wait where nobody reads, on both sides', async () => {
    const socket = await connect()
    const { stream } = only()
    stream.pause()
    const piece = Buffer.alloc(32 * 1_024, 'x')
    let sent = 0
    for (; sent < 2_000 && socket.bufferedAmount < 1_048_576; sent += 1) {
      socket.send(piece)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(sent).toBeLessThan(2_000)
    expect(stream.readableLength).toBeLessThan(512 * 1_024)
    // and up: what the client does not read is not taken from the front
    socket.pause()
    let written = 0
    while (stream.write(piece) || written < 1_000) {
      written += 1
      if (stream.writableNeedDrain && stream.writableLength > 1_048_576) break
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(stream.writableNeedDrain).toBe(true)
    // the others are served meanwhile
    const other = await connect()
    other.send('hello', { binary: true })
    await expect.poll(() => served[1]?.text()).toBe('hello')
    stream.resume()
    socket.resume()
    const whole = sent * piece.length
    await expect.poll(() => served[0]?.text().length, { timeout: 10_000 }).toBe(whole)
  })
})

describe('ended, with a code', () => {
  test.each([
    ['text', [frame(1, 'hello')], 1003],
    ['a message larger than a packet', [frame(2, '', { length: FRAME_LIMIT + 1 })], 1009],
    ['a message of 100 GB', [frame(2, '', { length: 100 * 1_024 ** 3 })], 1009],
    [
      'a message larger than a packet, in pieces',
      [frame(2, Buffer.alloc(FRAME_LIMIT - 100), { fin: false }), frame(0, Buffer.alloc(101))],
      1009,
    ],
    [
      'a message of thousands of pieces',
      [frame(2, 'x', { fin: false }), ...Array.from({ length: 2_000 }, () => frame(0, '', { fin: false }))],
      1008,
    ],
    ['a frame that is not masked', [Buffer.from([0x82, 1, 120])], 1002],
    ['an opcode that is none', [frame(3, 'x')], 1002],
    ['a compressed one', [Buffer.concat([Buffer.of(0xc2), frame(2, 'x').subarray(1)])], 1002],
    ['a piece of nothing', [frame(0, 'x')], 1002],
    ['nothing but pings', Array.from({ length: 200 }, () => frame(9, '')), 1008],
    ['nothing but pongs', Array.from({ length: 200 }, () => frame(10, '')), 1008],
    ['nothing in many messages', Array.from({ length: 200 }, () => frame(2, '')), 1008],
  ])('%s', async (_, frames, code) => {
    const client = await open()
    const gone = once(only().stream, 'close')
    client.send(Buffer.concat(frames))
    expect(closeCode(await client.closed())).toBe(code)
    await gone
    expect(only().text()).toBe('')
  })
  test('a message that does not arrive whole', async () => {
    const [client, other] = [await open(), await open()]
    const gone = once((served[0] as Served).stream, 'close')
    client.send(frame(2, 'x', { length: 10 }))
    other.send(Buffer.concat([frame(2, 'x'), frame(9, '')]))
    await expect.poll(() => served[1]?.text()).toBe('x')
    // one that has not begun is not waited for
    door.pass(2 * MINUTE)
    expect(closeCode(await client.closed())).toBe(1008)
    await gone
    other.send(frame(2, 'y'))
    await expect.poll(() => served[1]?.text()).toBe('xy')
  })
  test('by the front, in order', async () => {
    const socket = await connect()
    only().stream.end('last words')
    const [[data], code] = await Promise.all([once(socket, 'message') as Promise<[Buffer]>, closing(socket)])
    expect([data.toString(), code]).toEqual(['last words', 1000])
    expect(only().stream.destroyed).toBe(true)
  })
  test('by the front, at once', async () => {
    const socket = await connect()
    only().stream.destroy()
    expect(await closing(socket)).toBe(1006)
  })
  test('by the client, in order: what it said before is heard', async () => {
    const socket = await connect()
    only().stream.pause()
    socket.send(Buffer.from('last words'))
    socket.close(1000)
    expect(await closing(socket)).toBe(1000)
    const ended = once(only().stream, 'end')
    only().stream.resume()
    await ended
    expect(only().text()).toBe('last words')
  })
  test('by the client, at once', async () => {
    const socket = await connect()
    const ended = once(only().stream, 'end')
    socket.terminate()
    await ended
    const gone = once(only().stream, 'close')
    only().stream.end()
    await gone
  })
})

test('the door stops: it says that it goes away, and does not wait for long', async () => {
  await using stopping = await openDoorHarness(options)
  await putMqtt({}, stopping)
  const leaf = await stopping.device('lamp-1')
  const [socket, mute] = [await connect({ leaf, to: stopping }), await connect({ leaf, to: stopping })]
  // as the front does when it hears of it
  served[0]?.stream.end()
  const stopped = stopping.stopDoor()
  expect(await closing(socket)).toBe(1001)
  await Promise.all([stopped, closing(mute)])
})

test('without a way to a broker it is a request like any other', async () => {
  await using bare = await openDoorHarness()
  await putMqtt({}, bare)
  expect((await bare.say(handshake(), await bare.device('lamp-1'))).body).toContain('unsupported')
})
