import { expect, test } from 'vitest'
import { createTally } from '#device-sim/life/tally.ts'

test('a report of what devices say of themselves', () => {
  const tally = createTally()
  const about = { device: 'a', at: 1, millis: 1 }
  const said = { ...about, topic: 't', seq: 1 }
  for (const via of ['rest', 'est', 'mqtt', 'state', 'given'] as const)
    tally.add({ ...about, kind: 'enrolled', via, notAfter: 2 })
  tally.add({ ...about, kind: 'renewed', notAfter: 3, before: 2 })
  tally.add({ ...about, kind: 'admitted', door: 'https', target: '/' })
  tally.add({ ...about, kind: 'admitted', door: 'mqtt' })
  for (const door of ['enroll', 'https', 'mqtt', 'mqtt'] as const)
    tally.add({ ...about, kind: 'refused', door, reason: 'no' })
  tally.add({ ...said, kind: 'published', acknowledged: true })
  tally.add({ ...said, kind: 'burst', count: 10 })
  tally.add({ ...said, kind: 'delivered' })
  for (const kind of ['cut', 'left', 'away', 'back', 'revoked'] as const) tally.add({ ...about, kind })
  tally.add({ ...about, kind: 'error', door: 'https', detail: '' })
  tally.add({ ...about, kind: 'unverified', detail: '' })
  expect(tally.report()).toEqual({
    enrolled: 3,
    reused: 2,
    renewed: 1,
    admitted: { https: 1, mqtt: 1 },
    refused: { enroll: { no: 1 }, https: { no: 1 }, mqtt: { no: 2 } },
    published: 11,
    delivered: 1,
    cut: 1,
    errors: 2,
  })
})
