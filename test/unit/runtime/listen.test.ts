import { EventEmitter } from 'node:events'
import { createServer, Server } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { listen, urlFor } from '#runtime/listen.ts'

const servers: Server[] = []
const tracked = <T extends Server>(server: T): T => {
  servers.push(server)
  return server
}
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

const key = 'gateway.https_listen'

describe('binding', () => {
  it('says which port a 0 became', async () => {
    const bound = await listen(tracked(createServer()), { host: '127.0.0.1', port: 0, key })
    expect(bound).toEqual({ host: '127.0.0.1', port: expect.any(Number) })
    expect(bound.port).toBeGreaterThan(0)
  })

  it.each(['127.0.0.1', '::'])('explains a port taken on %s', async (host) => {
    const { port } = await listen(tracked(createServer()), { host: '127.0.0.1', port: 0, key })
    await expect(listen(tracked(createServer()), { host, port, key })).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringMatching(
        new RegExp(
          `port ${port} is taken \\(gateway\\.https_listen: .*SALLYPORT_GATEWAY_HTTPS_LISTEN.*npm start -- --ports 0`,
        ),
      ),
    })
  })

  it.each(['enroll.operator_listen', 'enroll.metrics_listen', 'gateway.metrics_listen'])(
    'refuses %s without TLS beyond this machine, whoever asks',
    async (only) => {
      for (const host of ['0.0.0.0', '::'])
        await expect(listen(tracked(createServer()), { host, port: 0, key: only })).rejects.toMatchObject({
          code: 'config_invalid',
          detail: expect.stringContaining('without TLS, expected a loopback address'),
        })
    },
  )

  it('explains an address that is not here', async () => {
    await expect(listen(tracked(createServer()), { host: '192.0.2.1', port: 0, key })).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringContaining('192.0.2.1 is not an address of this machine (gateway.https_listen)'),
    })
  })
})

describe('a port that several processes serve', () => {
  const at = (port: number, inherited?: unknown, bound: (server: Server) => void = () => {}) =>
    ({ host: '127.0.0.1', port, key, shared: { inherited, bound } }) as const

  it('is shared with whoever shares it too, and with nobody else', async () => {
    const had: Server[] = []
    const [one, two] = [tracked(createServer()), tracked(createServer())]
    const { port } = await listen(
      one,
      at(0, undefined, (server) => had.push(server)),
    )
    expect(await listen(two, at(port))).toEqual({ host: '127.0.0.1', port })
    expect(had).toEqual([one])
    await expect(listen(tracked(createServer()), { host: '127.0.0.1', port, key })).rejects.toMatchObject({
      code: 'config_invalid',
      detail: expect.stringContaining('is taken'),
    })
  })

  it('is had from the socket of another, whatever the address says', async () => {
    const one = tracked(createServer())
    const { port } = await listen(one, at(0))
    const inherited = (one as unknown as { _handle: unknown })._handle
    expect(await listen(new Server(), at(1, inherited))).toEqual({ host: '127.0.0.1', port })
  })
})

describe('a machine without IPv6', () => {
  /** Refuses `::` as such a machine does. */
  class OnlyIpv4 extends EventEmitter {
    readonly asked: string[] = []
    listen({ host }: { host: string }): void {
      this.asked.push(host)
      const error = Object.assign(new Error('no IPv6'), { code: 'EAFNOSUPPORT' })
      queueMicrotask(() => (host === '::' ? this.emit('error', error) : this.emit('listening')))
    }
    address(): object {
      return { address: this.asked.at(-1), port: 7 }
    }
  }

  it('gets IPv4 where all addresses were asked for', async () => {
    const server = new OnlyIpv4()
    const bound = await listen(server as unknown as Server, { host: '::', port: 0, key })
    expect(bound).toEqual({ host: '0.0.0.0', port: 7 })
  })
})

describe('the operator listener', () => {
  const operator = { port: 0, key: 'enroll.operator_listen' }

  it('is never plain beyond loopback, whatever the desk does', async () => {
    const server = tracked(createServer())
    await expect(listen(server, { host: '0.0.0.0', ...operator })).rejects.toMatchObject({
      code: 'config_invalid',
    })
    expect(server.listening).toBe(false)
  })

  it('may be plain on loopback, and anywhere over TLS', async () => {
    await listen(tracked(createServer()), { host: 'localhost', ...operator })
    await listen(tracked(createTlsServer()), { host: '0.0.0.0', ...operator })
  })
})

it.each([
  ['https', '::', 8443, 'https://localhost:8443'],
  ['mqtts', '0.0.0.0', 8883, 'mqtts://localhost:8883'],
  ['http', '127.0.0.1', 8080, 'http://127.0.0.1:8080'],
  ['http', '::1', 8080, 'http://[::1]:8080'],
])('%s on %s', (scheme, host, port, url) => {
  expect(urlFor(scheme, host, port)).toBe(url)
})
