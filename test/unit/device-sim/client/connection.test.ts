import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { DAY, HOUR } from '#fleet/clock.ts'
import { clientContext, openConnection, portOf, PUBLIC_ROOTS } from '#device-sim/client/connection.ts'
import { httpsOnce } from '#device-sim/client/https-once.ts'
import type { LinkFault } from '#device-sim/client/link.ts'
import { createMeter, type Octets, type Times } from '#device-sim/client/meter.ts'
import { createOpeningGate } from '#device-sim/client/opening-gate.ts'
import { createRandom } from '#device-sim/random.ts'
import { makePki, type LeafOptions } from '../../../support/pki.ts'

const pki = makePki({ now: Date.now() })
const context = clientContext({ rootPem: pki.root.pem })

test.each([
  ['https://a.test', '443'],
  ['https://a.test:8443/x', '8443'],
  ['mqtts://a.test', '8883'],
  ['mqtts://[::1]:1', '1'],
])('%s is at port %s', (url, port) => {
  expect(portOf(new URL(url))).toBe(port)
})

test.each([
  // a key share of the group that is not this device's first costs it another round trip, and nothing else
  [undefined, 'X25519MLKEM768:X25519', 'X25519'],
  ['X25519', 'X25519MLKEM768:X25519', 'X25519'],
  ['X25519', 'P-256', 'prime256v1'],
  ['X25519MLKEM768', 'X25519MLKEM768:X25519', 'X25519MLKEM768'],
  ['X25519MLKEM768', 'X25519', 'X25519'],
] as const)(
  'key agreement: %s, and a server that has %s, come to %s',
  async (keyAgreement, ecdhCurve, name) => {
    await using server = await serve({ ...serverOf(['localhost']), ecdhCurve })
    const { socket } = await openConnection({
      url: new URL(`https://localhost:${server.port}`),
      context: clientContext({ rootPem: pki.root.pem, keyAgreement }),
    })
    expect(socket.getEphemeralKeyInfo()).toMatchObject({ name })
    socket.destroy()
  },
)

test('there is no port of another scheme', () => {
  expect(() => portOf(new URL('coaps://a.test'))).toThrow('coaps://a.test says no port')
})

type Server = AsyncDisposable & {
  readonly port: number
  /** octets that clients sent, TLS taken off */
  heard(): number
  /** of the sockets below */
  octets(): { readonly received: number; readonly sent: number }
  /** every connection so far is over */
  readonly over: () => Promise<unknown>
}

