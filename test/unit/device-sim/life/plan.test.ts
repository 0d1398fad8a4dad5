import { describe, expect, test } from 'vitest'
import { isDeviceId } from '#fleet/device-id.ts'
import { planFleet } from '#device-sim/life/plan.ts'
import { createRandom } from '#device-sim/random.ts'
import { SCENARIOS } from '#device-sim/scenario/scenarios.ts'

const shape = (devices: number, seed: string, share = 0.5) =>
  planFleet({ ...SCENARIOS.calm, mqttShare: share }, devices, seed).map((plan) => ({
    ...plan,
    waits: [plan.wait(), plan.wait(), plan.wait()],
    wait: undefined,
  }))

describe('a planned fleet', () => {
  test('the same seed gives the same fleet, to the millisecond', () => {
    expect(shape(20, 'tuesday')).toEqual(shape(20, 'tuesday'))
  })

  test('another seed gives other devices at another pace', () => {
    const [a] = shape(1, 'tuesday')
    const [b] = shape(1, 'friday')
    expect(a?.id).not.toBe(b?.id)
    expect(a?.waits).not.toEqual(b?.waits)
  })

  test('what one device does hangs on no other: waits do not depend on the order they are asked for in', () => {
    const one = planFleet(SCENARIOS.calm, 2, 'x')
    const two = planFleet(SCENARIOS.calm, 2, 'x')
    const forward = one.map((plan) => plan.wait())
    const backward = two.toReversed().map((plan) => plan.wait())
    expect(forward).toEqual(backward.toReversed())
  })

  test('a larger fleet begins with the smaller one', () => {
    const ids = (devices: number) => planFleet(SCENARIOS.calm, devices, 'x').map(({ id, door }) => [id, door])
    expect(ids(30).slice(0, 10)).toEqual(ids(10))
  })

  test.each([
    [0, 0],
    [0.25, 5],
    [0.5, 10],
    [1, 20],
  ])('a share of %d MQTT devices of 20 is %d', (share, expected) => {
    expect(shape(20, 'x', share).filter(({ door }) => door === 'mqtt')).toHaveLength(expected)
  })

  test('every kind of key is among ten devices, and every id is a device id', () => {
    const fleet = shape(10, 'x')
    expect(new Set(fleet.map(({ keyKind }) => keyKind)).size).toBe(5)
    expect(fleet.every(({ id }) => isDeviceId(id))).toBe(true)
  })

  test('waits keep to pace and jitter, starts to the ramp', () => {
    const { pace, jitter, ramp } = SCENARIOS.calm
    for (const { waits, start } of shape(50, 'x')) {
      for (const wait of waits) {
        expect(wait).toBeGreaterThanOrEqual(pace * (1 - jitter))
        expect(wait).toBeLessThan(pace * (1 + jitter))
      }
      expect(start).toBeLessThan(ramp)
    }
  })

  test('no devices, no fleet', () => {
    expect(shape(0, 'x')).toEqual([])
  })
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
