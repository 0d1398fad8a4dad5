import type { IConnectPacket, IPublishPacket, Packet } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Denial } from '#fleet/denial.ts'
import type { Cut } from '#registry/registry.ts'
import { connectPacket, type MqttClient } from '../../../support/mqtt-client.ts'
import { openFront, type Front } from '../../../support/mqtt-front.ts'
import { scriptedUpstream } from '../../../support/scripted-upstream.ts'

let front: Front
beforeEach(async () => {
  front = await openFront()
})
afterEach(() => front[Symbol.asyncDispose]())

const publish = (topic: string, over: Partial<IPublishPacket> = {}): IPublishPacket => ({
  cmd: 'publish',
  topic,
  payload: 'x',
  qos: 0,
  dup: false,
  retain: false,
  ...over,
})
const subscribe = (messageId: number, ...filters: (string | [string, 0 | 1 | 2])[]): Packet => ({
  cmd: 'subscribe',
  messageId,
  subscriptions: filters.map((filter) =>
    typeof filter === 'string' ? { topic: filter, qos: 1 } : { topic: filter[0], qos: filter[1] },
  ),
})
const text = (packet: Packet | undefined): string =>
  packet?.cmd === 'publish' ? String(packet.payload) : `not a message: ${packet?.cmd}`
const granted = async (
  client: MqttClient,
  ...filters: (string | [string, 0 | 1 | 2])[]
): Promise<unknown> => {
  client.send(subscribe(1, ...filters))
  return (await client.until('suback')).granted
}
/** every byte that comes, until the end */
const bytesOf = async (client: MqttClient): Promise<string> => {
  let all = ''
  client.stream.on('data', (chunk: Buffer) => (all += chunk.toString('hex')))
  await client.closed()
  return all
}
/** an observer that may hear everything: wills, what got through */
const witness = async (...filters: string[]): Promise<MqttClient> => {
  const client = await front.enter('witness')
  await granted(client, ...filters)
  return client
}
const everyoneHears = (): void => {
  front.admission.rules = [
    { filter: 'devices/${device.id}/#', acts: ['publish', 'subscribe', 'receive'] },
    { filter: 'fleet/#', acts: ['publish', 'subscribe', 'receive'] },
    { filter: 'devices/#', acts: ['subscribe', 'receive'] },
  ]
}

