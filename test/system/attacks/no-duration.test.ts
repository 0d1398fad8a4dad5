/**
 * No Duration, attacked with bytes: whatever a client does with one connection, the origin sees one request of it at most, and none that
 * was not admitted. The door in this process; workers and the enroll desk: no-duration-processes.test.ts. Other disguises: doors/handshakes.ts.
 */

import { spawn } from 'node:child_process'
import { constants } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import type { TestLeaf } from '../../support/pki.ts'
import { program, run } from '../../support/programs.ts'
import { openRaw } from '../../support/raw-https.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { openByteOrigin, type ByteOrigin } from './door/byte-origin.ts'
import { answersIn, each, openSites, say, textOf, UPGRADE } from './door/target.ts'

let door: DoorHarness
let bytes: ByteOrigin
let lamp: TestLeaf
beforeAll(async () => {
  bytes = await openByteOrigin()
  door = await openDoorHarness()
  lamp = await door.device('lamp-1')
  await openSites(door, {
    hostnames: ['ws.test', 'bytes.test', 'other.test'],
    policies: [{ name: 'boss', include: [{ common_name: { common_name: 'boss-1' } }] }],
    sites: [
      // its origin does not know WebSockets: to it an Upgrade is a GET like any other
      { name: 'ws', hostnames: ['ws.test'], https: { websocket: true } },
      { name: 'bytes', hostnames: ['bytes.test'], https: { origin: bytes.url, websocket: true } },
      { name: 'boss', hostnames: ['a.test'], https: { path: '/boss/*' }, policies: ['boss'] },
      { name: 'other', hostnames: ['other.test'] },
    ],
  })
})
afterAll(async () => {
  await door[Symbol.asyncDispose]()
  await bytes[Symbol.asyncDispose]()
})
beforeEach(() => {
  door.origin.seen.length = 0
  bytes.requests.length = 0
})

const HOSTS = ['a.test', 'ws.test', 'bytes.test'] as const
type Host = (typeof HOSTS)[number]

const H2C = [
  'Connection: Upgrade, HTTP2-Settings',
  'Upgrade: h2c',
  'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA',
]

/** One request for `target` in every costume that ends a connection's first turn, or does not. */
const costumes: Readonly<Record<string, (target: string, host: string) => string>> = {
  GET: (target, host) => textOf(target, { host, close: false }),
  'GET, close': (target, host) => textOf(target, { host }),
  'POST with a length': (target, host) => textOf(target, { host, body: 'hi', close: false }),
  'POST in chunks': (target, host) =>
    `${textOf(target, { host, method: 'POST', close: false, headers: ['Transfer-Encoding: chunked'] })}2\r\nhi\r\n0\r\n\r\n`,
  'Expect: 100-continue': (target, host) =>
    textOf(target, { host, method: 'POST', body: 'hi', close: false, headers: ['Expect: 100-continue'] }),
  'Expect: something': (target, host) =>
    textOf(target, { host, method: 'POST', body: 'hi', close: false, headers: ['Expect: 200-ok'] }),
  'Expect without a body': (target, host) =>
    textOf(target, { host, close: false, headers: ['Expect: 100-continue'] }),
  WebSocket: (target, host) => textOf(target, { host, close: false, headers: UPGRADE }),
  'WebSocket of another version': (target, host) =>
    textOf(target, { host, close: false, headers: UPGRADE.with(2, 'Sec-WebSocket-Version: 777') }),
  'WebSocket by POST': (target, host) =>
    textOf(target, { host, method: 'POST', body: '', close: false, headers: UPGRADE }),
  'WebSocket with a body': (target, host) =>
    textOf(target, { host, body: 'hi', close: false, headers: UPGRADE }),
  'WebSocket and Expect': (target, host) =>
    textOf(target, { host, close: false, headers: [...UPGRADE, 'Expect: 100-continue'] }),
  h2c: (target, host) => textOf(target, { host, close: false, headers: H2C }),
  'WebSocket or h2c': (target, host) =>
    textOf(target, { host, close: false, headers: ['Connection: Upgrade', 'Upgrade: websocket, h2c'] }),
  'HTTP/1.0': (target, host) => `GET ${target} HTTP/1.0\r\nHost: ${host}\r\nConnection: keep-alive\r\n\r\n`,
  'HTTP/0.9': (target) => `GET ${target}\r\n`,
  HEAD: (target, host) => textOf(target, { host, method: 'HEAD', close: false }),
  'OPTIONS *': (_, host) => textOf('*', { host, method: 'OPTIONS', close: false }),
  CONNECT: (_, host) => textOf('localhost:443', { host, method: 'CONNECT', close: false }),
  'the HTTP/2 preface': () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0',
  'one that is refused': (target, host) =>
    textOf(`/boss${target}`, { host: host === 'a.test' ? host : 'a.test', close: false }),
  'a bad target': (target, host) => textOf(`/x/..${target}`, { host, close: false }),
  'the public keys': (_, host) => textOf('/cdn-cgi/access/certs', { host, close: false }),
  'who am I': (_, host) => textOf('/cdn-cgi/access/get-identity', { host, close: false }),
  logout: (_, host) => textOf('/cdn-cgi/access/logout', { host, close: false }),
}
const names = Object.keys(costumes)

