import type { TLSSocket } from 'node:tls'
import { generate } from 'mqtt-packet'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { closed } from '../support/closed.ts'
import { connectPacket } from '../support/mqtt-client.ts'
import { openMqttHarness, type MqttHarness } from '../support/mqtt-door.ts'
import { makePki, type TestLeaf } from '../support/pki.ts'

let door: MqttHarness
let lamp: TestLeaf
let other: TestLeaf
beforeAll(async () => {
  door = await openMqttHarness()
  lamp = await door.device('lamp-1')
  other = await door.device('lamp-2')
})
afterAll(() => door[Symbol.asyncDispose]())

const reasons = (): unknown[] =>
  door.coreLog.filter(({ msg }) => msg === 'refused').map(({ reason }) => reason)
const lastReason = (): unknown => reasons().at(-1)

describe('a good device', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('gets in over %s, and was seen', async (version) => {
    const client = await door.dial(lamp, { minVersion: version, maxVersion: version })
    expect(await client.connect()).toBe(0)
    expect(await client.ping()).toEqual([])
    expect(door.sightings.at(-1)).toBe(lamp.facts.fingerprint)
    client[Symbol.dispose]()
  })

  test.each<[string, string[] | undefined, string | false]>([
    ['no ALPN', undefined, false],
    ['mqtt', ['mqtt'], 'mqtt'],
    ['mqtt among others', ['h2', 'mqtt'], 'mqtt'],
  ])('with %s', async (_, protocols, chosen) => {
    const client = await door.dial(lamp, protocols === undefined ? {} : { ALPNProtocols: protocols })
    expect((client.stream as TLSSocket).alpnProtocol).toBe(chosen)
    expect(await client.connect()).toBe(0)
  })

  test('with only another protocol has no handshake', async () => {
    await expect(door.dial(lamp, { ALPNProtocols: ['http/1.1'] })).rejects.toThrow(/no.application.protocol/i)
  })

  test('and mqtt.js: every QoS, both ways, retained, over one connection', async () => {
    const client = await door.mqttjs(lamp)
    const heard: string[] = []
    client.on('message', (topic, payload, { retain, qos }) =>
      heard.push(`${topic} ${String(payload)} ${qos}${retain ? ' retained' : ''}`),
    )
    await client.publishAsync('devices/lamp-1/state', 'on', { qos: 2, retain: true })
    expect(
      await client.subscribeAsync({ 'devices/lamp-1/#': { qos: 2 }, 'fleet/broadcast/#': { qos: 0 } }),
    ).toMatchObject([{ qos: 2 }, { qos: 0 }])
    for (const qos of [0, 1, 2] as const) await client.publishAsync(`devices/lamp-1/q${qos}`, 'x', { qos })
    await expect
      .poll(() => heard.toSorted())
      .toEqual([
        'devices/lamp-1/q0 x 0',
        'devices/lamp-1/q1 x 1',
        'devices/lamp-1/q2 x 2',
        'devices/lamp-1/state on 2 retained',
      ])
    await client.publishAsync('devices/lamp-1/state', '', { retain: true, qos: 1 })
    await client.endAsync()
  })

  test('and mqtt.js is told which of its subscriptions it may not have', async () => {
    const client = await door.mqttjs(lamp)
    const filters = ['devices/lamp-1/#', '#', 'devices/+/x', '$SYS/#']
    const granted = await client.subscribeAsync(filters).catch((error: unknown) => error)
    // mqtt.js counts one refused filter as an error
    expect(granted).toBeInstanceOf(Error)
    expect(await client.subscribeAsync('fleet/broadcast/#')).toMatchObject([{ qos: 0 }])
    await client.endAsync()
  })
})