describe('CONNECT', () => {
  const will = (topic: string): NonNullable<IConnectPacket['will']> => ({
    topic,
    payload: 'gone',
    qos: 1,
    retain: false,
  })
  const answers: [string, string | undefined, Partial<IConnectPacket>, number | undefined, Denial?][] = [
    ['a good one', 'lamp-1', {}, 0],
    ['MQTT 3.1', 'lamp-1', { protocolId: 'MQIsdp', protocolVersion: 3 }, 0],
    ['a username and password of its own', 'lamp-1', { username: 'root', password: Buffer.from('x') }, 0],
    ['no certificate', undefined, {}, 5, 'certificate_required'],
    ['another ClientID', 'lamp-1', { clientId: 'lamp-2' }, 2, 'client_id_mismatch'],
    ['another case of the ClientID', 'lamp-1', { clientId: 'LAMP-1' }, 2, 'client_id_mismatch'],
    ['an empty ClientID', 'lamp-1', { clientId: '' }, 0],
    [
      'an empty ClientID that keeps its session',
      'lamp-1',
      { clientId: '', clean: false },
      2,
      'client_id_mismatch',
    ],
    ['an empty ClientID without a certificate', undefined, { clientId: '' }, 5, 'certificate_required'],
    ['a will of its own', 'lamp-1', { will: will('devices/lamp-1/gone') }, 0],
    ['a will on a foreign topic', 'lamp-1', { will: will('devices/lamp-2/gone') }, 5, 'topic_denied'],
    ['a will on $SYS', 'lamp-1', { will: will('$SYS/gone') }, 5, 'topic_denied'],
    ['a will on a filter', 'lamp-1', { will: will('devices/lamp-1/#') }, undefined],
  ]
  test.each(answers)('%s', async (_, id, packet, code, reason) => {
    const client = front.dial(id)
    // mqtt-packet will not write an empty ClientID of a session that stays
    if (packet.clientId === '' && packet.clean === false)
      client.send(Buffer.from('100c00044d5154540400000000', 'hex').fill(0, 12), Buffer.from([0]))
    else client.send(connectPacket(packet))
    const answer = await client.until('connack').catch(() => undefined)
    expect(answer?.returnCode).toBe(code)
    if (code === 0) expect(await client.ping()).toEqual([])
    else await client.closed()
    const last = front.admission.recorded.at(-1)?.decision
    expect(last?.allow === false ? last.reason : undefined).toBe(reason)
    expect(front.sightings).toEqual(code === 0 ? ['of lamp-1'] : [])
  })

  test.each<[Denial, number]>([
    ['certificate_revoked', 5],
    ['device_suspended', 5],
    ['policy_denied', 5],
    ['no_application', 5],
    ['session_resumed', 5],
    ['registry_unavailable', 3],
    ['rate_limited', 3],
  ])('refused for %s', async (reason, code) => {
    front.admission.denied.set('lamp-1', reason)
    const client = front.dial('lamp-1')
    expect(await client.connect()).toBe(code)
    await client.closed()
    expect(front.open).toBe(0)
    expect(await front.metrics()).toContain(`sallyport_mqtt_ended_total{reason="${reason}",desk="gateway"} 1`)
  })

  test('for a host that nobody named', async () => {
    const client = front.dial('lamp-1', { host: undefined })
    expect(await client.connect()).toBe(5)
    expect(front.admission.recorded).toMatchObject([{ decision: { allow: false, reason: 'host_mismatch' } }])
    expect(front.admission.asked).toEqual([])
  })

  test.each([
    ['MQTT 5', '101000044d5154540502003c00000364657631', '2003008400'],
    ['MQTT 5, and what follows is no MQTT 5', '100900044d51545405ffffff', '2003008400'],
    ['a level yet to come', '100f00044d5154540602003c000364657631', '20020001'],
    ['a bridge of mosquitto', '100f00044d5154548402003c000364657631', '20020001'],
    ['another protocol', '100f00044854545004020000000364657631', ''],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: a.test\r\n\r\n').toString('hex'), ''],
    ['a PUBLISH', '300500036465762e', ''],
    ['a CONNACK', '20020000', ''],
    ['reserved flags in the header', '110f00044d5154540402000000036465763a', ''],
    ['a packet of 100 MB', '10ffffff2f00044d515454', ''],
    ['a packet of 4097 bytes', '10fe1f00044d515454', ''],
    ['a length of five digits', '10ffffffff7f', ''],
    ['a length not in its shortest form', '108f8000', ''],
  ])('%s', async (_, hex, answer) => {
    const client = front.dial('lamp-1')
    const bytes = bytesOf(client)
    client.send(Buffer.from(hex, 'hex'))
    expect(await bytes).toBe(answer)
    expect(front.admission.asked).toEqual([])
  })

  test('twice is an error', async () => {
    const client = await front.enter('lamp-1')
    client.send(connectPacket())
    expect(await client.closed()).toEqual([])
  })

  test('what comes with it waits for its answer, however much it is', async () => {
    const client = front.dial('lamp-1')
    const ids = Array.from({ length: 200 }, (_, at) => at + 1)
    client.send(
      connectPacket(),
      ...ids.map((messageId) => publish('devices/lamp-1/x', { qos: 1, messageId })),
    )
    expect(await client.next()).toMatchObject({ cmd: 'connack', returnCode: 0 })
    for (const messageId of ids) expect(await client.next()).toMatchObject({ cmd: 'puback', messageId })
  })

  test('a byte at a time is the same, and so is everything after it', async () => {
    const client = front.dial('lamp-1')
    const { generate } = await import('mqtt-packet')
    const all = Buffer.concat(
      [
        connectPacket({ will: will('devices/lamp-1/will') }),
        subscribe(1, 'devices/lamp-1/#', 'devices/lamp-2/#'),
        publish('devices/lamp-1/a', { qos: 1, messageId: 2, payload: 'y'.repeat(200) }),
        publish('devices/lamp-1/b', { qos: 2, messageId: 3 }),
        { cmd: 'unsubscribe', messageId: 4, unsubscriptions: ['devices/lamp-1/#'] } as Packet,
        { cmd: 'pingreq' } as Packet,
      ].map((packet) => generate(packet)),
    )
    for (const byte of all) client.stream.write(Buffer.of(byte))
    const heard: Packet[] = []
    while (heard.at(-1)?.cmd !== 'pingresp') heard.push(await client.next())
    expect(heard.map(({ cmd }) => cmd).toSorted()).toEqual(
      ['connack', 'suback', 'puback', 'publish', 'pubrec', 'publish', 'unsuback', 'pingresp'].toSorted(),
    )
    expect(heard.find(({ cmd }) => cmd === 'suback')).toMatchObject({ granted: [1, 128] })
  })
})

