/**
 * A session that was good, and then something under it changes: its key goes, its application is bound, shortened, made anew or moved; its owner's
 * certificate is enormous; its limit is reached. The token in the attacker's hand stays the same.
 */

import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Application } from '#fleet/access.ts'
import { readSecretKey } from '#runtime/secrets.ts'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import type { TestLeaf } from '../../support/pki.ts'
import { openRaw } from '../../support/raw-https.ts'
import { ACTOR, freshHex } from '../../support/registry.ts'
import { makeSigningKey } from '../../support/signing-keys.ts'
import {
  answersIn,
  cookieIn,
  get,
  openSites,
  readJwt,
  sessionOf,
  stolenSigningKey,
  textOf,
  type Site,
} from './door/target.ts'

const HOUR = 3_600_000
const HOST = 'change.test'
let door: DoorHarness
let lamp: TestLeaf
beforeAll(async () => {
  door = await openDoorHarness({ env: { SALLYPORT_HTTPS_REQUESTS_PER_CERTIFICATE: '150' } })
  lamp = await door.device('lamp-1')
  await door.putAnchor({
    name: 'theirs',
    hostnames: [HOST],
    pem: door.pki.other.devices.pem + door.pki.other.root.pem,
  })
  await openSites(door, {
    hostnames: [HOST],
    policies: [{ name: 'hour', sessionDuration: HOUR }],
    sites: [{ name: 'base', hostnames: [HOST] }],
  })
})
afterAll(() => door[Symbol.asyncDispose]())
beforeEach(() => {
  door.origin.seen.length = 0
})

const put = (
  name: string,
  over: Partial<Omit<Application, 'https'>> & Pick<Site, 'https'> = {},
): Promise<void> => {
  const { https, ...rest } = over
  return door.putApplication({
    name,
    id: freshHex(32),
    hostnames: [HOST],
    policies: ['valid'],
    sessionDuration: HOUR,
    tokenBinding: 'none',
    ...rest,
    https: { path: `/${name}/*`, origin: door.origin.url, ...https },
  })
}
const show = (name: string, token: string, who?: TestLeaf) =>
  get(door, `/${name}/x`, { host: HOST, who, headers: [`Cookie: CF_Authorization=${token}`] })

describe('the application', () => {
  test.each<[string, (name: string) => Promise<void>]>([
    ['is bound to certificates', (name) => put(name, { tokenBinding: 'certificate' })],
    ['is bound to keys', (name) => put(name, { tokenBinding: 'spki' })],
    ['has no duration any more', (name) => put(name, { sessionDuration: 0 })],
    [
      'has policies of no duration',
      async (name) => {
        await door.putPolicy({ name: `zero-${name}`, sessionDuration: 0 })
        await put(name, { policies: [`zero-${name}`] })
      },
    ],
    [
      'has policies for others',
      async (name) => {
        await door.putPolicy({ name: `boss-${name}`, include: [{ common_name: { common_name: 'boss-1' } }] })
        await put(name, { policies: [`boss-${name}`] })
      },
    ],
    ['has no policies', (name) => put(name, { policies: [] })],
    [
      'is another by the same name',
      async (name) => {
        await door.registry.deleteAccess('application', name, {
          ifRevision: undefined,
          now: Date.now(),
          actor: ACTOR,
        })
        await put(name)
      },
    ],
    [
      'is gone',
      async (name) => {
        await door.registry.deleteAccess('application', name, {
          ifRevision: undefined,
          now: Date.now(),
          actor: ACTOR,
        })
      },
    ],
  ])('%s: a token of before opens nothing without a certificate', async (_, change) => {
    const name = `app-${freshHex(3)}`
    await put(name)
    const token = await sessionOf(door, lamp, HOST, `/${name}/login`)
    expect((await show(name, token)).status).toBe(200)
    await change(name)
    door.origin.seen.length = 0
    expect((await show(name, token)).status).toBeOneOf([401, 403])
    expect(door.origin.seen).toEqual([])
  })

  test('has No Duration from now on: a connection of before serves no second one', async () => {
    const name = `app-${freshHex(3)}`
    await put(name)
    using client = await openRaw({ port: door.port, leaf: lamp, serverName: HOST })
    client.send(textOf(`/${name}/1`, { host: HOST, close: false }))
    await client.until(/origin says ok/)
    await put(name, { sessionDuration: 0 })
    client.send(textOf(`/${name}/2`, { host: HOST, close: false }))
    const raw = await client.closed()
    expect(raw).toMatch(/handshake_not_fresh/)
    expect(door.origin.seen.map(({ target }) => target)).toEqual([`/${name}/1`])
  })
})

