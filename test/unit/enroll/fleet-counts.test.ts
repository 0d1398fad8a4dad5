/** Counts of a large fleet are shared for some seconds; those of a small one are always of the moment. */

import { expect, test } from 'vitest'
import { createFleetCounts } from '#enroll/fleet-counts.ts'
import { FleetError } from '#fleet/errors.ts'

const setUp = (devices: number) => {
  let now = 1_000
  const asked: string[] = []
  const counts = createFleetCounts({
    registry: {
      liveCertificates: () => {
        asked.push('live')
        return Promise.resolve(new Map([['aa', devices]]))
      },
      trustShare: (kind, version) => {
        asked.push(`${kind} ${version}`)
        return Promise.resolve({ fetched: 0, active: devices })
      },
    },
    clock: () => 0,
    monotonic: () => now,
  })
  return { counts, asked, pass: (ms: number) => (now += ms) }
}

test('a million devices are counted once in five seconds, for each question', async () => {
  const { counts, asked, pass } = setUp(1_000_000)
  const all = () =>
    Promise.all([counts.live(), counts.fetched('chain', 2), counts.fetched('server', 2), counts.live()])
  await all()
  await all()
  pass(4_999)
  await all()
  expect(asked).toEqual(['live', 'chain 2', 'server 2'])
  pass(1)
  await all()
  expect(asked).toHaveLength(6)
})

test('a few are counted each time', async () => {
  const { counts, asked } = setUp(10_000)
  for (let at = 0; at < 3; at += 1) {
    await counts.live()
    await counts.fetched('chain', 2)
  }
  expect(asked).toHaveLength(6)
})

test('a failure is not kept', async () => {
  let fails = true
  const counts = createFleetCounts({
    registry: {
      liveCertificates: () =>
        fails ? Promise.reject(new FleetError('registry_unavailable', 'locked')) : Promise.resolve(new Map()),
      trustShare: () => Promise.resolve({ fetched: 0, active: 0 }),
    },
    clock: () => 0,
  })
  await expect(counts.live()).rejects.toMatchObject({ code: 'registry_unavailable' })
  fails = false
  await expect(counts.live()).resolves.toEqual(new Map())
})