describe('PUBLISH', () => {
  test.each([
    'devices/lamp-2/x',
    'devices',
    'fleet/broadcast/x',
    '$SYS/x',
    '/',
    'devices/lamp-1'.concat('0/x'),
  ])('to %s ends the connection, and what came before it stands', async (topic) => {
    const other = await front.enter('lamp-2')
    await granted(other, 'devices/lamp-2/#', 'fleet/broadcast/#')
    const client = await front.enter('lamp-1')
    await granted(client, 'devices/lamp-1/#')
    client.send(publish('devices/lamp-1/before'), publish(topic), publish('devices/lamp-1/after'))
    await client.closed()
    expect(await other.ping()).toEqual([])
    expect(front.admission.recorded.at(-1)).toMatchObject({
      ask: { act: 'publish', topic },
      decision: { allow: false, reason: 'topic_denied' },
    })
  })

  test.each([
    ['a wildcard', '30060003612f2b78'],
    ['NUL in the topic', '3006000361006278'],
    ['an overlong slash', '30060002c0af7878'],
    ['half of a surrogate pair', '30060003eda08078'],
    ['an empty topic', '3003000078'],
    ['a topic beyond its end', '3003ffff78'],
    ['QoS 3', '360700036465760001'],
    ['packet id 0', '320700036465760000'],
    ['no packet id', '32050003646576'],
    ['DUP at QoS 0', '38050003646576'],
    ['a SUBACK', '9003000100'],
    ['an UNSUBACK', 'b0020001'],
    ['a PINGRESP', 'd000'],
    ['type 0', '0000'],
    ['AUTH', 'f000'],
    ['SUBSCRIBE without its flags', '8006000100016100'],
    ['SUBSCRIBE without filters', '82020001'],
    ['SUBSCRIBE with QoS 3', '82060001000161'.concat('03')],
    ['SUBSCRIBE with packet id 0', '8206000000016100'],
    ['SUBSCRIBE of bytes left over', '820700010001610000'],
    ['UNSUBSCRIBE without filters', 'a2020001'],
    ['UNSUBSCRIBE of no filter', 'a2060001000261'.concat('23')],
    ['PUBREL without its flags', '60020001'],
    ['PUBACK with packet id 0', '40020000'],
    ['PUBACK too long', '4003000100'],
    ['PINGREQ with a body', 'c00100'],
    ['DISCONNECT with a body', 'e00100'],
    ['300 KiB', '30ffff12'],
    ['100 MB', '30ffffff2f'],
  ])('malformed, %s: closed at once, and nobody is harmed', async (_, hex) => {
    const witness = await front.enter('witness')
    const client = await front.enter('lamp-1')
    client.send(Buffer.from(hex, 'hex'))
    expect(await client.closed()).toEqual([])
    expect(await witness.ping()).toEqual([])
  })

  test.each([0, 1, 2] as const)('at QoS %i arrives once at every QoS not above it', async (qos) => {
    const client = await front.enter('lamp-1')
    const topic = 'devices/lamp-1/x'
    for (const wanted of [0, 1, 2] as const) {
      expect(await granted(client, [topic, wanted])).toEqual([wanted])
      client.send(publish(topic, { qos, ...(qos === 0 ? {} : { messageId: 7 }) }))
      const heard: Packet[] = []
      const over = qos === 0 ? 'publish' : qos === 1 ? 'puback' : 'pubcomp'
      while (![over, 'publish'].every((cmd) => heard.some((packet) => packet.cmd === cmd))) {
        const packet = await client.next()
        heard.push(packet)
        if (packet.cmd === 'pubrec') client.send({ cmd: 'pubrel', messageId: 7 })
      }
      const message = heard.find(({ cmd }) => cmd === 'publish') as IPublishPacket
      expect(message.qos).toBe(Math.min(qos, wanted))
      if (message.qos === 1) client.send({ cmd: 'puback', messageId: message.messageId as number })
      if (message.qos === 2) {
        client.send({ cmd: 'pubrec', messageId: message.messageId as number })
        await client.until('pubrel')
        client.send({ cmd: 'pubcomp', messageId: message.messageId as number })
      }
      expect((await client.ping()).filter(({ cmd }) => cmd === 'publish')).toEqual([])
    }
  })
})

