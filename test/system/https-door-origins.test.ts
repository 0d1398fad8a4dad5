/** Origins as an application names them: several, over TLS with a CA of their own, on a Unix socket; slow, large and hostile ones. */

import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { openRaw, readReply, requestText } from '../support/raw-https.ts'
import { openRecordingOrigin } from '../support/recording-origin.ts'
import { temporaryFolder } from '../support/temporary.ts'

let door: DoorHarness
let lamp: TestLeaf
beforeAll(async () => {
  door = await openDoorHarness({
    env: { SALLYPORT_HTTPS_ORIGIN_TIMEOUT: '2s' },
    answers: { '/silent': () => {}, '/reset': (request) => request.socket.resetAndDestroy() },
  })
  lamp = await door.device('lamp-1')
})
afterAll(() => door[Symbol.asyncDispose]())
beforeEach(() => {
  door.origin.seen.length = 0
})

const get = requestText('/')
const ask = (text = get) => door.say(text, lamp)

/** A port that nobody listens on. */
const deadUrl = async (): Promise<string> => {
  const place = createServer().listen(0, '127.0.0.1')
  await once(place, 'listening')
  const { port } = place.address() as AddressInfo
  place.close()
  await once(place, 'close')
  return `http://127.0.0.1:${port}`
}

