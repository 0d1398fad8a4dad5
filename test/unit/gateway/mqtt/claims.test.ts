/** Who comes to enrol over MQTT: whom the door lets in for it, and that such a connection touches nothing else, in both versions. */

import { generate, parser, type Packet } from 'mqtt-packet'
import { describe, expect, test, vi } from 'vitest'
import { MINUTE } from '#fleet/clock.ts'
import { GROUP_DEFAULTS, type BootstrapTrust, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { createClaims, type Claims } from '#gateway/mqtt/claims.ts'
import type { Connect } from '#gateway/mqtt/connect-packet.ts'
import { createFramer, type Refusal } from '#gateway/mqtt/frames.ts'
import { createLocalTopics, LOCAL_KINDS } from '#gateway/mqtt/local-topics.ts'
import { opensFromClient, type Level } from '#gateway/mqtt/packets.ts'
import type { Relayed } from '#gateway/mqtt/relay.ts'
import { REQUEST_TOPICS, replyTopics, RELAY_KINDS, type RelayRequest } from '#wire/relay.ts'
import { makeCrl } from '../../../support/crls.ts'
import { openFront } from '../../../support/mqtt-front.ts'
import { makeCa, makePki, type TestCa, type TestLeaf } from '../../../support/pki.ts'

const now = Date.UTC(2026, 10, 25)
const pki = makePki({ now })
const factory = makeCa({ name: 'Factory', now })
const line = makeCa({ name: 'Line 3', now, by: factory })

const group = (
  name: string,
  anchors: readonly TestCa[],
  o: Partial<EnrollmentGroup> = {},
  trust: Partial<BootstrapTrust> = {},
): EnrollmentGroup => ({
  ...GROUP_DEFAULTS,
  name,
  credentials: ['bootstrap'],
  bootstrap: {
    anchors: anchors.map(({ pem }) => pem).join(''),
    crls: undefined,
    allowNoEku: false,
    certificatesPerCredential: 1,
    ...trust,
  },
  ...o,
})
const groupsOf = (...groups: readonly EnrollmentGroup[]) => new Map(groups.map((each) => [each.name, each]))
const peerOf = (leaf: TestLeaf | undefined, above: readonly TestCa[] = [], o: Partial<Peer> = {}): Peer => ({
  leaf: leaf?.facts,
  sentChain: above.map(({ der }) => der),
  trusted: false,
  resumed: false,
  serverName: 'a.test',
  address: '192.0.2.7',
  ...o,
})
const claim = (by = factory, o = {}) => pki.device({ by, id: 'claim', names: [], ...o })

const nobody = (): Promise<Relayed> => Promise.reject(new Error('nobody was to be asked'))
const claimsOf = (groups: () => ReadonlyMap<string, EnrollmentGroup>, most?: number) =>
  createClaims({
    groups,
    ask: nobody,
    mayAsk: () => 0,
    relayed: () => {},
    clock: () => now,
    newId: () => 'claim/7',
    ...(most && { most }),
  })

describe('takes', () => {
  const factoryGroup = groupsOf(group('g', [factory]))
  test.each<[string, boolean, ReadonlyMap<string, EnrollmentGroup>, Peer]>([
    ['a certificate of an anchor', true, factoryGroup, peerOf(claim())],
    ['one below an intermediate that is sent', true, factoryGroup, peerOf(claim(line), [line])],
    ['one below an intermediate that is not', false, factoryGroup, peerOf(claim(line))],
    ['an intermediate as an anchor', true, groupsOf(group('g', [line])), peerOf(claim(line))],
    ['whatever OpenSSL says', true, factoryGroup, peerOf(claim(), [], { trusted: true })],
    [
      'one that two groups take alike: the request names one',
      true,
      groupsOf(group('a', [factory]), group('b', [factory])),
      peerOf(claim()),
    ],
    [
      'no EKU, where the group allows that',
      true,
      groupsOf(group('g', [factory], {}, { allowNoEku: true })),
      peerOf(claim(factory, { shape: 'noEku' })),
    ],
    ['no EKU', false, factoryGroup, peerOf(claim(factory, { shape: 'noEku' }))],
    ['a server', false, factoryGroup, peerOf(claim(factory, { shape: 'serverAuthOnly' }))],
    ['expired', false, factoryGroup, peerOf(claim(factory, { shape: 'expired' }))],
    ['a CA', false, factoryGroup, peerOf(claim(factory, { shape: 'caTrue' }))],
    ['a gateway', false, factoryGroup, peerOf(claim(factory, { names: ['urn:sallyport:gateway:x'] }))],
    ['no certificate', false, factoryGroup, peerOf(undefined)],
    ['a resumed handshake', false, factoryGroup, peerOf(claim(), [], { resumed: true })],
    ['another CA of the same name', false, factoryGroup, peerOf(claim(makeCa({ name: 'Factory', now })))],
    ['a device of ours', false, factoryGroup, peerOf(pki.device(), [pki.devices])],
    ['a group that is disabled', false, groupsOf(group('g', [factory], { enabled: false })), peerOf(claim())],
    [
      'a group that takes tokens only',
      false,
      groupsOf(group('g', [factory], { credentials: ['token'] })),
      peerOf(claim()),
    ],
    ['no group', false, groupsOf(), peerOf(claim())],
  ])('%s: %s', (_, expected, groups, peer) => {
    expect(claimsOf(() => groups).takes(peer)).toBe(expected)
  })

  test('not one that a CRL of the group revokes, nor any when the CRL is missing', () => {
    const leaf = claim()
    const withCrl = (...revoked: string[]) =>
      groupsOf(group('g', [factory], {}, { crls: makeCrl({ by: factory, now, revoked }).pem }))
    expect(claimsOf(() => withCrl()).takes(peerOf(leaf))).toBe(true)
    expect(claimsOf(() => withCrl(leaf.facts.serial)).takes(peerOf(leaf))).toBe(false)
    const other = groupsOf(group('g', [factory], {}, { crls: makeCrl({ by: line, now }).pem }))
    expect(claimsOf(() => other).takes(peerOf(leaf))).toBe(false)
  })

  test('of several that are equally near one that would take it', () => {
    const leaf = claim()
    const crls = makeCrl({ by: factory, now, revoked: [leaf.facts.serial] }).pem
    const revoked = (name: string) => group(name, [factory], {}, { crls })
    const disabled = group('d', [factory], { enabled: false })
    expect(claimsOf(() => groupsOf(revoked('a'), revoked('b'))).takes(peerOf(leaf))).toBe(false)
    expect(claimsOf(() => groupsOf(revoked('a'), disabled)).takes(peerOf(leaf))).toBe(false)
    expect(claimsOf(() => groupsOf(disabled, revoked('a'), group('c', [factory]))).takes(peerOf(leaf))).toBe(
      true,
    )
  })

  test('nobody while the registry cannot be read', () => {
    const broken = claimsOf(() => {
      throw new FleetError('registry_unavailable', 'x')
    })
    expect(broken.takes(peerOf(claim()))).toBe(false)
  })
})

const connectOf = (level: Level, o: Partial<Connect> = {}): Connect => ({
  level,
  clientId: 'whatever',
  clean: true,
  keepalive: 30,
  will: undefined,
  ...(level === 5
    ? {
        v5: {
          sessionExpiry: 100,
          receiveMaximum: 10,
          maximumPacketSize: undefined,
          requestProblemInformation: true,
          properties: [],
        },
      }
    : {}),
  ...o,
})

const accepted = (body: object): Relayed => ({ accepted: true, body: Buffer.from(JSON.stringify(body)) })

/** A connection, from after its CONNACK. */
const connection = (
  level: Level,
  o: {
    connect?: Partial<Connect>
    answer?: (asked: RelayRequest) => Promise<Relayed>
    mayAsk?: (peer: Peer) => number
  } = {},
) => {
  const asked: RelayRequest[] = []
  const heard: Packet[] = []
  const reader = parser({ protocolVersion: level })
  reader.on('packet', (packet) => void heard.push(packet))
  let goodbye = false
  let expired = false
  let clock = now
  const claims = createClaims({
    groups: () => groupsOf(),
    ask: (request) => {
      asked.push(request)
      return o.answer?.(request) ?? Promise.resolve(accepted({ kind: request.kind }))
    },
    mayAsk: o.mayAsk ?? (() => 0),
    relayed: () => {},
    clock: () => clock,
    newId: () => 'claim/7',
  })
  const leaf = claim()
  const opening = claims.open({
    connect: connectOf(level, o.connect),
    peer: peerOf(leaf, [line]),
    client: {
      answer: (bytes) => {
        reader.parse(Buffer.from(bytes))
        return true
      },
      goodbye: () => {
        goodbye = true
      },
      broke: () => {},
      expire: () => {
        expired = true
      },
    },
  })
  if (opening.kind === 'refused') throw new Error(opening.reason)
  reader.parse(opening.connack)
  const out: unknown[] = []
  const framer = createFramer({
    limit: opening.frameLimit,
    opens: opensFromClient[level],
    decide: opening.decide,
    out: (run) => void out.push(run),
  })
  return {
    claims,
    opening,
    asked,
    heard,
    leaf,
    out,
    later: (ms: number) => (clock += ms),
    left: () => goodbye,
    expired: () => expired,
    send: (...packets: readonly Packet[]): Refusal | undefined =>
      framer.push(Buffer.concat(packets.map((each) => generate(each, { protocolVersion: level })))),
    next: async (): Promise<Packet | undefined> => {
      for (let turn = 0; heard.length === 0 && turn < 20; turn += 1) await Promise.resolve()
      return heard.shift()
    },
  }
}

const subscribe = (...topics: readonly string[]): Packet => ({
  cmd: 'subscribe',
  messageId: 7,
  subscriptions: topics.map((topic) => ({ topic, qos: 1 as const })),
})
const publish = (topic: string, o: object = {}): Packet => ({
  cmd: 'publish',
  topic,
  payload: Buffer.alloc(0),
  qos: 0,
  dup: false,
  retain: false,
  ...o,
})
const ALL_REPLIES = RELAY_KINDS.flatMap((kind) => Object.values(replyTopics(kind)))
const LEVELS = [4, 5] as const

describe.each(LEVELS)('a connection of level %s', (level) => {
  test('is told what there is', () => {
    const { heard, opening } = connection(level, { connect: { clientId: '' } })
    expect(heard[0]).toMatchObject({ cmd: 'connack', sessionPresent: false })
    expect(opening).toMatchObject({ keepalive: 30, lifetime: 5 * MINUTE })
    if (level === 5)
      expect(heard[0]).toMatchObject({
        reasonCode: 0,
        properties: {
          assignedClientIdentifier: 'claim/7',
          sessionExpiryInterval: 0,
          retainAvailable: false,
          wildcardSubscriptionAvailable: false,
          sharedSubscriptionAvailable: false,
        },
      })
  })

  test.each([
    [60, 60, 60],
    [0, 0, 120],
    [3_600, 3_600, 120],
  ])('keep-alive %d', (asked, three, five) => {
    const { opening, heard } = connection(level, { connect: { keepalive: asked } })
    const expected = level === 5 ? five : three
    expect(opening).toMatchObject({ keepalive: expected })
    const [connack] = heard
    if (level === 5 && connack?.cmd === 'connack')
      expect(connack.properties?.serverKeepAlive).toBe(expected === asked ? undefined : expected)
  })

  test('subscribes to the six replies, and to nothing else', async () => {
    const it = connection(level)
    await it.next()
    expect(it.send(subscribe(...ALL_REPLIES))).toBeUndefined()
    expect(await it.next()).toMatchObject({ cmd: 'suback', messageId: 7, granted: [0, 0, 0, 0, 0, 0] })
    const no = level === 5 ? 0x87 : 0x80
    const others = [
      '#',
      '+/#',
      '$sallyport/#',
      '$sallyport/certificates/+',
      '$SYS/#',
      'devices/claim/a',
      `$share/g/${ALL_REPLIES[0]}`,
      REQUEST_TOPICS.nonce,
    ]
    it.send(subscribe(...others, ALL_REPLIES[0] as string))
    expect(await it.next()).toMatchObject({ granted: [...others.map(() => no), 0] })
    it.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: [ALL_REPLIES[0] as string, '#'] })
    expect(await it.next()).toMatchObject({
      cmd: 'unsuback',
      messageId: 9,
      ...(level === 5 ? { granted: [0, 0x11] } : {}),
    })
    expect(it.out).toEqual([])
  })

  test.each(RELAY_KINDS)(
    'asks for %s, once it listens, and is answered with what was sent along',
    async (kind) => {
      const it = connection(level)
      await it.next()
      const payload = kind === 'nonce' ? Buffer.alloc(0) : Buffer.from('{"csr":"x"}')
      const request = publish(REQUEST_TOPICS[kind], {
        payload,
        qos: 1,
        messageId: 3,
        ...(level === 5 ? { properties: { correlationData: Buffer.from('c-7') } } : {}),
      })
      it.send(request)
      expect(await it.next()).toMatchObject({ cmd: 'puback', messageId: 3 })
      // nobody would hear it
      expect(it.asked).toEqual([])
      it.send(subscribe(replyTopics(kind).accepted))
      await it.next()
      it.send(request)
      expect(await it.next()).toMatchObject({ cmd: 'puback' })
      const answer = await it.next()
      expect(answer).toMatchObject({
        cmd: 'publish',
        topic: replyTopics(kind).accepted,
        qos: 0,
        retain: false,
      })
      if (answer?.cmd === 'publish') {
        expect(JSON.parse(String(answer.payload))).toEqual({ kind })
        if (level === 5) expect(String(answer.properties?.correlationData)).toBe('c-7')
      }
      expect(it.asked).toEqual([
        {
          kind,
          certificate: it.leaf.certPem + line.pem,
          address: '192.0.2.7',
          ...(kind === 'nonce' ? { for: 'create' } : { request: { csr: 'x' } }),
        },
      ])
    },
  )

  test.each([
    ['another topic', publish('devices/claim/x', { qos: 1, messageId: 3 })],
    ['a reply', publish(replyTopics('nonce').accepted, { qos: 1, messageId: 3 })],
    ['another topic of ours', publish('$sallyport/other', { qos: 1, messageId: 3 })],
    ['$SYS', publish('$SYS/x', { qos: 1, messageId: 3 })],
    ['something to be kept', publish(REQUEST_TOPICS.nonce, { qos: 1, messageId: 3, retain: true })],
  ])('publishes nothing else: %s', async (_, packet) => {
    const it = connection(level)
    await it.next()
    const refusal = it.send(packet)
    if (level === 5) expect(await it.next()).toMatchObject({ cmd: 'puback', reasonCode: 0x87 })
    else expect(refusal).toMatchObject({ reason: 'topic_denied' })
    expect(connection(level).send({ ...packet, qos: 0 } as Packet)).toMatchObject({ reason: 'topic_denied' })
    expect(it.asked).toEqual([])
    expect(it.out).toEqual([])
  })

  test('QoS 2 is gone through', async () => {
    const it = connection(level)
    await it.next()
    it.send(publish(REQUEST_TOPICS.nonce, { qos: 2, messageId: 5 }), { cmd: 'pubrel', messageId: 5 })
    expect([await it.next(), await it.next()]).toMatchObject([
      { cmd: 'pubrec' },
      { cmd: 'pubcomp', messageId: 5 },
    ])
  })

  test('one request at a time, and some in a minute', async () => {
    const waits = Promise.withResolvers<Relayed>()
    const it = connection(level, { answer: () => waits.promise })
    await it.next()
    it.send(subscribe(...ALL_REPLIES))
    await it.next()
    it.send(publish(REQUEST_TOPICS.nonce), publish(REQUEST_TOPICS.nonce))
    const refused = (packet: Packet | undefined): unknown =>
      packet?.cmd === 'publish' ? [packet.topic, JSON.parse(String(packet.payload))] : packet
    const tooMany = [
      replyTopics('nonce').rejected,
      expect.objectContaining({ reason: 'rate_limited', status: 429 }),
    ]
    expect(refused(await it.next())).toEqual(tooMany)
    waits.resolve(accepted({}))
    expect(await it.next()).toMatchObject({ topic: replyTopics('nonce').accepted })
    for (let at = 1; at < 20; at += 1) {
      it.send(publish(REQUEST_TOPICS.nonce))
      expect(await it.next()).toMatchObject({ topic: replyTopics('nonce').accepted })
    }
    it.send(publish(REQUEST_TOPICS.nonce))
    expect(refused(await it.next())).toEqual(tooMany)
    it.later(MINUTE)
    it.send(publish(REQUEST_TOPICS.nonce))
    expect(await it.next()).toMatchObject({ topic: replyTopics('nonce').accepted })
    for (let at = 0; at < 150; at += 1) if (it.send({ cmd: 'pingreq' }) !== undefined) return
    expect.unreachable()
  })

  test.each([
    ['a nonce with a payload', REQUEST_TOPICS.nonce, Buffer.from('{}'), 'bad_request'],
    ['no JSON', REQUEST_TOPICS.create, Buffer.from('{'), 'bad_request'],
    ['no UTF-8', REQUEST_TOPICS.create, Buffer.from([0x22, 0xff, 0x22]), 'bad_request'],
    ['a list', REQUEST_TOPICS.create, Buffer.from('[]'), 'bad_request'],
    ['nothing', REQUEST_TOPICS.renew, Buffer.alloc(0), 'bad_request'],
    ['null', REQUEST_TOPICS.renew, Buffer.from('null'), 'bad_request'],
    ['more than 64 KiB', REQUEST_TOPICS.create, Buffer.alloc(65_537, 0x20), 'body_too_large'],
  ])('what is no request is answered here: %s', async (_, topic, payload, reason) => {
    const it = connection(level)
    await it.next()
    it.send(subscribe(...ALL_REPLIES))
    await it.next()
    it.send(publish(topic, { payload }))
    const answer = await it.next()
    expect(answer).toMatchObject({ cmd: 'publish', topic: `${topic}/rejected` })
    if (answer?.cmd === 'publish') expect(JSON.parse(String(answer.payload))).toMatchObject({ reason })
    expect(it.asked).toEqual([])
  })

  test('and not beyond the share of the process, which says when again', async () => {
    const peers: (string | undefined)[] = []
    const it = connection(level, {
      mayAsk: ({ leaf }) => {
        peers.push(leaf?.fingerprint)
        return 1_500
      },
    })
    await it.next()
    it.send(subscribe(...ALL_REPLIES))
    await it.next()
    it.send(publish(REQUEST_TOPICS.nonce))
    const answer = await it.next()
    expect(answer).toMatchObject({ topic: replyTopics('nonce').rejected })
    if (answer?.cmd === 'publish')
      expect(JSON.parse(String(answer.payload))).toMatchObject({ reason: 'rate_limited', retry_after: 2 })
    expect([it.asked, peers]).toEqual([[], [it.leaf.facts.fingerprint]])
  })

  test('ends when it has asked nothing for half a minute, and waits for no answer', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const idle = connection(level)
      idle.send(
        subscribe(...ALL_REPLIES),
        { cmd: 'pingreq' },
        publish(REQUEST_TOPICS.create, { payload: '' }),
      )
      vi.advanceTimersByTime(29_999)
      expect(idle.expired()).toBe(false)
      vi.advanceTimersByTime(1)
      expect(idle.expired()).toBe(true)

      const waits = Promise.withResolvers<Relayed>()
      const busy = connection(level, { answer: () => waits.promise })
      busy.send(subscribe(...ALL_REPLIES), publish(REQUEST_TOPICS.nonce))
      vi.advanceTimersByTime(MINUTE)
      waits.resolve(accepted({}))
      await Promise.all([waits.promise, busy.next()])
      await Promise.resolve()
      vi.advanceTimersByTime(29_999)
      expect(busy.expired()).toBe(false)
      vi.advanceTimersByTime(1)
      expect(busy.expired()).toBe(true)

      const left = connection(level)
      if (left.opening.kind === 'open') left.opening.closed()
      vi.advanceTimersByTime(MINUTE)
      expect(left.expired()).toBe(false)
    } finally {
      vi.useRealTimers()
    }
  })

  test('leaves in order; what is answered later goes nowhere', async () => {
    const waits = Promise.withResolvers<Relayed>()
    const it = connection(level, { answer: () => waits.promise })
    await it.next()
    it.send(subscribe(...ALL_REPLIES))
    await it.next()
    it.send(publish(REQUEST_TOPICS.nonce), { cmd: 'disconnect' })
    expect(it.left()).toBe(true)
    expect(it.claims.size()).toBe(1)
    if (it.opening.kind === 'open') it.opening.closed()
    expect(it.claims.size()).toBe(0)
    waits.resolve(accepted({}))
    expect(await it.next()).toBeUndefined()
  })

  test.each<[string, Buffer]>([
    ['PUBACK', Buffer.of(0x40, 2, 0, 1)],
    ['a second CONNECT', Buffer.of(0x10, 0)],
    ['PINGREQ with something in it', Buffer.of(0xc0, 1, 0)],
    ['SUBSCRIBE without filters', Buffer.of(0x82, 2, 0, 1)],
  ])('%s ends it', (_, bytes) => {
    const it = connection(level)
    if (it.opening.kind !== 'open') throw new Error('refused')
    const framer = createFramer({
      limit: 1_000,
      opens: opensFromClient[level],
      decide: it.opening.decide,
      out: () => {},
    })
    expect(framer.push(bytes)).toMatchObject({ reason: 'bad_request' })
  })
})