test('an upload that is under way when the device is revoked does not arrive', async () => {
  const device = await door.device('upload-1')
  await put('upload')
  using client = await openRaw({ port: door.port, leaf: device, serverName: HOST })
  client.send(
    `POST /upload/x HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 200000\r\n\r\n${'x'.repeat(100_000)}`,
  )
  const before = door.origin.seen.length
  await new Promise((resolve) => setTimeout(resolve, 50))
  await door.setState('upload-1', 'revoked')
  await client.closed()
  client.send('y'.repeat(100_000))
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(door.origin.seen.slice(before).filter(({ body }) => body.includes('y'))).toEqual([])
})

test('a certificate of many kilobytes gets a session that works, or none; not one that locks it out', async () => {
  await put('big')
  for (const count of [100, 400]) {
    const names = Array.from({ length: count }, (_, n) => `urn:example:name:${n}:${'x'.repeat(20)}`)
    const big = door.pki.device({ id: `big-${count}`, names, by: door.pki.other.devices })
    const first = await get(door, '/big/login', { host: HOST, who: big })
    if (first.status !== 200) {
      expect([count, first.status]).toEqual([count, expect.toBeOneOf([403, 431])])
      continue
    }
    const token = cookieIn(first.raw)
    if (token === undefined) continue
    // RFC 6265 §6.1: browsers keep 4,096 octets
    expect([count, (await show('big', token)).status]).toEqual([count, 200])
    expect([count, (await show('big', token, big)).status]).toEqual([count, 200])
  }
})

describe('two applications on one host, as a browser meets them', () => {
  const pair = async (path: boolean): Promise<[string, string]> => {
    const outer = `outer-${freshHex(3)}`
    const cookie = { httpOnly: true, sameSite: 'lax', path } as const
    const inner = `${outer}-inner`
    await put(outer, { cookie, tokenBinding: 'certificate' })
    await put(inner, { cookie, tokenBinding: 'certificate', https: { path: `/${outer}/inner/*` } })
    return [`/${outer}/x`, `/${outer}/inner/x`]
  }

  test('one cookie for the whole host: each takes the other’s place, and neither keeps the client out', async () => {
    const [outer, inner] = await pair(false)
    let jar = ''
    for (const target of [outer, inner, outer, inner, inner, outer, outer]) {
      const headers = jar === '' ? [] : [`Cookie: CF_Authorization=${jar}`]
      const heard = await get(door, target, { host: HOST, who: lamp, headers })
      expect([target, heard.status]).toEqual([target, 200])
      jar = cookieIn(heard.raw) ?? jar
    }
  })

  test('… on one connection', async () => {
    const [outer, inner] = await pair(false)
    using client = await openRaw({ port: door.port, leaf: lamp, serverName: HOST })
    let jar = ''
    for (const [n, target] of [outer, inner, outer, inner].entries()) {
      const before = client.text().length
      client.send(
        textOf(target, {
          host: HOST,
          close: false,
          headers: jar === '' ? [] : [`Cookie: CF_Authorization=${jar}`],
        }),
      )
      await vi.waitFor(() => expect(answersIn(client.text())).toBe(n + 1), { timeout: 3_000 })
      const answer = client.text().slice(before)
      expect([n, target, answer]).toEqual([n, target, expect.stringMatching(/^HTTP\/1\.1 200 /)])
      jar = cookieIn(answer) ?? jar
    }
  })

  test('a cookie for each path (path_cookie_attribute): below the inner one a browser shows both', async () => {
    const [outer, inner] = await pair(true)
    const first = cookieIn((await get(door, outer, { host: HOST, who: lamp })).raw)
    const second = cookieIn((await get(door, inner, { host: HOST, who: lamp })).raw)
    // RFC 6265 §5.4: the longer path first
    const heard = await get(door, inner, {
      host: HOST,
      who: lamp,
      headers: [`Cookie: CF_Authorization=${second}; CF_Authorization=${first}`],
    })
    expect([heard.status, heard.reason]).toEqual([200, undefined])
  })
})

