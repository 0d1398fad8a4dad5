/** WebSockets through the door: one Upgrade is one request, judged like any other; then bytes both ways, until somebody has to cut them. */

import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { MINUTE, SECOND } from '#fleet/clock.ts'
import { openDoorHarness, type DoorHarness, type DoorHarnessOptions } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { openRaw, readReply, requestText, type RawClient } from '../support/raw-https.ts'

const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const MIB = 1_048_576

const acceptOf = (request: IncomingMessage): string =>
  createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64')

const switching = (accept: string, ...more: readonly string[]): string =>
  [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${accept}`,
    'Sec-WebSocket-Protocol: lamps',
    'Server: origin/1.0',
    'Set-Cookie: CF_Authorization=from-the-origin',
    'Set-Cookie: theme=dark',
    ...more,
    '',
    '',
  ].join('\r\n')

/** What the origin does with an Upgrade, by path. */
const UPGRADES: Readonly<Record<string, (request: IncomingMessage, socket: Duplex, head: Buffer) => void>> = {
  '/echo': (request, socket, head) => {
    socket.write(switching(acceptOf(request)))
    socket.write(head)
    socket.pipe(socket)
  },
  '/ticks': (request, socket) => {
    socket.write(switching(acceptOf(request)))
    const timer = setInterval(() => socket.write('tick'), 20)
    socket.on('close', () => {
      clearInterval(timer)
    })
  },
  '/flood': (request, socket) => {
    socket.write(switching(acceptOf(request)))
    const chunk = Buffer.alloc(MIB, 'x')
    let left = 64
    const more = (): void => {
      while (left > 0) {
        left -= 1
        if (!socket.write(chunk)) {
          socket.once('drain', more)
          return
        }
      }
      socket.end()
    }
    more()
  },
  '/wrong-accept': (_, socket) => socket.write(switching('AAAAAAAAAAAAAAAAAAAAAAAAAAA=')),
  '/no': (_, socket) => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno'),
  '/long-no': (_, socket) => {
    socket.end(`HTTP/1.1 426 Upgrade Required\r\nContent-Length: ${4 * MIB}\r\n\r\n${'x'.repeat(4 * MIB)}`)
  },
  '/dies': (_, socket) => socket.destroy(),
  '/silent': (_, socket) => socket.resume().on('end', () => socket.destroy()),
  '/leaves': (request, socket) => socket.end(`${switching(acceptOf(request))}last words`),
}
/** paths of those that the origin has seen the end of */
const ended: string[] = []
const options: DoorHarnessOptions = {
  env: { SALLYPORT_HTTPS_MAX_CONNECTION: '1h', SALLYPORT_HTTPS_ORIGIN_TIMEOUT: '1s' },
  drainWithin: 300,
  origin: {
    onUpgrade: (request, socket, head) => {
      socket.once('close', () => ended.push(request.url ?? ''))
      UPGRADES[request.url ?? '']?.(request, socket, head)
    },
  },
}

let door: DoorHarness
let lamp: TestLeaf
beforeAll(async () => {
  door = await openDoorHarness(options)
  lamp = await door.device('lamp-1')
  await door.putHttps({ websocket: true })
})
afterAll(() => door[Symbol.asyncDispose]())
beforeEach(() => {
  door.origin.seen.length = 0
  ended.length = 0
})

const handshake = (path: string, ...lines: readonly string[]): string =>
  requestText(path, {
    headers: [
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${KEY}`,
      ...lines,
    ],
  })
const connect = async (path: string, leaf = lamp, at = door): Promise<RawClient> => {
  const client = await openRaw({ port: at.port, leaf })
  client.send(handshake(path))
  await client.until(/^HTTP\/1\.1 101 [^]*\r\n\r\n/)
  return client
}

