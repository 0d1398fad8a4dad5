/** The thread of the embedded broker's store dies while clients are served: it comes back, and nothing is acknowledged before it is in the file. */

import { join } from 'node:path'
import type { Worker } from 'node:worker_threads'
import Database from 'better-sqlite3'
import { expect, test } from 'vitest'
import { openEmbeddedBroker } from '#gateway/mqtt/embedded/broker.ts'
import { linkClient } from '../../../../support/broker-link.ts'
import { temporaryFolder } from '../../../../support/temporary.ts'

test('a thread that dies comes back, and acknowledgements wait for it', async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'broker.sqlite')
  const lines: string[] = []
  const log = {
    info: (_: unknown, line: string) => lines.push(line),
    warn: (_: unknown, line: string) => lines.push(line),
  } as never
  let threads = 0
  let kill = false
  const onWorker = (worker: Worker): void => {
    threads++
    const post = worker.postMessage.bind(worker)
    worker.postMessage = (batch) => {
      post(batch)
      if (kill) void worker.terminate()
      kill = false
    }
  }
  process.on('worker', onWorker)
  const broker = await openEmbeddedBroker({
    path,
    frameLimit: 262_144,
    clock: () => 0,
    log,
    dropped: (what) => lines.push(what),
    expired: () => {},
  })
  let file: Database.Database | undefined
  try {
    const kept = linkClient(broker, 'keeps')
    await kept.connect({ clientId: 'keeps', clean: false })
    kept.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 't', qos: 1 }] })
    await kept.until('suback')
    await kept.end('finish')
    const client = linkClient(broker, 'me')
    await client.connect({ clientId: 'me' })
    file = new Database(path, { readonly: true })
    const inFile = file.prepare('select payload from messages').pluck()
    for (let messageId = 1; messageId <= 5; messageId++) {
      client.send({
        cmd: 'publish',
        topic: 't',
        payload: `p${messageId}`,
        qos: 1,
        messageId,
        retain: false,
        dup: false,
      })
      kill = true
      expect(await client.until('puback')).toMatchObject({ messageId })
      expect(inFile.all().map(String)).toContain(`p${messageId}`)
    }
  } finally {
    process.off('worker', onWorker)
    file?.close()
    await broker[Symbol.asyncDispose]()
  }
  expect(threads).toBeGreaterThan(1)
  expect(lines).toContain('the store of the embedded broker can be written again')
})
