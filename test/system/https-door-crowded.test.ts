/**
 * Many at once, and none of them anybody's: strangers whom a bypass lets in, names that a foreign CA makes up, certificates of nobody, readers who
 * do not read, and what is said behind a `Connection: close`. The devices are served all the same. Not times and sizes: https-door-limits.test.ts.
 */

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { closed } from '../support/closed.ts'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { openRaw, requestText, type RawClient } from '../support/raw-https.ts'
import { ACTOR, application, policy } from '../support/registry.ts'

const MIB = 1_048_576
const HANGING = requestText('/hang')
const ONCE = { headers: ['Connection: close'] }
let door: DoorHarness
let lamp: TestLeaf
const held = new Set<RawClient>()
beforeAll(async () => {
  door = await openDoorHarness({
    env: {
      SALLYPORT_LIMITS_MAX_CONNECTIONS: '40',
      SALLYPORT_HTTPS_REQUESTS_PER_CERTIFICATE: '50',
      SALLYPORT_HTTPS_SESSION_DURATION: '15m',
    },
    answers: {
      '/hang': (_, response) => {
        response.writeHead(200)
        response.write('begun')
      },
      '/early': (request, response) => {
        response.writeHead(401).end('enough')
        request.resume()
      },
      '/large': (_, response) => {
        response.writeHead(200)
        response.end(Buffer.alloc(32 * MIB, 'x'))
      },
      '/nothing': (request, response) => {
        // Node would leave the length out
        response.socket?.write('HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n')
        request.resume()
      },
    },
  })
  lamp = await door.device('lamp-1')
  const put = { now: Date.now(), actor: ACTOR }
  const open = policy({ name: 'open', decision: 'bypass', include: [{ everyone: {} }] })
  await door.registry.putAccess('policy', { value: open, ...put })
  const https = { path: '/*', origin: door.origin.url }
  for (const value of [
    application({ name: 'public', hostnames: ['public.test'], https, policies: ['open'] }),
    application({ name: 'partners', hostnames: ['b.test'], https }),
  ])
    await door.registry.putAccess('application', { value, ...put })
  await door.putAnchor({ hostnames: ['a.test', 'public.test'] })
})
afterAll(async () => {
  for (const client of held) client[Symbol.dispose]()
  await door[Symbol.asyncDispose]()
})
beforeEach(async () => {
  const ended = [...held].map(({ socket }) => {
    socket.destroy()
    return closed(socket)
  })
  held.clear()
  await Promise.all(ended)
  // a minute's worth of requests for everybody
  door.pass(60_000)
  door.log.length = 0
})

type Who = { readonly host?: string; readonly leaf?: TestLeaf; readonly from?: number }

/** @returns the status of a request that goes on for ever where it is served; 0: the connection broke */
const hang = async ({ host = 'a.test', leaf, from = 1 }: Who): Promise<number> => {
  const client = await openRaw({
    port: door.port,
    leaf,
    serverName: host,
    tls: { localAddress: `127.0.0.${from}` } as never,
  })
  held.add(client)
  client.send(HANGING.replace('a.test', host))
  const text = await client.until(/begun|\}\n$/).catch(() => '')
  return Number(text.slice(9, 12))
}
const count = async (all: Iterable<Who>): Promise<Record<number, number>> => {
  const counts: Record<number, number> = {}
  for (const who of all) {
    const status = await hang(who)
    counts[status] = (counts[status] ?? 0) + 1
  }
  return counts
}
const strangers = (many: number): Who[] =>
  Array.from({ length: many }, (_, at) => ({ host: 'public.test', from: 2 + Math.floor(at / 8) }))
const partners = (many: number): Who[] => {
  const leaves = Array.from({ length: Math.ceil(many / 8) }, (_, at) =>
    door.pki.device({ id: `partner-${at}`, by: door.pki.other.devices }),
  )
  return Array.from({ length: many }, (_, at) => ({
    host: 'b.test',
    leaf: leaves[Math.floor(at / 8)] as TestLeaf,
  }))
}

test('a client that does not read is cut off, and its origin let go', async () => {
  const client = await openRaw({ port: door.port, leaf: lamp })
  held.add(client)
  client.socket.pause()
  const gone = door.origin.aborted(1)
  client.send(requestText('/large'))
  await door.origin.begun(1)
  const clock = setInterval(() => {
    door.pass(door.config.https.origin_timeout / 4)
  }, 100)
  await gone
  clearInterval(clock)
})

