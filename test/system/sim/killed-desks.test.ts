/** A gateway and an enroll desk are killed under a run and started again: the run goes on, counts what failed meanwhile, and finds nothing broken. */

import { existsSync } from 'node:fs'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { DeskProcess } from '#cli/up/desk-process.ts'
import { usageOf } from '#device-sim/coordinator/servers.ts'
import type { Live } from '#device-sim/index.ts'
import { total } from '#device-sim/measure/counts.ts'
import { startFleet, type Fleet } from '../../support/fleet.ts'
import { startAgain } from '../../support/restarted-desk.ts'
import { invariant, quick, simulated } from '../../support/simulation.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet()
}, 30_000)
afterAll(() => fleet[Symbol.asyncDispose]())

const DEVICES = 4

type Name = 'enroll' | 'gateway'
const deskOf = (name: Name): DeskProcess => {
  const found = fleet.stack.desks.find((desk) => desk.name === name)
  if (found === undefined) throw new Error(`no ${name}`)
  return found
}

/** How often the desk has said when to renew, since it began. */
const adviceGiven = async (): Promise<number> => {
  const text = await (await fetch(`${fleet.urls.enrollMetrics}/metrics`)).text()
  const given = /^sallyport_enroll_requests_total\{.*route="\/v1\/renewal".*status="200".*\} (\d+)$/m.exec(
    text,
  )
  return Number(given?.[1] ?? 0)
}

const errorsAt = ({ totals }: Live, door: string): number => total(totals.errors[door] ?? {})
const admitted = ({ totals }: Live): number => totals.counts['admitted_https'] ?? 0

test('both desks die in the middle; the doors open again before the enroll desk does; then that is heard again too', async () => {
  await using scope = new AsyncDisposableStack()
  const desks = { enroll: deskOf('enroll'), gateway: deskOf('gateway') }
  const stop = new AbortController()
  let next = Promise.withResolvers<Live>()
  const run = simulated({
    targets: { enroll: fleet.urls.devices, https: fleet.urls.https, mqtts: fleet.urls.mqtts },
    operator: { url: fleet.urls.operator, token: fleet.operatorToken, rootPem: undefined },
    // until it is ended: how long a desk takes to start decides nothing
    scenario: quick({ devices: DEVICES, duration: undefined, adviceEvery: 300, assertions: ['refused==0'] }),
    seed: 'killed',
    servers: () => Object.values(desks).map(({ name, pid }) => ({ name, pid: pid as number })),
    signal: stop.signal,
    onLive(live) {
      const { resolve } = next
      next = Promise.withResolvers()
      resolve(live)
    },
  })
  scope.defer(async () => {
    stop.abort()
    await run
  })
  const over = run.then((report): never => {
    throw new Error(`the run has ended: ${JSON.stringify(report.run)}`)
  })
  /** The first view from now on that is so. */
  const seen = async (wanted: (live: Live) => boolean): Promise<Live> => {
    for (;;) {
      const live = await Promise.race([next.promise, over])
      if (wanted(live)) return live
    }
  }
  /** What each process had cost when it ended, or has. */
  const costs = new Map<number, number>()
  const look = (): void => {
    for (const { pid } of Object.values(desks))
      costs.set(pid as number, usageOf(pid as number)?.cpu ?? costs.get(pid as number) ?? 0)
  }
  const startsAgain = async (name: Name): Promise<void> => {
    desks[name] = scope.use(await startAgain(fleet, name))
  }

  const before = await seen((live) => live.last?.connected === DEVICES / 2 && admitted(live) > 0)
  expect(before.totals.errors).toEqual({})
  look()
  for (const desk of Object.values(desks)) desk.kill()
  await Promise.all(Object.values(desks).map(({ ended }) => ended))
  const down = await seen(
    (live) =>
      live.last?.connected === 0 && ['enroll', 'https', 'mqtt'].every((door) => errorsAt(live, door) > 0),
  )
  await startsAgain('gateway')
  await seen((live) => live.last?.connected === DEVICES / 2 && admitted(live) > admitted(down) + DEVICES)
  await startsAgain('enroll')
  await vi.waitFor(async () => expect(await adviceGiven()).toBeGreaterThan(DEVICES), {
    timeout: 60_000,
    interval: 50,
  })
  await seen(() => true)
  stop.abort()
  const report = await run
  look()

  expect(report.verdict).toEqual({ ok: true, reasons: [] })
  expect(report.run.trouble).toBeNull()
  expect(Object.keys(report.errors).toSorted()).toEqual(['enroll', 'https', 'mqtt'])
  expect(report.counts['cut']).toBe(DEVICES / 2)
  expect(report.invariants.filter(({ broken }) => broken > 0)).toEqual([])
  for (const name of ['certificate_required', 'full_handshakes', 'acknowledged_is_delivered'])
    expect(invariant(report, name).held).toBe(true)
  if (!existsSync('/proc/self/stat')) return
  // each process by itself, with no more than it has cost
  expect(report.servers.map(({ name, pid }) => [name, pid])).toEqual([
    ['enroll', deskOf('enroll').pid],
    ['gateway', deskOf('gateway').pid],
    ['gateway', desks.gateway.pid],
    ['enroll', desks.enroll.pid],
  ])
  for (const { pid, cpu_s } of report.servers) expect(cpu_s).toBeLessThanOrEqual(costs.get(pid) ?? 0)
}, 120_000)