test('MQTT 5: neither an alias nor a subscription identifier', () => {
  const alias = publish('', { properties: { topicAlias: 1 } })
  expect(connection(5).send(alias)).toMatchObject({ reason: 'bad_request' })
  const identified = {
    ...subscribe(ALL_REPLIES[0] as string),
    properties: { subscriptionIdentifier: 1 },
  } as Packet
  expect(connection(5).send(identified)).toMatchObject({ reason: 'bad_request' })
})

/** How many claims of one address are let in. */
const shareOf = (claims: ReturnType<typeof claimsOf>): number => {
  const client = { answer: () => true, goodbye: () => {}, broke: () => {}, expire: () => {} }
  const peer = peerOf(claim())
  let opened = 0
  while (claims.open({ connect: connectOf(4), peer, client }).kind === 'open') opened += 1
  return opened
}

describe('is not opened', () => {
  const will = { topic: 'a', payload: Buffer.alloc(0), qos: 0, retain: false } as const
  test.each<[string, Level, Partial<Connect>, string]>([
    ['with a will', 4, { will }, 'topic_denied'],
    ['with a will', 5, { will }, 'topic_denied'],
    ['with an empty ClientID and a session', 4, { clientId: '', clean: false }, 'client_id_mismatch'],
    ['with an empty ClientID', 3, { clientId: '' }, 'client_id_mismatch'],
  ])('%s (level %d)', (_, level, connect, reason) => {
    const client = { answer: () => true, goodbye: () => {}, broke: () => {}, expire: () => {} }
    const opening = claimsOf(() => groupsOf()).open({
      connect: connectOf(level, connect),
      peer: peerOf(claim()),
      client,
    })
    expect(opening).toMatchObject({ kind: 'refused', reason })
  })

  test('when there are too many', () => {
    const claims = claimsOf(() => groupsOf(), 2)
    expect(shareOf(claimsOf(() => groupsOf()))).toBe(32)
    const client = { answer: () => true, goodbye: () => {}, broke: () => {}, expire: () => {} }
    const open = (address = '192.0.2.7') =>
      claims.open({ connect: connectOf(4), peer: peerOf(claim(), [], { address }), client })
    const first = open()
    expect(first.kind).toBe('open')
    // of one address
    expect(open()).toMatchObject({ kind: 'refused', reason: 'quota_exceeded' })
    expect(open('2001:db8::1').kind).toBe('open')
    expect(open('2001:db8::2')).toMatchObject({ reason: 'quota_exceeded' })
    expect(open('192.0.2.8')).toMatchObject({ reason: 'quota_exceeded' })
    if (first.kind === 'open') first.closed()
    expect(open().kind).toBe('open')
  })
})

