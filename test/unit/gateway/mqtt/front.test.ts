/** The front as a gateway opens it, with the store of a gateway before it. What it does with connections is tested elsewhere. */

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { HOUR } from '#fleet/clock.ts'
import { createLive } from '#gateway/live.ts'
import { openEmbeddedBroker } from '#gateway/mqtt/embedded/broker.ts'
import { openFront } from '#gateway/mqtt/front.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { linkClient } from '../../../support/broker-link.ts'
import { createFakeAdmission } from '../../../support/fake-admission.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const FROM = Date.UTC(2026, 0, 1)
const log = createLog('gateway', 'debug', { write: () => {} })

test('opens over a session whose client has been away for too long while nobody was here, and has ended it', async () => {
  using home = temporaryFolder()
  const path = join(home.path, 'broker.sqlite')
  const open = (now: number) =>
    openEmbeddedBroker({
      path,
      frameLimit: 65_536,
      clock: () => now,
      log,
      dropped: () => {},
      expired: () => {},
    })
  {
    await using before = await open(FROM)
    const client = linkClient(before)
    expect(await client.connect({ clean: false })).toBe(0)
    await client.end('finish')
  }
  const base = loadConfig({
    desk: 'gateway',
    cwd: home.path,
    env: { SALLYPORT_HOME: home.path, SALLYPORT_ENVIRONMENT: 'development' },
  })
  const admission = createFakeAdmission()
  const front = await openFront({
    config: { ...base, mqtt: { ...base.mqtt, store: path } },
    place: 'gateway',
    log,
    metrics: createMetrics('gateway'),
    clock: () => FROM + 25 * HOUR,
    admission,
    live: createLive(),
    anonymousLines: { take: () => true },
    sighting: () => {},
    suspect: () => {},
    wasCut: () => undefined,
    cutDevices: async () => [],
    onChanges: () => ({ [Symbol.dispose]: () => {} }),
  })
  await front[Symbol.asyncDispose]()
  await using after = await open(FROM)
  expect(after.sessionsOf('lamp-1')).toEqual([])
})