describe('SUBSCRIBE', () => {
  test.each<[string, string[], number[]]>([
    ['its own', ['devices/lamp-1/#', 'fleet/broadcast/#'], [1, 1]],
    ['everything', ['#'], [128]],
    ['every device', ['devices/+/x'], [128]],
    ['another device', ['devices/lamp-2/#'], [128]],
    ['the broker itself', ['$SYS/#', '$SYS/broker/uptime', '+/#'], [128, 128, 128]],
    ['a mixture, in order', ['devices/lamp-1/a', '#', 'devices/lamp-1/b', '+'], [1, 128, 1, 128]],
    ['the same twice', ['devices/lamp-1/a', 'devices/lamp-1/a'], [1, 1]],
    ['shared', ['$share/g/devices/lamp-1/a', '$share/g/#', '$share//x', '$share/g'], [128, 128, 128, 128]],
    ['not filters', ['devices/lamp-1/#/x', 'devices/lamp-1/a+'], [128, 128]],
    ['too deep', [`devices/lamp-1/${'x/'.repeat(40)}x`], [128]],
  ])('%s', async (_, filters, codes) => {
    const client = await front.enter('lamp-1')
    client.send(subscribe(9, ...filters))
    expect(await client.next()).toMatchObject({ cmd: 'suback', messageId: 9, granted: codes })
    expect(await client.ping()).toEqual([])
  })

  test('the last QoS said of a filter stands', async () => {
    const client = await front.enter('lamp-1')
    expect(await granted(client, ['devices/lamp-1/a', 2], ['#', 1], ['devices/lamp-1/a', 0])).toEqual([
      0, 128, 0,
    ])
  })

  test('no more than a hundred filters, in one packet or in many', async () => {
    const client = await front.enter('lamp-1')
    const many = Array.from({ length: 101 }, (_, at) => `devices/lamp-1/${at}`)
    expect(await granted(client, ...many)).toEqual([...Array<number>(100).fill(1), 128])
    expect(await granted(client, 'devices/lamp-1/one-more')).toEqual([128])
    expect(await granted(client, 'devices/lamp-1/0')).toEqual([1])
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['devices/lamp-1/0'] })
    await client.until('unsuback')
    expect(await granted(client, 'devices/lamp-1/one-more')).toEqual([1])
  })

  test('an UNSUBSCRIBE and a SUBSCRIBE in one breath leave it subscribed', async () => {
    const client = await front.enter('lamp-1')
    await granted(client, 'devices/lamp-1/a')
    client.send(
      { cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['devices/lamp-1/a'] },
      subscribe(3, 'devices/lamp-1/a'),
      publish('devices/lamp-1/a', { payload: 'heard' }),
    )
    expect(await client.next()).toMatchObject({ cmd: 'unsuback', messageId: 2 })
    // a message may overtake the SUBACK [MQTT-3.8.4-3]
    const heard = [await client.next(), await client.next()]
    expect(heard.find(({ cmd }) => cmd === 'suback')).toMatchObject({ messageId: 3, granted: [1] })
    expect(text(heard.find(({ cmd }) => cmd === 'publish'))).toBe('heard')
  })

  test('overlapping filters deliver once, at the highest QoS', async () => {
    const client = await front.enter('lamp-1')
    await granted(client, ['devices/lamp-1/#', 0], ['devices/lamp-1/+', 2], ['devices/lamp-1/+/#', 1])
    client.send(publish('devices/lamp-1/x', { qos: 2, messageId: 5 }))
    const heard = [await client.next(), await client.next()]
    expect(heard.filter(({ cmd }) => cmd === 'publish')).toMatchObject([{ qos: 2 }])
    expect((await client.ping()).filter(({ cmd }) => cmd === 'publish')).toEqual([])
  })
})

describe('a delivery', () => {
  test('that is no longer allowed is dropped, and acknowledged for the client', async () => {
    everyoneHears()
    const client = await front.enter('lamp-1', { clean: false })
    await granted(client, ['fleet/news/#', 2])
    const speaker = await front.enter('speaker')
    front.admission.rules = [
      { filter: 'fleet/#', acts: ['publish', 'subscribe'] },
      { filter: 'fleet/news/ok', acts: ['receive'] },
    ]
    front.admission.changed()
    for (const qos of [0, 1, 2] as const) {
      const messageId = qos + 1
      speaker.send(publish('fleet/news/secret', { qos, ...(qos === 0 ? {} : { messageId }) }))
      if (qos === 1) await speaker.until('puback')
      if (qos === 2) {
        await speaker.until('pubrec')
        speaker.send({ cmd: 'pubrel', messageId })
        await speaker.until('pubcomp')
      }
    }
    speaker.send(publish('fleet/news/ok', { payload: 'fine' }))
    expect(text(await client.next())).toBe('fine')
    expect(front.admission.recorded.filter(({ ask }) => 'topic' in ask)).toMatchObject(
      Array(3).fill({
        ask: { act: 'receive', topic: 'fleet/news/secret' },
        decision: { reason: 'topic_denied' },
      }),
    )
    expect(await front.metrics()).toContain('sallyport_mqtt_dropped_total{why="denied",desk="gateway"} 3')
    // and nothing of it waits at the broker
    client.send({ cmd: 'disconnect' })
    await client.closed()
    everyoneHears()
    front.admission.changed()
    const again = await front.enter('lamp-1', { clean: false })
    expect(await again.ping()).toEqual([])
  })

  test('of a retained message that another follows at once is not lost', async () => {
    const client = await front.enter('lamp-1')
    await granted(client, ['devices/lamp-1/#', 0])
    for (let round = 0; round < 100; round++) {
      client.send(
        publish('devices/lamp-1/state', { retain: true, payload: `retained ${round}` }),
        publish('devices/lamp-1/x', { payload: `next ${round}` }),
      )
      const heard = [text(await client.next()), text(await client.next())]
      expect(heard.toSorted()).toEqual([`next ${round}`, `retained ${round}`])
    }
  })

  test('of a retained message comes with the subscription, and an empty one ends it', async () => {
    const client = await front.enter('lamp-1')
    client.send(publish('devices/lamp-1/state', { retain: true, payload: 'on', qos: 2, messageId: 1 }))
    await client.until('pubrec')
    await granted(client, 'devices/lamp-1/#')
    expect(await client.next()).toMatchObject({ cmd: 'publish', topic: 'devices/lamp-1/state', retain: true })
    client.send(publish('devices/lamp-1/state', { retain: true, payload: '' }))
    expect(text(await client.next())).toBe('')
    const again = await front.enter('lamp-1')
    await granted(again, 'devices/lamp-1/#')
    expect(await again.ping()).toEqual([])
  })
})