type Attack = { readonly host: Host; readonly name: string; readonly writes: readonly string[] }
// on a host by turns: all pairs on all three hosts took ten seconds and found nothing
const attacks: Attack[] = names
  .flatMap((first) => names.map((second) => ({ first, second })))
  .map(({ first, second }, n) => {
    const host = HOSTS[n % HOSTS.length] as Host
    const one = costumes[first]?.(`/first/${n}`, host) ?? ''
    const two = costumes[second]?.(`/second/${n}`, host) ?? ''
    // in one record, in two, and cut in the middle of the second
    const cut = Math.floor(two.length / 2)
    const ways = [[one + two], [one, two], [one + two.slice(0, cut), two.slice(cut)]]
    return { host, name: `${host}: ${first}, then ${second}`, writes: ways[Math.floor(n / 3) % 3] ?? [] }
  })

/** Not `once`: a broken connection is an end like any other. */
const closing = (socket: TLSSocket): Promise<void> =>
  new Promise((resolve) => {
    socket.on('error', () => {}).once('close', () => resolve())
  })

/** Everything that came until the door closed; several writes are several TLS records. */
const converse = async (
  host: string,
  writes: readonly string[],
  o: Partial<ConnectionOptions> = {},
): Promise<string> => {
  const socket = connect({
    host: '127.0.0.1',
    port: door.port,
    servername: host,
    rejectUnauthorized: false,
    key: lamp.keyPem,
    cert: lamp.fullPem,
    ...o,
  })
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  socket.on('error', () => {})
  socket.once('secureConnect', () => {
    for (const part of writes) socket.write(Buffer.from(part, 'latin1'))
  })
  // an origin that has taken an Upgrade keeps its socket: ours is cut by the test then
  socket.setTimeout(1_500, () => {
    text += '\nSTILL OPEN'
    socket.destroy()
  })
  await closing(socket)
  return text
}

const seenBy = (host: Host): string[] =>
  host === 'bytes.test'
    ? bytes.requests.map(({ target }) => target)
    : door.origin.seen.map(({ target }) => target)

test(`${attacks.length} pairs of requests on one connection: the origin sees one at most, and never the second`, async () => {
  const wrong: Record<string, unknown> = {}
  const texts: string[] = []
  await each(attacks, async ({ host, writes }, n) => {
    texts[n] = await converse(host, writes)
  })
  const targets = HOSTS.map((host) => [host, seenBy(host)] as const)
  attacks.forEach(({ host, name }, n) => {
    const seen = (targets.find(([of]) => of === host)?.[1] ?? []).filter((target) => target.endsWith(`/${n}`))
    const text = texts[n] ?? ''
    if (seen.length > 1 || seen.some((target) => target.startsWith('/second'))) wrong[name] = seen
    else if (answersIn(text) > 1) wrong[name] = text
    else if (text.endsWith('STILL OPEN') && !text.startsWith('HTTP/1.1 101')) wrong[name] = text
    else if (seen.some((target) => target.startsWith('/boss'))) wrong[name] = seen
  })
  expect(wrong).toEqual({})
  expect(bytes.wrong).toEqual([])
  // the door is not just deaf
  for (const [host, seen] of targets) expect([host, seen.length > 30]).toEqual([host, true])
})

