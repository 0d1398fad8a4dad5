/** An application with a duration: requests one after the other on one handshake, each judged, and a session that ends when it should. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { HOUR, MINUTE } from '#fleet/clock.ts'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { openRaw, readReply, requestText, type RawClient, type RawReply } from '../support/raw-https.ts'
import { ACTOR, application } from '../support/registry.ts'

let door: DoorHarness
let lamp: TestLeaf
let underWay = 0
let mostUnderWay = 0
/** end the answers that have begun */
const finish: (() => void)[] = []
const SESSION = { sessionDuration: 15 * MINUTE }
beforeAll(async () => {
  door = await openDoorHarness({
    env: {
      SALLYPORT_HTTPS_MAX_CONNECTION: '1h',
      SALLYPORT_LIMITS_MAX_CONNECTIONS: '40',
      SALLYPORT_LIMITS_HEADER_TIMEOUT: '500ms',
    },
    answers: {
      '/slow': (_, response) => {
        underWay += 1
        mostUnderWay = Math.max(mostUnderWay, underWay)
        setTimeout(() => {
          underWay -= 1
          response.end(`slow ${door.origin.seen.length}`)
        }, 20)
      },
      '/long': (_, response) => {
        response.write('begun')
        finish.push(() => response.end('done'))
      },
      '/early': (request, response) => {
        response.writeHead(401).end('I have heard enough')
        request.resume()
      },
    },
  })
  lamp = await door.device('lamp-1')
  await door.registry.putAccess('application', {
    value: application({
      name: 'strict',
      hostnames: ['a.test'],
      https: { path: '/strict', origin: door.origin.url },
      sessionDuration: 0,
    }),
    now: Date.now(),
    actor: ACTOR,
  })
  await door.putHttps({}, SESSION)
})
afterAll(() => door[Symbol.asyncDispose]())
beforeEach(() => {
  door.origin.seen.length = 0
})

const get = requestText('/')
const open = (leaf = lamp): Promise<RawClient> => openRaw({ port: door.port, leaf })
const ask = async (client: RawClient, text = get): Promise<RawReply> => {
  client.send(text)
  return client.reply()
}
const cookieOf = ({ headers }: RawReply): string =>
  /^CF_Authorization=[^;]+/.exec(headers['set-cookie'] ?? '')?.[0] ?? ''
const targets = (): string[] => door.origin.seen.map(({ target }) => target)

