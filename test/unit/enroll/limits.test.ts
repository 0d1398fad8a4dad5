import { describe, expect, it } from 'vitest'
import { MINUTE } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { createFailureLimits } from '#enroll/limits.ts'

describe('createFailureLimits', () => {
  const setUp = (o: { perMinute?: number; maxAddresses?: number } = {}) => {
    let now = 1_000_000
    const limits = createFailureLimits({ perMinute: 3, clock: () => now, ...o })
    const fail = (address: string, times = 1) => {
      for (let n = 0; n < times; n += 1) limits.failed(address)
    }
    const wait = (address: string): number | undefined => {
      try {
        limits.check(address)
        return undefined
      } catch (error) {
        expect(error).toBeInstanceOf(FleetError)
        expect((error as FleetError).code).toBe('rate_limited')
        return (error as FleetError).retryAfter
      }
    }
    return { fail, wait, pass: (ms: number) => (now += ms) }
  }

  it('lets a burst of failures through, then none, and says how long', () => {
    const { fail, wait } = setUp()
    fail('192.0.2.1', 2)
    expect(wait('192.0.2.1')).toBeUndefined()
    fail('192.0.2.1')
    expect(wait('192.0.2.1')).toBe(20)
    expect(wait('192.0.2.2')).toBeUndefined()
  })

  it('forgives one at a time, and does not count what was refused', () => {
    const { fail, wait, pass } = setUp()
    fail('192.0.2.1', 50)
    pass(19_999)
    expect(wait('192.0.2.1')).toBe(1)
    pass(1)
    expect(wait('192.0.2.1')).toBeUndefined()
    fail('192.0.2.1')
    expect(wait('192.0.2.1')).toBe(20)
    pass(MINUTE)
    fail('192.0.2.1', 2)
    expect(wait('192.0.2.1')).toBeUndefined()
  })

  it('takes a /64 as one host', () => {
    const { fail, wait } = setUp()
    fail('2001:db8:1:2::1')
    fail('2001:db8:1:2:ffff::2')
    fail('2001:db8:1:2:3:4:5:6')
    expect(wait('2001:db8:1:2::abcd')).toBe(20)
    expect(wait('2001:db8:1:3::1')).toBeUndefined()
  })

  it('locks nobody out when the clock is set back', () => {
    const { fail, wait, pass } = setUp()
    fail('192.0.2.1', 3)
    pass(-10 * MINUTE)
    expect(wait('192.0.2.1')).toBe(20)
    fail('192.0.2.1')
    pass(20_000)
    expect(wait('192.0.2.1')).toBeUndefined()
  })

  it('remembers a bounded number of addresses, the latest ones', () => {
    const { fail, wait } = setUp({ perMinute: 1, maxAddresses: 100 })
    for (let n = 0; n < 1_000; n += 1) fail(`198.51.${n >> 8}.${n & 255}`)
    const held = Array.from({ length: 1_000 }, (_, n) => wait(`198.51.${n >> 8}.${n & 255}`) !== undefined)
    expect(held.filter(Boolean)).toHaveLength(100)
    expect(held.slice(900).every(Boolean)).toBe(true)
  })

  it('keeps an address that goes on failing while others come and go', () => {
    const { fail, wait } = setUp({ perMinute: 2, maxAddresses: 10 })
    fail('192.0.2.1', 2)
    for (let n = 0; n < 100; n += 1) {
      fail(`198.51.100.${n}`)
      fail('192.0.2.1')
    }
    expect(wait('192.0.2.1')).toBe(30)
  })
})