test('a device renews, and creates nothing, nor has a nonce for it', async () => {
  const asked: string[] = []
  const local = createLocalTopics({
    peer: peerOf(pki.device()),
    level: 4,
    answer: () => {},
    broke: () => {},
    allowed: LOCAL_KINDS.device,
    mayAsk: () => 0,
    ask: ({ kind, for: proves }) => {
      asked.push(proves === undefined ? kind : `for ${proves}`)
      return Promise.resolve(accepted({}))
    },
    relayed: () => {},
    clock: () => now,
  })
  for (const topic of ALL_REPLIES) expect(local.grants(topic)).toBe(true)
  const say = (kind: 'nonce' | 'create' | 'renew') =>
    local.publish(REQUEST_TOPICS[kind], Buffer.from(kind === 'nonce' ? '' : '{}'), { correlation: undefined })
  expect([say('create'), say('renew')]).toEqual(['topic_denied', undefined])
  expect(asked).toEqual(['renew'])
  await vi.waitFor(() => {
    say('nonce')
    expect(asked).toEqual(['renew', 'for renew'])
  })
  expect(local.publish('$sallyport/x', Buffer.alloc(0), { correlation: undefined })).toBe('topic_denied')
  expect([local.forget(replyTopics('renew').accepted), local.forget('x')]).toEqual([true, false])
})