describe('a session that stays', () => {
  const away = async (): Promise<MqttClient> => {
    const client = await front.enter('lamp-1', { clean: false })
    await granted(client, ['fleet/q', 1])
    client.send({ cmd: 'disconnect' })
    await client.closed()
    const speaker = await front.enter('speaker')
    for (let at = 1; at <= 20; at++) {
      speaker.send(publish('fleet/q', { qos: 1, messageId: at, payload: `${at}` }))
      await speaker.until('puback')
    }
    return speaker
  }

  test('gets what was sent meanwhile, in order; what it does not acknowledge comes again with DUP', async () => {
    everyoneHears()
    await away()
    const back = front.dial('lamp-1')
    back.send(connectPacket({ clean: false }))
    expect(await back.next()).toMatchObject({ cmd: 'connack', sessionPresent: true })
    const first: Packet[] = []
    for (let at = 1; at <= 20; at++) first.push(await back.until('publish'))
    expect(first.map(text)).toEqual(Array.from({ length: 20 }, (_, at) => `${at + 1}`))
    for (const packet of first.slice(0, 15))
      back.send({ cmd: 'puback', messageId: packet.messageId as number })
    await back.ping()
    back[Symbol.dispose]()
    const once = await front.enter('lamp-1', { clean: false })
    const second: IPublishPacket[] = []
    for (let at = 16; at <= 20; at++) second.push(await once.until('publish'))
    expect(second.map((packet) => [text(packet), packet.dup])).toEqual(
      ['16', '17', '18', '19', '20'].map((payload) => [payload, true]),
    )
    for (const { messageId } of second) once.send({ cmd: 'puback', messageId: messageId as number })
    expect(await once.ping()).toEqual([])
  })

  test('is forgotten by a clean one', async () => {
    everyoneHears()
    await away()
    const clean = await front.enter('lamp-1')
    expect(await clean.ping()).toEqual([])
    clean.send({ cmd: 'disconnect' })
    await clean.closed()
    const back = front.dial('lamp-1')
    back.send(connectPacket({ clean: false }))
    expect(await back.next()).toMatchObject({ cmd: 'connack', sessionPresent: false })
  })

  test.each<Denial>(['device_suspended', 'certificate_revoked', 'issuer_revoked', 'device_retired'])(
    'ends when its device is cut for %s',
    async (reason) => {
      everyoneHears()
      await away()
      const back = await front.enter('lamp-1', { clean: false })
      await back.until('publish')
      front.admission.denied.set('lamp-1', reason)
      front.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as never }])
      await back.closed()
      front.admission.denied.clear()
      const after = front.dial('lamp-1')
      after.send(connectPacket({ clean: false }))
      expect(await after.next()).toMatchObject({ cmd: 'connack', returnCode: 0, sessionPresent: false })
      expect(await after.ping()).toEqual([])
    },
  )

  const present = async (): Promise<boolean | undefined> => {
    const client = front.dial('lamp-1')
    client.send(connectPacket({ clean: false }))
    const { sessionPresent } = await client.until('connack')
    client.send({ cmd: 'disconnect' })
    await client.closed()
    return sessionPresent
  }

  test('is there when the certificate of a connection was superseded, which cuts the connection and nothing else', async () => {
    everyoneHears()
    await away()
    const there = await front.enter('lamp-1', { clean: false })
    front.admission.denied.set('lamp-1', 'certificate_revoked')
    front.admission.standing.add('lamp-1')
    front.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as never }])
    await there.closed()
    front.admission.denied.clear()
    expect(await present()).toBe(true)
  })

  test.each<[Denial, boolean]>([
    ['device_suspended', false],
    ['certificate_revoked', false],
    ['certificate_expired', true],
    ['policy_denied', true],
    ['registry_unavailable', true],
  ])('is there after %s while it was away: %s', async (reason, stays) => {
    everyoneHears()
    await away()
    expect(await present()).toBe(true)
    front.admission.denied.set('lamp-1', reason)
    front.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as never }])
    front.admission.denied.clear()
    expect(await present()).toBe(stays)
  })

  test.each<[string, Pick<Cut, 'isCut' | 'seenAt'> | undefined, boolean]>([
    ['is there for a new certificate when the old one was superseded a moment ago', undefined, true],
    ['is not when the device was revoked, and enrolled anew', { isCut: false, seenAt: undefined }, false],
  ])('%s', async (_, cut, stays) => {
    everyoneHears()
    await away()
    front.admission.wasCut = (deviceId) => cut && { deviceId, at: Date.now(), ...cut }
    // the feed has not told yet: the old certificate is asked about when the new one comes
    const { judge } = front.admission
    let asked = 0
    front.admission.judge = (peer, ask) =>
      ask.door === 'mqtt' && ask.act === 'connect' && ++asked === 2
        ? { allow: false, reason: 'certificate_revoked' }
        : judge(peer, ask)
    expect(await present()).toBe(stays)
    expect(asked).toBe(2)
  })

  /** how many are judged when something about the device changes */
  const judgedAgain = (): number => {
    front.admission.asked.length = 0
    front.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as never }])
    return front.admission.asked.length
  }

  test('is not watched by a connection that another has taken over from', async () => {
    const first = await front.enter('lamp-1', { clean: false })
    const second = await front.enter('lamp-1', { clean: false })
    await first.closed()
    await vi.waitUntil(() => front.open === 1)
    expect(judgedAgain()).toBe(1)
    // nor is it while three come at once
    const more = [front.dial('lamp-1'), front.dial('lamp-1'), front.dial('lamp-1')] as const
    for (const client of more) client.send(connectPacket({ clean: false }))
    await more[2].until('connack')
    await Promise.all([second, more[0], more[1]].map((client) => client.closed()))
    await vi.waitUntil(() => front.open === 1)
    expect(judgedAgain()).toBe(1)
    more[2].send({ cmd: 'disconnect' })
    await vi.waitUntil(() => front.open === 0)
    expect(judgedAgain()).toBe(1)
  })

  test('is watched on by the certificate of before when a clean connection took over and came to nothing', async () => {
    const upstream = scriptedUpstream()
    await using own = await openFront({ makeUpstream: () => Promise.resolve(upstream) })
    const first = await own.enter('lamp-1', { clean: false })
    upstream.answer = () => undefined
    const second = own.dial('lamp-1')
    second.send(connectPacket({ clean: true }))
    await first.closed()
    second[Symbol.dispose]()
    await vi.waitUntil(() => own.open === 0)
    own.admission.asked.length = 0
    own.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as never }])
    expect(own.admission.asked).toHaveLength(1)
  })

  test('is not watched any more when it has gone', async () => {
    const watched = async (clean: boolean): Promise<number> => {
      const client = await front.enter('lamp-1', { clean })
      client.send({ cmd: 'disconnect' })
      await client.closed()
      await vi.waitUntil(() => front.open === 0)
      return judgedAgain()
    }
    expect(await watched(false)).toBe(1)
    expect(await watched(false)).toBe(1)
    expect(await watched(true)).toBe(0)
  })
})

