import type { TLSSocket } from 'node:tls'
import { beforeAll, describe, expect, test } from 'vitest'
import { clientContext } from '#device-sim/client/connection.ts'
import { httpsOnce } from '#device-sim/client/https-once.ts'
import { createMeter } from '#device-sim/client/meter.ts'
import { createWorld, httpsServer, type World } from '../../../support/faulty-servers.ts'

let world: World
beforeAll(async () => {
  world = await createWorld()
})

const target = (port: number, path = '/') => `https://localhost:${port}${path}`

describe('one request on one connection', () => {
  test('two requests are two connections and two full handshakes, although the server gives tickets', async () => {
    const ports = new Set<number | undefined>()
    await using server = await httpsServer(world.tls, (request, response) => {
      ports.add(request.socket.remotePort)
      response.end((request.socket as TLSSocket).authorized ? 'known' : 'unknown')
    })
    const meter = createMeter()
    const context = clientContext({ rootPem: world.ca.rootPem, identity: await world.device('pump-7') })
    for (let turn = 0; turn < 2; turn++) {
      const answer = await httpsOnce({ url: target(server.port), context, meter })
      expect(answer).toMatchObject({ status: 200, resumed: false, tlsVersion: 'TLSv1.3' })
      expect(answer.body.toString()).toBe('known')
    }
    expect(ports.size).toBe(2)
    expect(meter.figures()).toMatchObject({ handshakes: 2, resumed: 0 })
  })

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'a %s session that is presented on purpose, and resumed, is seen',
    async (version) => {
      await using server = await httpsServer(world.tls, (_request, response) => response.end())
      const meter = createMeter()
      const context = clientContext({ rootPem: world.ca.rootPem, version })
      const first = await httpsOnce({ url: target(server.port), context, keepSession: true })
      const again = await httpsOnce({ url: target(server.port), context, session: first.session, meter })
      expect(again.resumed).toBe(true)
      expect(again.tlsVersion).toBe(version)
      expect(meter.figures()).toMatchObject({ handshakes: 0, resumed: 1 })
    },
  )

  test.each([99, 600, 999])('status %i is none', async (status) => {
    await using server = await httpsServer(world.tls, ({ socket }) => {
      socket.end(`HTTP/1.1 ${String(status).padStart(3, '0')} x\r\ncontent-length: 0\r\n\r\n`)
    })
    const context = clientContext({ rootPem: world.ca.rootPem })
    await expect(httpsOnce({ url: target(server.port), context })).rejects.toThrow(/bad answer/)
  })

  test('interim answers are none, and a token in one, or in the phrase of the status, is one all the same', async () => {
    const jwt = `${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`
    await using server = await httpsServer(world.tls, ({ socket, url }, response) => {
      if (url === '/phrase') return void response.writeHead(200, jwt).end('ok')
      socket.write(`HTTP/1.1 103 Early Hints\r\nlink: <${url === '/hint' ? jwt : 'a'}>\r\n\r\n`)
      response.end('ok')
    })
    const meter = createMeter()
    const context = clientContext({ rootPem: world.ca.rootPem })
    for (const path of ['/', '/hint', '/phrase']) {
      const answer = await httpsOnce({ url: target(server.port, path), context, meter })
      expect([answer.status, answer.body.toString()]).toEqual([200, 'ok'])
    }
    expect(meter.figures().tokenEvidence).toEqual([
      `GET https://localhost:${server.port}/hint: header link`,
      `GET https://localhost:${server.port}/phrase: header reason phrase`,
    ])
  })

  test('the reason of a problem document is read, and nothing else is taken for one', async () => {
    const problem = JSON.stringify({ reason: 'certificate_required' })
    await using server = await httpsServer(world.tls, (request, response) => {
      response.writeHead(403, {
        'content-type': request.url === '/problem' ? 'application/problem+json' : 'application/json',
      })
      response.end(request.url === '/broken' ? '{' : problem)
    })
    const context = clientContext({ rootPem: world.ca.rootPem })
    const reasonAt = async (path: string) =>
      (await httpsOnce({ url: target(server.port, path), context })).reason
    expect(await reasonAt('/problem')).toBe('certificate_required')
    expect(await reasonAt('/other')).toBeUndefined()
    expect(await reasonAt('/broken')).toBeUndefined()
  })

  test('a token in an answer, wherever it is, is counted', async () => {
    const jwt = `${Buffer.from('{"alg":"ES256"}').toString('base64url')}.e30.sig`
    await using server = await httpsServer(world.tls, (request, response) => {
      if (request.url === '/trailer') {
        response.writeHead(200, { trailer: 'x-late' })
        response.addTrailers({ 'x-late': jwt })
      } else if (request.url === '/cookie') response.setHeader('set-cookie', 'CF_Authorization=x')
      response.end(request.url === '/body' ? jwt : 'clean')
    })
    const meter = createMeter()
    const context = clientContext({ rootPem: world.ca.rootPem })
    for (const path of ['/', '/trailer', '/cookie', '/body'])
      await httpsOnce({ url: target(server.port, path), context, meter })
    expect(meter.figures().tokensReturned).toBe(3)
    expect(meter.figures().tokenEvidence.join()).not.toContain(jwt)
  })
})

describe('what ends it', () => {
  const unreachable = { code: 'target_unreachable' }

  test('a server of another root', async () => {
    const other = await createWorld('another root')
    await using server = await httpsServer(other.tls, (_request, response) => response.end())
    const context = clientContext({ rootPem: world.ca.rootPem })
    await expect(httpsOnce({ url: target(server.port), context })).rejects.toMatchObject(unreachable)
  })

  test('a server with another name', async () => {
    await using server = await httpsServer(world.tls, (_request, response) => response.end())
    const context = clientContext({ rootPem: world.ca.rootPem })
    const url = `https://127.0.0.1:${server.port}/`
    await expect(httpsOnce({ url, context })).rejects.toMatchObject(unreachable)
  })

  test('nobody there, no answer, an answer cut off, an answer without end, the signal', async () => {
    await using server = await httpsServer(world.tls, (request, response) => {
      if (request.url === '/reset') request.socket.destroy()
      if (request.url === '/half') {
        response.writeHead(200, { 'content-length': '10' })
        response.write('half', () => request.socket.destroy())
      }
      if (request.url === '/endless') {
        const more = (): unknown => response.write(Buffer.alloc(65_536), (error) => error || more())
        more()
      }
    })
    const context = clientContext({ rootPem: world.ca.rootPem })
    const ask = (path: string, o: object = {}) => httpsOnce({ url: target(server.port, path), context, ...o })
    await expect(httpsOnce({ url: 'https://localhost:1/', context })).rejects.toMatchObject(unreachable)
    await expect(ask('/silent', { timeout: 200 })).rejects.toMatchObject(unreachable)
    for (const path of ['/reset', '/half', '/endless'])
      await expect(ask(path)).rejects.toMatchObject(unreachable)
    await expect(ask('/silent', { signal: AbortSignal.timeout(100) })).rejects.toMatchObject(unreachable)
    await expect(ask('/silent', { signal: AbortSignal.abort() })).rejects.toMatchObject(unreachable)
  })

  test('without a root nobody is trusted', async () => {
    await using server = await httpsServer(world.tls, (_request, response) => response.end())
    const url = target(server.port)
    await expect(httpsOnce({ url, context: clientContext({}) })).rejects.toMatchObject(unreachable)
  })
})
