/** What N workers have together: counts, limits, an inbox. */

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { shareOf } from '#gateway/workers/share.ts'
import { createSums } from '#gateway/workers/sums.ts'
import { openInboxReader, openInboxWriter } from '#registry/inbox.ts'
import { loadConfig } from '#runtime/config.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

test('limits that are counted in a process are divided, and rounded up; the others are not touched', () => {
  const config = loadConfig({ desk: 'cli', env: { SALLYPORT_LIMITS_MAX_CONNECTIONS: '1000' }, cwd: '/' })
  const share = shareOf(config, 3)
  expect(share.limits.max_connections).toBe(334)
  expect(share.https.connections_per_address).toBe(Math.ceil(config.https.connections_per_address / 3))
  expect(share.https.requests_per_certificate).toBe(Math.ceil(config.https.requests_per_certificate / 3))
  expect({ ...share, limits: 0, https: 0 }).toEqual({ ...config, limits: 0, https: 0 })
  expect(share.limits.header_timeout).toBe(config.limits.header_timeout)
  expect(shareOf(config, 5_000).limits.max_connections).toBe(1)
})

test('counts of a worker that ended stay, what it had open does not', async () => {
  const workers = [1, 2, 3].map((count) => {
    const metrics = createMetrics('gateway')
    metrics.counter('requests_total', 'Requests').inc({}, count)
    metrics.gauge('open', 'Open').set(count)
    return { values: () => metrics.values() }
  })
  const sums = createSums()
  const own = createMetrics('gateway')
  own.include(() => sums.values())
  const [one, two, three] = workers as [(typeof workers)[0], (typeof workers)[0], (typeof workers)[0]]
  for (const worker of workers) sums.count(worker)
  expect(await own.text()).toMatch(/requests_total\{desk="gateway"\} 6[^]*open\{desk="gateway"\} 6/)
  await Promise.all([sums.depart(one), sums.depart(two), sums.depart(two)])
  expect(await own.text()).toMatch(/requests_total\{desk="gateway"\} 6[^]*open\{desk="gateway"\} 3/)
  await sums.depart(three)
  const text = await own.text()
  expect(text).toContain('requests_total{desk="gateway"} 6')
  expect(text).not.toContain('open{')
})

test('several may write one inbox at the same time, and nothing is lost', async () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'inbox.sqlite')
  const clock = Date.now
  const writers = await Promise.all(Array.from({ length: 4 }, () => openInboxWriter({ path, clock })))
  const subject = (writer: number, nth: number): string => `${writer}${nth}`.padStart(64, '0')
  for (const [writer, inbox] of writers.entries())
    for (let nth = 1_000; nth < 2_500; nth += 1)
      inbox.append({ kind: 'seen', subject: subject(writer, nth), at: clock(), door: 'https' })
  await Promise.all(writers.map((inbox) => inbox[Symbol.asyncDispose]()))

  await using reader = await openInboxReader({ path })
  const { entries, malformed } = await reader.read(undefined, 10_000)
  expect([entries.length, new Set(entries.map(({ subject: each }) => each)).size, malformed]).toEqual([
    6_000, 6_000, 0,
  ])
})
