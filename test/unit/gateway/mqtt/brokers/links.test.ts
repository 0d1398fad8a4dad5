/** Links over a Unix socket, which has no pool: what a link does, whatever it goes over. */

import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { openSocketUpstream } from '#gateway/mqtt/brokers/socket-upstream.ts'
import { openLink } from '../../../../support/brokers.ts'
import { scriptedBroker, type ScriptedBroker } from '../../../../support/scripted-broker.ts'
import { temporaryFolder } from '../../../../support/temporary.ts'

const MIB = 1024 * 1024

describe('a link', () => {
  const folder = temporaryFolder()
  afterAll(() => folder[Symbol.dispose]())
  let count = 0

  const open = async (o: Parameters<typeof scriptedBroker>[0] = {}) => {
    const path = join(folder.path, `${count++}.sock`)
    const broker = await scriptedBroker({ listen: { path }, ...o })
    const upstream = openSocketUpstream({ path })
    return {
      broker,
      upstream,
      async [Symbol.asyncDispose]() {
        await upstream[Symbol.asyncDispose]()
        await broker[Symbol.asyncDispose]()
      },
    }
  }
  const first = async (broker: ScriptedBroker) => {
    await vi.waitFor(() => expect(broker.callers.length).toBe(1))
    return broker.callers[0] as (typeof broker.callers)[0]
  }

  test('says what was written before there was a socket, in order, and hears the answer', async () => {
    await using at = await open()
    const { link, heard } = openLink(at.upstream, 'one ')
    link.write(Buffer.from('two '))
    const { said } = await first(at.broker)
    link.write(Buffer.from('three'))
    await vi.waitFor(() => expect(said().toString()).toBe('one two three'))
    await vi.waitFor(() => expect(heard().length).toBe(4))
  })

  test('says in one piece what is written in one turn', async () => {
    const pieces: string[] = []
    await using at = await open({ said: (_, bytes) => void pieces.push(bytes.toString()) })
    const { link } = openLink(at.upstream, 'first')
    await vi.waitFor(() => expect(pieces).toEqual(['first']))
    for (const word of ['a', 'b', 'c']) link.write(Buffer.from(word))
    await vi.waitFor(() => expect(pieces).toEqual(['first', 'abc']))
  })

  test('what is heard is not overwritten by what is heard next', async () => {
    await using at = await open({ said: (socket, bytes) => socket.write(bytes) })
    const [one, two] = [openLink(at.upstream, 'one'), openLink(at.upstream, 'twotwo')]
    await vi.waitFor(() => expect([one.events, two.events]).toEqual([['data'], ['data']]))
    expect([one.heard().toString(), two.heard().toString()]).toEqual(['one', 'twotwo'])
  })

  test('says wait to a writer when the broker does not read, keeps every byte, and says when to go on', async () => {
    await using at = await open({ connected: (socket) => void socket.pause(), said: () => {} })
    const { link, events } = openLink(at.upstream, 'x')
    const { socket, said } = await first(at.broker)
    const piece = Buffer.alloc(MIB, 7)
    let written = 1
    let went = true
    while (went) {
      went = link.write(piece)
      written += piece.length
      await new Promise(setImmediate)
    }
    expect(events).toEqual([])
    socket.resume()
    await vi.waitFor(() => expect(events).toEqual(['drain']))
    await vi.waitFor(() => expect(said().length).toBe(written))
    expect(link.write(Buffer.from('x'))).toBe(true)
  })

  test('says wait before there is a socket, and drain when there is', async () => {
    await using at = await open({ said: () => {} })
    const { link, events } = openLink(at.upstream, 'x')
    expect(link.write(Buffer.alloc(MIB))).toBe(false)
    await vi.waitFor(() => expect(events).toEqual(['drain']))
  })

  test('a paused one hears nothing, its broker has to wait, and nothing is lost', async () => {
    let full = false
    await using at = await open({
      said: (socket) => {
        full = !socket.write(Buffer.alloc(8 * MIB, 1))
        socket.end()
      },
    })
    const { link, heard, events, closed } = openLink(at.upstream, '')
    link.pause()
    link.write(Buffer.from('x'))
    await vi.waitFor(() => expect(full).toBe(true))
    const { socket } = await first(at.broker)
    expect(socket.writableLength).toBeGreaterThan(4 * MIB)
    expect(events).toEqual([])
    link.resume()
    await closed
    expect(heard().length).toBe(8 * MIB)
    expect(events.at(-1)).toBe('closed')
  })

  test('closes when the broker does, once and last', async () => {
    await using at = await open({ said: (socket) => socket.end('bye') })
    const { heard, events, closed, link } = openLink(at.upstream, 'x')
    await closed
    expect(heard().toString()).toBe('bye')
    expect(events).toEqual(['data', 'closed'])
    expect(link.write(Buffer.from('x'))).toBe(true)
    link.end('drop')
    await new Promise(setImmediate)
    expect(events).toEqual(['data', 'closed'])
  })

  test('closes when the broker resets', async () => {
    await using at = await open({ said: (socket) => void socket.destroy() })
    const { events, closed } = openLink(at.upstream, 'x')
    await closed
    expect(events).toEqual(['closed'])
  })

  test.each(['abort', 'finish', 'drop'] as const)(
    '%s: all that was written is read, then the end, and nothing more is heard',
    async (how) => {
      await using at = await open({ connected: (socket) => void socket.pause(), said: () => {} })
      const { link, events, closed } = openLink(at.upstream, 'x')
      const { socket, said } = await first(at.broker)
      socket.write('unread')
      await vi.waitFor(() => expect(events).toEqual(['data']))
      link.pause()
      socket.write('never heard')
      link.write(Buffer.alloc(MIB / 4))
      link.write(Buffer.from('last'))
      link.end(how)
      const ended = once(socket, 'end')
      socket.resume()
      await ended
      expect(said().length).toBe(1 + MIB / 4 + 4)
      await closed
      expect(events.filter((event) => event !== 'drain')).toEqual(['data', 'closed'])
    },
  )

  test('a broker that does not close its side is left after two seconds', async () => {
    await using at = await open({ half: true, said: () => {} })
    const { link, closed } = openLink(at.upstream, 'x')
    const { socket } = await first(at.broker)
    await vi.waitFor(() => expect(socket.bytesRead).toBe(1))
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      link.end('finish')
      await once(socket, 'end')
      await vi.advanceTimersByTimeAsync(2_000)
    } finally {
      vi.useRealTimers()
    }
    await closed
  })

  test.each(['abort', 'drop'] as const)('%s before there is a socket: nothing was ever said', async (how) => {
    await using at = await open({ said: () => {} })
    const { link, events, closed } = openLink(at.upstream, 'x')
    link.end(how)
    expect(events).toEqual([])
    await closed
    const other = openLink(at.upstream, 'other')
    await vi.waitFor(() => expect(at.broker.saying('other').length).toBe(1))
    other.link.end('drop')
    expect(at.broker.saying('x').length).toBe(0)
  })

  test('finish before there is a socket: what was written is said all the same', async () => {
    await using at = await open({ said: () => {} })
    const { link, closed } = openLink(at.upstream, 'CONNECT DISCONNECT')
    link.end('finish')
    await closed
    expect(at.broker.saying('CONNECT DISCONNECT').length).toBe(1)
  })

  test('closes, and not before open has returned, when nobody listens', async () => {
    const upstream = openSocketUpstream({ path: join(folder.path, 'nobody.sock') })
    const { events, closed } = openLink(upstream, 'x')
    await closed
    expect(events).toEqual(['closed'])
    await upstream[Symbol.asyncDispose]()
  })

  test('the end of the upstream ends its links', async () => {
    await using at = await open({ said: () => {} })
    const { events } = openLink(at.upstream, 'x')
    await first(at.broker)
    await at.upstream[Symbol.asyncDispose]()
    expect(events).toEqual(['closed'])
  })
})
