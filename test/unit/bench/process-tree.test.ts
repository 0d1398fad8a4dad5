/** What the bench reads of a process from the kernel. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { cpuOfTree } from '../../../bench/support/cpu.ts'
import { treeOf } from '../../../bench/support/process-tree.ts'
import { residentOf } from '../../../bench/support/resident.ts'

const onLinux = process.platform === 'linux'

const pidsOf = (root: number): number[] => treeOf(root).map(({ pid }) => pid)

/** A shell that has made and waited for a busy child, says so, and holds another until it is told to end. */
const BUSY = 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'
const script = `sh -c '${BUSY}'; sleep 60 & echo ready; read line; kill $!`

describe.runIf(onLinux)('a process tree', () => {
  test('has children, the CPU of those that have ended, and the memory of those that are there', async () => {
    const before = cpuOfTree(process.pid)
    const child = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'ignore'] })
    const pid = child.pid as number
    await once(child.stdout, 'data')
    const tree = treeOf(pid)
    expect(tree.map((one) => one.parent)).toContain(pid)
    expect(pidsOf(process.pid)).toEqual(expect.arrayContaining(pidsOf(pid)))
    const spent = cpuOfTree(pid)
    expect(spent).toBeGreaterThanOrEqual(20_000)
    expect(cpuOfTree(process.pid)).toBeGreaterThanOrEqual(before + 20_000)
    expect(residentOf(pid)).toBeGreaterThan(500_000)
    child.stdin.end('\n')
    await once(child, 'exit')
    expect([pidsOf(pid), cpuOfTree(pid), residentOf(pid)]).toEqual([[], 0, 0])
  })

  test('what a thread took stays when it has ended, and the rest is not rounded to ticks then', async () => {
    const code = `
      const { Worker } = require('node:worker_threads')
      const busy = 'for (const until = process.cpuUsage().user + 60000; process.cpuUsage().user < until;);'
      new Worker(busy, { eval: true }).on('exit', () => {
        process.stdout.write('ready')
        process.stdin.on('data', () => {
          for (let n = 0; n < 1e6; n++);
          process.stdout.write('again')
        })
      })`
    const child = spawn(process.execPath, ['-e', code], { stdio: ['pipe', 'pipe', 'inherit'] })
    const pid = child.pid as number
    await once(child.stdout, 'data')
    const spent: number[] = []
    for (let n = 0; n < 20; n += 1) {
      child.stdin.write('.')
      await once(child.stdout, 'data')
      spent.push(cpuOfTree(pid))
    }
    child.kill()
    await once(child, 'exit')
    expect(spent[0]).toBeGreaterThan(60_000)
    expect(spent).toEqual(spent.toSorted((a, b) => a - b))
    expect(spent.filter((each) => Math.round(each) % 10_000 === 0).length).toBeLessThan(5)
  })

  test('this process, as it sees itself', () => {
    const { user, system } = process.cpuUsage()
    const seen = cpuOfTree(process.pid)
    expect(seen).toBeGreaterThan((user + system) * 0.9)
    expect(residentOf(process.pid)).toBeGreaterThan(process.memoryUsage.rss() * 0.8)
  })
})