describe('how often', () => {
  test('a token without its certificate is counted as its certificate; neither helps the other', async () => {
    const device = await door.device('often-1')
    await put('often')
    const token = await sessionOf(door, device, HOST, '/often/login')
    const statuses: number[] = []
    // some more than 150, for they take time; two counts would be 300
    for (let n = 0; n < 300 && statuses.at(-1) !== 429; n += 1)
      statuses.push((await show('often', token, n % 2 === 0 ? device : undefined)).status)
    expect([new Set(statuses.slice(0, -1)), statuses.at(-1)]).toEqual([new Set([200]), 429])
    expect(statuses.length).toBeGreaterThan(100)
    const other = await door.device('often-2')
    expect((await get(door, '/often/x', { host: HOST, who: other })).status).toBe(200)
  })

  test('on one connection as well', async () => {
    const device = await door.device('often-3')
    await put('often')
    using client = await openRaw({ port: door.port, leaf: device, serverName: HOST })
    for (let n = 1; n <= 16 && !client.socket.destroyed; n += 1) {
      client.send(textOf('/often/x', { host: HOST, close: false }).repeat(10))
      await vi.waitFor(
        () => expect(client.socket.destroyed || answersIn(client.text()) >= n * 10).toBe(true),
        {
          timeout: 5_000,
          interval: 5,
        },
      )
    }
    expect(client.text()).toMatch(/HTTP\/1\.1 429 /)
    expect(answersIn(client.text())).toBeLessThanOrEqual(160)
    expect(door.origin.seen.length).toBeLessThanOrEqual(155)
  })
})

test('the key that signed it is gone: so is the session, also one that was remembered', async () => {
  await put('key')
  const device = await door.device('key-1')
  const token = await sessionOf(door, device, HOST, '/key/login')
  expect((await show('key', token)).status).toBe(200)
  const { kid } = await stolenSigningKey(door)
  expect(readJwt(token).header['kid']).toBe(kid)
  const {
    privateKey: _,
    publicKey: __,
    ...row
  } = makeSigningKey(freshHex(16), {
    secret: readSecretKey(door.config.secrets.key_file),
    createdAt: Date.now(),
  })
  await door.registry.addAssertionKey(row, ACTOR)
  // the overlap: what the old one signed is good for as long as it is published
  await vi.waitFor(async () => {
    const { body } = await get(door, '/cdn-cgi/access/certs', { host: HOST })
    expect(body).toContain(row.kid)
  })
  expect((await show('key', token)).status).toBe(200)
  await door.registry.removeAssertionKey(kid, Date.now(), ACTOR)
  await vi.waitFor(async () => {
    const { body } = await get(door, '/cdn-cgi/access/certs', { host: HOST })
    expect(body).not.toContain(kid)
  })
  const heard = await show('key', token)
  expect([heard.status, heard.reason]).toEqual([401, 'token_invalid'])
  expect(await sessionOf(door, device, HOST, '/key/login')).not.toBe(token)
})

describe('the last: one device that logs out without end', () => {
  test('ends its own sessions, and not everybody’s', async () => {
    await put('out')
    const other = await door.device('out-2')
    const theirs = await sessionOf(door, other, HOST, '/out/login')
    expect((await show('out', theirs)).status).toBe(200)
    const mine = await sessionOf(door, lamp, HOST, '/out/login')
    // what the inbox holds after ten thousand sessions that one device began and ended: twenty seconds of its request limit
    const now = Date.now()
    const cursor = (await door.registry.inboxCursor()) ?? ''
    for (let batch = 0; batch < 11; batch += 1) {
      const logouts = Array.from({ length: 1_000 }, (_, n) => ({
        holder: lamp.id,
        at: now - 11_000 + batch * 1_000 + n + 1,
      }))
      await door.registry.recordSightings([], cursor, now, logouts)
    }
    expect(door.registry.sessionRevocations()).toHaveLength(1)
    expect((await show('out', theirs)).status).toBe(200)
    expect((await show('out', mine)).status).toBe(401)
  })

  test('nor does a CA of a partner that makes names without end: its own are over, and no others', async () => {
    await put('out')
    const other = await door.device('out-3')
    const partner = door.pki.device({ id: 'partner-1', by: door.pki.other.devices })
    const theirs = await sessionOf(door, other, HOST, '/out/login')
    const partners = await sessionOf(door, partner, HOST, '/out/login')
    expect((await show('out', partners)).status).toBe(200)
    const now = Date.now()
    const cursor = (await door.registry.inboxCursor()) ?? ''
    for (let batch = 0; batch < 11; batch += 1) {
      const logouts = Array.from({ length: 1_000 }, (_, n) => ({ holder: `theirs/${batch}-${n}`, at: now }))
      await door.registry.recordSightings([], cursor, now, logouts)
    }
    expect((await show('out', theirs)).status).toBe(200)
    expect((await show('out', partners)).status).toBe(401)
    // and it begins another one as everybody does
    expect((await show('out', await sessionOf(door, partner, HOST, '/out/login'))).status).toBe(200)
  })
})
