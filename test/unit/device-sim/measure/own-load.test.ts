import { setTimeout as later } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createOwnLoad } from '#device-sim/measure/own-load.ts'

const block = (ms: number): void => {
  const until = performance.now() + ms
  while (performance.now() < until);
}

test('a process that is blocked says so, also when the block has only just ended', async () => {
  using load = createOwnLoad()
  block(80)
  const blocked = load.read()
  expect(blocked.lag).toBeGreaterThan(60)
  expect(blocked.utilisation).toBeGreaterThan(0.5)
  expect(blocked.rss).toBeGreaterThan(1 << 20)
  await later(60)
  const idle = load.read()
  expect(idle.utilisation).toBeLessThan(0.9)
  expect(idle.cpu).toBeLessThan(blocked.cpu + 60_000)
})
