import { describe, expect, test } from 'vitest'
import { isDeviceId } from '#fleet/device-id.ts'
import { chosen, deviceId, inTurn, planFleet } from '#device-sim/life/plan.ts'
import { createRandom } from '#device-sim/random.ts'
import { calm } from '#device-sim/scenario/defaults.ts'
import type { Fault, Scenario } from '#device-sim/scenario/scenario.ts'

const scenario = (o: Partial<Scenario>): Scenario => ({ ...calm(), ...o })
const shape = (seed: string, o: Partial<Scenario>) =>
  planFleet(scenario(o), seed).map((plan) => ({
    ...plan,
    waits: [plan.wait(), plan.wait(), plan.wait()],
    wait: undefined,
  }))

const counts = (items: readonly string[]): Record<string, number> =>
  items.reduce<Record<string, number>>((sum, item) => ({ ...sum, [item]: (sum[item] ?? 0) + 1 }), {})

describe('a planned fleet', () => {
  test('the same seed gives the same fleet, to the millisecond', () => {
    const o = { devices: 20, clocks: { share: 0.5, from: -1_000, to: 1_000 } }
    expect(shape('tuesday', o)).toEqual(shape('tuesday', o))
  })

  test('another seed gives other devices at another pace', () => {
    const [a] = shape('tuesday', { devices: 1 })
    const [b] = shape('friday', { devices: 1 })
    expect(a?.id).not.toBe(b?.id)
    expect(a?.waits).not.toEqual(b?.waits)
  })

  test('what one device does hangs on no other: waits do not depend on the order they are asked for in', () => {
    const one = planFleet(scenario({ devices: 2 }), 'x')
    const two = planFleet(scenario({ devices: 2 }), 'x')
    const forward = one.map((plan) => plan.wait())
    const backward = two.toReversed().map((plan) => plan.wait())
    expect(forward).toEqual(backward.toReversed())
  })

  test('a larger fleet begins with the smaller one', () => {
    const enroll = { rest: 2, est: 1, mqtt: 1 }
    const of = (devices: number) =>
      planFleet(scenario({ devices, enroll }), 'x').map(({ id, door, keyKind, via, phase }) => [
        id,
        door,
        keyKind,
        via,
        phase,
      ])
    expect(of(31).slice(0, 13)).toEqual(of(13))
  })

  test('the parts together are the fleet, and each knows its own', () => {
    const whole = shape('x', { devices: 11 })
    const parts = [0, 1, 2].map((index) =>
      planFleet(scenario({ devices: 11 }), 'x', { index, of: 3 }).map(({ wait, ...plan }) => ({
        ...plan,
        waits: [wait(), wait(), wait()],
        wait: undefined,
      })),
    )
    expect(parts.flat().toSorted((a, b) => a.number - b.number)).toEqual(whole)
  })

  test.each([
    [{ https: 1, mqtt: 0 }, 0],
    [{ https: 3, mqtt: 1 }, 5],
    [{ https: 0.5, mqtt: 0.5 }, 10],
    [{ https: 0, mqtt: 1 }, 20],
  ])('of 20 with doors %j, %d come by MQTT', (doors, expected) => {
    expect(shape('x', { devices: 20, doors }).filter(({ door }) => door === 'mqtt')).toHaveLength(expected)
  })

  test('doors are spread evenly: any beginning has its share', () => {
    const doors = shape('x', { devices: 40, doors: { https: 3, mqtt: 1 } }).map(({ door }) => door)
    for (let at = 4; at <= 40; at += 4) expect(counts(doors.slice(0, at))['mqtt']).toBe(at / 4)
  })

  test.each([
    [{ https: 1, mqtt: 1 }, 2, 1 / 2],
    [{ https: 1, mqtt: 1 }, 4, 1 / 2],
    [{ https: 1, mqtt: 3 }, 4, 3 / 4],
    [{ https: 0.3, mqtt: 0.7 }, 2, 0.7],
  ])('with doors %j each of %d processes has its share of both', (doors, of, expected) => {
    for (let index = 0; index < of; index++) {
      const part = planFleet(scenario({ devices: 2_000, doors }), 'x', { index, of })
      const share = part.filter(({ door }) => door === 'mqtt').length / part.length
      expect(Math.abs(share - expected)).toBeLessThan(0.08)
    }
  })

  test('every kind of key is among ten devices, and every id is a device id', () => {
    const fleet = shape('x', { devices: 10 })
    expect(counts(fleet.map(({ keyKind }) => keyKind))).toEqual({
      'P-256': 6,
      'P-384': 1,
      'P-521': 1,
      Ed25519: 1,
      RSA: 1,
    })
    expect(fleet.every(({ id }) => isDeviceId(id))).toBe(true)
    expect(fleet[0]?.id).toBe('sim-x-0001')
    expect(deviceId('x', 9_999)).toBe('sim-x-10000')
  })

  test('door, kind of key and way of enrolling do not go hand in hand', () => {
    const enroll = { rest: 1, est: 1, mqtt: 1 }
    const fleet = shape('x', { devices: 600, enroll })
    const pairs = counts(fleet.map(({ door, via }) => `${door} ${via}`))
    expect(Object.keys(pairs)).toHaveLength(6)
    for (const count of Object.values(pairs)) expect(count).toBeGreaterThan(60)
    expect(Object.keys(counts(fleet.map(({ door, keyKind }) => `${door} ${keyKind}`)))).toHaveLength(10)
  })

  test('waits keep to pace and jitter, starts to the ramp; an open loop has waits too, for those who are turned away', () => {
    for (const { waits, start } of shape('x', {
      devices: 50,
      ramp: 500,
      load: { kind: 'closed', pace: 100, jitter: 0.2 },
    })) {
      for (const wait of waits) {
        expect(wait).toBeGreaterThanOrEqual(80)
        expect(wait).toBeLessThan(120)
      }
      expect(start).toBeLessThan(500)
    }
    const [open] = shape('x', { devices: 1, load: { kind: 'open', rate: 1, arrivals: 'poisson' } })
    for (const wait of open?.waits ?? []) expect(wait).toBeGreaterThanOrEqual(500)
  })

  test('clocks are wrong for exactly the share, within the bounds', () => {
    const fleet = shape('x', { devices: 40, clocks: { share: 0.25, from: 1_000, to: 2_000 } })
    const wrong = fleet.filter(({ clockOffset }) => clockOffset !== 0)
    expect(wrong).toHaveLength(10)
    for (const { clockOffset } of wrong) {
      expect(clockOffset).toBeGreaterThanOrEqual(1_000)
      expect(clockOffset).toBeLessThanOrEqual(2_000)
    }
    expect(shape('x', { devices: 40 }).every(({ clockOffset }) => clockOffset === 0)).toBe(true)
  })

  test('no devices, no fleet', () => {
    expect(shape('x', { devices: 0 })).toEqual([])
  })
})

