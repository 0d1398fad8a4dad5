import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { capConnections } from '#enroll/per-address.ts'

const opened: (Server | Socket)[] = []
afterEach(() => {
  for (const each of opened.splice(0).toReversed()) {
    if ('destroy' in each) each.destroy()
    else each.close()
  }
})

const setUp = async (most: number) => {
  let refused = 0
  const server = createServer()
  opened.push(server)
  capConnections(server, { most, refused: () => (refused += 1) })
  server.on('connection', (socket) => socket.on('error', () => undefined).write('hello'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  /** @returns the connection when the server speaks, undefined when it hangs up */
  const dial = async (from = '127.0.0.1'): Promise<Socket | undefined> => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from })
    opened.push(socket)
    socket.on('error', () => undefined)
    const heard = await Promise.race([
      once(socket, 'data').then(() => true),
      once(socket, 'close').then(() => false),
    ])
    return heard ? socket : undefined
  }
  return { dial, refused: () => refused }
}

describe('capConnections', () => {
  it('lets so many of one address in, and others all the same', async () => {
    const { dial, refused } = await setUp(2)
    const first = await dial()
    expect([first, await dial()]).not.toContain(undefined)
    expect(await dial()).toBeUndefined()
    expect(await dial('127.0.0.2')).toBeDefined()
    expect(refused()).toBe(1)
    first?.destroy()
    await vi.waitFor(async () => expect(await dial()).toBeDefined())
    expect(await dial()).toBeUndefined()
  })
})
