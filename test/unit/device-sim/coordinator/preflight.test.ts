/** Each way in which a door is not the one that was meant, in a sentence that says which, and what to do. Real sockets on loopback. */

import { once } from 'node:events'
import { createServer as createPlain, type AddressInfo, type Server } from 'node:net'
import { createServer } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { preflight } from '#device-sim/coordinator/preflight.ts'
import { makePki } from '../../../support/pki.ts'

const pki = makePki({ now: Date.now() })
const servers: Server[] = []
const listening = async (server: Server): Promise<number> => {
  servers.push(server)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return (server.address() as AddressInfo).port
}
const tls = (leaf = pki.server()): Promise<number> =>
  listening(createServer({ cert: leaf.fullPem, key: leaf.keyPem }, (socket) => socket.on('error', () => {})))

let good: number
let other: number
let expired: number
let mute: number
let closed: number
beforeAll(async () => {
  const plain = createPlain((socket) => {
    socket.on('error', () => {})
    socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
  })
  closed = await listening(createPlain())
  ;[good, other, expired, mute] = await Promise.all([
    tls(),
    tls(pki.server(['other.test'])),
    tls(pki.server(['localhost'], { shape: 'expired' })),
    listening(plain),
  ])
  await new Promise((resolve) => servers[0]?.close(resolve))
})
afterAll(() => {
  for (const server of servers) server.close()
})

const { signal } = new AbortController()
const knock = (port: number, rootPem: string | undefined) =>
  preflight([{ name: 'the HTTPS door', url: `https://localhost:${port}`, option: '--https-url' }], {
    rootPem,
    signal,
  })

test('the right one passes; without a root it is enough that TLS is spoken', async () => {
  await knock(good, pki.root.pem)
  await knock(other, undefined)
})

test.each<[string, () => Promise<void>, RegExp]>([
  [
    'nobody listens',
    () => knock(closed, pki.root.pem),
    /^the HTTPS door, https:\/\/localhost:\d+: nobody listens there \(connection refused\)\. .*npm start.*--https-url/,
  ],
  [
    'the wrong CA',
    () => knock(good, pki.other.root.pem),
    /the wrong CA: its certificate is not under the root that is trusted here.*--ca/,
  ],
  [
    'the wrong host',
    () => knock(other, pki.root.pem),
    /its certificate is not for localhost but for other\.test; say one of its names with --https-url/,
  ],
  ['expired', () => knock(expired, pki.root.pem), /its certificate has expired by the clock of this machine/],
  ['no TLS', () => knock(mute, pki.root.pem), /does not speak TLS; --https-url names another port/],
])('%s', async (_, knocking, says) => {
  await expect(knocking()).rejects.toMatchObject({
    code: 'target_unreachable',
    detail: expect.stringMatching(says),
  })
})

test('all that is wrong is said', async () => {
  const door = (name: string, port: number) => ({
    name,
    url: `mqtts://localhost:${port}`,
    option: '--mqtts-url',
  })
  const doors = [door('one', closed), door('two', good), door('three', expired)]
  const { detail } = await preflight(doors, { rootPem: pki.root.pem, signal }).then(
    () => expect.unreachable(),
    (error: { detail: string }) => error,
  )
  expect(detail.split('\n').map((line) => line.split(',')[0])).toEqual(['one', 'three'])
})

test('a run that is given up is given up here too', async () => {
  const stop = new AbortController()
  const silent = await listening(createPlain(() => {}))
  const knocking = preflight([{ name: 'a', url: `https://localhost:${silent}`, option: '-' }], {
    rootPem: undefined,
    signal: stop.signal,
  })
  stop.abort()
  await expect(knocking).rejects.toMatchObject({ code: 'target_unreachable' })
})
