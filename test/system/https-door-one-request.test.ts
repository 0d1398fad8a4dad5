/** Exactly one request is served per connection, whatever the client does: the origin sees one, and the connection ends. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { openRaw, readReply, requestText } from '../support/raw-https.ts'

let door: DoorHarness
let lamp: TestLeaf
beforeAll(async () => {
  door = await openDoorHarness({
    answers: {
      // long enough for a second request to arrive in the meantime
      '/slow': (_, response) => setTimeout(() => response.end('slow answer'), 150),
    },
  })
  lamp = await door.device('lamp-1')
})
afterAll(() => door[Symbol.asyncDispose]())
beforeEach(() => {
  door.origin.seen.length = 0
})

const first = requestText('/first')
const second = requestText('/second')
const withBody = (path: string, body: string, extra: readonly string[] = []) =>
  requestText(path, { method: 'POST', body, headers: extra })
const upgrade = requestText('/up', {
  headers: ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
})
const expecting = (path: string, what: string) =>
  requestText(path, { method: 'POST', body: 'hello', headers: [`Expect: ${what}`] })
const old = 'GET /old HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n'
const slow = requestText('/slow')

const targets = (): string[] => door.origin.seen.map(({ target }) => target)

describe('pipelined: everything in one write', () => {
  const rows: readonly (readonly [string, string, readonly string[]])[] = [
    ['two', first + second, ['/first']],
    ['five', first + second.repeat(4), ['/first']],
    ['two while the first is being served', slow + second, ['/slow']],
    ['HTTP/1.0 keep-alive, then one more', old + second, ['/old']],
    ['one, then HTTP/1.0', first + old, ['/first']],
    ['a body, then one more', withBody('/first', 'body') + second, ['/first']],
    [
      'a chunked body, then one more',
      `${requestText('/first', { method: 'POST', headers: ['Transfer-Encoding: chunked'] })}4\r\nbody\r\n0\r\n\r\n${second}`,
      ['/first'],
    ],
    ['one, then Upgrade', first + upgrade, ['/first']],
    ['one being served, then Upgrade', slow + upgrade, ['/slow']],
    ['one, then Expect: 100-continue', first + expecting('/second', '100-continue'), ['/first']],
    ['one, then an unknown Expect', first + expecting('/second', 'surprise'), ['/first']],
    ['Expect: 100-continue, then one more', expecting('/first', '100-continue') + second, ['/first']],
    [
      'one that closes, then one more',
      requestText('/first', { headers: ['Connection: close'] }) + second,
      ['/first'],
    ],
    [
      'one that closes while it is served, then one more',
      requestText('/slow', { headers: ['Connection: close'] }) + second,
      ['/slow'],
    ],
    ['one being served, then garbage', `${slow}\u0000\u0001 what?\r\n\r\n`, ['/slow']],
    ['a smuggled one in the body', withBody('/first', second), ['/first']],
    ['empty lines, then two', `\r\n\r\n${first}${second}`, ['/first']],
  ]
  test.each(rows)('%s', async (_, bytes, served) => {
    const raw = await (async () => {
      using client = await openRaw({ port: door.port, leaf: lamp })
      client.send(bytes)
      return await client.closed()
    })()
    expect(targets()).toEqual(served)
    expect(raw.match(/HTTP\/1\.1 (?:2(?!..\r)|[345])\d\d/g)?.length ?? 0).toBeLessThanOrEqual(1)
    const answer = readReply(raw.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, ''))
    expect(answer).toMatchObject({ status: 200, headers: { connection: 'close' } })
  })
})

test.each([
  ['CONNECT', requestText('x:1', { method: 'CONNECT' })],
  ['the HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
])('one, then %s: the parser gives the connection up, and with it the answer', async (_, bytes) => {
  using client = await openRaw({ port: door.port, leaf: lamp })
  client.send(first + bytes)
  await client.closed()
  expect(targets().filter((target) => target !== '/first')).toEqual([])
})

describe('one after the other', () => {
  test.each([
    ['a second one after the answer', first, second],
    ['an Upgrade after the answer', first, upgrade],
    ['HTTP/1.0 with keep-alive, then one more', old, second],
    ['an expectation after the answer', first, expecting('/second', '100-continue')],
  ])('%s', async (_, one, two) => {
    using client = await openRaw({ port: door.port, leaf: lamp, tls: { allowHalfOpen: true } as never })
    client.send(one)
    await client.until(/origin says ok/)
    client.send(two)
    await client.closed()
    expect(door.origin.seen).toHaveLength(1)
  })
  test('a second one while the first is being served', async () => {
    using client = await openRaw({ port: door.port, leaf: lamp })
    client.send(slow)
    await door.origin.begun(1)
    client.send(second)
    expect(await client.closed()).toContain('slow answer')
    expect(targets()).toEqual(['/slow'])
  })
  test('a refused first one is the one: no second try on the same handshake', async () => {
    using client = await openRaw({ port: door.port, leaf: lamp })
    client.send(requestText('/a/../b') + second)
    expect(readReply(await client.closed()).status).toBe(400)
    expect(targets()).toEqual([])
  })
  test('the public keys are a request too', async () => {
    using client = await openRaw({ port: door.port, leaf: lamp })
    client.send(requestText('/cdn-cgi/access/certs') + second)
    expect(await client.closed()).toContain('"keys"')
    expect(targets()).toEqual([])
  })
})

describe('Upgrade, Expect, versions', () => {
  test('Upgrade is refused', async () => {
    const reply = await door.say(upgrade, lamp)
    expect([reply.status, reply.body]).toEqual([422, expect.stringContaining('Upgrade')])
    expect(targets()).toEqual([])
  })
  test('Upgrade that Connection does not name is no Upgrade, and stays here', async () => {
    expect((await door.say(requestText('/x', { headers: ['Upgrade: websocket'] }), lamp)).status).toBe(200)
    expect(door.origin.seen[0]?.headers).not.toHaveProperty('upgrade')
  })
  test('Upgrade without a certificate hears that first', async () => {
    expect((await door.say(upgrade)).body).toContain('certificate_required')
  })
  test('Expect: 100-continue: told to go on only when admitted', async () => {
    using good = await openRaw({ port: door.port, leaf: lamp })
    good.send('POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
    await good.until(/^HTTP\/1\.1 100 Continue\r\n\r\n/)
    good.send('hello')
    expect(await good.closed()).toContain('origin says ok')
    expect(door.origin.seen[0]).toMatchObject({ body: 'hello' })
    expect(door.origin.seen[0]?.headers).not.toHaveProperty('expect')

    using bad = await openRaw({ port: door.port })
    bad.send('POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
    expect(await bad.closed()).toMatch(/^HTTP\/1\.1 403 /)
  })
  test('any other expectation cannot be met', async () => {
    expect((await door.say(expecting('/x', 'surprise'), lamp)).status).toBe(417)
    expect(targets()).toEqual([])
  })
  test('HTTP/1.0 gets a whole answer without chunks, and the end', async () => {
    const reply = await door.say(old, lamp)
    expect(reply).toMatchObject({ status: 200, body: 'origin says ok' })
    expect(reply.headers).not.toHaveProperty('transfer-encoding')
  })
  test.each(['HTTP/0.9', 'HTTP/2.0', 'HTTP/1.2', 'HTTP/11', 'ICE/1.0'])(
    '%s is not spoken',
    async (version) => {
      const reply = await door.say(`GET / ${version}\r\nHost: a.test\r\n\r\n`, lamp)
      expect(reply.status).toBe(400)
      expect(targets()).toEqual([])
    },
  )
  test('h2 only by ALPN: no handshake', async () => {
    await expect(openRaw({ port: door.port, leaf: lamp, tls: { ALPNProtocols: ['h2'] } })).rejects.toThrow(
      /no.application.protocol/i,
    )
    const both = await openRaw({ port: door.port, leaf: lamp, tls: { ALPNProtocols: ['h2', 'http/1.1'] } })
    expect(both.socket.alpnProtocol).toBe('http/1.1')
    both[Symbol.dispose]()
  })
})

describe('smuggling: one request, one length, or none', () => {
  const post = (lines: readonly string[], body: string): string =>
    `POST /first HTTP/1.1\r\nHost: a.test\r\n${lines.join('\r\n')}\r\n\r\n${body}`
  const rows: readonly (readonly [string, string])[] = [
    ['CL.TE', post(['Content-Length: 6', 'Transfer-Encoding: chunked'], '0\r\n\r\nG')],
    [
      'TE.CL',
      post(['Transfer-Encoding: chunked', 'Content-Length: 4'], '5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n'),
    ],
    ['two different lengths', post(['Content-Length: 5', 'Content-Length: 6'], 'hello!')],
    ['two equal lengths', post(['Content-Length: 5', 'Content-Length: 5'], 'hello')],
    ['a list of lengths', post(['Content-Length: 5, 5'], 'hello')],
    ['a negative length', post(['Content-Length: -5'], 'hello')],
    ['a signed length', post(['Content-Length: +5'], 'hello')],
    ['a hexadecimal length', post(['Content-Length: 0x5'], 'hello')],
    ['a length with a space in it', post(['Content-Length: 5 5'], 'hello')],
    ['an empty length', post(['Content-Length:'], 'hello')],
    ['a length beyond all numbers', post(['Content-Length: 99999999999999999999'], 'hello')],
    ['an obsolete fold', `GET /first HTTP/1.1\r\nHost: a.test\r\nX: a\r\n b\r\n\r\n`],
    ['a folded Transfer-Encoding', post(['Transfer-Encoding:', ' chunked'], '0\r\n\r\n')],
    ['a space before the colon', post(['Transfer-Encoding : chunked'], '0\r\n\r\n')],
    ['a tab before the colon', post(['Content-Length\t: 5'], 'hello')],
    ['a bare LF between lines', 'GET /first HTTP/1.1\nHost: a.test\n\n'],
    [
      'a bare LF in the header',
      'GET /first HTTP/1.1\r\nHost: a.test\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n',
    ],
    ['a bare CR in the header', 'GET /first HTTP/1.1\r\nHost: a.test\r\nX: y\rZ: w\r\n\r\n'],
    ['NUL in a value', 'GET /first HTTP/1.1\r\nHost: a.test\r\nX: a\u0000b\r\n\r\n'],
    ['NUL in a name', 'GET /first HTTP/1.1\r\nHost: a.test\r\nX\u0000: a\r\n\r\n'],
    ['no name', 'GET /first HTTP/1.1\r\nHost: a.test\r\n: a\r\n\r\n'],
    ['a space before the first field', 'GET /first HTTP/1.1\r\n Host: a.test\r\n\r\n'],
    ['chunked, but not last', post(['Transfer-Encoding: chunked, identity'], '0\r\n\r\n')],
    ['another coding', post(['Transfer-Encoding: gzip, chunked'], '0\r\n\r\n')],
    ['an unknown coding', post(['Transfer-Encoding: xchunked'], '0\r\n\r\n')],
    ['chunked twice', post(['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'], '0\r\n\r\n')],
    [
      'chunked in two fields, one hidden',
      post(['Transfer-Encoding: chunked', 'Transfer-encoding: cow'], '0\r\n\r\n'),
    ],
    ['chunked with a vertical tab', post(['Transfer-Encoding: \u000bchunked'], '0\r\n\r\n')],
    [
      'chunked in HTTP/1.0',
      `POST /first HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ['a chunk size that is none', post(['Transfer-Encoding: chunked'], 'zz\r\nhello\r\n0\r\n\r\n')],
    [
      'a chunk size beyond all numbers',
      post(['Transfer-Encoding: chunked'], 'ffffffffffffffffff\r\nhello\r\n0\r\n\r\n'),
    ],
    ['a chunk that is longer than it says', post(['Transfer-Encoding: chunked'], '3\r\nhello\r\n0\r\n\r\n')],
    ['a bare LF after a chunk size', post(['Transfer-Encoding: chunked'], '5\nhello\r\n0\r\n\r\n')],
    ['a tab in the request line', 'GET\t/first HTTP/1.1\r\nHost: a.test\r\n\r\n'],
    ['a method that is none', 'G@T /first HTTP/1.1\r\nHost: a.test\r\n\r\n'],
    ['a TLS hello inside TLS', '\u0016\u0003\u0001\u0002\u0000\u0001\u0000'],
  ]
  test.each(rows)('%s', async (_, bytes) => {
    const reply = await door.say(Buffer.from(bytes, 'latin1'), lamp)
    expect(reply).toMatchObject({ status: 400, headers: { connection: 'close' } })
    expect(JSON.parse(reply.body)).toMatchObject({ status: 400, reason: 'bad_request' })
    expect(targets()).toEqual([])
  })
})