test.each([2, 3, 5, 10])('%i requests in one TLS record, and octet by octet', async (count) => {
  const all = Array.from({ length: count }, (_, n) => textOf(`/n/${n}`, { close: false })).join('')
  for (const writes of [[all], all.split('')]) {
    door.origin.seen.length = 0
    const text = await converse('a.test', writes)
    expect(answersIn(text)).toBe(1)
    expect(text).toMatch(/\r\nconnection: close\r\n/i)
    expect(seenBy('a.test')).toEqual(['/n/0'])
  }
})

describe('an answer to an Upgrade that is none', () => {
  test.each([
    ['200, as an origin that does not know it says', 'ws.test'],
    ['200, from an origin that keeps the connection', 'bytes.test'],
  ] as const)('%s: what follows is no request', async (_, host) => {
    using client = await openRaw({ port: door.port, leaf: lamp, serverName: host })
    client.send(textOf('/first', { host, close: false, headers: UPGRADE }))
    await client.until(/HTTP\/1\.1 \d\d\d/)
    client.send(textOf('/second', { host }))
    const text = await client.closed()
    expect(answersIn(text)).toBe(1)
    expect(seenBy(host)).toEqual(['/first'])
  })
})

describe('lengths', () => {
  const second = textOf('/second', { host: 'bytes.test' })
  const CHUNKED = [
    'Transfer-Encoding: chunked',
    'transfer-encoding: chunked',
    'Transfer-Encoding: Chunked',
    'Transfer-Encoding:chunked',
    'Transfer-Encoding:\tchunked',
    'Transfer-Encoding: chunked ',
    'Transfer-Encoding : chunked',
    'Transfer-Encoding\t: chunked',
    ' Transfer-Encoding: chunked',
    'X: y\n Transfer-Encoding: chunked',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
    'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked',
    'Transfer-Encoding: identity',
    'Transfer-Encoding: identity, chunked',
    'Transfer-Encoding: chunked, chunked',
    'Transfer-Encoding: chunked;q=1',
    'Transfer-Encoding: "chunked"',
    'Transfer-Encoding: , chunked',
    'Transfer-Encoding: chunked,',
    'Transfer-Encoding:',
    'Transfer-Encoding: xchunked',
    'Transfer-Encoding: chunked\0',
    'Transfer-Encoding: \x00chunked',
    'Transfer-Encoding: \x0bchunked',
    'Transfer-Encoding: \x0cchunked',
    'Transfer-Encoding: chunk\x65d',
    'Transfer_Encoding: chunked',
    'Transfer.Encoding: chunked',
    'Transfer-Encoding\0: chunked',
    'Transfer\u00adEncoding: chunked',
    'Transfer-Encoding:\r\n chunked',
    'Transfer-Encoding:\n chunked',
    'X: y\rTransfer-Encoding: chunked',
    'X: y\nTransfer-Encoding: chunked',
    'X: y\r\rTransfer-Encoding: chunked',
    'TE: chunked',
    'Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked',
  ]
  const LENGTHS = [
    undefined,
    '0',
    '4',
    String(second.length + 5),
    '04',
    '+4',
    '-4',
    '4,4',
    '4, 5',
    '4 4',
    '0x4',
    '4e0',
    '4.0',
    '',
    '\x0b4',
    '4\r\nContent-Length: 4',
    '4\r\nContent-Length: 5',
    '4\r\n 5',
    '4\nContent-Length: 5',
    '4294967300',
    '18446744073709551620',
    '４',
  ]
  // long enough for every length that is a number: none is waited for
  const BODIES = [`0\r\n\r\n${second}`, `1\r\nx\r\n0\r\n\r\n${second}`, second].map((body) => body + second)

  const rows: (readonly [name: string, text: string])[] = []
  for (const coding of [...CHUNKED, undefined])
    for (const length of LENGTHS) {
      if (coding === undefined && length === undefined) continue
      const lines = [
        ...(coding === undefined ? [] : [coding]),
        ...(length === undefined ? [] : [`Content-Length: ${length}`]),
      ]
      const n = rows.length
      for (const order of n % 2 === 0 ? [lines] : [lines.toReversed()])
        rows.push([
          JSON.stringify(order),
          `POST /first/${n} HTTP/1.1\r\nHost: bytes.test\r\n${order.join('\r\n')}\r\n\r\n${BODIES[n % BODIES.length]}`,
        ])
    }
  const chunked = (body: string): string =>
    `POST /first/chunks HTTP/1.1\r\nHost: bytes.test\r\nTransfer-Encoding: chunked\r\n\r\n${body}${second}`
  const CHUNKS = [
    '1;a\r\nx\r\n0\r\n\r\n',
    '1;a="\r\n"\r\nx\r\n0\r\n\r\n',
    `1;a="${second.replaceAll('"', '')}"\r\nx\r\n0\r\n\r\n`,
    '1\t;a\r\nx\r\n0\r\n\r\n',
    '1 \r\nx\r\n0\r\n\r\n',
    ' 1\r\nx\r\n0\r\n\r\n',
    '1;a\nx\r\n0\r\n\r\n',
    '1\nx\n0\n\n',
    '1\r\nx0\r\n\r\n',
    '1\r\nxx\r\n0\r\n\r\n',
    '1\rx\r\n0\r\n\r\n',
    '0001\r\nx\r\n0000\r\n\r\n',
    '0x1\r\nx\r\n0\r\n\r\n',
    '+1\r\nx\r\n0\r\n\r\n',
    '-1\r\nx\r\n0\r\n\r\n',
    '1_0\r\nx\r\n0\r\n\r\n',
    '1;\r\nx\r\n0\r\n\r\n',
    '1;=\r\nx\r\n0\r\n\r\n',
    `1;${'a'.repeat(20_000)}\r\nx\r\n0\r\n\r\n`,
    'fffffffffffffffffe\r\nx\r\n0\r\n\r\n',
    '0\r\nX: y\r\n\r\n',
    '0\r\nContent-Length: 100\r\n\r\n',
    '0\r\nTransfer-Encoding: chunked\r\n\r\n',
    '0\r\nCf-Access-Jwt-Assertion: x\r\nHost: evil.example\r\n\r\n',
    '0\r\nX: y\n\n',
    '0\r\n X: y\r\n\r\n',
    '0\r\nX : y\r\n\r\n',
    '0;a\r\n\r\n',
    '0\n\r\n',
    '\r\n0\r\n\r\n',
    '',
  ]
  rows.push(...CHUNKS.map((body) => [JSON.stringify(body.slice(0, 60)), chunked(body)] as const))

  test(`${rows.length} ways to say how long a body is: one request or none, and none that two readers read differently`, async () => {
    const wrong: Record<string, unknown> = {}
    await each(rows, async ([name, text]) => {
      const raw = await converse('bytes.test', [text])
      if (answersIn(raw) > 1 || raw.endsWith('STILL OPEN')) wrong[name] = raw
    })
    expect(wrong).toEqual({})
    expect(bytes.wrong).toEqual([])
    expect(bytes.requests.filter(({ target }) => !target.startsWith('/first/'))).toEqual([])
    // whatever of the head is left reads as one request, whose length is certain and whose trailers say nothing
    for (const { head } of bytes.requests) {
      expect(head).not.toMatch(/evil|transfer[_.]|(^|[^\r])\n/i)
      expect(['\0', '\v'].filter((c) => head.includes(c))).toEqual([])
    }
    const counts = new Map<string, number>()
    for (const { target } of bytes.requests) counts.set(target, (counts.get(target) ?? 0) + 1)
    counts.delete('/first/chunks')
    expect([...counts].filter(([, count]) => count > 1)).toEqual([])
    expect(bytes.requests.length).toBeGreaterThan(10)
  })

  test.each([
    ['the same twice', ['Host: a.test', 'Host: a.test']],
    ['two', ['Host: a.test', 'Host: other.test']],
    ['in one', ['Host: a.test, other.test']],
    ['folded', ['Host: a.test', ' other.test']],
    ['none', []],
    ['with a space before the colon', ['Host : a.test']],
    ['once more by an underscore', ['Host: a.test', 'Ho_st: other.test', 'X-Host: other.test']],
  ])('Host, %s: this one or nothing', async (_, lines) => {
    const raw = await converse('a.test', [
      `GET /h HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${textOf('/second')}`,
    ])
    expect(answersIn(raw)).toBe(1)
    for (const seen of door.origin.seen)
      expect([seen.target, seen.headers['host']]).toEqual(['/h', ['a.test']])
    if (lines.length !== 1 && !lines.some((line) => line.startsWith('X-')))
      expect(door.origin.seen).toEqual([])
  })
})

