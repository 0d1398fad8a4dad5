/** The thread that writes the embedded broker's file, as the broker sees it: whose answer is whose, and what its death means. */

import { EventEmitter } from 'node:events'
import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openBrokerStore, type Batch } from '#registry/broker-store.ts'
import { createWriter, type Writer } from '#registry/broker-store/writer.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const BATCH: Batch = { rows: {}, payloads: new Uint8Array() }

/** A thread that says what it is told to. */
class Thread extends EventEmitter {
  readonly asked: unknown[] = []
  ref(): void {}
  unref(): void {}
  postMessage(question: unknown): void {
    this.asked.push(question)
  }
  answer(number: number, error?: string): void {
    this.emit('message', { number, error })
  }
}

describe('a thread', () => {
  let threads: Thread[]
  let writer: Writer
  let said: string[]
  beforeEach(() => {
    threads = []
    said = []
    writer = createWriter(() => {
      const thread = new Thread()
      threads.push(thread)
      return thread as unknown as Worker
    })
  })
  const commit = (name: string): Promise<unknown> =>
    writer.commit(BATCH).then(
      () => said.push(`${name} written`),
      (error: { code: string }) => said.push(`${name} ${error.code}`),
    )
  const thread = (at: number): Thread => threads[at] as Thread
  const turn = (): Promise<unknown> => new Promise(setImmediate)

  test('answers for its own batch', async () => {
    void commit('one')
    thread(0).answer(1)
    await turn()
    void commit('two')
    thread(0).answer(2, 'SQLITE_FULL')
    await turn()
    expect([said, threads.length]).toEqual([['one written', 'two registry_unavailable'], 1])
  })

  test('that dies has not written, and another is started', async () => {
    void commit('one')
    thread(0).emit('error', new Error('out of memory'))
    thread(0).emit('exit', 1)
    await turn()
    expect(said).toEqual(['one registry_unavailable'])
    void commit('again')
    thread(1).answer(2)
    await turn()
    expect(said).toEqual(['one registry_unavailable', 'again written'])
  })

  test('has a death of two events, and is one until the second: as long as it lives it may still write', async () => {
    void commit('one')
    thread(0).emit('error', new Error('out of memory'))
    await turn()
    expect([said, threads.length]).toEqual([[], 1])
    thread(0).emit('exit', 1)
    await turn()
    expect(said).toEqual(['one registry_unavailable'])
  })

  test('that is dead says nothing of what another was asked', async () => {
    void commit('one')
    thread(0).emit('exit', 1)
    await turn()
    void commit('again')
    for (const number of [1, 2]) thread(0).answer(number)
    thread(0).emit('error', new Error('late'))
    thread(0).emit('exit', 1)
    await turn()
    expect(said).toEqual(['one registry_unavailable'])
    // nor does an answer to what was asked before
    thread(1).answer(1)
    await turn()
    expect(said).toHaveLength(1)
    thread(1).answer(2)
    await turn()
    expect(said).toEqual(['one registry_unavailable', 'again written'])
  })

  test('that dies with nothing to do is started again when there is', async () => {
    void commit('one')
    thread(0).answer(1)
    await turn()
    thread(0).emit('exit', 1)
    void commit('two')
    thread(1).answer(2)
    await turn()
    expect(said).toEqual(['one written', 'two written'])
  })
})

describe('a real one', () => {
  let folder: ReturnType<typeof temporaryFolder>
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(() => folder[Symbol.dispose]())

  test('may be killed at any time: what was said to be written is there', async () => {
    const path = join(folder.path, 'broker.sqlite')
    const store = await openBrokerStore({ path, clock: () => 0, patience: 0 })
    const started: Worker[] = []
    const onWorker = (worker: Worker): void => void started.push(worker)
    process.on('worker', onWorker)
    const written: number[] = []
    try {
      for (let number = 1; number <= 12; number++) {
        const done = store.commit({ ...BATCH, rows: { putMessage: [number, 't', 0] } })
        // before it begins, while it writes, or when it has
        if (number % 3 === 0) void started.at(-1)?.terminate()
        if (number % 3 === 1) setImmediate(() => void started.at(-1)?.terminate())
        await done.then(
          () => written.push(number),
          (error: { code: string }) => expect(error.code).toBe('registry_unavailable'),
        )
      }
      await store.commit({ ...BATCH, rows: { putMessage: [99, 't', 0] } })
    } finally {
      process.off('worker', onWorker)
    }
    expect(started.length).toBeGreaterThan(4)
    await store[Symbol.asyncDispose]()
    await using again = await openBrokerStore({ path, clock: () => 0, patience: 0 })
    let there: number[] = []
    again.load(({ messages }) => {
      there = Array.from(messages, ({ number }) => number)
    })
    expect(there).toEqual(expect.arrayContaining([...written, 99]))
  })
})
