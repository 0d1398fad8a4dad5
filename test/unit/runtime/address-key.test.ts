import { describe, expect, it } from 'vitest'
import { limitKey, networkOf } from '#runtime/address-key.ts'

describe('limitKey', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::5', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['2001:db8:0:1:0:0:0:0', '2001:db8:0:1::/64'],
  ])('%s → %s', (address, key) => {
    expect(limitKey(address)).toBe(key)
  })
})

describe('networkOf', () => {
  it.each([
    ['192.0.2.1', undefined],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:'],
    ['2001:0db8::1', '2001:db8:0:'],
    ['::1', '0:0:0:'],
  ])('%s → %s', (address, prefix) => {
    expect(networkOf(address)).toBe(prefix)
    if (prefix !== undefined) expect(limitKey(address).startsWith(prefix)).toBe(true)
  })
})