describe('whom a fault hits', () => {
  const fault = (share: number): Fault => ({ kind: 'reconnect', at: 0, lasts: undefined, share })
  const hit = (devices: number, share: number, seed = 'x', index = 0) =>
    chosen(scenario({ devices, timeline: [fault(share), fault(share)] }), seed, index)

  test.each([
    [100, 0.3, 30],
    [100, 1, 100],
    [100, 0.001, 1],
    [3, 0.5, 2],
    [1, 0.1, 1],
    [0, 1, 0],
  ])('of %d devices a share of %d is %d', (devices, share, expected) => {
    expect(hit(devices, share).size).toBe(expected)
    for (const number of hit(devices, share)) expect(number).toBeLessThan(devices)
  })

  test('hangs on the seed and on its place in the timeline', () => {
    expect(hit(100, 0.3)).toEqual(hit(100, 0.3))
    expect(hit(100, 0.3)).not.toEqual(hit(100, 0.3, 'y'))
    expect(hit(100, 0.3)).not.toEqual(hit(100, 0.3, 'x', 1))
  })

  test.each([
    [2, 1],
    [40, 1],
    [200, 5],
  ])('of %d devices, half of them by MQTT, %d of these try others’ topics', (devices, expected) => {
    const trying = planFleet(scenario({ devices }), 'x').filter(({ triesOthers }) => triesOthers)
    expect(trying).toHaveLength(expected)
    expect(trying.every(({ door }) => door === 'mqtt')).toBe(true)
  })
})

test('turns are in a seeded order that leaves nobody out', () => {
  const items = [1, 2, 3, 4, 5, 6, 7, 8]
  expect(inTurn(items, 'x')).toEqual(inTurn(items, 'x'))
  expect(inTurn(items, 'x')).not.toEqual(items)
  expect(inTurn(items, 'x').toSorted((a, b) => a - b)).toEqual(items)
})

test('random numbers are spread, and streams of one seed are independent', () => {
  const random = createRandom('seed', 'a')
  const other = createRandom('seed', 'b')
  const numbers = Array.from({ length: 10_000 }, () => random.next())
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length
  expect(mean).toBeGreaterThan(0.48)
  expect(mean).toBeLessThan(0.52)
  expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0)
  expect(Math.max(...numbers)).toBeLessThan(1)
  expect(numbers.slice(0, 3)).not.toEqual([other.next(), other.next(), other.next()])
})