describe('on one connection', () => {
  test('several requests, in order; the session is given once', async () => {
    using client = await open()
    const first = await ask(client)
    expect(first).toMatchObject({
      status: 200,
      headers: {
        connection: 'keep-alive',
        'keep-alive': 'timeout=60',
        'set-cookie': expect.stringMatching(
          /^CF_Authorization=[\w-]+\.[\w-]+\.[\w-]+; Path=\/; Secure; HttpOnly; SameSite=Lax; Max-Age=(?:899|900|898)$/,
        ) as string,
      },
    })
    const second = await ask(client, requestText('/b', { method: 'POST', body: 'hello' }))
    expect(second).toMatchObject({ status: 200, body: 'origin says ok' })
    expect(second.headers).not.toHaveProperty('set-cookie')
    expect((await ask(client, requestText('/c', { headers: [`Cookie: ${cookieOf(first)}`] }))).status).toBe(
      200,
    )
    expect(targets()).toEqual(['/', '/b', '/c'])
    expect(door.origin.seen[1]?.body).toBe('hello')
    expect(JSON.stringify(door.origin.seen)).not.toContain(cookieOf(first))
    expect(JSON.stringify(door.log)).not.toContain(cookieOf(first).slice(17))
  })
  test('every one has an assertion of its own', async () => {
    using client = await open()
    await ask(client)
    await ask(client, requestText('/other'))
    const [one, two] = door.origin.seen.map(({ headers }) => headers['cf-access-jwt-assertion']?.[0])
    expect(one).toMatch(/^eyJ/)
    expect(two).toMatch(/^eyJ/)
    expect(one).not.toBe(two)
  })
  test('pipelined: one after the other', async () => {
    mostUnderWay = 0
    using client = await open()
    client.send(requestText('/slow').repeat(5))
    const bodies: string[] = []
    for (let at = 0; at < 5; at += 1) bodies.push((await client.reply()).body)
    expect(bodies).toEqual(['slow 1', 'slow 2', 'slow 3', 'slow 4', 'slow 5'])
    expect(mostUnderWay).toBe(1)
    expect((await ask(client)).status).toBe(200)
  })
  test('pipelined bodies stay with their requests', async () => {
    using client = await open()
    const post = (body: string) => requestText('/up', { method: 'POST', body })
    const chunked = `${requestText('/up', { method: 'POST', headers: ['Transfer-Encoding: chunked'] })}3\r\ntwo\r\n0\r\n\r\n`
    client.send(post('x'.repeat(200_000)) + chunked + post('three'))
    for (let at = 0; at < 3; at += 1) expect((await client.reply()).status).toBe(200)
    expect(door.origin.seen.map(({ body }) => body.length)).toEqual([200_000, 3, 5])
  })
  test('too many at once: some wait, the rest is not served, and the connection ends', async () => {
    using client = await open()
    client.send(requestText('/slow') + get.repeat(60))
    const raw = await client.closed()
    expect(door.origin.seen).toHaveLength(33)
    expect(raw.match(/HTTP\/1\.1 200/g)).toHaveLength(33)
    expect(raw.match(/connection: close/gi)).toHaveLength(1)
  })
  test.each([100, 250])('%i at once: the same, also for those that come much later', async (count) => {
    using client = await open()
    client.send(requestText('/slow') + get.repeat(count))
    await client.until(/slow/)
    client.send(get.repeat(5))
    const raw = await client.closed()
    expect(door.origin.seen).toHaveLength(33)
    expect(raw.match(/HTTP\/1\.1 200/g)).toHaveLength(33)
    expect(raw).toMatch(/connection: close(?:(?!HTTP\/1)[^])*$/i)
  })
  test('without end: cut off', async () => {
    using client = await open()
    client.send(requestText('/slow') + get.repeat(3_000))
    const raw = await client.closed()
    expect(door.origin.seen.length).toBeLessThanOrEqual(33)
    expect(raw.match(/HTTP\/1\.1 200/g)?.length ?? 0).toBeLessThanOrEqual(33)
  })
  test('a flood of them is cut off', async () => {
    using client = await open()
    client.send(requestText('/slow') + get.repeat(2_000))
    await client.closed()
    expect(door.origin.seen.length).toBeLessThanOrEqual(33)
  })
  test('HEAD, then GET', async () => {
    using client = await open()
    client.send(requestText('/', { method: 'HEAD' }) + get)
    const raw = await client.until(/HTTP\/1\.1 200[^]*HTTP\/1\.1 200[^]*ok/)
    expect(raw.match(/origin says ok/g)).toHaveLength(1)
  })
  test.each([
    ['the client says so', requestText('/', { headers: ['Connection: close'] })],
    ['HTTP/1.0', 'GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n'],
  ])('it ends when %s; what comes behind is not served', async (_, text) => {
    using client = await open()
    await ask(client)
    client.send(text + get)
    const reply = readReply((await client.closed()).slice(client.text().lastIndexOf('HTTP/1.1')))
    expect(reply).toMatchObject({ status: 200, headers: { connection: 'close' } })
    expect(targets()).toEqual(['/', '/'])
  })
  test('it ends after an answer that came before the request was whole', async () => {
    using client = await open()
    await ask(client)
    client.send('POST /early HTTP/1.1\r\nHost: a.test\r\nContent-Length: 500000\r\n\r\nhello')
    expect(await client.closed()).toMatch(/401 Unauthorized[^]*connection: close/i)
  })
  test('Expect: 100-continue', async () => {
    using client = await open()
    await ask(client)
    client.send('POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n')
    await client.until(/100 Continue\r\n\r\n/)
    client.send('hello')
    await client.until(/100 Continue[^]*origin says ok/)
  })
  test('the certificate is told with the first request only, when the application says so', async () => {
    await door.putHttps({ forwardOn: 'first' }, SESSION)
    using client = await open()
    await ask(client)
    await ask(client)
    await door.putHttps({}, SESSION)
    await ask(client)
    expect(door.origin.seen.map(({ headers }) => 'cf-client-cert-sha256' in headers)).toEqual([
      true,
      false,
      true,
    ])
    expect(door.origin.seen.every(({ headers }) => 'cf-access-jwt-assertion' in headers)).toBe(true)
  })
})

