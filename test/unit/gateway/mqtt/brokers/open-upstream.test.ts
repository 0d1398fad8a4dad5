import { systemClock } from '#fleet/clock.ts'
import { describe, expect, test } from 'vitest'
import { openUpstream } from '#gateway/mqtt/open-upstream.ts'
import type { Upstream } from '#gateway/mqtt/upstream.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'

const embedded = { levels: new Set([3, 4]) } as unknown as Upstream

const open = (place: 'gateway' | 'worker', overrides: Record<string, string> = {}): Promise<Upstream> =>
  openUpstream({
    config: loadConfig({
      desk: 'gateway',
      env: { SALLYPORT_HOME: '/nowhere', SALLYPORT_ENVIRONMENT: 'development' },
      cwd: '/nowhere',
      overrides,
    }),
    place,
    log: createLog('gateway', 'silent'),
    metrics: createMetrics('gateway'),
    clock: systemClock,
    embedded: () => Promise.resolve(embedded),
  })

describe('the broker behind a door', () => {
  test('is the embedded one', async () => {
    expect(await open('gateway')).toBe(embedded)
  })

  test.each<['gateway' | 'worker', Record<string, string>, number[]]>([
    ['worker', {}, [3, 4]],
    ['worker', { 'mqtt.upstream': 'mqtt://127.0.0.1:1' }, [3, 4, 5]],
    ['gateway', { 'mqtt.upstream': 'mqtt://127.0.0.1:1' }, [3, 4, 5]],
  ])('of a %s with %j: not, and it opens without one', async (place, overrides, levels) => {
    await using upstream = await open(place, overrides)
    expect(upstream).not.toBe(embedded)
    expect([...upstream.levels]).toEqual(levels)
  })

  test('is none with settings that cannot be meant', async () => {
    await expect(open('gateway', { 'mqtt.upstream_username': 'x' })).rejects.toMatchObject({
      code: 'config_invalid',
    })
  })
})