describe('refused by CONNACK', () => {
  const elsewhere = makePki({ now: Date.now() })
  test.each<[string, () => TestLeaf | undefined, string | null, string, number, string]>([
    ['no certificate', () => undefined, 'a.test', 'lamp-1', 5, 'certificate_required'],
    [
      "another CA's, with a real device's names",
      () => door.pki.device({ by: door.pki.other.devices, id: 'lamp-1' }),
      'a.test',
      'lamp-1',
      5,
      'certificate_untrusted',
    ],
    [
      'nobody knows the CA',
      () => elsewhere.device({ id: 'lamp-1' }),
      'a.test',
      'lamp-1',
      5,
      'certificate_untrusted',
    ],
    [
      'expired',
      () => door.pki.device({ id: 'lamp-1', shape: 'expired' }),
      'a.test',
      'lamp-1',
      5,
      'certificate_expired',
    ],
    [
      'a certificate for servers',
      () => door.pki.device({ id: 'lamp-1', shape: 'serverAuthOnly' }),
      'a.test',
      'lamp-1',
      5,
      'certificate_wrong_purpose',
    ],
    [
      'ours, and not on record',
      () => door.pki.device({ id: 'lamp-1' }),
      'a.test',
      'lamp-1',
      5,
      'certificate_unknown',
    ],
    ["another device's ClientID", () => lamp, 'a.test', 'lamp-2', 2, 'client_id_mismatch'],
    ['a host without an application', () => lamp, 'b.test', 'lamp-1', 5, 'certificate_untrusted'],
    ['a host that does not exist', () => lamp, 'c.test', 'lamp-1', 5, 'no_application'],
  ])('%s', async (_, leaf, serverName, clientId, code, reason) => {
    const client = await door.dial(leaf(), { serverName })
    expect(await client.connect({ clientId })).toBe(code)
    await client.closed()
    expect(lastReason()).toBe(reason)
  })

  test('MQTT 5, in its own words', async () => {
    const client = await door.dial(lamp)
    let bytes = ''
    client.stream.on('data', (chunk: Buffer) => (bytes += chunk.toString('hex')))
    client.send(Buffer.from('101300044d5154540502003c0000066c616d702d31', 'hex'))
    await client.closed()
    expect(bytes).toBe('2003008400')
  })
})

describe('the server name', () => {
  test.each([
    ['in capitals', 'A.TEST'],
    ['none: the default', null],
  ])('%s', async (_, serverName) => {
    const client = await door.dial(lamp, { serverName })
    expect(await client.connect()).toBe(0)
    client[Symbol.dispose]()
    // and the default is held against its own anchors, not against everybody's
    const stranger = await door.dial(door.pki.device({ by: door.pki.other.devices, id: 'lamp-1' }), {
      serverName,
    })
    expect(await stranger.connect()).toBe(5)
    expect(lastReason()).toBe('certificate_untrusted')
  })

  test('none, and no default: refused', async () => {
    await using strict = await openMqttHarness({}, { default_hostname: undefined })
    const leaf = await strict.device('lamp-1')
    const client = await strict.dial(leaf, { serverName: null })
    expect(await client.connect()).toBe(5)
    expect(await (await strict.dial(leaf)).connect()).toBe(0)
  })
})

describe('no session comes back', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('over %s', async (version) => {
    const tls = { minVersion: version, maxVersion: version }
    const first = await door.dial(lamp, tls)
    const sessions: Buffer[] = []
    const socket = first.stream as TLSSocket
    socket.on('session', (session: Buffer) => sessions.push(session))
    expect(await first.connect()).toBe(0)
    await first.ping()
    const session = sessions.at(-1) ?? socket.getSession()
    first[Symbol.dispose]()
    const again = await door.dial(lamp, { ...tls, ...(session === undefined ? {} : { session }) })
    expect((again.stream as TLSSocket).isSessionReused()).toBe(false)
    expect(await again.connect()).toBe(0)
    again[Symbol.dispose]()
    // nor does it come back without a certificate
    const naked = await door.dial(undefined, { ...tls, ...(session === undefined ? {} : { session }) })
    expect(await naked.connect()).toBe(5)
    expect(lastReason()).toBe('certificate_required')
  })
})