describe('a message that is kept until it is acknowledged', () => {
  const hears = async (): Promise<MqttClient> => {
    everyoneHears()
    const client = await front.enter('lamp-1', { clean: false })
    await granted(client, ['fleet/q', 2])
    return client
  }
  const say = async (qos: 0 | 1 | 2): Promise<void> => {
    const speaker = await front.enter('speaker')
    speaker.send(publish('fleet/q', { qos, payload: 'kept', ...(qos === 0 ? {} : { messageId: 1 }) }))
    await speaker.ping()
  }

  test.each<[1 | 2, Denial, boolean]>([
    [1, 'registry_unavailable', true],
    [2, 'registry_unavailable', true],
    [1, 'policy_denied', true],
    [1, 'certificate_expired', true],
    [1, 'certificate_revoked', false],
  ])('at QoS %i, %s: the connection ends, and it comes again later: %s', async (qos, reason, again) => {
    const client = await hears()
    front.admission.denied.set('lamp-1', reason)
    front.admission.changed()
    await say(qos)
    expect((await client.closed()).filter(({ cmd }) => cmd === 'publish')).toEqual([])
    expect(await front.metrics()).toContain(`ended_total{reason="${reason}",desk="gateway"} 1`)
    front.admission.denied.clear()
    front.admission.changed()
    const back = front.dial('lamp-1')
    back.send(connectPacket({ clean: false }))
    expect(await back.until('connack')).toMatchObject({ sessionPresent: again })
    if (again) expect(text(await back.next())).toBe('kept')
    else expect(await back.ping()).toEqual([])
  })

  test('at QoS 0 nothing is kept: it is dropped, and the connection stays', async () => {
    const client = await hears()
    front.admission.denied.set('lamp-1', 'registry_unavailable')
    front.admission.changed()
    await say(0)
    front.admission.denied.clear()
    expect(await client.ping()).toEqual([])
  })
})

describe('what is delivered to one who is connected', () => {
  const table = [true, false].flatMap((clean) =>
    ([0, 1, 2] as const).flatMap((at) => ([0, 1, 2] as const).map((qos) => [clean, at, qos] as const)),
  )
  const deliver = async (
    door: Front,
    [clean, at, qos]: (typeof table)[number],
  ): Promise<Packet | undefined> => {
    door.admission.rules = [{ filter: '#', acts: ['publish', 'subscribe', 'receive'] }]
    const client = await door.enter('lamp-1', { clean })
    client.send(subscribe(1, ['fleet/q', at]))
    await client.until('suback')
    const speaker = await door.enter('speaker')
    speaker.send(publish('fleet/q', { qos, ...(qos === 0 ? {} : { messageId: 1 }) }))
    if (qos === 2) speaker.send({ cmd: 'pubrel', messageId: 1 })
    await speaker.ping()
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
    const heard = await client.ping()
    expect(heard.length).toBeLessThanOrEqual(1)
    return heard[0]
  }

  test.each(table)('clean %s, subscribed at QoS %i, published at %i: once', async (...row) => {
    expect(await deliver(front, row)).toMatchObject({ cmd: 'publish', qos: Math.min(row[1], row[2]) })
  })

  test.each(table)(
    'clean %s, subscribed at QoS %i, published at %i: also when there is no room to keep it',
    async (...row) => {
      await using own = await openFront({ memory: { queuedBytes: 10 } })
      expect(await deliver(own, row)).toMatchObject({ cmd: 'publish', qos: Math.min(row[1], row[2]) })
    },
  )
})

