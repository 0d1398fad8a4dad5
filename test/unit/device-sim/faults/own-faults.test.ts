/** Which devices a fault hits, when it begins and when it ends. What a device then does is its own life's: test/system/sim-run.test.ts. */

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { planFaults, withLinkFaults } from '#device-sim/faults/own-faults.ts'
import { createAgenda } from '#device-sim/life/agenda.ts'
import { chosen } from '#device-sim/life/plan.ts'
import type { VirtualDevice } from '#device-sim/life/virtual-device.ts'
import { calm } from '#device-sim/scenario/defaults.ts'
import type { Fault, Scenario } from '#device-sim/scenario/scenario.ts'

const START = 1_000_000
beforeEach(() => void vi.useFakeTimers({ now: START }))
afterEach(() => void vi.useRealTimers())

const link = { kind: 'link', delay: 200, jitter: 50, loss: 0.1, halfOpen: false, slowHandshake: 0 } as const
const scenarioOf = (...timeline: readonly Fault[]): Scenario => ({ ...calm(), devices: 10, timeline })

/** Lets the clock run; what was done to whom, and when. @param gone a device that has stopped */
const played = (scenario: Scenario, gone = -1, onStruck: (index: number) => void = () => {}): string[] => {
  const done: string[] = []
  using agenda = createAgenda(() => Date.now())
  const deviceOf = (number: number): VirtualDevice => {
    const note = (what: string) => void done.push(`${Date.now() - START} ${number} ${what}`)
    return {
      plan: { id: `d${number}`, door: 'https' },
      stopping: { aborted: number === gone },
      isAway: () => number === 1,
      leave: () => note('leaves'),
      comeBack: () => note('comes back'),
      cut: () => note('is cut'),
      ail({ delay }: { delay: number }) {
        note(`ails ${delay}`)
        return () => note('is well')
      },
      scope: { targets: {}, errands: new Set() },
      keeper: {
        renews: true,
        renewNow: (newKey: boolean) => {
          note(`renews ${newKey}`)
          return Promise.resolve()
        },
      },
    } as unknown as VirtualDevice
  }
  const device = (number: number) => (number < 4 ? deviceOf(number) : undefined)
  planFaults({ scenario, seed: 'x', startsAt: START, agenda, device, onStruck })
  vi.advanceTimersByTime(10_000)
  return done
}

test('everybody at once, but who is away, and nobody of another part', () => {
  expect(played(scenarioOf({ kind: 'reconnect', at: 100, lasts: undefined, share: 1 })).toSorted()).toEqual([
    '100 0 is cut',
    '100 2 is cut',
    '100 3 is cut',
  ])
})

test('what lasts ends for those whom it hit', () => {
  const scenario = scenarioOf(
    { kind: 'offline', at: 100, lasts: 50, share: 0.5 },
    { ...link, at: 200, lasts: 50, share: 0.5 },
  )
  const own = (index: number) => [...chosen(scenario, 'x', index)].filter((number) => number < 4)
  expect(played(scenario)).toEqual([
    ...own(0).map((number) => `100 ${number} leaves`),
    ...own(0).map((number) => `150 ${number} comes back`),
    ...own(1).map((number) => `200 ${number} ails 200`),
    ...own(1).map((number) => `250 ${number} is well`),
  ])
  expect(own(0)).not.toEqual([])
})

test('a device that is away asks for nothing, and one that stops is let be', () => {
  const renew = { kind: 'renew', at: 10, lasts: undefined, share: 1, newKey: true } as const
  expect(played(scenarioOf(renew), 2).toSorted()).toEqual(['10 0 renews true', '10 3 renews true'])
})