/** Answers every connection's first octets with an HTTP answer. */
const serve = async (options: TlsOptions): Promise<Server> => {
  const sockets: Socket[] = []
  let heard = 0
  const server = createServer(options, (socket: TLSSocket) => {
    socket.on('error', () => {})
    socket.on('data', (data: Buffer) => {
      heard += data.length
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  })
  server.on('tlsClientError', () => {})
  server.on('connection', (socket: Socket) => sockets.push(socket))
  server.listen(0)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    heard: () => heard,
    octets: () => ({
      received: sockets.reduce((sum, socket) => sum + socket.bytesRead, 0),
      sent: sockets.reduce((sum, socket) => sum + socket.bytesWritten, 0),
    }),
    over: () =>
      Promise.all(
        sockets.map(async (socket) => socket.closed || new Promise((done) => socket.once('close', done))),
      ),
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

const serverOf = (names: readonly string[], o: LeafOptions = {}) => {
  const leaf = pki.server(names, o)
  return { key: leaf.keyPem, cert: leaf.fullPem }
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('who the server is, over %s', (version) => {
  const context = clientContext({ rootPem: pki.root.pem, version })
  const ask = (port: number, host: string) => httpsOnce({ url: `https://${host}:${port}/`, context })

  test.each([
    ['its name', 'localhost', serverOf(['localhost'])],
    ['its name with the dot of the root', 'localhost.', serverOf(['localhost'])],
    ['one of its names', 'localhost', serverOf(['elsewhere.test', 'localhost'])],
    ['its address', '127.0.0.1', serverOf(['127.0.0.1'])],
  ])('%s will do', async (_, host, certificate) => {
    await using server = await serve(certificate)
    expect((await ask(server.port, host)).status).toBe(200)
  })

  test.each([
    ['another name', 'localhost', serverOf(['elsewhere.test'])],
    ['a longer name', 'localhost', serverOf(['localhost.elsewhere.test'])],
    ['a wildcard for part of a label', 'localhost', serverOf(['local*'])],
    ['another address', '127.0.0.1', serverOf(['127.0.0.2'])],
    ['the name, and not the address', '127.0.0.1', serverOf(['localhost'], { id: '127.0.0.1' })],
    ['the address, and not the name', 'localhost', serverOf(['127.0.0.1'], { id: '127.0.0.1' })],
    ['the address as a name', '127.0.0.1', serverOf(['localhost', 'urn:127.0.0.1'])],
    ['no names but the common name', 'localhost', serverOf([], { id: 'localhost' })],
    ['an expired one', 'localhost', serverOf(['localhost'], { shape: 'expired' })],
    ['one of tomorrow', 'localhost', serverOf(['localhost'], { shape: 'notYetValid' })],
    ['another CA with the same names', 'localhost', serverOf(['localhost'], { by: pki.other.devices })],
    ['no chain', 'localhost', { ...serverOf(['localhost']), cert: pki.server(['localhost']).certPem }],
  ])('%s will not, and it is sent nothing of the request', async (_, host, certificate) => {
    // a leaf without its chain needs the key that belongs to it
    const leaf = pki.server(['localhost'])
    const options = _ === 'no chain' ? { key: leaf.keyPem, cert: leaf.certPem } : certificate
    await using server = await serve(options)
    await expect(ask(server.port, host)).rejects.toMatchObject({ code: 'target_unreachable' })
    await server.over()
    expect(server.heard()).toBe(0)
  })
})

test('what Node has of a server certificate is all there after the handshake', async () => {
  await using server = await serve(serverOf(['localhost']))
  const { socket } = await openConnection({ url: new URL(`https://localhost:${server.port}`), context })
  expect(socket.getPeerCertificate().subject).toMatchObject({ CN: 'localhost' })
  expect(socket.authorized).toBe(true)
  socket.destroy()
})

describe('what is measured', () => {
  test('the octets of a connection that stays open count while it is', async () => {
    await using server = await serve(serverOf(['localhost']))
    const meter = createMeter()
    const url = new URL(`https://localhost:${server.port}`)
    const { socket } = await openConnection({ url, context, meter })
    const before = meter.figures()
    expect(before.bytesSent).toBeGreaterThan(0)
    expect(before.bytesReceived).toBeGreaterThan(1_000)
    await new Promise<void>((resolve) => socket.write('x'.repeat(5_000), () => resolve()))
    const after = meter.figures()
    expect(after.bytesSent).toBeGreaterThanOrEqual(before.bytesSent + 5_000)
    const closed = once(socket, 'close')
    socket.destroy()
    await closed
    // nothing twice
    expect(meter.figures().bytesSent).toBeGreaterThanOrEqual(after.bytesSent)
    expect(meter.figures().bytesSent).toBeLessThan(after.bytesSent + 1_000)
  })

  test('TCP and TLS apart, and the octets on the wire once it has closed', async () => {
    await using server = await serve(serverOf(['localhost']))
    const all: (Times | undefined)[] = []
    const closed = Promise.withResolvers<void>()
    const counted = createMeter()
    const meter = {
      ...counted,
      handshake: (resumed: boolean, times?: Times) => void all.push(times),
      opened: (octets: () => Octets) => {
        const done = counted.opened(octets)
        return () => {
          done()
          closed.resolve()
        }
      },
    }
    const answer = await httpsOnce({ url: `https://localhost:${server.port}/`, context, meter })
    await closed.promise
    await server.over()
    const [times] = all
    expect(all).toHaveLength(1)
    expect(times?.tcp).toBeGreaterThan(0)
    expect(times?.tls).toBeGreaterThan(0)
    expect((times?.tcp ?? 0) + (times?.tls ?? 0)).toBeLessThan(answer.millis)
    const { bytesSent, bytesReceived } = counted.figures()
    expect(bytesSent).toBe(server.octets().received)
    expect(bytesReceived).toBeGreaterThan(1_000)
    expect(bytesReceived).toBeLessThanOrEqual(server.octets().sent)
  })

  test('a handshake that fails has octets, and no times', async () => {
    await using server = await serve(serverOf(['elsewhere.test']))
    const meter = createMeter()
    await expect(
      httpsOnce({ url: `https://localhost:${server.port}/`, context, meter }),
    ).rejects.toMatchObject({ code: 'target_unreachable' })
    await server.over()
    expect(meter.figures().handshakes).toBe(0)
    expect(meter.figures().bytesSent).toBeGreaterThan(100)
  })
})

describe("the device's own clock", () => {
  test.each([
    ['right', 0, undefined],
    ['a little behind', -2 * 60_000, undefined],
    ['before the certificate', -HOUR, 'by its own clock the server certificate is not valid yet'],
    ['after the certificate', 31 * DAY, 'by its own clock the server certificate has expired'],
  ])('%s', async (_, offset, why) => {
    await using server = await serve(serverOf(['localhost']))
    const clock = () => pki.now + offset
    const asked = httpsOnce({ url: `https://localhost:${server.port}/`, context, clock })
    if (why === undefined) expect((await asked).status).toBe(200)
    else {
      await expect(asked).rejects.toMatchObject({
        code: 'target_unreachable',
        message: expect.stringContaining(why) as string,
      })
      await server.over()
      expect(server.heard()).toBe(0)
    }
  })

  test('an issuer that came with it counts as well', async () => {
    await using server = await serve(serverOf(['localhost'], { notBefore: pki.now - 10 * DAY }))
    const clock = () => pki.now - 2 * DAY
    await expect(
      httpsOnce({ url: `https://localhost:${server.port}/`, context, clock }),
    ).rejects.toMatchObject({ code: 'target_unreachable' })
  })
})

describe('over a bad link', () => {
  const fault = (o: Partial<LinkFault>): LinkFault => ({
    delay: 0,
    jitter: 0,
    loss: 0,
    halfOpen: false,
    slowHandshake: 0,
    random: createRandom('seed', 'connection'),
    ...o,
  })

  test.each([
    ['a link that is good', undefined, { tcp: 0, tls: 0 }],
    ['delay each way', fault({ delay: 20 }), { tcp: 39, tls: 39 }],
    // the ClientHello in two pieces, and the last flight
    ['a slow handshake', fault({ slowHandshake: 20 }), { tcp: 0, tls: 39 }],
  ])('%s', async (_, ailing, least) => {
    await using server = await serve(serverOf(['localhost']))
    let times: Times | undefined
    const meter = { ...createMeter(), handshake: (_: boolean, it?: Times) => void (times = it) }
    const url = `https://localhost:${server.port}/`
    const answer = await httpsOnce({ url, context, meter, link: () => ailing })
    expect(answer.body.toString()).toBe('ok')
    expect(times?.tcp).toBeGreaterThanOrEqual(least.tcp)
    expect(times?.tls).toBeGreaterThanOrEqual(least.tls)
  })

  test('a link that is dead, or dies, ends in the timeout; one that comes back does not', async () => {
    await using server = await serve(serverOf(['localhost']))
    const url = `https://localhost:${server.port}/`
    const dead = fault({ halfOpen: true })
    await expect(httpsOnce({ url, context, timeout: 50, link: () => dead })).rejects.toMatchObject({
      code: 'target_unreachable',
    })
    let asked = 0
    const returning = () => (++asked < 4 ? dead : undefined)
    expect((await httpsOnce({ url, context, link: returning })).status).toBe(200)
  })

  test('wrong certificates are seen through it, and a server that ends it', async () => {
    await using wrong = await serve(serverOf(['elsewhere.test']))
    const link = () => fault({ delay: 5 })
    await expect(httpsOnce({ url: `https://localhost:${wrong.port}/`, context, link })).rejects.toMatchObject(
      {
        message: expect.stringContaining("the server's certificate is not for localhost") as string,
      },
    )
    await using server = await serve(serverOf(['localhost']))
    const { socket } = await openConnection({
      url: new URL(`https://localhost:${server.port}`),
      context,
      link,
    })
    const over = once(socket, 'close')
    socket.resume()
    socket.write('x')
    await over
    await server.over()
  })
})

test.each(['', '\n', 'not a certificate'])(
  'a root of %j is refused: Node would trust the public web',
  (rootPem) => {
    expect(() => clientContext({ rootPem })).toThrow(expect.objectContaining({ code: 'config_invalid' }))
  },
)

test('the roots of the public web are one set for all devices', () => {
  const began = process.memoryUsage().rss
  // each with a set of its own would be 100 MB
  const contexts = Array.from({ length: 100 }, () => clientContext({ rootPem: PUBLIC_ROOTS }))
  expect(contexts).toHaveLength(100)
  expect(process.memoryUsage().rss - began).toBeLessThan(50e6)
})

describe('with a gate', () => {
  /** Lets one in at a time. */
  const oneByOne = () => createOpeningGate(1)(60_000)

  test('no more open at once than it lets in; what a connection shows is asked for when its turn has come', async () => {
    await using server = await serve(serverOf(['localhost']))
    const gate = oneByOne()
    const asked: string[] = []
    const knock = async (name: string) => {
      const { socket } = await openConnection({
        url: new URL(`https://localhost:${server.port}`),
        gate,
        context: () => {
          asked.push(`${name} begins`)
          return context
        },
      })
      asked.push(`${name} is open`)
      socket.destroy()
    }
    await Promise.all(['a', 'b', 'c'].map(knock))
    expect(asked).toHaveLength(6)
    // a promise later than the next one's turn
    expect(asked.filter((what) => what.endsWith('begins'))).toEqual(['a begins', 'b begins', 'c begins'])
    expect(asked.indexOf('c begins')).toBeGreaterThan(asked.indexOf('a is open'))
  })

  test('gives its place back when it fails, also before there is a socket, and leaves the queue with its signal', async () => {
    const gate = oneByOne()
    const url = new URL('https://localhost:1')
    const held = Promise.withResolvers<() => void>()
    gate((leave) => held.resolve(leave))
    const stop = new AbortController()
    const begun: string[] = []
    const knock = (name: string, o: object = {}) =>
      openConnection({
        url,
        gate,
        context: () => {
          begun.push(name)
          return context
        },
        ...o,
      })
    const given = knock('given up', { signal: stop.signal })
    const broken = knock('broken', {
      context: () => {
        throw new Error('no key')
      },
    })
    const refused = knock('refused')
    stop.abort()
    await expect(given).rejects.toMatchObject({ detail: expect.stringContaining('given up') as string })
    ;(await held.promise)()
    await expect(broken).rejects.toMatchObject({ detail: expect.stringContaining('no key') as string })
    await expect(refused).rejects.toMatchObject({ code: 'target_unreachable' })
    expect(begun).toEqual(['refused'])
    const next = Promise.withResolvers<void>()
    gate(() => next.resolve())
    await next.promise
  })
})

test.runIf(process.platform === 'linux')('comes from the address that it is told to', async () => {
  const from = Promise.withResolvers<string | undefined>()
  const server = createServer(serverOf(['localhost']), (socket) => {
    from.resolve(socket.remoteAddress)
    socket.destroy()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const url = new URL(`https://localhost:${port}`)
  const { socket } = await openConnection({ url, context, localAddress: '127.0.0.2' })
  expect(await from.promise).toBe('127.0.0.2')
  socket.destroy()
  server.close()
})