test('one that is sent away is told that it has had its time', async () => {
  let expire = (): void => {}
  const real = claimsOf(() => groupsOf())
  const claims: Claims = {
    takes: () => true,
    open: (o) => {
      expire = () => o.client.expire()
      return real.open(o)
    },
  }
  await using front = await openFront({ claims })
  front.admission.denied.set('claim', 'certificate_untrusted')
  const client = front.dial('claim', { version: 5 })
  expect(await client.connect({ protocolVersion: 5, clientId: 'x' })).toBe(0)
  expire()
  expect(await client.until('disconnect')).toMatchObject({ reasonCode: 0xa0 })
  await client.closed()
  expect(real.size()).toBe(0)
})

test.each([0, 1])(
  'what throws once a request is answered (%i: the log, the client) is told, and ends nobody else',
  async (at) => {
    const fail = (which: number) => () => {
      if (which === at) throw new Error('boom')
    }
    const broken = Promise.withResolvers<unknown>()
    const local = createLocalTopics({
      peer: peerOf(pki.device()),
      level: 4,
      relayed: fail(0),
      answer: fail(1),
      broke: broken.resolve,
      allowed: LOCAL_KINDS.device,
      mayAsk: () => 0,
      ask: () => Promise.resolve(accepted({})),
      clock: () => now,
    })
    for (const topic of ALL_REPLIES) local.grants(topic)
    expect(local.publish(REQUEST_TOPICS.nonce, Buffer.alloc(0), { correlation: undefined })).toBeUndefined()
    expect(await broken.promise).toMatchObject({ message: 'boom' })
  },
)