describe('a WebSocket', () => {
  test('bytes go both ways, the client’s first ones too', async () => {
    using client = await openRaw({ port: door.port, leaf: lamp })
    client.send(`${handshake('/echo', 'Sec-WebSocket-Protocol: lamps')}early`)
    await client.until(/\r\n\r\nearly/)
    client.send('hello')
    await client.until(/earlyhello/)
    const { headers } = readReply(client.text())
    expect(headers).toMatchObject({
      upgrade: 'websocket',
      connection: 'Upgrade',
      'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
      'sec-websocket-protocol': 'lamps',
      'set-cookie': 'theme=dark',
      'strict-transport-security': 'max-age=31536000',
    })
    expect(headers).not.toHaveProperty('server')
  })
  test('the origin is told who it is, as with any request, and nothing that the client made up', async () => {
    using client = await openRaw({ port: door.port, leaf: lamp })
    client.send(
      handshake(
        '/echo',
        'Cf-Access-Jwt-Assertion: x',
        'Cookie: CF_Authorization=x; a=1',
        'X-Real-IP: 6.6.6.6',
      ),
    )
    await client.until(/101/)
    const { headers } = door.origin.seen[0] as (typeof door.origin.seen)[number]
    expect(headers).toMatchObject({
      upgrade: ['websocket'],
      connection: ['upgrade'],
      'sec-websocket-key': [KEY],
      'sec-websocket-version': ['13'],
      'cf-client-cert-sha256': [lamp.facts.fingerprint],
      cookie: ['a=1'],
    })
    expect(headers['cf-access-jwt-assertion']?.[0]).toMatch(/^eyJ/)
    expect(headers).not.toHaveProperty('x-real-ip')
  })
  test('is one request: what follows is no request', async () => {
    using client = await connect('/echo')
    client.send(requestText('/second'))
    await client.until(/GET \/second HTTP\/1\.1/)
    expect(door.origin.seen.map(({ target }) => target)).toEqual(['/echo'])
  })
  test('either side may end it', async () => {
    const client = await connect('/echo')
    client[Symbol.dispose]()
    await expect.poll(() => ended).toContain('/echo')
    using left = await connect('/leaves')
    expect(await left.closed()).toContain('last words')
  })
  test('at the pace of a slow client: little is kept here', async () => {
    using client = await openRaw({ port: door.port, leaf: lamp })
    client.send(handshake('/flood'))
    await client.until(/101/)
    client.socket.pause()
    const before = process.memoryUsage().rss
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * MIB)
    client.socket.resume()
    expect((await client.closed()).length).toBeGreaterThan(64 * MIB)
  })
})

