/** What the bench says of each TLS connection of its loads: it ends where that is not so. */

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type ConnectionOptions, type TlsOptions } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { BareTls, BareTlsUp } from '../../../bench/support/bare-tls.ts'
import { CLAIMED, holdToClaims } from '../../../bench/support/claims.ts'
import { startHelper, talkTo } from '../../../bench/support/helpers.ts'
import type { Count, Order } from '../../../bench/support/mqtt-orders.ts'
import type { Pinned } from '../../../bench/support/pinned.ts'
import { makePki } from '../../support/pki.ts'

const pki = makePki({ now: Date.now() })
const server = pki.server()
const device = pki.device({ id: 'bench-1' })
const identity = { cert: server.fullPem, key: server.keyPem }

/** @returns what was said to be broken, and the ticket that came, of a connection that the server ends */
const ask = async (
  port: number,
  over: ConnectionOptions,
): Promise<{ readonly broken: readonly string[]; readonly session: Buffer | undefined }> => {
  const broken: string[] = []
  let session: Buffer | undefined
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...over })
  holdToClaims(socket, (why) => broken.push(why))
  socket.on('session', (ticket: Buffer) => (session = ticket))
  socket.resume()
  await once(socket, 'close')
  return { broken, session }
}

/** In a process as any other: OpenSSL sends tickets there. */
const listen = async (options: TlsOptions): Promise<{ readonly port: number } & Disposable> => {
  const listening = createServer({ ...identity, ...options }, (socket) => socket.end('.'))
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  return {
    port: (listening.address() as AddressInfo).port,
    [Symbol.dispose]: () => void listening.close(),
  }
}

describe('of a client it is said', () => {
  test.each<readonly [what: string, over: ConnectionOptions, says: readonly string[]]>([
    ['a ticket', CLAIMED, ['the server sent a session ticket']],
    [
      'another key share',
      { ...CLAIMED, ecdhCurve: 'P-256' },
      ['the key share is prime256v1', 'the server sent a session ticket'],
    ],
    [
      'the hybrid that Node prefers, where options are beside a context',
      { minVersion: 'TLSv1.3' },
      ['the key share is X25519MLKEM768', 'the server sent a session ticket'],
    ],
    [
      'an older version',
      { maxVersion: 'TLSv1.2' },
      ['the connection is TLSv1.2', 'the server sent a session ticket'],
    ],
  ])('%s', async (_, over, says) => {
    using there = await listen({ ecdhCurve: 'X25519MLKEM768:X25519:P-256' })
    expect((await ask(there.port, over)).broken).toEqual(says)
  })

  test('a session that is resumed', async () => {
    using there = await listen({ ecdhCurve: 'X25519' })
    const { session } = await ask(there.port, CLAIMED)
    expect((await ask(there.port, { ...CLAIMED, session: session as Buffer })).broken).toContain(
      'a session was resumed',
    )
  })
})

describe.runIf(process.platform === 'linux' && existsSync('/usr/bin/taskset'))('a load of MQTT', () => {
  let load: Pinned
  beforeAll(() => {
    load = startHelper(0, 'mqtt-clients.ts')
  })
  afterAll(() => load[Symbol.asyncDispose]())

  const visit = (port: number): Promise<Count> =>
    talkTo<Order, Count>(load, {
      kind: 'visits',
      port,
      host: 'bench.test',
      clients: [{ clientId: device.id, cert: device.fullPem, key: device.keyPem }],
      count: 1,
    })

  test('comes in over X25519 at a server of the bench, which sends no ticket', async () => {
    await using bare = startHelper(0, 'bare-tls.ts')
    const { port } = await talkTo<BareTls, BareTlsUp>(bare, {
      ...identity,
      ca: [pki.devices.pem],
      connack: true,
    })
    expect(await visit(port)).toEqual({ ok: 1, failed: undefined })
  })

  test('offers nothing else', async () => {
    using hybrid = await listen({ ecdhCurve: 'X25519MLKEM768' })
    expect(await visit(hybrid.port)).toEqual({ ok: 0, failed: 'Error: bench-1 was not let in' })
  })
})
