/** The attacker wants nobody to be served: by crowds that say nothing, by guessing, by a locked registry. Good devices get in all the same. */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startFleet, type DeviceFiles, type Fleet } from '../../support/fleet.ts'
import { holdLock } from '../../support/lock-holder.ts'
import { makeCsr } from '../../support/pki.ts'
import { openRaw } from '../../support/raw-https.ts'
import { as, ask, openMqtt, PROMPT, said, type Ask, type Heard } from './attacker.ts'

let fleet: Fleet
let lamp: DeviceFiles
beforeAll(async () => {
  fleet = await startFleet({ env: { SALLYPORT_LIMITS_HEADER_TIMEOUT: '3s' } })
  lamp = await fleet.enroll('lamp-1')
})
afterAll(() => fleet[Symbol.asyncDispose]())

const GOOD = '127.0.0.2'
const enroll = (token: string, csr: string, o: Ask = {}): Promise<Heard> =>
  ask(fleet.urls.devices, '/v1/enroll', { token, body: { csr }, from: GOOD, ...o })
// one key: a certificate has few successors
const lampCsr = makeCsr({ commonName: 'lamp-1' }).pem
const renew = (o: Ask = {}): Promise<Heard> =>
  ask(fleet.urls.devices, '/v1/renew', {
    who: as(lamp),
    body: { csr: lampCsr },
    ...o,
  })
const mqtt = async (): Promise<number | undefined> => {
  using client = await openMqtt(fleet.urls.mqtts, { who: as(lamp) })
  return await client.connect({ clientId: 'lamp-1' })
}
const prompt = async <T>(work: Promise<T>): Promise<T> => {
  const started = performance.now()
  const result = await work
  expect(performance.now() - started).toBeLessThan(PROMPT)
  return result
}

describe('a crowd', () => {
  const crowd = async (count: number, first: Uint8Array): Promise<Socket[]> => {
    const sockets = (['https', 'mqtts', 'devices'] as const).flatMap((listener) =>
      Array.from({ length: count }, () => {
        const socket = connect({ host: '127.0.0.1', port: Number(new URL(fleet.urls[listener]).port) })
        socket.on('error', () => undefined).write(first)
        return socket
      }),
    )
    await Promise.all(sockets.filter((socket) => socket.connecting).map((socket) => once(socket, 'connect')))
    return sockets
  }
  /** The beginning of a ClientHello that announces 16 KiB and never comes to its end. */
  const HELLO = Buffer.from('1603014000010003fc0303', 'hex')
  test.each<[string, number, Uint8Array]>([
    ['that says nothing', 200, Buffer.alloc(0)],
    ['that begins a handshake', 100, HELLO],
    ['that speaks another protocol', 100, Buffer.from('SSH-2.0-x\r\n')],
  ])('%s', async (_, count, first) => {
    const sockets = await crowd(count, first)
    try {
      expect((await prompt(ask(fleet.urls.https, '/', { who: as(lamp), from: GOOD }))).status).toBe(200)
      expect((await prompt(ask(fleet.urls.https, '/', { who: as(lamp) }))).status).toBe(200)
      expect(await prompt(mqtt())).toBe(0)
      expect((await prompt(renew())).status).toBe(201)
    } finally {
      for (const socket of sockets) socket.destroy()
    }
  })

  test('of a device that comes again before it has gone', async () => {
    const other = await fleet.enroll('other-1')
    using calm = await openMqtt(fleet.urls.mqtts, { who: as(other) })
    expect(await calm.connect({ clientId: 'other-1' })).toBe(0)
    await Promise.all(Array.from({ length: 60 }, () => mqtt()))
    await prompt(calm.ping())
    expect(await prompt(mqtt())).toBe(0)
  })

  test('of requests whose bodies never come', async () => {
    const token = await fleet.token()
    const head = `POST /v1/enroll HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 500000\r\n\r\n{"csr":"`
    const port = Number(new URL(fleet.urls.devices).port)
    const slow = await Promise.all(
      Array.from({ length: 60 }, async () => {
        const one = await openRaw({ port, serverName: 'localhost' })
        one.send(head + 'A'.repeat(400_000))
        return one
      }),
    )
    try {
      expect((await prompt(renew())).status).toBe(201)
      expect((await prompt(enroll(token, makeCsr({ commonName: 'unhurried-1' }).pem))).status).toBe(201)
    } finally {
      for (const one of slow) one[Symbol.dispose]()
    }
  })
})