describe('what does not become one', () => {
  const say = (text: string) => door.say(text, lamp)
  test.each([
    ['of a page of another site', handshake('/echo', 'Origin: https://evil.test'), 403, 'origin_denied'],
    [
      'of two pages',
      handshake('/echo', 'Origin: https://a.test', 'Origin: https://evil.test'),
      400,
      'bad_request',
    ],
    ['to another path than is judged', handshake('/a/../echo'), 400, 'bad_target'],
    ['with two keys', handshake('/echo', `Sec-WebSocket-Key: ${KEY}`), 400, 'bad_request'],
    ['without a key', handshake('/echo').replace(/Sec-WebSocket-Key.*\r\n/, ''), 400, 'bad_request'],
    ['with a key that is none', handshake('/echo').replace(KEY, 'short=='), 400, 'bad_request'],
    [
      'of another protocol',
      handshake('/echo').replace('Upgrade: websocket', 'Upgrade: h2c'),
      422,
      'unsupported',
    ],
    [
      'of two protocols',
      handshake('/echo').replace('Upgrade: websocket', 'Upgrade: websocket, h2c'),
      422,
      'unsupported',
    ],
    ['with a body', `${handshake('/echo', 'Content-Length: 5').trimEnd()}\r\n\r\nhello`, 422, 'unsupported'],
    ['by POST', handshake('/echo').replace('GET', 'POST'), 422, 'unsupported'],
    ['in HTTP/1.0', handshake('/echo').replace('HTTP/1.1', 'HTTP/1.0'), 422, 'unsupported'],
  ])('%s', async (_, text, status, reason) => {
    const reply = await say(text)
    expect([reply.status, JSON.parse(reply.body)]).toEqual([status, expect.objectContaining({ reason })])
    expect(reply.headers['connection']).toBe('close')
    expect(door.origin.seen).toEqual([])
  })
  test('without a certificate: that, and nothing about WebSockets', async () => {
    expect((await door.say(handshake('/echo'))).body).toContain('certificate_required')
    expect(door.origin.seen).toEqual([])
  })
  test('when the client leaves before the origin has answered', async () => {
    const client = await openRaw({ port: door.port, leaf: lamp })
    client.send(handshake('/silent'))
    await expect.poll(() => door.origin.seen.length).toBe(1)
    door.log.length = 0
    client[Symbol.dispose]()
    await expect.poll(() => ended, { timeout: 5_000 }).toContain('/silent')
    // it is not the origin's silence that ended it
    expect(door.log.map(({ reason }) => reason)).not.toContain('origin_timeout')
  })
  test('of its own site, or a listed one: let in', async () => {
    await door.putHttps({ websocket: true, allowedOrigins: ['https://friend.test'] })
    for (const origin of ['https://a.test', 'https://friend.test']) {
      using client = await openRaw({ port: door.port, leaf: lamp })
      client.send(handshake('/echo', `Origin: ${origin}`))
      await client.until(/101/)
    }
    await door.putHttps({ websocket: true })
  })
  test('where the application does not allow it', async () => {
    await door.putHttps({})
    expect((await say(handshake('/echo'))).status).toBe(422)
    await door.putHttps({ websocket: true })
    expect(door.origin.seen).toEqual([])
  })
  test('the origin’s no is its answer, however long', async () => {
    expect(await say(handshake('/no'))).toMatchObject({
      status: 403,
      body: 'no',
      headers: { connection: 'close' },
    })
    expect((await say(handshake('/long-no'))).body).toHaveLength(4 * MIB)
  })
  test.each([
    ['/wrong-accept', 502],
    ['/dies', 502],
    ['/silent', 504],
  ])('%s: %i', async (path, status) => {
    expect((await say(handshake(path))).status).toBe(status)
  })
  test('behind a request that is being served', async () => {
    using client = await openRaw({ port: door.port, leaf: lamp })
    client.send(requestText('/first') + handshake('/echo'))
    expect((await client.closed()).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200'])
  })
})

test('that a report-only policy would end stays, with one line and one count for each time that is new', async () => {
  const reports = () =>
    door.log
      .filter(({ msg, would_deny: policy }) => msg === 'stays' && policy === 'draft')
      .map((line) => line['identity'])
  const counted = async (): Promise<number> =>
    Number(
      /report_only_total\{door="https",outcome="would_deny"[^}]*\} (\d+)/.exec(await door.metrics())?.[1] ??
        0,
    )
  const draft = { name: 'draft', decision: 'deny', include: [{ everyone: {} }], reportOnly: true } as const
  const other = await door.device('ws-report')
  using _ = await connect('/ticks')
  using client = await connect('/echo', other)
  const before = await counted()
  door.log.length = 0
  // a deny is asked after Service Auth, and not before it
  await door.putPolicy({ decision: 'allow' })
  await door.putPolicy(draft)
  const https = { path: '/*', origin: door.origin.url, websocket: true }
  await door.putApplication({ https, policies: ['draft', 'valid'] })
  await expect.poll(reports).toHaveLength(2)
  expect(new Set(reports())).toEqual(new Set(['lamp-1', 'ws-report']))
  // what says nothing new of it says nothing: the last of these changes is waited for by its own report
  await door.putAnchor({})
  await door.setState('ws-report', 'active')
  await door.putPolicy({ ...draft, exclude: [{ common_name: { common_name: 'lamp-1' } }] })
  await expect.poll(reports).toHaveLength(3)
  expect(reports().at(-1)).toBe('ws-report')
  expect((await counted()) - before).toBe(3)
  client.send('hello')
  await client.until(/hello/)
  await door.putHttps({ websocket: true })
  await door.putPolicy({})
})