describe('what must not get through', () => {
  test.each([
    ['a foreign topic', 'devices/lamp-2/x'],
    ['a broadcast', 'fleet/broadcast/x'],
    ['$SYS', '$SYS/broker/x'],
  ])('PUBLISH to %s closes the connection, and nobody hears it', async (_, topic) => {
    const hears = await door.enter(other)
    hears.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [
        { topic: 'devices/lamp-2/#', qos: 0 },
        { topic: 'fleet/broadcast/#', qos: 0 },
      ],
    })
    await hears.until('suback')
    const client = await door.enter(lamp)
    client.send({ cmd: 'publish', topic, payload: 'x', qos: 1, messageId: 1, dup: false, retain: false })
    expect(await client.closed()).toEqual([])
    expect(lastReason()).toBe('topic_denied')
    expect(await hears.ping()).toEqual([])
    hears[Symbol.dispose]()
  })

  test('a will on a foreign topic', async () => {
    const client = await door.dial(lamp)
    const will = { topic: 'devices/lamp-2/x', payload: 'x', qos: 0, retain: false } as const
    expect(await client.connect({ will })).toBe(5)
    expect(lastReason()).toBe('topic_denied')
  })

  test('SUBSCRIBE to what is not its own', async () => {
    const client = await door.enter(lamp)
    const filters = ['#', 'devices/+/x', 'devices/lamp-1/x', '$SYS/#', '$share/g/devices/lamp-1/x', '+/+/+']
    client.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: filters.map((topic) => ({ topic, qos: 1 as const })),
    })
    expect(await client.until('suback')).toMatchObject({ granted: [128, 128, 1, 128, 128, 128] })
    client[Symbol.dispose]()
  })

  test.each([
    ['before CONNECT', false],
    ['after it', true],
  ])('a packet of 100 MB, announced %s', async (_, greeted) => {
    const client = greeted ? await door.enter(lamp) : await door.dial(lamp)
    const before = process.memoryUsage().rss
    client.send(Buffer.from(greeted ? '30ffffff2f' : '10ffffff2f', 'hex'))
    await client.closed()
    expect(process.memoryUsage().rss - before).toBeLessThan(20e6)
  })

  test('a SUBSCRIBE and a CONNECT that say too much for one record are still read', async () => {
    const client = await door.dial(lamp)
    const bytes = generate(
      connectPacket({
        will: { topic: 'devices/lamp-1/w', payload: Buffer.alloc(3_000), qos: 0, retain: false },
      }),
    )
    for (let at = 0; at < bytes.length; at += 100) client.stream.write(bytes.subarray(at, at + 100))
    expect(await client.until('connack')).toMatchObject({ returnCode: 0 })
  })
})

describe('revocation', () => {
  test('cuts within 100 ms of the registry, keeps the will in, and ends the session', async () => {
    const leaf = await door.device('lamp-3')
    await door.putApplication({
      mqtt: {
        topics: [
          { filter: 'devices/${device.id}/#', acts: ['publish', 'subscribe', 'receive'] },
          { filter: 'devices/+/will', acts: ['subscribe', 'receive'] },
        ],
      },
    })
    const hears = await door.enter(other)
    await expect
      .poll(async () => {
        hears.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'devices/+/will', qos: 0 }] })
        return (await hears.until('suback')).granted
      })
      .toEqual([0])
    const will = { topic: 'devices/lamp-3/will', payload: 'gone', qos: 0, retain: false } as const
    const client = await door.enter(leaf, { clean: false, will })
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'devices/lamp-3/#', qos: 1 }] })
    await client.until('suback')
    await door.setState('lamp-3', 'suspended')
    const began = performance.now()
    await client.closed()
    expect(performance.now() - began).toBeLessThan(100)
    expect(lastReason()).toBe('device_suspended')
    expect(await hears.ping()).toEqual([])
    expect(await (await door.dial(leaf)).connect({ clientId: 'lamp-3' })).toBe(5)
    await door.setState('lamp-3', 'active')
    const back = await door.dial(leaf)
    back.send(connectPacket({ clientId: 'lamp-3', clean: false, will }))
    expect(await back.until('connack')).toMatchObject({ returnCode: 0, sessionPresent: false })
    // while a network that only breaks lets it out
    back[Symbol.dispose]()
    expect(String((await hears.until('publish')).payload)).toBe('gone')
    await door.putApplication({})
  })

  test('of a topic alone ends what is delivered there, and no more than that', async () => {
    const client = await door.enter(lamp)
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'devices/lamp-1/#', qos: 0 }] })
    await client.until('suback')
    const say = (topic: string): void =>
      client.send({ cmd: 'publish', topic, payload: topic, qos: 0, dup: false, retain: false })
    await door.putApplication({
      mqtt: {
        topics: [
          { filter: 'devices/${device.id}/#', acts: ['publish', 'subscribe'] },
          { filter: 'devices/${device.id}/open', acts: ['receive'] },
        ],
      },
    })
    await expect
      .poll(async () => {
        say('devices/lamp-1/closed')
        return client.ping()
      })
      .toEqual([])
    say('devices/lamp-1/open')
    expect(String((await client.until('publish')).payload)).toBe('devices/lamp-1/open')
    await door.putApplication({})
    client[Symbol.dispose]()
  })
})