describe('each is judged', () => {
  test('a device that is suspended in between', async () => {
    const leaf = await door.device('lamp-2')
    using client = await open(leaf)
    await ask(client)
    await door.setState('lamp-2', 'suspended')
    const reply = await ask(client)
    expect(reply).toMatchObject({ status: 403, headers: { connection: 'close' } })
    expect(reply.body).toContain('device_suspended')
    await client.closed()
  })
  test('a request that can be read in two ways ends it', async () => {
    using client = await open()
    await ask(client)
    client.send(`GET / HTTP/1.1\r\nHost: a.test\r\nhOST: b.test\r\n\r\n${get}`)
    expect((await client.closed()).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400'])
    expect(targets()).toEqual(['/'])
  })
  test('pipelined behind the refusal: not served', async () => {
    const leaf = await door.device('lamp-3')
    using client = await open(leaf)
    client.send(requestText('/slow') + requestText('/a/../b') + get)
    expect((await client.closed()).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400'])
    expect(targets()).toEqual(['/slow'])
  })
  test('what is not admission’s leaves the connection', async () => {
    using client = await open()
    await ask(client)
    expect((await ask(client, requestText('/', { method: 'PURGE' }))).status).toBe(405)
    expect((await ask(client)).status).toBe(200)
  })
  test('an application of No Duration needs a connection of its own', async () => {
    using kept = await open()
    await ask(kept)
    const reply = await ask(kept, requestText('/strict'))
    expect(reply).toMatchObject({ status: 421, headers: { connection: 'close' } })
    expect(reply.body).toContain('handshake_not_fresh')
    await kept.closed()

    using fresh = await open()
    fresh.send(requestText('/strict') + get)
    const [served, ...more] = (await fresh.closed()).match(/HTTP\/1\.1 \d+/g) ?? []
    expect([served, more]).toEqual(['HTTP/1.1 200', []])
    expect(targets()).toEqual(['/', '/strict'])
  })
  test('a refused first request ends the connection', async () => {
    using client = await openRaw({ port: door.port })
    client.send(get + get)
    expect((await client.closed()).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 403'])
  })
})

describe('what is not a request', () => {
  test('behind an answer: 400, and the end', async () => {
    using client = await open()
    await ask(client)
    client.send('what is this?\r\n\r\n')
    expect((await client.reply()).status).toBe(400)
    await client.closed()
  })
  test.each([
    ['behind an answer', true],
    ['on a new connection', false],
  ])('half a header %s: 408, and its rest is too late', async (_, behind) => {
    using client = await openRaw({ port: door.port, leaf: lamp, tls: { allowHalfOpen: true } as never })
    if (behind) await ask(client)
    client.send('GET /late HTTP/1.1\r\nHost:')
    expect((await client.reply()).status).toBe(408)
    client.send(` a.test\r\n\r\n${get}`)
    await client.closed()
    using other = await open()
    await ask(other)
    expect(targets()).toEqual(behind ? ['/', '/'] : ['/'])
  })
  test('behind a request: that one’s answer, and the end', async () => {
    using client = await open()
    client.send(`${requestText('/slow')}what is this?\r\n\r\n${get}`)
    expect((await client.closed()).match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200'])
    expect(targets()).toEqual(['/slow'])
  })
  test('CONNECT and the HTTP/2 preface', async () => {
    for (const bytes of [requestText('x:1', { method: 'CONNECT' }), 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n']) {
      using client = await open()
      await ask(client)
      client.send(bytes)
      await client.closed()
    }
    expect(targets()).toEqual(['/', '/'])
  })
})

describe('the session', () => {
  test('is good on a new connection of the same certificate, and on no other', async () => {
    const cookie = cookieOf(await door.say(requestText('/', { headers: ['Connection: close'] }), lamp))
    const withIt = requestText('/', { headers: [`Cookie: ${cookie}`, 'Connection: close'] })
    const again = await door.say(withIt, lamp)
    expect(again.status).toBe(200)
    expect(again.headers).not.toHaveProperty('set-cookie')
    const other = await door.say(withIt, await door.device('lamp-4'))
    expect(other).toMatchObject({
      status: 403,
      headers: { 'set-cookie': expect.stringMatching(/^CF_Authorization=; .*Max-Age=0/) as string },
    })
    expect(other.body).toContain('token_binding_mismatch')
    expect((await door.say(withIt)).body).toContain('certificate_required')
  })
  test.each([
    ['forged', (token: string) => `${token.slice(0, -8)}AAAAAAAA`],
    ['none at all', () => 'nonsense'],
  ])('%s: 401, and the client is told to forget it', async (_, spoil) => {
    const cookie = cookieOf(await door.say(requestText('/', { headers: ['Connection: close'] }), lamp))
    const reply = await door.say(
      requestText('/', { headers: [`Cookie: ${spoil(cookie).replace(/^(?!CF_)/, 'CF_Authorization=')}`] }),
      lamp,
    )
    expect(reply).toMatchObject({
      status: 401,
      headers: {
        'www-authenticate': 'Cf-Access',
        'set-cookie': expect.stringMatching(/^CF_Authorization=; .*Max-Age=0/) as string,
      },
    })
    expect(reply.body).toContain('token_invalid')
    expect(door.origin.seen).toHaveLength(1)
  })
  test('one in the header field is refused without a word about cookies', async () => {
    const reply = await door.say(requestText('/', { headers: ['cf-access-token: nonsense'] }), lamp)
    expect(reply.status).toBe(401)
    expect(reply.headers).not.toHaveProperty('set-cookie')
  })
  test('ends on its connection with the duration since the handshake; a new handshake begins a new one', async () => {
    using client = await open()
    await ask(client)
    door.pass(14 * MINUTE)
    expect((await ask(client)).status).toBe(200)
    door.pass(2 * MINUTE)
    const reply = await ask(client)
    expect(reply).toMatchObject({
      status: 401,
      headers: { connection: 'close', 'www-authenticate': 'Cf-Access' },
    })
    expect(reply.body).toContain('session_expired')
    await client.closed()
    using next = await open()
    expect(cookieOf(await ask(next))).not.toBe('')
  })
  test.each([
    ['its device', () => ({ scope: 'device', subject: 'lamp-1' }) as const],
    ['its application', () => ({ scope: 'application', subject: door.applicationId }) as const],
    ['everybody', () => ({ scope: 'everything', subject: '' }) as const],
  ])('revoked for %s, it ends on a connection that does not even send its token', async (_, which) => {
    using client = await open()
    using other = await open(await door.device('lamp-5'))
    await ask(client)
    await ask(other)
    await door.revokeSessions({ scope: 'device', subject: 'somebody-else' })
    expect((await ask(client)).status).toBe(200)
    await door.revokeSessions(which())
    const reply = await ask(client)
    expect(reply).toMatchObject({ status: 401, headers: { connection: 'close' } })
    expect(reply.body).toContain('session_expired')
    expect((await ask(other)).status).toBe(which().scope === 'device' ? 200 : 401)
    // a certificate is good for a new session as long as nobody revokes it
    using next = await open()
    expect(cookieOf(await ask(next))).not.toBe('')
  })
  test('an answer that has begun may outlast it, but not its certificate and not its device', async () => {
    const begin = async (leaf: TestLeaf): Promise<RawClient> => {
      const client = await open(leaf)
      client.send(requestText('/long'))
      await client.until(/begun/)
      return client
    }
    using long = await begin(lamp)
    using other = await begin(await door.device('lamp-7'))
    // whose certificate ends then: the sweep that cuts it has passed by the others
    const notAfter = Math.floor(Date.now() / 1_000) * 1_000 + 26 * MINUTE
    using brief = await begin(await door.device('lamp-8', { notAfter }))
    door.pass(30 * MINUTE)
    await brief.closed()
    await door.setState('lamp-7', 'suspended')
    await other.closed()
    for (const end of finish.splice(0)) end()
    await long.until(/done/)
    // nothing more on this handshake
    long.send(get)
    await long.until(/session_expired/)
    await long.closed()
  })
  test('on a connection that has lived long enough it ends, whatever it does', async () => {
    await door.putHttps({}, { sessionDuration: 24 * HOUR })
    using idle = await open()
    await ask(idle)
    door.pass(61 * MINUTE)
    await idle.closed()
    await door.putHttps({}, SESSION)
  })
})

describe('room', () => {
  test('those who only hold a session make way for who comes', async () => {
    const leaves = await Promise.all(Array.from({ length: 6 }, (_, at) => door.device(`idle-${at}`)))
    const idle = await Promise.all(
      Array.from({ length: 40 }, async (_, at) => {
        const client = await open(leaves[at % 6] as TestLeaf)
        await ask(client)
        return client
      }),
    )
    using next = await open()
    expect((await ask(next)).status).toBe(200)
    await idle[0]?.closed()
    expect((await ask(idle[39] as RawClient)).status).toBe(200)
    for (const client of idle) client[Symbol.dispose]()
  })
})

test('who is idle for too long goes', async () => {
  await using short = await openDoorHarness({ idleWithin: 100 })
  await short.putHttps({}, SESSION)
  using client = await openRaw({ port: short.port, leaf: await short.device('lamp-1') })
  client.send(get)
  await client.reply()
  // else after a minute, which is longer than a test may take
  await client.closed()
})

test('stopping: who is idle goes at once, who is served is told, and what waits is not begun', async () => {
  const slow = Promise.withResolvers<void>()
  await using stopping = await openDoorHarness({
    answers: { '/slow': (_, response) => void slow.promise.then(() => response.end('finished')) },
  })
  await stopping.putHttps({}, SESSION)
  const leaf = await stopping.device('lamp-1')
  using idle = await openRaw({ port: stopping.port, leaf })
  idle.send(get)
  await idle.reply()
  using busy = await openRaw({ port: stopping.port, leaf })
  busy.send(get)
  await busy.reply()
  busy.send(requestText('/slow') + get)
  await stopping.origin.begun(3)
  const stopped = stopping.stopDoor()
  await idle.closed()
  slow.resolve()
  expect(await busy.reply()).toMatchObject({ body: 'finished', headers: { connection: 'close' } })
  await busy.closed()
  await stopped
  expect(stopping.origin.seen).toHaveLength(3)
})

test('a service token beside a certificate: no session goes on or begins, and Service Auth alone lets it in', async () => {
  await using other = await openDoorHarness({})
  await other.putHttps({}, SESSION)
  const lamp = await other.device('lamp-1')
  const headers = await other.serviceToken('robot-1')
  const once = (...lines: readonly string[]) =>
    other.say(requestText('/', { headers: ['Connection: close', ...lines] }), lamp)
  const cookie = (await once()).headers['set-cookie']?.split(';')[0] ?? ''
  expect(cookie).toMatch(/^CF_Authorization=eyJ/)
  for (const stale of [cookie, `${cookie}x`]) {
    const lines = [...headers, `Cookie: ${stale}`]
    const reply = await other.say(requestText('/', { headers: lines }).repeat(2), lamp)
    expect(reply).toMatchObject({ status: 200, headers: { connection: 'close' } })
    expect(reply.headers).not.toHaveProperty('set-cookie')
    expect(other.log.at(-1)).not.toHaveProperty('session')
  }
  expect(other.origin.seen).toHaveLength(3)
  // without it the cookie that is broken counts
  expect((await once(`Cookie: ${cookie}x`)).status).toBe(401)
  await other.putPolicy({ decision: 'allow' })
  expect((await once(...headers)).body).toContain('policy_denied')
  expect((await once()).status).toBe(200)
})

describe('whoever has no certificate has no session, and no connection that is kept', () => {
  test.each([
    ['a service token', { decision: 'non_identity', include: [{ any_valid_service_token: {} }] }],
    ['a bypass', { decision: 'bypass', include: [{ everyone: {} }] }],
  ] as const)('%s', async (what, policy) => {
    await using other = await openDoorHarness({})
    await other.putHttps({}, SESSION)
    await other.putPolicy(policy)
    const headers = await other.serviceToken('robot-1')
    const reply = await other.say(requestText('/', { headers }).repeat(2))
    expect(reply).toMatchObject({ status: 200, headers: { connection: 'close' } })
    expect(other.origin.seen).toHaveLength(1)
    if (what === 'a bypass') {
      const lamp = await other.device('lamp-1')
      expect((await other.say(requestText('/'), lamp)).headers).toMatchObject({ connection: 'close' })
    }
  })
})
