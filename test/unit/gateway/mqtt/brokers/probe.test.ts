/** How long a health check takes at most. What it makes of answers: brokers.test.ts. */

import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createSecureContext, TLSSocket } from 'node:tls'
import { afterEach, expect, test, vi } from 'vitest'
import { probe } from '#gateway/mqtt/brokers/probe.ts'
import { makePki } from '../../../../support/pki.ts'

afterEach(() => void vi.useRealTimers())

test('the connection and the answer have one time together', async () => {
  const pki = makePki({ now: Date.now() })
  const { fullPem: cert, keyPem: key } = pki.server(['localhost'])
  await using server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const found = vi.fn()
  void probe({
    target: {
      ip: '127.0.0.1',
      port,
      host: 'localhost',
      context: createSecureContext({ ca: pki.root.pem }),
    },
    timeout: 1_000,
    header: undefined,
    clientId: 'health',
    login: { username: 'health', password: undefined },
  }).then(found)
  const [raw] = (await once(server, 'connection')) as [Socket]
  using ends = new DisposableStack()
  ends.defer(() => raw.destroy())
  // the handshake is late, and nothing else is said
  vi.advanceTimersByTime(900)
  const tls = new TLSSocket(raw, { isServer: true, secureContext: createSecureContext({ cert, key }) })
  tls.on('error', () => {})
  await once(tls, 'data')
  vi.advanceTimersByTime(99)
  await nextTurn()
  expect(found).not.toHaveBeenCalled()
  vi.advanceTimersByTime(1)
  await nextTurn()
  expect(found).toHaveBeenCalledWith({ failure: 'timeout' })
})