describe('a session whose device is away while its certificate runs out', () => {
  test.concurrent.each([
    ['renewed meanwhile: there', 'lamp-8', false],
    ['revoked meanwhile, and enrolled anew: gone', 'lamp-9', true],
  ])('%s', async (_, id, revoked) => {
    const old = await door.device(id, { notAfter: Date.now() + 2_000 })
    const client = await door.enter(old, { clean: false })
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: `devices/${id}/#`, qos: 1 }] })
    await client.until('suback')
    client.send({ cmd: 'disconnect' })
    await client.closed()
    await expect.poll(() => Date.now(), { timeout: 5_000 }).toBeGreaterThan(old.facts.notAfter)
    if (revoked) await door.setState(id, 'revoked')
    const renewed = await door.device(id)
    const back = await door.dial(renewed)
    back.send(connectPacket({ clientId: id, clean: false }))
    expect(await back.until('connack')).toMatchObject({ returnCode: 0, sessionPresent: !revoked })
    back[Symbol.dispose]()
  })
})

test('a session whose device renews twice while it is away, so that the certificate which held it is superseded', async () => {
  const old = await door.device('lamp-10')
  const client = await door.enter(old, { clean: false })
  client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'devices/lamp-10/#', qos: 1 }] })
  await client.until('suback')
  client.send({ cmd: 'disconnect' })
  await client.closed()
  await door.device('lamp-10')
  const newest = await door.device('lamp-10')
  // and everybody has heard of it
  await expect
    .poll(async () => {
      const late = await door.dial(old)
      await late.connect({ clientId: 'lamp-10' })
      await late.closed()
      return lastReason()
    })
    .toBe('certificate_revoked')
  const back = await door.dial(newest)
  back.send(connectPacket({ clientId: 'lamp-10', clean: false }))
  expect(await back.until('connack')).toMatchObject({ returnCode: 0, sessionPresent: true })
  back[Symbol.dispose]()
})

test('takeover, over two connections', async () => {
  const first = await door.enter(lamp)
  const second = await door.enter(lamp)
  expect(await first.closed()).toEqual([])
  expect(await second.ping()).toEqual([])
  second[Symbol.dispose]()
})

describe('sockets', () => {
  test('that never begin TLS, or never end it, are closed', async () => {
    await using own = await openMqttHarness({ SALLYPORT_LIMITS_HANDSHAKE_TIMEOUT: '300ms' })
    const began = performance.now()
    const [silent, dripping] = [await own.tcp(), await own.tcp()]
    // a record that would take thirteen seconds: no byte of it gives it more time
    const hello = Buffer.concat([Buffer.from('16030100ff', 'hex'), Buffer.alloc(255, 1)])
    let at = 0
    const drip = setInterval(() => dripping.write(hello.subarray(at, ++at)), 50)
    await Promise.all([closed(silent), closed(dripping)])
    clearInterval(drip)
    expect(performance.now() - began).toBeLessThan(2_000)
  })

  test('that speak no TLS are closed', async () => {
    const socket = await door.tcp()
    socket.write('GET / HTTP/1.1\r\n\r\n')
    await closed(socket)
    expect(await (await door.enter(lamp)).ping()).toEqual([])
  })

  test('that finish TLS and say nothing are closed', async () => {
    await using own = await openMqttHarness({ SALLYPORT_MQTT_CONNECT_TIMEOUT: '200ms' })
    const client = await own.dial(undefined)
    expect(await client.closed()).toEqual([])
  })

  test('of one address that come too fast are closed before their handshake', async () => {
    await using own = await openMqttHarness({ SALLYPORT_MQTT_CONNECTIONS_PER_ADDRESS: '3' })
    const leaf = await own.device('lamp-1')
    const client = await own.enter(leaf)
    await Promise.all([own.tcp(), own.tcp()])
    await expect(own.dial(leaf)).rejects.toThrow()
    expect(await client.ping()).toEqual([])
    expect(await own.metrics()).toMatch(/connections_refused_total\{door="mqtt",desk="gateway"\} 1/)
  })

  test('that are half closed are closed', async () => {
    const silent = await door.dial(undefined)
    const admitted = await door.enter(lamp)
    for (const client of [silent, admitted]) {
      client.stream.end()
      expect(await client.closed()).toEqual([])
    }
  })

  test('of strangers make room when there is none, the longest first, and never those of devices', async () => {
    await using own = await openMqttHarness({ SALLYPORT_LIMITS_MAX_CONNECTIONS: '3' })
    const [one, two] = [await own.device('lamp-1'), await own.device('lamp-2')]
    const device = await own.enter(one)
    // one that has said nothing, and one that is through TLS and was not let in
    const silent = await own.tcp()
    const shaken = await own.dial(undefined)
    const gone = closed(silent)
    const another = await own.enter(two)
    await gone
    expect(await own.metrics()).toContain(
      'sallyport_mqtt_ended_total{reason="max_connections",desk="gateway"} 1',
    )
    // a crowd of them only pushes out itself
    const crowd = await Promise.all(Array.from({ length: 20 }, () => own.tcp()))
    await shaken.closed()
    for (const socket of crowd.slice(0, 10)) await closed(socket)
    expect(await device.ping()).toEqual([])
    expect(await another.ping()).toEqual([])
  })

  test('of devices alone fill the door: the next one is not let in, until one has gone', async () => {
    await using own = await openMqttHarness({ SALLYPORT_LIMITS_MAX_CONNECTIONS: '2' })
    const leaves = [
      await own.device('lamp-1'),
      await own.device('lamp-2'),
      await own.device('lamp-3'),
    ] as const
    const device = await own.enter(leaves[0])
    await own.enter(leaves[1])
    await closed(await own.tcp())
    device[Symbol.dispose]()
    await expect
      .poll(async () => (await own.dial(leaves[2]).catch(() => undefined))?.connect({ clientId: 'lamp-3' }))
      .toBe(0)
  })

  test('all of them, when the door closes: in order, and soon', async () => {
    await using own = await openMqttHarness()
    const leaf = await own.device('lamp-1')
    const client = await own.enter(leaf)
    const raw = await own.tcp()
    const began = performance.now()
    await Promise.all([own.close(), client.closed(), closed(raw)])
    expect(performance.now() - began).toBeLessThan(4_000)
    await expect(own.dial(leaf)).rejects.toThrow('ECONNREFUSED')
  })
})