describe('an end', () => {
  const withWill = (id = 'lamp-1'): Promise<MqttClient> =>
    front.enter(id, { will: { topic: `devices/${id}/will`, payload: 'gone', qos: 1, retain: false } })

  test.each<[string, (client: MqttClient) => void, string[]]>([
    ['by a broken network', (client) => client[Symbol.dispose](), ['gone']],
    ['by a broken packet', (client) => client.send(Buffer.of(0)), ['gone']],
    ['by a forbidden topic', (client) => client.send(publish('devices/lamp-2/x')), ['gone']],
    ['in order', (client) => client.send({ cmd: 'disconnect' }), []],
    [
      'in order, and then broken',
      (client) => (client.send({ cmd: 'disconnect' }), client[Symbol.dispose]()),
      [],
    ],
  ])('%s', async (_, how, wills) => {
    everyoneHears()
    const hears = await witness('devices/#')
    const client = await withWill()
    how(client)
    await client.closed()
    if (wills.length > 0) expect(text(await hears.next())).toBe(wills[0])
    else {
      hears.send(publish('devices/witness/x', { payload: 'still here' }))
      expect(text(await hears.next())).toBe('still here')
    }
  })

  test('by revocation is at once, and silent', async () => {
    everyoneHears()
    const hears = await witness('devices/#')
    const client = await withWill()
    // a backlog of its own must not outlive it either
    client.send(publish('devices/lamp-1/last', { payload: 'last words' }))
    expect(text(await hears.next())).toBe('last words')
    front.admission.denied.set('lamp-1', 'certificate_revoked')
    const began = performance.now()
    front.live.recheck([{ kind: 'device', deviceId: 'lamp-1' as never }])
    await client.closed()
    expect(performance.now() - began).toBeLessThan(100)
    hears.send(publish('devices/witness/x', { payload: 'no will' }))
    expect(text(await hears.next())).toBe('no will')
    expect(front.admission.recorded.at(-1)).toMatchObject({
      ask: { act: 'connect' },
      decision: { allow: false, reason: 'certificate_revoked' },
    })
    expect(front.live.size()).toBe(1)
  })

  test('by a network that breaks before the revocation is noticed keeps the will in, too', async () => {
    everyoneHears()
    const hears = await witness('devices/#')
    const client = await withWill()
    front.admission.denied.set('lamp-1', 'certificate_revoked')
    client[Symbol.dispose]()
    await client.closed()
    await vi.waitUntil(() => front.open === 1)
    hears.send(publish('devices/witness/x', { payload: 'no will' }))
    expect(text(await hears.next())).toBe('no will')
  })

  test('while its broker has not answered yet', async () => {
    const client = front.dial('lamp-1')
    client.send(connectPacket({ clean: false }))
    await vi.waitUntil(() => front.live.size() === 1)
    front.admission.denied.set('lamp-1', 'device_suspended')
    front.live.recheck([{ kind: 'access' }])
    await client.closed()
    front.admission.denied.clear()
    expect(await (await front.enter('lamp-1')).ping()).toEqual([])
  })

  test('by silence, after one and a half keep-alives', async () => {
    const quiet = await front.enter('lamp-1', { keepalive: 1 })
    const alive = await front.enter('lamp-2', { keepalive: 1 })
    const began = performance.now()
    const beat = setInterval(() => alive.send({ cmd: 'pingreq' }), 300)
    await quiet.closed()
    clearInterval(beat)
    const took = performance.now() - began
    expect(took).toBeGreaterThan(1_400)
    expect(took).toBeLessThan(2_500)
    expect(alive.ended).toBe(false)
  })

  test('not by bytes that are no packet: they are no sign of life', async () => {
    const client = await front.enter('lamp-1', { keepalive: 1 })
    const drip = setInterval(() => client.stream.write(Buffer.of(0x30, 0x7f).subarray(0, 1)), 200)
    await client.closed()
    clearInterval(drip)
  })
})

describe('takeover', () => {
  test('the newest connection stays, the one before is closed and its will goes out', async () => {
    everyoneHears()
    const hears = await witness('devices/#')
    const first = await front.enter('lamp-1', {
      will: { topic: 'devices/lamp-1/will', payload: 'gone', qos: 0, retain: false },
    })
    const second = await front.enter('lamp-1')
    await first.closed()
    expect(text(await hears.next())).toBe('gone')
    expect(await second.ping()).toEqual([])
    await granted(second, 'devices/lamp-1/#')
    second.send(publish('devices/lamp-1/x', { payload: 'mine' }))
    expect(text(await second.next())).toBe('mine')
  })

  test('twenty at once leave exactly one, and it works', async () => {
    for (let round = 0; round < 5; round++) {
      const clients = Array.from({ length: 20 }, () => front.dial('lamp-1'))
      for (const client of clients) client.send(connectPacket())
      const last = clients.at(-1) as MqttClient
      expect(await last.until('connack')).toMatchObject({ returnCode: 0 })
      await Promise.all(clients.slice(0, -1).map((client) => client.closed()))
      expect(await granted(last, 'devices/lamp-1/#')).toEqual([1])
      last.send(publish('devices/lamp-1/x', { payload: `${round}` }))
      expect(text(await last.next())).toBe(`${round}`)
      expect(front.open).toBe(1)
    }
  })
})