describe('an address that guesses', () => {
  const wrong = (n: number): string =>
    `spt1.${'a'.repeat(16)}.${String(n).padStart(43, 'A')}.${'A'.repeat(43)}`
  test(
    '400 wrong tokens end in 429 for it, whoever it says it is; nobody else waits',
    { timeout: 60_000 },
    async () => {
      const statuses = new Map<number, number>()
      const one = async (n: number): Promise<void> => {
        const heard = await ask(fleet.urls.devices, '/v1/enroll', {
          token: wrong(n),
          method: 'POST',
          headers: [`X-Forwarded-For: 10.0.0.${n % 250}`, `Forwarded: for=10.0.0.${n % 250}`],
        })
        statuses.set(heard.status, (statuses.get(heard.status) ?? 0) + 1)
      }
      for (let n = 0; n < 400; n += 20) await Promise.all(Array.from({ length: 20 }, (_, k) => one(n + k)))
      expect(new Set(statuses.keys())).toEqual(new Set([401, 429]))
      expect(statuses.get(401)).toBeLessThan(60)

      const token = await fleet.token()
      const csr = makeCsr({ commonName: 'good-1' }).pem
      const limited = await enroll(wrong(0), csr, { from: '127.0.0.1' })
      expect(said(limited)).toEqual([429, 'rate_limited'])
      expect(Number(limited.headers['retry-after'])).toBeGreaterThan(0)
      const est = await ask(fleet.urls.devices, '/.well-known/est/simpleenroll', {
        headers: [
          'Content-Type: application/pkcs10',
          `Authorization: Basic ${Buffer.from(`:${wrong(1)}`).toString('base64')}`,
        ],
        body: 'x',
      })
      expect(est.status).toBe(429)
      // a good one from the very same address is not kept waiting
      expect((await prompt(enroll(token, csr, { from: '127.0.0.1' }))).status).toBe(201)
      // who shows a certificate guesses nothing, and the operator is at another listener
      expect((await renew()).status).toBe(201)
      expect((await ask(fleet.urls.devices, '/v1/trust.pem')).status).toBe(200)
      await fleet.operator.call('GET', '/v1/devices')
    },
  )
})

describe('a registry that another process has locked', () => {
  test(
    '503 within a second or so for what must be written; the doors go on; then everything as before',
    { timeout: 40_000 },
    async () => {
      const token = await fleet.token({ uses: 1 })
      const csr = makeCsr({ commonName: 'locked-1' })
      const est = (): Promise<Heard> =>
        ask(fleet.urls.devices, '/.well-known/est/simpleenroll', {
          from: GOOD,
          headers: [
            'Content-Type: application/pkcs10',
            `Authorization: Basic ${Buffer.from(`locked-1:${token}`).toString('base64')}`,
          ],
          body: csr.der.toString('base64'),
        })
      const revoke = (): Promise<Heard> =>
        ask(fleet.urls.operator, '/v1/devices/lamp-1/suspend', {
          method: 'POST',
          token: fleet.operatorToken,
          host: new URL(fleet.urls.operator).host,
        })
      {
        await using _lock = await holdLock(join(fleet.home, 'db/sallyport.sqlite'), 'BEGIN EXCLUSIVE')
        const refused = await Promise.all([enroll(token, csr.pem), est(), renew(), revoke()].map(prompt))
        for (const heard of refused) {
          expect(said(heard)).toEqual([503, 'registry_unavailable'])
          expect(Number(heard.headers['retry-after'])).toBeGreaterThan(0)
          expect(heard.body).not.toContain('BEGIN CERTIFICATE')
        }
        const many = Array.from({ length: 30 }, () => enroll(token, csr.pem))
        expect((await prompt(ask(fleet.urls.devices, '/v1/trust.pem'))).status).toBe(200)
        expect((await prompt(ask(fleet.urls.https, '/', { who: as(lamp) }))).status).toBe(200)
        expect(await prompt(mqtt())).toBe(0)
        for (const heard of await Promise.all(many))
          expect(said(heard)).toEqual([503, 'registry_unavailable'])
      }
      const first = await prompt(enroll(token, csr.pem))
      expect(first.status).toBe(201)
      expect((await est()).status).toBe(200)
      expect(said(await enroll(token, makeCsr({ commonName: 'locked-1' }).pem))).toEqual([401, 'token_spent'])
      const device = await fleet.operator.call<{ certificates: unknown[] }>('GET', '/v1/devices/locked-1')
      expect(device.certificates).toHaveLength(1)
      expect((await renew()).status).toBe(201)
    },
  )

  test('nor does the inbox, held by another, keep anybody out', async () => {
    await using _lock = await holdLock(join(fleet.home, 'db/gateway-inbox.sqlite'), 'BEGIN EXCLUSIVE')
    for (let n = 0; n < 20; n += 1)
      expect((await prompt(ask(fleet.urls.https, '/', { who: as(lamp) }))).status).toBe(200)
    expect(await prompt(mqtt())).toBe(0)
  })

  test('a revocation while the inbox is held is heeded', async () => {
    const doomed = await fleet.enroll('doomed-1')
    await using _lock = await holdLock(join(fleet.home, 'db/gateway-inbox.sqlite'), 'BEGIN EXCLUSIVE')
    expect((await ask(fleet.urls.https, '/', { who: as(doomed) })).status).toBe(200)
    await fleet.operator.call('POST', '/v1/devices/doomed-1/revoke')
    expect((await ask(fleet.urls.https, '/', { who: as(doomed) })).reason).toBe('certificate_revoked')
  })
})