test('the server certificate and anchors are taken anew without dropping anyone', async () => {
  const client = await door.enter(lamp)
  await door.putAnchor({ hostnames: ['a.test', 'c.test'] })
  expect(await client.ping()).toEqual([])
  await expect
    .poll(async () => {
      const stranger = await door.dial(lamp, { serverName: 'c.test' })
      return [await stranger.connect(), lastReason()]
    })
    .toEqual([5, 'no_application'])
  expect(await client.ping()).toEqual([])
  client[Symbol.dispose]()
})

test('a report-only policy is told of at CONNECT, and of connections that stand already, once for each wording', async () => {
  // connections of other tests may stand as well
  const ids = ['lamp-20', 'lamp-21']
  const [first, second] = [await door.device('lamp-20'), await door.device('lamp-21')]
  const reports = (): unknown[] =>
    door.coreLog
      .filter(({ would_deny: policy, identity }) => policy === 'draft' && ids.includes(identity as string))
      .map(({ msg, identity, act }) => [msg, identity, act])
  const draft = { name: 'draft', decision: 'deny', include: [{ everyone: {} }], reportOnly: true } as const
  const client = await door.enter(first)
  // a deny is asked after Service Auth, and not before it
  await door.putPolicy({ decision: 'allow' })
  await door.putPolicy(draft)
  await door.putApplication({ policies: ['draft', 'valid'] })
  await expect.poll(reports).toEqual([['stays', 'lamp-20', 'connect']])
  const later = await door.enter(second)
  expect(reports().slice(1)).toEqual([['admitted', 'lamp-21', 'connect']])
  await door.putPolicy({ ...draft, exclude: [{ common_name: { common_name: 'lamp-21' } }] })
  await expect.poll(() => reports().slice(2)).toEqual([['stays', 'lamp-20', 'connect']])
  // and in force it does what it said
  await door.putPolicy({
    ...draft,
    exclude: [{ common_name: { common_name: 'lamp-21' } }],
    reportOnly: false,
  })
  await client.closed()
  expect(door.coreLog).toContainEqual(
    expect.objectContaining({ msg: 'refused', reason: 'policy_denied', identity: 'lamp-20' }),
  )
  expect(await later.ping()).toEqual([])
  await door.putApplication({})
  await door.putPolicy({})
  later[Symbol.dispose]()
})

test('what is counted', async () => {
  const client = await door.enter(lamp)
  await client.ping()
  const lines = door.coreLog.filter(({ door: of, msg }) => of === 'mqtt' && msg === 'admitted')
  expect(lines.at(-1)).toMatchObject({
    identity: 'lamp-1',
    act: 'connect',
    host: 'a.test',
    application: 'example',
  })
  await expect
    .poll(() => door.metrics(), { timeout: 3_000 })
    .toMatch(/packets_total\{direction="up",type="pingreq",desk="gateway"\} [1-9]/)
  expect(await door.metrics()).toMatch(/sallyport_mqtt_connections\{desk="gateway"\} [1-9]/)
})
