/**
 * The attacker comes by HTTPS: with a WebSocket that is none, from a page that is not ours, without a certificate; or with a POST whose path, query,
 * headers or body would be a message that is not his. An observer at mosquitto hears what has come of it.
 */

import { once } from 'node:events'
import { connect } from 'node:net'
import { generate } from 'mqtt-packet'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createWebSocketStream, WebSocket, type ClientOptions } from 'ws'
import { openFrontOf } from '#gateway/mqtt-side.ts'
import { openDoorHarness, type DoorHarness } from '../../../support/https-door.ts'
import { MOSQUITTO, startMosquitto, type Mosquitto } from '../../../support/mosquitto.ts'
import { connectPacket, mqttClient, type MqttClient } from '../../../support/mqtt-client.ts'
import type { TestLeaf } from '../../../support/pki.ts'
import { openRaw, requestText, type RawReply } from '../../../support/raw-https.ts'
import { ending, OWN, protocol, say, subscribe, type Connect } from './stage.ts'

describe.skipIf(MOSQUITTO === undefined)('by HTTPS', () => {
  let broker: Mosquitto
  let door: DoorHarness
  let me: TestLeaf
  let victim: TestLeaf
  let observer: MqttClient
  const opened: Disposable[] = []
  const https = { kind: 'mqtt-publish', path: '/publish/*', origin: [] } as const
  const putMqtt = (mqtt: object = {}): Promise<void> =>
    door.putApplication({ mqtt: { topics: [OWN], ...mqtt }, https })

  beforeAll(async () => {
    broker = await startMosquitto()
    door = await openDoorHarness({
      env: {
        SALLYPORT_MQTT_UPSTREAM: `mqtt://127.0.0.1:${broker.port}`,
        SALLYPORT_MQTT_FRAME_LIMIT: '65536',
      },
      front: (core, config, scope) => openFrontOf(core, 'gateway', config, scope),
    })
    await putMqtt()
    me = await door.device('me')
    victim = await door.device('victim')
    observer = mqttClient(connect(broker.port, '127.0.0.1'))
    expect(await observer.connect({ clientId: 'observer' })).toBe(0)
    await subscribe(observer, ['#'])
  })
  afterAll(async () => {
    await door[Symbol.asyncDispose]()
    await broker[Symbol.asyncDispose]()
  })
  afterEach(() => {
    for (const each of opened.splice(0)) each[Symbol.dispose]()
  })
  let marks = 0
  const heard = async (): Promise<string[]> => {
    const mark = `mark/${(marks += 1)}`
    observer.send(say(mark))
    const lines: string[] = []
    for (;;) {
      const { topic, payload } = await observer.until('publish')
      if (topic === mark) return lines
      lines.push(`${topic} ${String(payload)}`)
    }
  }

  const socketOf = (
    leaf: TestLeaf | undefined,
    o: { headers?: object; protocols?: string[] } = {},
  ): WebSocket => {
    const socket = new WebSocket(`wss://127.0.0.1:${door.port}/mqtt`, o.protocols ?? ['mqtt'], {
      headers: { host: 'a.test', ...o.headers },
      servername: 'a.test',
      rejectUnauthorized: false,
      ...(leaf === undefined ? {} : { key: leaf.keyPem, cert: leaf.fullPem }),
    } as ClientOptions)
    socket.on('error', () => {})
    opened.push({ [Symbol.dispose]: () => socket.terminate() })
    return socket
  }
  /** the status of an Upgrade that is refused; 101: it was not */
  const upgrade = async (...given: Parameters<typeof socketOf>): Promise<number> => {
    const socket = socketOf(...given)
    return Promise.race([
      once(socket, 'open').then(() => 101),
      once(socket, 'unexpected-response').then(([, answer]) => (answer as { statusCode: number }).statusCode),
    ])
  }
  const enter = async (
    leaf: TestLeaf,
    level: 3 | 4 | 5 = 5,
    over: Connect = {},
    o: Parameters<typeof socketOf>[1] = {},
  ) => {
    const socket = socketOf(leaf, o)
    await once(socket, 'open')
    const stream = createWebSocketStream(socket)
    stream.on('error', () => {})
    const client = mqttClient(stream, level)
    return { socket, client, code: await client.connect({ ...protocol(level), clientId: leaf.id, ...over }) }
  }

  describe('a WebSocket', () => {
    test.each([
      ['without a certificate', undefined, {}],
      ['of a page elsewhere', 'me', { headers: { origin: 'https://evil.test' } }],
      ['of a page of this name by HTTP', 'me', { headers: { origin: 'http://a.test' } }],
      ['of a page on another port', 'me', { headers: { origin: 'https://a.test:1' } }],
      ['of a page of nowhere', 'me', { headers: { origin: 'null' } }],
      ['of a page whose name begins alike', 'me', { headers: { origin: 'https://a.test.evil.test' } }],
      ['for another host', 'me', { headers: { host: 'b.test' } }],
    ] as const)('%s is not opened', async (_, who, o) => {
      expect(await upgrade(who === undefined ? undefined : me, o)).toBeOneOf([403, 421])
    })
    test('of another CA, or of a device that is cut, is not opened', async () => {
      expect(await upgrade(door.pki.device({ by: door.pki.other.devices, id: 'me' }))).toBe(403)
      const gone = await door.device('gone')
      await door.setState('gone', 'revoked')
      expect(await upgrade(gone)).toBe(403)
    })
    test('is no other way to be somebody else, to be heard, or to hear', async () => {
      for (const level of [3, 4, 5] as const) {
        const wrong = level === 5 ? 0x85 : 2
        for (const clientId of ['victim', 'me2', '@sallyport-publish-0123456789abcdef'])
          expect((await enter(me, level, { clientId })).code).toBe(wrong)
        const { client, code } = await enter(me, level)
        expect(code).toBe(0)
        expect(await subscribe(client, ['devices/victim/#', '#', '$SYS/#', 'devices/me/#'])).toEqual([
          ...Array.from({ length: 3 }, () => (level === 5 ? 0x87 : 0x80)),
          0,
        ])
        client.send(say('devices/victim/x', { retain: true }))
        client.send({ cmd: 'pingreq' })
        await client.until('pingresp').catch(() => undefined)
      }
      expect(await heard()).toEqual([])
    })
    test.each<[string, number, (socket: WebSocket) => void]>([
      ['text', 1003, (socket) => socket.send(generate(connectPacket({ clientId: 'me' })).toString('latin1'))],
      [
        'text, behind a good CONNECT',
        1003,
        (socket) => {
          socket.send(generate(connectPacket({ clientId: 'me' })))
          socket.send('devices/victim/x')
        },
      ],
      ['more than a message may hold', 1009, (socket) => socket.send(Buffer.alloc(70_000, 0x30))],
      [
        'a flood of empty messages',
        1008,
        (socket) => {
          for (let n = 0; n < 400; n += 1) socket.send(Buffer.alloc(0))
        },
      ],
      [
        'a flood of pings',
        1008,
        (socket) => {
          for (let n = 0; n < 400; n += 1) socket.ping()
        },
      ],
    ])('that says %s is closed', async (_, code, speaks) => {
      const socket = socketOf(me)
      await once(socket, 'open')
      socket.on('message', () => {})
      speaks(socket)
      expect(((await once(socket, 'close')) as [number])[0]).toBe(code)
      expect(await heard()).toEqual([])
    })
    test('is one of the same door: it takes over from itself, and is cut with its device', async () => {
      const first = await enter(me)
      const second = await enter(me)
      expect((await ending(first.client)).code).toBe(0x8e)
      second.client[Symbol.dispose]()
      const leaf = await door.device('cut')
      const will = { topic: 'devices/cut/will', payload: Buffer.from('x'), qos: 0, retain: false } as const
      const { client, code } = await enter(leaf, 5, { will })
      expect(code).toBe(0)
      await door.setState('cut', 'revoked')
      expect((await ending(client)).code).toBe(0x98)
      // the next one of that name comes when the broker has done with it
      expect((await enter(await door.device('cut'))).code).toBe(0)
      expect(await heard()).toEqual([])
    })
    test('closed by the application is closed, and one that stands ends', async () => {
      const { client, code } = await enter(me)
      expect(code).toBe(0)
      await putMqtt({ websocket: false })
      try {
        expect(await upgrade(me)).not.toBe(101)
        await expect.poll(() => client.ended).toBe(true)
        expect((await ending(client)).code).toBe(0x98)
      } finally {
        await putMqtt()
      }
    })
    test('of a page that is listed no longer ends', async () => {
      await putMqtt({ allowedOrigins: ['https://panel.test'] })
      const { client, code } = await enter(me, 5, {}, { headers: { origin: 'https://panel.test' } })
      expect(code).toBe(0)
      await putMqtt()
      expect(await upgrade(me, { headers: { origin: 'https://panel.test' } })).toBe(403)
      await expect.poll(() => client.ended).toBe(true)
    })
  })

  describe('a POST', () => {
    const post = (
      target: string,
      o: { leaf?: TestLeaf | undefined; body?: string; headers?: string[]; method?: string } = {},
    ): Promise<RawReply> =>
      door.say(
        requestText(target, { method: o.method ?? 'POST', body: o.body ?? 'evil', headers: o.headers ?? [] }),
        'leaf' in o ? o.leaf : me,
      )
    test.each([
      'devices/victim/x',
      'devices/me2/x',
      'devices',
      'devices/me/../victim/x',
      'devices/me/%2e%2e/victim/x',
      'devices/me/.%2E/victim/x',
      'devices/me/..%2fvictim/x',
      'devices%2fvictim%2fx',
      'devices%2Fme%2Fx',
      'devices%252fvictim/x',
      'devices/me/%252e%252e',
      'devices/me%00/x',
      'devices/me/%00',
      'devices/me/%c0%af',
      'devices/me/%ed%a0%80',
      'devices/me/%0d%0a',
      'devices/me/%7f',
      'devices/me/#',
      'devices/me/%23',
      'devices/me/+',
      'devices/me/%2B',
      'devices//me/x',
      'devices\\me\\x',
      'devices%5cvictim',
      '$SYS/x',
      '%24SYS/x',
      '$share/g/devices/me/x',
      '%24sallyport/certificates/create-from-csr',
      '$sallyport/certificates/create-from-csr',
      '',
      '/devices/me/x',
      'Devices/me/x',
      'devices/%6d%65%2e%2e/x;/../../victim',
      'devices/me/x?topic=devices/victim/x',
      'devices/me/x?retain=true',
      'devices/me/x?qos=3',
      'devices/me/x?qos=1&qos=2',
      'devices/me/x?qos=%31&retain',
      'devices/me/x?qos=1;retain=true',
      `devices/me/${'a/'.repeat(40)}x`,
      `devices/me/${'a'.repeat(2_000)}`,
    ])('to %s is no message', async (topic: string) => {
      expect((await post(`/publish/${topic}`)).status).toBeOneOf([400, 403, 404, 414, 431])
      expect(await heard()).toEqual([])
    })
    test.each<[string, () => TestLeaf | undefined]>([
      ['nobody', () => undefined],
      ['a device of another CA', () => door.pki.device({ by: door.pki.other.devices, id: 'me' })],
      ['one that is not on record', () => door.pki.device({ id: 'me' })],
    ])('of %s is no message', async (_, who) => {
      expect((await post('/publish/devices/me/x', { leaf: who() })).status).toBe(403)
      expect(await heard()).toEqual([])
    })
    test('of one that is cut is no message, also when its body comes later', async () => {
      const leaf = await door.device('cut-post')
      using client = await openRaw({ port: door.port, leaf })
      client.send(
        'POST /publish/devices/cut-post/x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n',
      )
      await client.until(/ 100 Continue\r\n\r\n/)
      await door.setState('cut-post', 'revoked')
      client.send('evil')
      const answer = await client.closed()
      expect(answer).not.toMatch(/ 20[24] /)
      expect(await heard()).toEqual([])
    })
    test('holds no second message, in body or headers, and no word of ours', async () => {
      const packet = generate(say('devices/victim/x', { retain: true }))
      const body = packet.toString('latin1')
      const { status } = await post('/publish/devices/me/x', {
        body,
        headers: [
          'sallyport-device: victim',
          'X-Mqtt-Topic: devices/victim/x',
          'X-HTTP-Method-Override: PUT',
          'Content-Type: text/plain; sallyport-device=victim',
        ],
      })
      expect(status).toBe(204)
      const lines = await heard()
      expect(lines).toHaveLength(1)
      expect(lines[0]?.startsWith('devices/me/x ')).toBe(true)
    })
    test.each(['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'HEAD'])(
      'that is a %s is no message',
      async (method) => {
        expect((await post('/publish/devices/me/x', { method })).status).toBe(405)
        expect(await heard()).toEqual([])
      },
    )
    test('of a page elsewhere is no message', async () => {
      expect((await post('/publish/devices/me/x', { headers: ['Origin: https://evil.test'] })).status).toBe(
        403,
      )
      expect(await heard()).toEqual([])
    })
    test('is not denied to a device by another’s connection, and does not end it', async () => {
      const { client } = await enter(victim)
      expect((await post('/publish/devices/me/x', { leaf: me })).status).toBe(204)
      expect((await post('/publish/devices/victim/x', { leaf: victim })).status).toBe(204)
      await client.ping()
      expect(client.ended).toBe(false)
      expect(await heard()).toEqual(['devices/me/x evil', 'devices/victim/x evil'])
    })
    test('where a policy changes meanwhile is judged by what holds now', async () => {
      await putMqtt({ topics: [{ filter: 'devices/${device.id}/only', acts: ['publish'] }] })
      await expect.poll(async () => (await post('/publish/devices/me/x')).status).toBe(403)
      expect((await post('/publish/devices/me/only')).status).toBe(204)
      await putMqtt()
      await heard()
    })
    test('to a broker that hangs and is killed: no 204', async () => {
      broker.signal('SIGSTOP')
      const answer = post('/publish/devices/me/x')
      // it is on its way, or waits: the broker dies of it
      await new Promise((resolve) => setTimeout(resolve, 50))
      await broker.kill('SIGKILL')
      expect((await answer).status).toBeOneOf([502, 503, 504])
      expect((await post('/publish/devices/me/x')).status).toBeOneOf([502, 503])
    })
  })
})