describe('HTTP/2 and what is older than HTTP/1', () => {
  test('h2 alone is not spoken; beside http/1.1 it is not chosen, and its preface is no request', async () => {
    await expect(openRaw({ port: door.port, leaf: lamp, tls: { ALPNProtocols: ['h2'] } })).rejects.toThrow()
    const frames = Buffer.concat([
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      Buffer.from('000000040000000000', 'hex'),
      // HEADERS, END_STREAM: GET https / , by the static table
      Buffer.from('000003010500000001828784', 'hex'),
    ]).toString('latin1')
    for (const ALPNProtocols of [['h2', 'http/1.1'], ['http/1.1'], ['http/1.0'], ['spdy/3'], undefined]) {
      const raw = await converse('a.test', [frames, textOf('/second')], {
        ...(ALPNProtocols && { ALPNProtocols }),
      })
      expect(answersIn(raw)).toBeLessThanOrEqual(1)
      expect(raw).not.toMatch(/ 200 /)
    }
    expect(door.origin.seen).toEqual([])
  })
  test.each([
    'GET /\r\n',
    'GET /\r\n\r\n',
    'GET / \r\n\r\n',
    'GET / HTTP\r\n\r\n',
    'GET / HTTP/0.9\r\nHost: a.test\r\n\r\n',
  ])('%j is no request', async (text) => {
    const raw = await converse('a.test', [text + textOf('/second')])
    expect(raw).toMatch(/^HTTP\/1\.1 400 /)
    expect(door.origin.seen).toEqual([])
  })
})

