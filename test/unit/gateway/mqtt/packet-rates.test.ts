import { expect, test } from 'vitest'
import { PacketRates } from '#gateway/mqtt/packet-rates.ts'

const create = (packets: number, bytes: number) => {
  let now = 1_000
  const rates = new PacketRates({ packets_per_second: packets, bytes_per_second: bytes }, () => now)
  return {
    spend: (size = 10): number => rates.spend(size),
    /** that many in a row */
    burst: (count: number, size = 10): number[] => Array.from({ length: count }, () => rates.spend(size)),
    later: async (ms: number) => {
      now += ms
      await new Promise(setImmediate)
    },
  }
}

test('a second’s worth at once, and then it is slower', () => {
  const { burst, spend } = create(100, 1e9)
  expect(burst(100).every((ms) => ms === 0)).toBe(true)
  expect(spend()).toBe(20)
  expect(burst(9).at(-1)).toBe(100)
})

test('bytes as well as packets', () => {
  const { spend } = create(1_000, 1_000)
  expect(spend(1_000)).toBe(0)
  expect(spend(500)).toBe(500)
})

test('what was waited for may be sent', async () => {
  const { burst, spend, later } = create(100, 1e9)
  burst(110)
  await later(100)
  expect(spend()).toBe(20)
  await later(60)
  expect(burst(5).every((ms) => ms === 0)).toBe(true)
})

test('nobody owes more than two seconds', async () => {
  const { burst, spend, later } = create(10, 1_000)
  expect(burst(1_000).at(-1)).toBe(2_000)
  await later(2_500)
  expect(spend()).toBe(0)
  expect(spend(1_000_000)).toBe(2_000)
})

test('no more than a second’s worth is ever saved', async () => {
  const { burst, later } = create(100, 1e9)
  burst(10)
  await later(3_600_000)
  expect(burst(101).filter((ms) => ms > 0)).toHaveLength(1)
})

test('a clock that goes back gives nothing and takes nothing', async () => {
  const { burst, later } = create(100, 1e9)
  burst(100)
  await later(-500)
  expect(burst(1)[0]).toBe(20)
  await later(500)
  expect(burst(40).every((ms) => ms === 0)).toBe(true)
})
