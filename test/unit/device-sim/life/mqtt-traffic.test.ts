/** Many messages at QoS 0: no more in memory than one burst, and none is called published that a connection has swallowed. */

import { beforeEach, expect, test } from 'vitest'
import type { FleetEvent } from '#device-sim/index.ts'
import type { MqttLink } from '#device-sim/client/mqtt-connect.ts'
import { topicsOf } from '#device-sim/life/mqtt-topics.ts'
import { createTraffic } from '#device-sim/life/mqtt-traffic.ts'
import type { DevicePlan } from '#device-sim/life/plan.ts'
import type { RunScope } from '#device-sim/life/run-scope.ts'
import { createLoadCounts } from '#device-sim/load/open.ts'
import { readMessage } from '#device-sim/load/payload.ts'
import { scenarioOf } from './fleet-of.ts'

let events: FleetEvent[]
let scope: RunScope
const made = (payload: number) => {
  const { mqtt } = scenarioOf({})
  events = []
  scope = {
    scenario: scenarioOf({ payload, mqtt: { ...mqtt, qos: 0 } }),
    gauge: { devices: 1, connected: 1, underWay: 0 },
    load: createLoadCounts(),
    emit: (event: FleetEvent) => void events.push(event),
    began: 0,
  } as unknown as RunScope
  const plan = { id: 'pump-7' } as DevicePlan
  return createTraffic(plan, scope, topicsOf(plan, undefined))
}

/** A connection that takes one burst and then has no room until it is told so. */
let bursts: {
  octets: number
  count: number
  sent: (number | undefined)[]
  end: (how: 'done' | 'cut') => void
}[]
let open: boolean
const link = {
  isOpen: () => open,
  burst: (_topic: string, payloads: readonly Uint8Array[]) => {
    const { promise, resolve } = Promise.withResolvers<'done' | 'cut'>()
    const octets = payloads.reduce((sum, { length }) => sum + length, 0)
    const sent = payloads.map((each) => readMessage(Buffer.from(each))?.sent)
    bursts.push({ octets, count: payloads.length, sent, end: resolve })
    return promise
  },
} as unknown as MqttLink
const settled = () => new Promise((resolve) => setImmediate(resolve))
beforeEach(() => {
  bursts = []
  open = true
})
const dues = (count: number): number[] => Array.from({ length: count }, () => 1)
const told = () =>
  events.map((event) => (event.kind === 'burst' ? `${event.seq} +${event.count}` : event.kind))

test('one burst at a time, of at most a MiB; what is due meanwhile waits and is the next', async () => {
  const traffic = made(65_536)
  traffic.use(link)
  traffic.send(dues(40))
  traffic.send(dues(3))
  expect(bursts.map(({ count }) => count)).toEqual([16])
  expect(bursts[0]?.octets).toBeLessThanOrEqual(1_048_576)
  expect(events).toEqual([])
  for (let at = 0; at < 3; at++) {
    bursts[at]?.end('done')
    await settled()
  }
  expect(bursts.map(({ count }) => count)).toEqual([16, 16, 11])
  expect(told()).toEqual(['1 +16', '17 +16', '33 +11'])
  expect(scope.gauge.underWay).toBe(0)
})

test('what waited for a connection says since when it was due, and whether it is to be heard', async () => {
  const traffic = made(128)
  traffic.listens(true)
  const due = 1_764_100_000_000
  traffic.send([due, due + 250.5])
  traffic.use(link)
  expect(bursts[0]?.sent).toEqual([due, due + 250.5])
  bursts[0]?.end('done')
  await settled()
  expect(events).toMatchObject([{ kind: 'burst', awaited: true }])
})

test('a message that is larger goes alone', () => {
  const traffic = made(2_000_000)
  traffic.use(link)
  traffic.send(dues(2))
  expect(bursts.map(({ count }) => count)).toEqual([1])
})

test('a burst that is cut is not published; what had not been written waits for the next connection, or is dropped', async () => {
  const traffic = made(65_536)
  traffic.use(link)
  traffic.send(dues(20))
  open = false
  bursts[0]?.end('cut')
  await settled()
  traffic.use(undefined)
  expect(told()).toEqual(Array.from({ length: 16 }, () => 'unanswered'))
  expect(traffic.waiting()).toBe(4)
  open = true
  traffic.use(link)
  bursts[1]?.end('done')
  await settled()
  // the numbers are spent
  expect(told().at(-1)).toBe('17 +4')
  traffic.use(undefined)
  traffic.send(dues(5))
  traffic.end()
  expect(scope.load.dropped).toBe(5)
  expect(scope.gauge.underWay).toBe(0)
})