// ---- resumption

/**
 * Another server with the door's own certificate and key, as lax as Node is when nobody tells it otherwise: what it gives away (tickets,
 * session ids, early data) is shown to the door.
 */
const sessionsOfLax = async (
  version: 'TLSv1.2' | 'TLSv1.3',
  o: { tickets: boolean; host: string },
): Promise<Buffer[]> => {
  const at = (name: string): string => join(door.config.home, 'certs', name)
  const kept = new Map<string, Buffer>()
  const server = createServer({
    cert: readFileSync(at('server.pem')),
    key: readFileSync(at('private/server.key')),
    ca: [door.pki.devices.pem, door.pki.root.pem],
    requestCert: true,
    ...(o.tickets ? {} : { secureOptions: constants.SSL_OP_NO_TICKET }),
  })
  if (!o.tickets) {
    server.on('newSession', (id: Buffer, data: Buffer, done: () => void) => {
      kept.set(id.toString('hex'), data)
      done()
    })
    server.on('resumeSession', (id: Buffer, done: (error: Error | null, data: Buffer | null) => void) =>
      done(null, kept.get(id.toString('hex')) ?? null),
    )
  }
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {})
    socket.end('bye')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    servername: o.host,
    rejectUnauthorized: false,
    key: lamp.keyPem,
    cert: lamp.fullPem,
    minVersion: version,
    maxVersion: version,
  })
  const found: Buffer[] = []
  socket.on('session', (session: Buffer) => found.push(session))
  socket.resume()
  await closing(socket)
  server.close()
  return found
}

