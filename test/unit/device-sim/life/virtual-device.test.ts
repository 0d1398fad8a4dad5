/** What is done to one device, several things at the same time. */

import { beforeAll, beforeEach, expect, test } from 'vitest'
import type { Enrolled, FleetEvent, Scenario } from '#device-sim/index.ts'
import { openConnection } from '#device-sim/client/connection.ts'
import type { LinkFault } from '#device-sim/client/link.ts'
import { createOpeningGate } from '#device-sim/client/opening-gate.ts'
import type { DevicePlan } from '#device-sim/life/plan.ts'
import type { RunScope } from '#device-sim/life/run-scope.ts'
import { createDevice, type VirtualDevice } from '#device-sim/life/virtual-device.ts'
import { createWorld, httpsServer, type World } from '../../../support/faulty-servers.ts'
import { scenarioOf } from './fleet-of.ts'

let world: World
let enrolled: Enrolled
beforeAll(async () => {
  world = await createWorld()
  enrolled = await world.device('pump-7')
})

let events: string[]
let stop: AbortController
let device: VirtualDevice
const deviceOf = (o: Partial<Scenario>): VirtualDevice => {
  const scope = {
    targets: {},
    scenario: scenarioOf(o),
    clock: Date.now,
    gates: { opening: createOpeningGate() },
    emit: (event: FleetEvent) => void events.push(event.kind),
  } as unknown as RunScope
  return createDevice(
    { id: 'pump-7', clockOffset: 0, wait: () => 1 } as DevicePlan,
    scope,
    { enrolled, candidate: undefined },
    {
      ends: { stop, end: new AbortController() },
      mayHaveFault: true,
      onCandidate() {},
    },
  )
}
beforeEach(() => {
  events = []
  stop = new AbortController()
  device = deviceOf({})
})

test.each(['X25519', 'X25519MLKEM768'] as const)(
  'key_agreement of the scenario is that of its handshakes: %s',
  async (keyAgreement) => {
    await using server = await httpsServer(world.tls, () => {})
    const { context } = deviceOf({ keyAgreement }).keeper.show()
    const { socket } = await openConnection({ url: new URL(`https://localhost:${server.port}`), context })
    expect(socket.getEphemeralKeyInfo()).toMatchObject({ name: keyAgreement })
    socket.destroy()
  },
)

test('away twice is back twice', () => {
  device.leave()
  device.leave()
  device.comeBack()
  expect(device.isAway()).toBe(true)
  expect(device.line().aborted).toBe(true)
  device.comeBack()
  expect(device.isAway()).toBe(false)
  expect(device.line().aborted).toBe(false)
  device.comeBack()
  expect(events).toEqual(['away', 'back'])
})

test('a reconnect while it is away changes nothing', () => {
  device.leave()
  device.cut()
  expect(device.isAway()).toBe(true)
  expect(device.line().aborted).toBe(true)
  device.comeBack()
  const before = device.line()
  device.cut()
  expect(before.aborted).toBe(true)
  expect(device.line().aborted).toBe(false)
})

test('of the faults on its link the newest that lasts', () => {
  const fault = (delay: number) => ({ delay }) as LinkFault
  const now = () => device.network.link?.()?.delay
  const ends = [1, 2, 3].map((delay) => device.ail(fault(delay)))
  expect(now()).toBe(3)
  ends[1]?.()
  expect(now()).toBe(3)
  ends[2]?.()
  expect(now()).toBe(1)
  ends[2]?.()
  ends[0]?.()
  expect(now()).toBeUndefined()
})
