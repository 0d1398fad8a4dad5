import { createPublicKey, createHash, verify, X509Certificate } from 'node:crypto'
import { beforeAll, expect, test } from 'vitest'
import type { Packet } from 'mqtt-packet'
import { enrollByMqtt } from '#device-sim/client/enroll-mqtt.ts'
import type { Enrolled, Identity } from '#device-sim/client/identity.ts'
import { connack, createWorld, mqttServer, suback, type World } from '../../../support/faulty-servers.ts'

let world: World
let issued: Enrolled
let claim: Identity
beforeAll(async () => {
  world = await createWorld()
  issued = await world.device('pump-7')
  claim = await world.ca.issue({ commonName: 'claim' })
})

const NONCE = Buffer.concat([Buffer.from('sallyport-enroll'), Buffer.alloc(56, 7)]).toString('base64url')
const good = () => {
  const { serialNumber, validToDate } = new X509Certificate(issued.certificatePem)
  return {
    device_id: 'pump-7',
    certificate: issued.certificatePem,
    chain: '',
    serial: serialNumber.toLowerCase(),
    not_after: validToDate.toISOString(),
    renew_after: new Date().toISOString(),
  }
}

/** `undefined`: the connection ends instead of an answer; a string: as it is; `reject`: to that topic. */
type Answers = {
  readonly connack?: number
  readonly suback?: number
  readonly nonce?: unknown
  readonly create?: unknown
  readonly reject?: boolean
}

const door = async (answers: Answers) => {
  const heard: { topic: string; payload: string }[] = []
  const server = await mqttServer(world.tls, (packet: Packet, reply, socket) => {
    if (packet.cmd === 'connect') reply(connack(answers.connack ?? 0))
    if (packet.cmd === 'subscribe') reply(suback(packet.messageId, answers.suback ?? 0))
    if (packet.cmd === 'disconnect') socket.end()
    if (packet.cmd !== 'publish') return
    const { topic } = packet
    heard.push({ topic, payload: packet.payload.toString() })
    const isNonce = topic.endsWith('/nonce')
    const answer = isNonce ? ('nonce' in answers ? answers.nonce : { nonce: NONCE }) : answers.create
    if (answer === undefined) return void socket.destroy()
    const payload = typeof answer === 'string' ? answer : JSON.stringify(answer)
    const to = answers.reject && !isNonce ? 'rejected' : 'accepted'
    reply({ cmd: 'publish', topic: `${topic}/${to}`, payload, qos: 0, dup: false, retain: false })
  })
  return {
    heard,
    url: `mqtts://localhost:${server.port}`,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

const enrol = (url: string, o: object = {}) =>
  enrollByMqtt({ url, id: 'pump-7', claim, keyPem: issued.keyPem, rootPem: world.ca.rootPem, ...o })

test('a nonce, a request that the claim certificate signs, a certificate', async () => {
  await using it = await door({ create: good() })
  expect(await enrol(it.url, { group: 'pumps' })).toMatchObject({ deviceId: 'pump-7' })
  expect(it.heard.map(({ topic }) => topic)).toEqual([
    '$sallyport/certificates/nonce',
    '$sallyport/certificates/create-from-csr',
  ])
  expect(it.heard[0]?.payload).toBe('')
  const said = JSON.parse(it.heard[1]?.payload ?? '') as Record<string, string>
  expect(Object.keys(said)).toEqual(['csr', 'nonce', 'signature', 'group'])
  const csr = Buffer.from((said['csr'] ?? '').replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const octets = Buffer.concat([
    createHash('sha256').update(csr).digest(),
    Buffer.from(NONCE, 'base64url'),
    Buffer.from('pumps'),
  ])
  const key = createPublicKey(
    new X509Certificate(claim.certificatePem).publicKey.export({ type: 'spki', format: 'pem' }),
  )
  expect(verify('sha256', octets, key, Buffer.from(said['signature'] ?? '', 'base64'))).toBe(true)
})

const foreignNonce = Buffer.concat([Buffer.from('sallyport-renews'), Buffer.alloc(56)]).toString('base64url')

test.each<[string, Answers, object]>([
  ['not let in', { connack: 5 }, { code: 'forbidden' }],
  ['the door has no time', { connack: 3 }, { code: 'target_unreachable' }],
  ['not let to its answers', { suback: 0x80 }, { code: 'topic_denied' }],
  ['cut instead of a nonce', { nonce: undefined }, { code: 'target_unreachable' }],
  ['cut instead of an answer', {}, { code: 'target_unreachable' }],
  [
    'a nonce for something else is not signed',
    { nonce: { nonce: foreignNonce } },
    { code: 'expectation_broken' },
  ],
  ['a nonce of another length is not signed', { nonce: { nonce: 'AAAA' } }, { code: 'expectation_broken' }],
  ['no nonce', { nonce: '[' }, { code: 'expectation_broken' }],
  ['no JSON', { create: '<html>' }, { code: 'expectation_broken' }],
  [
    'refused, in its words, with a time',
    { create: { reason: 'rate_limited', detail: 'wait', retry_after: 3 }, reject: true },
    { code: 'rate_limited', detail: 'wait', retryAfter: 3 },
  ],
  ['refused without a word', { create: '', reject: true }, { code: 'internal' }],
  [
    'an operator is to decide',
    { create: { state: 'waiting', request_id: 'r1', retry_after: 5 } },
    { code: 'rate_limited', retryAfter: 5 },
  ],
  ['to wait for ever', { create: { state: 'waiting', request_id: 'r1' } }, { code: 'expectation_broken' }],
])('%s', async (_what, answers, error) => {
  await using it = await door(answers)
  await expect(enrol(it.url)).rejects.toMatchObject(error)
})

test('the end of the run ends it', async () => {
  const server = await mqttServer(world.tls, (packet, reply) => {
    if (packet.cmd === 'connect') reply(connack(0))
    if (packet.cmd === 'subscribe') reply(suback(packet.messageId, 0))
  })
  await using _ = server
  const signal = AbortSignal.timeout(100)
  await expect(enrol(`mqtts://localhost:${server.port}`, { signal })).rejects.toMatchObject({
    code: 'target_unreachable',
  })
})