test('strangers whom a bypass has let in make room for a device, whatever they do', async () => {
  expect(await count(strangers(20))).toEqual({ 200: 20 })
  const devices = await Promise.all(['a', 'b', 'c'].map((id) => door.device(`device-${id}`)))
  const busy = Array.from({ length: 20 }, (_, at) => ({ leaf: devices[at % 3] as TestLeaf }))
  expect(await count(busy)).toEqual({ 200: 20 })
  // the door is full
  expect((await door.say(requestText('/', ONCE), lamp)).status).toBe(200)
  expect([...held].filter(({ socket }) => socket.destroyed).length).toBe(1)
})

test('strangers have half of the door together, however many addresses they have', async () => {
  expect(await count(strangers(24))).toEqual({ 200: 20, 429: 4 })
})

test('the names of a foreign CA have half of the door together', async () => {
  expect(await count(partners(24))).toEqual({ 200: 20, 429: 4 })
  expect(await hang({ leaf: lamp })).toBe(200)
})

test('a certificate of nobody is no way to more requests a minute', async () => {
  const counts: Record<number, number> = {}
  for (let at = 0; at < 54; at += 1) {
    const leaf =
      at % 2 === 0 ? undefined : door.pki.device({ id: `nobody-${at}`, by: door.pki.other.devices })
    const { status } = await door.say(requestText('/', { ...ONCE, host: 'public.test' }), leaf, {
      serverName: 'public.test',
    })
    counts[status] = (counts[status] ?? 0) + 1
  }
  expect(counts).toEqual({ 200: 50, 429: 4 })
})

test.each([
  ['an answer that came early', '/early', 401],
  ['a refusal', '/cdn-cgi/access/logout', 200],
  ['no such endpoint', '/cdn-cgi/access/none', 404],
])('behind the close of %s nothing is carried out', async (_, path, status) => {
  const client = await openRaw({ port: door.port, leaf: lamp, tls: { allowHalfOpen: true } as never })
  held.add(client)
  const gone = closed(client.socket)
  client.send(requestText('/first'))
  expect((await client.reply()).headers['connection']).toBe('keep-alive')
  client.send(`POST ${path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello`)
  const reply = await client.reply()
  expect([reply.status, reply.headers['connection']]).toEqual([status, 'close'])
  // whatever was read before what is no request has been begun before the connection ends by it
  client.send(`world${requestText('/behind', { method: 'POST', body: 'x' })}what is this\r\n\r\n`)
  client.socket.end()
  await gone
  expect(door.log.filter(({ msg }) => msg === 'admitted').map((line) => line['path'])).not.toContain(
    '/behind',
  )
})

test('no content has no length', async () => {
  const client = await openRaw({ port: door.port, leaf: lamp })
  held.add(client)
  client.send(requestText('/nothing'))
  const reply = await client.reply()
  expect([reply.status, reply.headers['content-length']]).toEqual([204, undefined])
  client.send(requestText('/next'))
  expect((await client.reply()).status).toBe(200)
})

test('another port than the one that is listened on is nobody’s to name', async () => {
  const ask = async (port: string) =>
    (await door.say(requestText('/', { ...ONCE, host: `a.test${port}` }), lamp)).status
  expect(await Promise.all(['', ':443', `:${door.port}`, ':6666'].map(ask))).toEqual([200, 200, 200, 400])
  expect(
    door.origin.seen
      .slice(-3)
      .flatMap(({ headers }) => String(headers['x-forwarded-host']))
      .toSorted((a, b) => a.localeCompare(b)),
  ).toEqual(['a.test', 'a.test', `a.test:${door.port}`])
})

test.each([
  ['/cdn-cgi/access/certs', 'DELETE', 'GET, HEAD'],
  ['/cdn-cgi/access/logout', 'PUT', 'GET, POST'],
  ['/', 'TRACE', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'],
  ['a.test:443', 'CONNECT', 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'],
])('%s says what may be asked for', async (path, method, allow) => {
  const { status, headers } = await door.say(requestText(path, { ...ONCE, method }), lamp)
  expect([status, headers['allow']]).toEqual([405, allow])
})