/** Says these bytes to whoever connects and has asked. */
const rawOrigin = async (
  answer: (socket: Socket) => void,
): Promise<AsyncDisposable & { readonly url: string; readonly server: Server }> => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket
      .on('error', () => {})
      .once('data', () => {
        answer(socket)
      })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    server,
    [Symbol.asyncDispose]: async () => {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

describe('several', () => {
  test('the first that can be reached, with the whole request', async () => {
    const dead = await deadUrl()
    await door.putHttps({ origin: [dead, door.origin.url] })
    const body = 'x'.repeat(300_000)
    for (let at = 0; at < 3; at += 1)
      expect((await ask(requestText('/up', { method: 'POST', body }))).status).toBe(200)
    expect(door.origin.seen.map((seen) => seen.body.length)).toEqual([300_000, 300_000, 300_000])
  })
  test('a dead one is left alone for a while, then tried again', async () => {
    await using other = await openRecordingOrigin()
    const dead = await deadUrl()
    await door.putHttps({ origin: [dead, other.url] })
    expect((await ask()).status).toBe(200)
    const back = createServer((socket) => {
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback'))
    }).listen(Number(new URL(dead).port), '127.0.0.1')
    await once(back, 'listening')
    expect((await ask()).body).toBe('origin says ok')
    door.pass(11_000)
    expect((await ask()).body).toBe('back')
    expect((await ask()).body).toBe('back')
    back.close()
  })
  test('none: 502, and recovered without restart', async () => {
    const dead = await Promise.all([deadUrl(), deadUrl()])
    await door.putHttps({ origin: dead })
    for (let at = 0; at < 2; at += 1) {
      const reply = await ask()
      expect(reply.status).toBe(502)
      expect(reply.body).not.toContain('127.0.0.1')
    }
    await door.putHttps({ origin: [...dead, door.origin.url] })
    expect((await ask()).status).toBe(200)
  })
  test('what one may have seen is never said to the next', async () => {
    await using other = await openRecordingOrigin()
    await door.putHttps({ origin: [door.origin.url, other.url], timeout: 300 })
    expect((await ask(requestText('/reset', { method: 'POST', body: 'x' }))).status).toBe(502)
    expect((await ask(requestText('/silent'))).status).toBe(504)
    expect(other.seen).toEqual([])
  })
})

describe('over TLS', () => {
  const open = (names: readonly string[], hostname: string) => {
    const { fullPem: cert, keyPem: key } = door.pki.server(names)
    return openRecordingOrigin({}, { tls: { cert, key }, hostname })
  }
  test.each([
    ['by name', ['localhost'], 'localhost'],
    ['by address', ['127.0.0.1'], '127.0.0.1'],
  ])('verified with its own CA, %s', async (_, names, hostname) => {
    await using origin = await open(names, hostname)
    await door.putHttps({ origin: origin.url, originCa: door.pki.root.pem })
    for (let at = 0; at < 2; at += 1) expect((await ask()).status).toBe(200)
    expect(origin.seen[0]?.headers['host']).toEqual(['a.test'])
  })
  test.each([
    ['of another CA', ['localhost'], 'localhost', () => door.pki.other.root.pem],
    ['of no CA that we were given', ['localhost'], 'localhost', () => undefined],
    ['of another name', ['elsewhere.test'], 'localhost', () => door.pki.root.pem],
    ['of the name that the client asked for', ['a.test'], 'localhost', () => door.pki.root.pem],
    [
      'of the name that the client asked for, at an address',
      ['a.test'],
      '127.0.0.1',
      () => door.pki.root.pem,
    ],
  ])('502 for a certificate %s', async (_, names, hostname, ca) => {
    await using origin = await open(names, hostname)
    const originCa = ca()
    await door.putHttps({ origin: origin.url, ...(originCa === undefined ? {} : { originCa }) })
    expect((await ask()).status).toBe(502)
    expect(origin.seen).toEqual([])
  })
  test('the same URL with another CA is another origin', async () => {
    await using origin = await open(['localhost'], 'localhost')
    await door.putHttps({ origin: origin.url, originCa: door.pki.root.pem })
    expect((await ask()).status).toBe(200)
    await door.putHttps({ origin: origin.url, originCa: door.pki.other.root.pem })
    expect((await ask()).status).toBe(502)
  })
})

test('on a Unix socket', async () => {
  using folder = temporaryFolder()
  await using origin = await openRecordingOrigin({}, { socketPath: join(folder.path, 'origin.sock') })
  await door.putHttps({ origin: origin.url })
  expect((await ask(requestText('/a?b'))).body).toBe('origin says ok')
  expect(origin.seen[0]).toMatchObject({ target: '/a?b', headers: { host: ['a.test'] } })
  await door.putHttps({ origin: `unix:${join(folder.path, 'nobody.sock')}` })
  expect((await ask()).status).toBe(502)
})

describe('what the application sets', () => {
  test('its timeout, which the assertion does not outlive', async () => {
    await door.putHttps({ timeout: 300 })
    const before = performance.now()
    expect((await ask(requestText('/silent'))).status).toBe(504)
    // by the setting it is 2 s
    expect(performance.now() - before).toBeLessThan(1_900)
    for (const [timeout, life] of [
      [300, 5],
      [7_000, 7],
      // it is read with the header: a slow answer needs no longer one
      [3_600_000, 60],
    ] as const) {
      await door.putHttps({ timeout })
      await ask()
      const [, body = ''] = door.origin.seen.at(-1)?.headers['cf-access-jwt-assertion']?.[0]?.split('.') ?? []
      const { iat, exp } = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, number>
      expect((exp ?? 0) - (iat ?? 0)).toBe(life)
    }
  })
  test('its limit of a body', async () => {
    await door.putHttps({ bodyLimit: 10 })
    const post = (body: string) => ask(requestText('/', { method: 'POST', body }))
    expect((await post('x'.repeat(10))).status).toBe(200)
    expect((await post('x'.repeat(11))).status).toBe(413)
  })
  test('encoded slashes', async () => {
    expect((await ask(requestText('/a%2Fb'))).status).toBe(400)
    await door.putHttps({ encodedSlashes: true })
    expect((await ask(requestText('/a%2fb'))).status).toBe(200)
    expect(door.origin.seen[0]?.target).toBe('/a%2Fb')
  })
})

describe('hostile', () => {
  const from = async (answer: (socket: Socket) => void, text = get) => {
    await using origin = await rawOrigin(answer)
    await door.putHttps({ origin: origin.url, timeout: 250 })
    return await ask(text)
  }
  const saying = (text: string) => (socket: Socket) => void socket.end(text, 'latin1')

  test('a header without end: 502, and little is kept', async () => {
    const before = process.memoryUsage().rss
    const reply = await from((socket) => {
      const more = (): void => {
        while (socket.writable && socket.write(`X-${Math.random()}: ${'x'.repeat(1_000)}\r\n`));
        socket.once('drain', more)
      }
      socket.write('HTTP/1.1 200 OK\r\n')
      more()
    })
    expect(reply.status).toBe(502)
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1_048_576)
  })
  test('… drop by drop: 504', async () => {
    const reply = await from((socket) => {
      socket.write('HTTP/1.1 200 OK\r\n')
      const timer = setInterval(() => socket.write('X: y\r\n'), 50)
      socket.on('close', () => {
        clearInterval(timer)
      })
    })
    expect(reply.status).toBe(504)
  })
  test('interim answers without end: 504', async () => {
    const reply = await from((socket) => {
      const timer = setInterval(() => socket.write('HTTP/1.1 102 Processing\r\n\r\n'), 20)
      socket.on('close', () => {
        clearInterval(timer)
      })
    })
    expect(reply.status).toBe(504)
  })
  test.each([
    [
      'a switch that nobody asked for',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nGET / HTTP/1.1\r\n\r\n',
    ],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!'],
    [
      'length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    [
      'a field that splits the answer',
      'HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b=c\r\nContent-Length: 0\r\n\r\n',
    ],
    ['no HTTP', 'SSH-2.0-OpenSSH_9.6\r\n'],
    ['nothing', ''],
  ])('%s: 502', async (_, text) => {
    expect((await from(saying(text))).status).toBe(502)
  })
  test('a second answer behind the first goes to nobody', async () => {
    await using origin = await rawOrigin((socket) => {
      socket.write(
        'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned',
      )
    })
    await door.putHttps({ origin: origin.url, timeout: 250 })
    for (let at = 0; at < 2; at += 1) expect((await ask()).body).toBe('first')
  })
  test('octets that are no ASCII come through as they are', async () => {
    const reply = await from(saying('HTTP/1.1 200 OK\r\nX-Name: caf\u00e9\r\nContent-Length: 2\r\n\r\nok'))
    expect(reply).toMatchObject({ status: 200, headers: { 'x-name': 'caf\u00e9' } })
  })
  test('a body without end goes on at the client’s pace, and ends with him', async () => {
    let ended = false
    await using origin = await rawOrigin((socket) => {
      const chunk = 'x'.repeat(65_536)
      const more = (): void => {
        while (socket.writable && socket.write(chunk));
        socket.once('drain', more)
      }
      socket.on('close', () => {
        ended = true
      })
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      more()
    })
    await door.putHttps({ origin: origin.url })
    const client = await openRaw({ port: door.port, leaf: lamp })
    client.send(get)
    await client.until(/\r\n\r\n/)
    client.socket.pause()
    const before = process.memoryUsage().rss
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1_048_576)
    client[Symbol.dispose]()
    await expect.poll(() => ended).toBe(true)
  })
  test('the session cookie is the gateway’s to set, and its own is still there', async () => {
    await using origin = await rawOrigin(
      saying(
        [
          'HTTP/1.1 200 OK',
          'Set-Cookie: CF_Authorization=evil; Path=/',
          'Set-Cookie: theme=dark',
          'cf-access-token: evil',
          'CF-Access-Client-Secret: evil',
          'X-Forwarded-Client-Cert: evil',
          'Content-Length: 2',
          '',
          'ok',
        ].join('\r\n'),
      ),
    )
    await door.putHttps({ origin: origin.url }, { sessionDuration: 60_000 })
    const reply = readReply((await ask(requestText('/', { headers: ['Connection: close'] }))).raw)
    expect(reply.raw).not.toContain('evil')
    expect(reply.headers['set-cookie']).toMatch(/^theme=dark, CF_Authorization=eyJ/)
  })
})