test('told of are those whom it befell: not who is away, has no desk or no connection', () => {
  const when = { at: 10, lasts: undefined, share: 1 }
  const struck = [0, 0, 0, 0, 0]
  played(
    scenarioOf(
      { ...when, kind: 'reconnect' },
      { ...when, kind: 'renew', newKey: false },
      { ...when, kind: 'offline', lasts: 5 },
      { ...when, kind: 'clone', rival: 'renewal' },
      { ...when, kind: 'clone', rival: 'connection' },
    ),
    2,
    (index) => {
      struck[index] = Number(struck[index]) + 1
    },
  )
  // of the four that are here one has stopped, one is away
  expect(struck).toEqual([2, 2, 3, 0, 0])
})

test('what is the operator’s is not done here', () => {
  const when = { at: 10, lasts: undefined, share: 1 }
  const scenario = scenarioOf(
    { ...when, kind: 'revoke', reason: 'keyCompromise' },
    { ...when, kind: 'suspend', lasts: 10 },
    { ...when, kind: 'rotate', step: 'activate', force: true },
  )
  expect(played(scenario)).toEqual([])
})

test('the links that will have a fault are known before', () => {
  const scenario = scenarioOf(
    { ...link, at: 0, lasts: 1, share: 0.2 },
    { kind: 'offline', at: 0, lasts: 1, share: 1 },
    { ...link, at: 5, lasts: 1, share: 0.2 },
  )
  expect(withLinkFaults(scenario, 'x')).toEqual(
    new Set([...chosen(scenario, 'x', 0), ...chosen(scenario, 'x', 2)]),
  )
})

test('what a bad link loses is of the seed, the fault and the device’s number; not of what it is called', () => {
  const seen: Record<string, number[]> = {}
  for (const name of ['sim-x-0001', 'sim-x.2-0001']) {
    seen[name] = []
    using agenda = createAgenda(() => Date.now())
    const device = (number: number) =>
      ({
        plan: { id: name, number },
        stopping: { aborted: false },
        ail({ random }: { random: { next(): number } }) {
          seen[name]?.push(random.next())
          return () => {}
        },
      }) as unknown as VirtualDevice
    const when = { at: 1, lasts: 5, share: 1 }
    planFaults({
      scenario: { ...scenarioOf({ ...link, ...when }, { ...link, ...when, at: 10 }), devices: 2 },
      seed: 'x',
      startsAt: Date.now(),
      agenda,
      device,
      onStruck() {},
    })
    vi.advanceTimersByTime(100)
  }
  expect(seen['sim-x-0001']).toEqual(seen['sim-x.2-0001'])
  // two devices, twice each: all different
  expect(new Set(seen['sim-x-0001']).size).toBe(4)
})

test('who comes while a fault lasts has it too; what is over, or was done once, does not concern it', () => {
  const done: string[] = []
  using agenda = createAgenda(() => Date.now())
  const device = {
    plan: { id: 'late', number: 0 },
    stopping: { aborted: false },
    isAway: () => false,
    leave: () => void done.push('leaves'),
    comeBack: () => void done.push('comes back'),
    cut: () => void done.push('is cut'),
    ail({ delay }: { delay: number }) {
      done.push(`ails ${delay}`)
      return () => void done.push(`is well of ${delay}`)
    },
  } as unknown as VirtualDevice
  const faults = planFaults({
    scenario: scenarioOf(
      { ...link, delay: 1, at: 10, lasts: 10, share: 1 },
      { ...link, delay: 2, at: 10, lasts: undefined, share: 1 },
      { kind: 'offline', at: 20, lasts: 100, share: 1 },
      { kind: 'reconnect', at: 20, lasts: undefined, share: 1 },
    ),
    seed: 'x',
    startsAt: START,
    agenda,
    device: () => undefined,
    onStruck() {},
  })
  faults.came(device)
  expect(done).toEqual([])
  vi.advanceTimersByTime(50)
  faults.came(device)
  expect(done).toEqual(['ails 2', 'leaves'])
  vi.advanceTimersByTime(100)
  expect(done).toEqual(['ails 2', 'leaves', 'comes back'])
})
