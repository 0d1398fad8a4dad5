import { expect, test } from 'vitest'
import { warnOfUnpublished } from '#enroll/predecessors.ts'
import { DAY } from '#fleet/clock.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'

test('counts the issuers whose revocations are published nowhere, until their last certificate has ended', async () => {
  const start = Date.UTC(2026, 0, 1)
  let now = start
  const lines: string[] = []
  const metrics = createMetrics('enroll')
  const ends: Readonly<Record<string, number | undefined>> = {
    aa: start + DAY,
    bb: start + 2 * DAY,
    cc: start - 1,
    ee: start + 3 * DAY,
    dd: undefined,
  }
  await warnOfUnpublished({
    registry: { lastExpiry: (ski) => Promise.resolve(ends[ski]) },
    issuers: Object.keys(ends).map((ski) => ({
      ski,
      der: new Uint8Array(),
      state: 'active',
      offeredAt: undefined,
      offeredVersion: undefined,
    })),
    published: (ski) => ski === 'ee',
    clock: () => now,
    log: createLog('enroll', 'info', { write: (line) => lines.push(line) }),
    metrics,
  })
  expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
    { level: 'warn', issuer: 'aa', until: '2026-01-02T00:00:00.000Z' },
    { level: 'warn', issuer: 'bb' },
  ])
  const counted = async () =>
    /^sallyport_issuers_without_crl\{[^}]*\} (\d+)$/m.exec(await metrics.text())?.[1]
  expect(await counted()).toBe('2')
  now += DAY + 1
  expect(await counted()).toBe('1')
  now += DAY
  expect(await counted()).toBe('0')
})
