/** What one CRL costs when many ask and nobody reads. What is answered: test/system/enroll-status.test.ts. */

import { once } from 'node:events'
import type { Server } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Crl } from '#enroll/crl-publisher.ts'
import { createApp, httpServer, type App } from '#enroll/http-app.ts'
import { registerStatusApi } from '#enroll/status-api.ts'
import type { Issuer } from '#pki/issuer.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'

/** More than the kernel buffers for one connection on loopback. */
const DER = new Uint8Array(16 * 1024 * 1024).fill(7)
const issuer = { ski: 'ab'.repeat(20), certificate: { der: DER.subarray(0, 100) } } as unknown as Issuer
const crl: Crl = { der: DER, number: 1n, thisUpdate: 0, nextUpdate: 1 }
const PATH = `/crl/${issuer.ski}.crl`

const opened: (App | Server | Socket)[] = []
beforeEach(() => opened.splice(0))
afterEach(async () => {
  for (const each of opened.toReversed()) await ('destroy' in each ? each.destroy() : each.close())
})

const setUp = async (o: { quiet?: number; within?: number } = {}) => {
  const { limits } = loadConfig({ desk: 'cli', env: {}, cwd: '/' })
  const metrics = createMetrics('enroll')
  const server = httpServer(limits, undefined, ...(o.quiet === undefined ? [] : [o.quiet]))
  const log = createLog('enroll', 'silent')
  const app = createApp({ name: 'status', log, metrics, server, secure: false })
  opened.push(server, app)
  const sent: unknown[] = []
  app.addHook('onSend', async (_request, _reply, payload) => {
    await Promise.resolve()
    sent.push(payload)
    return payload
  })
  registerStatusApi(app, {
    registry: { issuers: () => Promise.resolve([]) },
    issuers: { published: () => [issuer] },
    crls: { current: () => crl },
    importedCrls: { current: () => undefined, has: () => false },
    ocsp: { answer: () => Promise.resolve({ der: Buffer.alloc(1), cache: undefined }) },
    metrics,
    ...(o.within === undefined ? {} : { within: o.within }),
  })
  await app.ready()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const dial = (): Socket => {
    const socket = connect({ port, host: '127.0.0.1' })
    opened.push(socket)
    return socket.on('error', () => undefined)
  }
  return { app, server, sent, dial, metrics }
}
const ask = `GET ${PATH} HTTP/1.1\r\nHost: a\r\n\r\n`

describe('the status listener', () => {
  it('sends the CRL itself to everybody, not a copy to each', async () => {
    const { app, sent } = await setUp()
    for (let n = 0; n < 3; n += 1) expect((await app.inject(PATH)).rawPayload.length).toBe(DER.length)
    expect((await app.inject(`/issuer/${issuer.ski}.cer`)).rawPayload.length).toBe(100)
    expect(sent).toHaveLength(4)
    // not toBe: it would print megabytes
    expect(sent.every((payload) => (payload as Buffer).buffer === DER.buffer)).toBe(true)
  })

  it('hangs up on who asks and does not read', async () => {
    const { server, dial } = await setUp({ quiet: 100 })
    const socket = dial()
    socket.pause().write(ask)
    const [held] = (await once(server, 'connection')) as [Socket]
    await once(held, 'close')
    expect(held.bytesWritten).toBeGreaterThan(0)
  })

  it('hangs up on who reads a little now and then, for ever', async () => {
    const { server, dial } = await setUp({ within: 100 })
    const socket = dial()
    socket.pause().write(ask)
    const [held] = (await once(server, 'connection')) as [Socket]
    const sips = setInterval(() => socket.read(1), 10)
    await once(held, 'close')
    clearInterval(sips)
  })

  it('takes 64 connections of one address, and counts those that it does not', async () => {
    const { server, dial, metrics } = await setUp()
    for (let n = 0; n < 70; n += 1) dial()
    const count = () => new Promise<number>((tell) => server.getConnections((_, found) => tell(found)))
    await vi.waitFor(async () => {
      expect(await metrics.text()).toMatch(/sallyport_status_connections_refused_total\S* 6$/m)
      expect(await count()).toBe(64)
    })
  })
})

describe('every listener', () => {
  it('has an end of its patience, above that of a request, so that 408 is said first', () => {
    const { limits } = loadConfig({ desk: 'cli', env: {}, cwd: '/' })
    const server = httpServer(limits, undefined)
    expect(server.timeout).toBeGreaterThan(server.requestTimeout)
    expect(server.timeout).toBeLessThan(60_000)
    const slow = httpServer({ ...limits, header_timeout: 120_000 }, undefined)
    expect(slow.timeout).toBeGreaterThan(slow.requestTimeout)
  })
})
