/** Why a connection could not be made, and of whom that may be true. */

import { createSecureContext, type SecureContext } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { dial, type Dialled, type NotDialled } from '#gateway/mqtt/brokers/dial.ts'
import { proxyHeader } from '#gateway/mqtt/brokers/proxy-header.ts'
import { scriptedBroker } from '../../../../support/scripted-broker.ts'

const TLS = createSecureContext()
const HEADER = proxyHeader({ address: '192.0.2.1', identity: 'lamp' })

const dialled = (port: number, context: SecureContext | undefined, header: Uint8Array | undefined) =>
  new Promise<Dialled | NotDialled>((resolve) => {
    const target = { ip: '127.0.0.1', port, host: 'localhost', context }
    dial({ target, timeout: 200, header }, resolve)
  })

describe('over TLS', () => {
  test.each<[string, Uint8Array | undefined, boolean]>([
    ['that was told of a client first', HEADER, true],
    ['that was not', undefined, false],
  ])('a broker %s, and closes', async (_, header, ofClient) => {
    await using broker = await scriptedBroker({ said: (socket) => void socket.destroy() })
    expect(await dialled(broker.port, TLS, header)).toMatchObject({ ofClient })
  })

  test('a broker that was told of a client first, and is silent', async () => {
    await using broker = await scriptedBroker({ said: () => {} })
    expect(await dialled(broker.port, TLS, HEADER)).toMatchObject({ failure: 'timeout', ofClient: true })
  })

  test('nobody listens: no client has been named yet', async () => {
    const broker = await scriptedBroker()
    await broker[Symbol.asyncDispose]()
    expect(await dialled(broker.port, TLS, HEADER)).toMatchObject({ failure: 'refused', ofClient: false })
  })
})