const resumed = async (
  session: Buffer,
  version: 'TLSv1.2' | 'TLSv1.3',
  host: string,
  who?: TestLeaf,
): Promise<{ reused: boolean; text: string }> => {
  const socket: TLSSocket = connect({
    host: '127.0.0.1',
    port: door.port,
    servername: host,
    rejectUnauthorized: false,
    session,
    minVersion: version,
    maxVersion: version,
    ...(who === undefined ? {} : { key: who.keyPem, cert: who.fullPem }),
  })
  let text = ''
  socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
  await once(socket, 'secureConnect')
  const reused = socket.isSessionReused()
  socket.write(textOf('/resumed', { host }))
  await closing(socket)
  return { reused, text }
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s: a session', (version) => {
  test.each([
    ['a ticket', true],
    ['a session id', false],
  ])('from another server with the same key, %s: a handshake all the same', async (_, tickets) => {
    const sessions = await sessionsOfLax(version, { tickets, host: 'a.test' })
    expect(sessions.length).toBeGreaterThan(0)
    for (const session of sessions)
      for (const host of ['a.test', 'other.test', 'A.TEST']) {
        const { reused, text } = await resumed(session, version, host)
        expect([host, reused]).toEqual([host, false])
        expect(text).toMatch(/certificate_required|host_mismatch/)
      }
    expect(door.origin.seen).toEqual([])
    // and with the certificate it is an ordinary request
    const { reused, text } = await resumed(sessions[0] as Buffer, version, 'a.test', lamp)
    expect([reused, text.slice(9, 12)]).toEqual([false, '200'])
  })

  test('of the door itself, across its hostnames and after a revocation: none', async () => {
    const gone = await door.device(`gone-${version.slice(-1)}`)
    const found: Buffer[] = []
    const socket = connect({
      host: '127.0.0.1',
      port: door.port,
      servername: 'other.test',
      rejectUnauthorized: false,
      key: gone.keyPem,
      cert: gone.fullPem,
      minVersion: version,
      maxVersion: version,
    })
    socket.on('session', (session: Buffer) => found.push(session))
    await once(socket, 'secureConnect')
    const early = socket.getSession()
    socket.end(textOf('/before', { host: 'other.test' }))
    socket.resume()
    await closing(socket)
    expect(door.origin.seen.map(({ target }) => target)).toEqual(['/before'])
    await door.setState(gone.id, 'revoked')
    const sessions = [...found, ...(early === undefined ? [] : [early])]
    expect(sessions).not.toEqual([])
    for (const session of sessions)
      for (const host of ['other.test', 'a.test'])
        for (const who of [undefined, gone]) {
          const { reused, text } = await resumed(session, version, host, who)
          expect([host, reused]).toEqual([host, false])
          expect(text).toMatch(who === undefined ? /certificate_required/ : /certificate_revoked/)
        }
    expect(door.origin.seen).toHaveLength(1)
  })
})

describe('TLS 1.2, a second handshake on the connection', () => {
  test.each([
    ['before the request', []],
    ['in the middle of the request', ['GET /first HTTP/1.1\r\nHost: a.test\r\n']],
  ])('%s: refused, and no request comes of it', async (_, before) => {
    const socket = connect({
      host: '127.0.0.1',
      port: door.port,
      servername: 'a.test',
      rejectUnauthorized: false,
      key: lamp.keyPem,
      cert: lamp.fullPem,
      maxVersion: 'TLSv1.2',
    })
    socket.on('error', () => {})
    await once(socket, 'secureConnect')
    for (const part of before) socket.write(part)
    const done = new Promise<unknown>((resolve) => {
      socket.renegotiate({}, resolve)
      socket.on('close', () => resolve('closed'))
    })
    socket.write(before.length === 0 ? textOf('/first') : 'Connection: close\r\n\r\n')
    socket.resume()
    expect(await done).not.toBeNull()
    socket.destroy()
    expect(door.origin.seen.length).toBeLessThanOrEqual(before.length)
  })
})

