/** CPU and memory of the programs under test: a whole process tree, also when parts of it end. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { expect, test } from 'vitest'
import { usageOf, watchServers, type Usage } from '#device-sim/coordinator/servers.ts'

test('shares and totals since the first look; a process that has gone is left out', () => {
  const script: Record<number, (Usage | undefined)[]> = {
    1: [{ cpu: 10, rss: 5 }, { cpu: 10.5, rss: 9 }, undefined],
    // a child took its time with it
    2: [
      { cpu: 4, rss: 1 },
      { cpu: 3, rss: 1 },
      { cpu: 3.25, rss: 1 },
    ],
  }
  const servers = [
    { name: 'enroll', pid: 1 },
    { name: 'gateway', pid: 2 },
  ]
  const watch = watchServers(
    () => servers,
    (pid) => script[pid]?.shift(),
  )
  expect(watch.look(0)).toEqual({})
  expect(watch.look(1_000)).toEqual({ enroll: 0.5, gateway: 0 })
  expect(watch.look(2_000)).toEqual({ gateway: 0.25 })
  expect(watch.totals()).toEqual([
    { name: 'enroll', pid: 1, cpu_s: 0.5, peak_rss: 9 },
    { name: 'gateway', pid: 2, cpu_s: 0.25, peak_rss: 1 },
  ])
})

test('one that was started again is another, also with the same id', () => {
  const looks: { pid: number; usage: Usage }[] = [
    { pid: 1, usage: { cpu: 10, rss: 1, began: '5' } },
    { pid: 1, usage: { cpu: 12, rss: 1, began: '5' } },
    { pid: 1, usage: { cpu: 1, rss: 1, began: '9' } },
    { pid: 2, usage: { cpu: 3, rss: 1, began: '9' } },
    { pid: 2, usage: { cpu: 3.5, rss: 1, began: '9' } },
  ]
  const watch = watchServers(
    () => [{ name: 'enroll', pid: looks[0]?.pid ?? 0 }],
    () => looks.shift()?.usage,
  )
  expect([0, 1_000, 2_000, 3_000, 4_000].map((at) => watch.look(at))).toEqual([
    {},
    { enroll: 2 },
    {},
    {},
    { enroll: 0.5 },
  ])
  expect(watch.totals().map(({ pid, cpu_s }) => [pid, cpu_s])).toEqual([
    [1, 2],
    [1, 0],
    [2, 0.5],
  ])
})

test.skipIf(!existsSync('/proc/self/stat'))('the children of a process count as its own', async () => {
  const busy = 'while (process.cpuUsage().user < 150_000);'
  const program = `require('node:child_process').spawnSync(process.execPath, ['-e', ${JSON.stringify(busy)}]); console.log('x'); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'ignore'] })
  try {
    await once(child.stdout, 'data')
    const usage = usageOf(child.pid as number)
    expect(usage?.cpu).toBeGreaterThan(0.12)
    expect(usage?.rss).toBeGreaterThan(1e7)
  } finally {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  expect(usageOf(child.pid as number)).toBeUndefined()
})