describe('time', () => {
  test('a client that says nothing is closed, and one that says too little', async () => {
    await using own = await openFront({ mqtt: { connect_timeout: 50 } })
    const silent = own.dial('lamp-1')
    const slow = own.dial('lamp-1')
    slow.send(Buffer.from('100f00044d51', 'hex'))
    expect(await silent.closed()).toEqual([])
    expect(await slow.closed()).toEqual([])
    expect(await own.metrics()).toContain(
      'sallyport_mqtt_ended_total{reason="request_timeout",desk="gateway"} 2',
    )
  })

  test('a connection lives as long as it may', async () => {
    await using own = await openFront({ mqtt: { max_connection: 100 } })
    const client = await own.enter('lamp-1')
    await client.closed()
    expect(own.admission.recorded.at(-1)).toMatchObject({
      decision: { allow: false, reason: 'session_expired' },
    })
  })

  test('and not longer than its certificate', async () => {
    const client = front.dial('lamp-1', { notAfter: Date.now() + 100 })
    expect(await client.connect()).toBe(0)
    await client.closed()
  })

  /** what stands above the certificates that admission is asked about from now on ends then */
  const aboveEnds = (at: number): void => {
    const { judge } = front.admission
    front.admission.judge = (peer, ask) => {
      const decision = judge(peer, ask)
      return decision.allow ? { ...decision, notAfter: Math.min(decision.notAfter, at) } : decision
    }
  }

  test('and not longer than what stands above it', async () => {
    aboveEnds(Date.now() + 100)
    const client = await front.enter('lamp-1')
    await client.closed()
  })

  test('also when that has become less since it came', async () => {
    const client = await front.enter('lamp-1')
    aboveEnds(Date.now() + 100)
    front.live.recheck([{ kind: 'access' }])
    await client.closed()
  })

  test('nor shorter than what has become more, though nobody has told it', async () => {
    const { judge } = front.admission
    aboveEnds(Date.now() + 100)
    const client = await front.enter('lamp-1')
    front.admission.judge = judge
    front.admission.asked.length = 0
    await vi.waitUntil(() => front.admission.asked.length > 0)
    expect(await client.ping()).toEqual([])
  })
})

describe('one message for each handshake', () => {
  test.each([
    [0, []],
    [1, ['puback']],
    [2, ['pubrec', 'pubcomp']],
  ] as const)('QoS %i', async (qos, answers) => {
    await using own = await openFront({ mqtt: { handshake_per: 'message' } })
    own.admission.rules = [{ filter: '#', acts: ['publish', 'subscribe', 'receive'] }]
    const client = await own.enter('lamp-1', {
      clean: false,
      will: { topic: 'w', payload: 'w', qos: 0, retain: false },
    })
    client.send(subscribe(1, 'a'))
    expect(await client.next()).toMatchObject({ cmd: 'suback', granted: [128] })
    client.send(publish('a', { qos, ...(qos === 0 ? {} : { messageId: 3 }) }))
    if (qos === 2) {
      expect(await client.next()).toMatchObject({ cmd: 'pubrec' })
      client.send({ cmd: 'pubrel', messageId: 3 })
    }
    expect((await client.closed()).map(({ cmd }) => cmd)).toEqual(answers.slice(qos === 2 ? 1 : 0))
  })

  test('a second one closes it', async () => {
    await using own = await openFront({ mqtt: { handshake_per: 'message' } })
    const client = await own.enter('lamp-1')
    client.send(publish('devices/lamp-1/x', { qos: 1, messageId: 1 }), publish('devices/lamp-1/x'))
    await client.closed()
    expect(await own.metrics()).toContain(
      'sallyport_mqtt_ended_total{reason="session_expired",desk="gateway"} 1',
    )
  })
})

test('of clients that nobody knows, no more is logged than may be', async () => {
  let may = true
  await using own = await openFront({ anonymousLine: () => may })
  const lines = async (): Promise<number> => {
    const before = own.log.length
    const client = own.dial('lamp-1')
    client.send(Buffer.from('f000', 'hex'))
    await client.closed()
    return own.log.length - before
  }
  expect(await lines()).toBe(1)
  may = false
  expect(await lines()).toBe(0)
})

test('a door that drains lets clients go', async () => {
  const client = await front.enter('lamp-1')
  front.live.drain()
  expect(await client.closed()).toEqual([])
  await vi.waitUntil(() => front.open === 0)
})
