/** One worker as the gateway sees it, over a child that does nothing by itself. What a real one does: test/system/https-workers.test.ts. */

import type { SendHandle } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { EndedHolder } from '#gateway/sessions/ended-holders.ts'
import type { Child } from '#gateway/workers/channel.ts'
import { TIMES } from '#gateway/workers/times.ts'
import { workerOf, type WorkerProcess } from '#gateway/workers/worker-process.ts'
import type { MetricValues } from '#runtime/metrics.ts'

let child: EventEmitter & Child & { connected: boolean }
let told: string[]
/** orders with what they say */
let orders: Record<string, unknown>[]
let passedOn: EndedHolder[]
let othersKnow: Promise<void>
let worker: WorkerProcess

const die = (code: number | null, signal: string | null): void => {
  child.connected = false
  child.emit('exit', code, signal)
}
/** nothing that it says, nor its end, has been noticed before this */
const settle = (ms = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)
const says = async (word: object, socket?: SendHandle): Promise<void> => {
  child.emit('message', word, socket)
  await settle()
}
const socketThatIs = (open: string[]): SendHandle => {
  open.push('open')
  return { close: () => void open.splice(0) } as unknown as SendHandle
}
const serve = async (): Promise<void> => {
  const ready = worker.listen({ host: '127.0.0.1', port: 0 }, undefined)
  await says({ kind: 'ready', url: 'https://127.0.0.1:9443', port: 9_443 })
  expect(await ready).toEqual({ url: 'https://127.0.0.1:9443', port: 9_443 })
  told.length = 0
}

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
  told = []
  orders = []
  child = Object.assign(new EventEmitter(), {
    pid: 4_711,
    connected: true,
    send: ((order: { kind: string }) => {
      orders.push(order)
      return told.push(order.kind) > 0
    }) as Child['send'],
    disconnect: () => {
      told.push('disconnect')
      child.connected = false
    },
    kill: (signal?: NodeJS.Signals | number) => told.push(String(signal)) > 0,
  })
  passedOn = []
  othersKnow = Promise.resolve()
  worker = workerOf(child, 1, 2, TIMES, (ended) => {
    passedOn.push(ended)
    return othersKnow
  })
  await says({ kind: 'standby' })
  await worker.standby()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('its socket', () => {
  test('is handed over, once', async () => {
    await serve()
    const open: string[] = []
    const socket = socketThatIs(open)
    const handed = worker.handOver()
    await says({ kind: 'handed' }, socket)
    expect(await handed).toBe(socket)
    expect([told, open]).toEqual([['hand_over'], ['open']])
  })
  test('of one that is too slow is taken from nobody: it is ended before another binds', async () => {
    await serve()
    let handed: unknown = 'not yet'
    void worker.handOver().then((socket) => {
      handed = socket
    })
    await settle(TIMES.handOver)
    expect([told.includes('SIGKILL'), handed]).toEqual([true, 'not yet'])
    // it woke up: its last word is on the way
    const open: string[] = []
    await says({ kind: 'handed' }, socketThatIs(open))
    expect(open).toEqual([])
    die(null, 'SIGKILL')
    await settle()
    expect(handed).toBe(undefined)
    expect(await worker.ended).toBe('SIGKILL: did not hand its socket over within 5000 ms')
  })
  test('is closed when nobody has asked for it', async () => {
    await serve()
    const open: string[] = []
    await says({ kind: 'handed' }, socketThatIs(open))
    expect(open).toEqual([])
  })
  test('of one that has ended is nobody’s', async () => {
    await serve()
    const handed = worker.handOver()
    die(1, null)
    expect([await handed, await worker.handOver(), told]).toEqual([undefined, undefined, ['hand_over']])
  })
})