const openssl = program('openssl')
describe.skipIf(openssl === undefined)('openssl s_client', () => {
  const folder = temporaryFolder()
  const at = (name: string): string => join(folder.path, name)
  afterAll(() => {
    folder[Symbol.dispose]()
  })
  beforeAll(() => {
    writeFileSync(at('cert.pem'), lamp.certPem)
    writeFileSync(at('chain.pem'), lamp.chainPem)
    writeFileSync(at('key.pem'), lamp.keyPem, { mode: 0o600 })
    writeFileSync(at('get.txt'), textOf('/early'))
  })
  const client = (port: number, args: readonly string[], input: string) =>
    run(
      openssl as string,
      ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'a.test', '-ign_eof', ...args],
      {
        input,
      },
    )

  test('early data, with a session that allows it: not taken', async () => {
    const server = spawn(openssl as string, [
      's_server',
      '-accept',
      '127.0.0.1:0',
      '-early_data',
      '-naccept',
      '1',
      '-tls1_3',
      '-cert',
      join(door.config.home, 'certs/server.pem'),
      '-key',
      join(door.config.home, 'certs/private/server.key'),
    ])
    let said = ''
    server.stdout.setEncoding('latin1').on('data', (chunk: string) => (said += chunk))
    while (!/ACCEPT [^\n]*:\d+\n/.test(said)) await once(server.stdout, 'data')
    const port = Number(/ACCEPT [^\n]*:(\d+)\n/.exec(said)?.[1])
    const first = spawn(openssl as string, [
      's_client',
      '-connect',
      `127.0.0.1:${port}`,
      '-servername',
      'a.test',
      '-tls1_3',
      '-sess_out',
      at('early.pem'),
    ])
    let text = ''
    first.stdout.setEncoding('latin1').on('data', (chunk: string) => {
      if (!text.includes('Verify return code') && (text + chunk).includes('Verify return code'))
        server.stdin.write('tickets have been read before this\n')
      text += chunk
      if (text.includes('have been read')) first.stdin.end('Q\n')
    })
    await once(first, 'close')
    server.kill()
    const kept = await run(openssl as string, ['sess_id', '-in', at('early.pem'), '-noout', '-text'])
    expect(kept.stdout).toMatch(/Max Early Data: [1-9]/)

    for (const who of [
      [],
      ['-cert', at('cert.pem'), '-cert_chain', at('chain.pem'), '-key', at('key.pem')],
    ]) {
      const { stdout } = await client(
        door.port,
        ['-tls1_3', '-sess_in', at('early.pem'), '-early_data', at('get.txt'), ...who],
        textOf('/late'),
      )
      expect(stdout).toMatch(/Early data was (rejected|not sent)/)
      expect(stdout).not.toMatch(/^Reused/m)
    }
    expect(door.origin.seen.map(({ target }) => target)).not.toContain('/early')
  })

  test('a PSK from outside is none', async () => {
    const { stdout, code } = await client(
      door.port,
      ['-psk', '00112233445566778899aabbccddeeff', '-psk_identity', 'lamp-1', '-tls1_3'],
      textOf('/psk'),
    )
    expect(stdout + String(code)).not.toMatch(/200 OK/)
    expect(door.origin.seen).toEqual([])
  })
})

test('after all that an honest request is served', async () => {
  expect((await say(door, textOf('/honest'), { who: lamp })).status).toBe(200)
  expect(seenBy('a.test')).toEqual(['/honest'])
})