describe('is cut', () => {
  const cut = async (path: string, how: () => Promise<unknown>, leaf = lamp): Promise<void> => {
    using client = await connect(path, leaf)
    await how()
    await client.closed()
  }
  test('when its device is revoked, busy or idle, and nobody else’s', async () => {
    const leaf = await door.device('ws-1')
    using other = await connect('/ticks')
    using idle = await connect('/echo', leaf)
    await cut('/ticks', () => door.setState('ws-1', 'revoked'), leaf)
    await idle.closed()
    const so = other.text().length
    await other.until(new RegExp(`^[^]{${so + 1},}`))
    expect(door.log).toContainEqual(
      expect.objectContaining({ reason: 'certificate_revoked', identity: 'ws-1' }),
    )
  })
  test('when policy or application change', async () => {
    await cut('/echo', () => door.putPolicy({ include: [{ common_name: { common_name: 'x' } }] }))
    await door.putPolicy({})
    await cut('/echo', () => door.putApplication({ https: undefined }))
    await door.putHttps({ websocket: true })
  })
  test('at the end of its certificate', async () => {
    const notAfter = Math.floor(Date.now() / 1_000) * 1_000 + 10 * MINUTE
    const leaf = await door.device('ws-2', { notAfter })
    using client = await connect('/echo', leaf)
    door.pass(11 * MINUTE)
    await client.closed()
    expect(door.log).toContainEqual(
      expect.objectContaining({ reason: 'certificate_expired', identity: 'ws-2' }),
    )
  })
  test('at the end of its time', async () => {
    await cut('/ticks', () => {
      door.pass(61 * MINUTE)
      return Promise.resolve()
    })
  })
  test('at the end of its session, and logged', async () => {
    await door.putHttps({ websocket: true }, { sessionDuration: 15 * MINUTE })
    using client = await connect('/echo')
    expect(readReply(client.text()).headers['set-cookie']).toMatch(/theme=dark, CF_Authorization=eyJ/)
    door.log.length = 0
    door.pass(16 * MINUTE)
    await client.closed()
    expect(door.log).toContainEqual(
      expect.objectContaining({ reason: 'session_expired', identity: 'lamp-1' }),
    )
    await door.putHttps({ websocket: true })
  })
  test.each([
    ['its device', { scope: 'device', subject: 'lamp-1' }],
    ['everybody', { scope: 'everything', subject: '' }],
  ] as const)('when the sessions of %s are revoked', async (_, which) => {
    await door.putHttps({ websocket: true }, { sessionDuration: 15 * MINUTE })
    await cut('/echo', () => door.revokeSessions(which))
    await door.putHttps({ websocket: true })
  })
  test('on a connection with requests before it, too', async () => {
    await door.putHttps({ websocket: true }, { sessionDuration: 15 * MINUTE })
    using client = await openRaw({ port: door.port, leaf: lamp })
    client.send(requestText('/'))
    await client.reply()
    client.send(handshake('/echo'))
    await client.until(/ 101 /)
    client.send('hello')
    await client.until(/hello/)
    door.pass(16 * MINUTE)
    await client.closed()
    await door.putHttps({ websocket: true })
  })
})

test('another worker takes over: it is not waited for as long as a request', async () => {
  await using retired = await openDoorHarness({ ...options, drainWithin: MINUTE })
  await retired.putHttps({ websocket: true })
  using client = await connect('/ticks', await retired.device('lamp-1'), retired)
  const stopped = retired.stopDoor()
  await client.until(/tick/)
  retired.pass(6 * SECOND)
  await client.closed()
  await stopped
})

test('stopping: it has its time, and is ended then', async () => {
  await using stopping = await openDoorHarness(options)
  await stopping.putHttps({ websocket: true })
  using client = await connect('/ticks', await stopping.device('lamp-1'), stopping)
  const before = performance.now()
  const stopped = stopping.stopDoor()
  await client.closed()
  await stopped
  expect(performance.now() - before).toBeGreaterThan(290)
})