describe('one that hangs', () => {
  const values = [{ name: 'x', type: 'counter' }] as unknown as MetricValues
  test('is asked how it is while it serves, and is left alone while it answers', async () => {
    await serve()
    for (let beat = 1; beat <= 10; beat += 1) {
      await settle(TIMES.beat)
      expect(told).toEqual(Array.from({ length: beat }, () => 'values'))
      await says({ kind: 'values', values })
      expect(worker.isAnswering()).toBe(true)
    }
    // what it has counted is known without another question
    child.connected = false
    expect(await worker.values()).toBe(values)
  })
  test('is ended after three questions without an answer; before, one late answer is enough', async () => {
    await serve()
    await settle(TIMES.beat * 3)
    expect(worker.isAnswering()).toBe(false)
    await says({ kind: 'values', values })
    expect(worker.isAnswering()).toBe(true)
    await settle(TIMES.beat * 4 - 1)
    expect(told).not.toContain('SIGKILL')
    await settle(1)
    expect(told.at(-1)).toBe('SIGKILL')
    die(null, 'SIGKILL')
    expect(await worker.ended).toBe('SIGKILL: did not answer for 15000 ms')
    await settle(TIMES.beat * 10)
    expect(told.filter((each) => each === 'SIGKILL')).toHaveLength(1)
  })
  test('when it has been replaced: its minute, and a little', async () => {
    await serve()
    worker.retire()
    await settle(TIMES.retire)
    expect(told).toEqual(['drain'])
    await settle(5_000)
    expect(told).toEqual(['drain', 'SIGKILL'])
  })
  test('when it was asked to stop: before whoever asks is ended himself, after 10 s', async () => {
    await serve()
    worker.stop()
    await settle(8_000)
    expect(told).toEqual(['disconnect', 'SIGKILL'])
  })
  test('before it serves', async () => {
    const ready = worker.listen({ host: '127.0.0.1', port: 0 }, undefined)
    const refused = expect(ready).rejects.toThrow(/worker 1 was not ready within 30000 ms/)
    await settle(30_000)
    expect(told.at(-1)).toBe('SIGKILL')
    await refused
  })
})

describe('logouts', () => {
  const tell = (holder: string): (() => boolean) => {
    let known = false
    void worker.tellLogouts([{ holder, at: 7 }]).then(() => (known = true))
    return () => known
  }
  const sent = (): unknown[] =>
    orders.flatMap(({ kind, ended }) =>
      kind === 'logouts' ? [(ended as { holder: string }[]).map(({ holder }) => holder).join()] : [],
    )

  test('that it has are passed on, and it is told when the others know', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    othersKnow = promise
    orders = []
    await says({ kind: 'logout', nth: 4, holder: 'lamp-1', at: 7 })
    expect([passedOn, orders]).toEqual([[{ holder: 'lamp-1', at: 7 }], []])
    resolve()
    await settle()
    expect(orders).toEqual([{ kind: 'known', nth: 4 }])
  })
  test('of others: known when it has heard that one', async () => {
    const known = tell('a')
    expect(sent()).toEqual(['a'])
    await says({ kind: 'heard', nth: 0 })
    expect(known()).toBe(false)
    await says({ kind: 'heard', nth: 1 })
    expect(known()).toBe(true)
  })
  test('that come meanwhile are one message, and one that is too slow is not waited for', async () => {
    const known = ['a', 'b', 'c', 'b'].map(tell)
    await settle()
    expect(sent()).toEqual(['a'])
    await settle(TIMES.heard)
    expect([sent(), known.map((each) => each())]).toEqual([
      ['a', 'c,b'],
      [true, false, false, false],
    ])
    // late, and of the first one
    await says({ kind: 'heard', nth: 1 })
    expect(known.map((each) => each())).toEqual([true, false, false, false])
    await says({ kind: 'heard', nth: 2 })
    expect(known.map((each) => each())).toEqual([true, true, true, true])
    tell('d')
    expect(sent()).toEqual(['a', 'c,b', 'd'])
  })
  test.each<[string, () => void]>([
    ['has ended', () => die(null, 'SIGKILL')],
    ['is stopping', () => worker.stop()],
  ])('of one that %s nobody waits for', async (_, how) => {
    how()
    await settle()
    const known = tell('a')
    await settle()
    expect([known(), sent()]).toEqual([true, []])
  })
})

test('one that ends in time is not killed, and not asked any more', async () => {
  await serve()
  worker.retire()
  await says({ kind: 'drained', values: [] })
  expect(told).toEqual(['drain', 'disconnect'])
  die(0, null)
  expect(await worker.ended).toBe(0)
  await settle(100_000)
  expect(told).toEqual(['drain', 'disconnect'])
})

test.each([
  ['its exit code', 2, null, { code: 'config_invalid', message: expect.stringContaining('ended with 2') }],
  ['a signal', null, 'SIGSEGV', { message: expect.stringContaining('ended with SIGSEGV') }],
] as const)('one that ends before it serves is told by %s', async (_, code, signal, error) => {
  const ready = worker.listen({ host: '127.0.0.1', port: 0 }, undefined)
  const refused = expect(ready).rejects.toMatchObject(error)
  die(code, signal)
  await refused
})
