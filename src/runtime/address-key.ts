/**
 * Under which key an address is counted, where so many per address are let in: an IPv4 address by itself, an IPv6 address by its /64, since a
 * /64 is what one host can choose from at will. Not the counting.
 */

import { isIPv6 } from 'node:net'

/** Full groups of an IPv6 address, so that `::1` and `0:0::1` are one. @returns the first four groups */
const prefix64 = (address: string): string => {
  const [plain = ''] = address.split('%')
  const [head = '', tail] = plain.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - before.length - after.length)
  return [...before, ...Array<string>(zeros).fill('0'), ...after]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':')
}

// the colon is looked for first, for `isIPv6` is a long pattern
export const limitKey = (address: string): string =>
  address.includes(':') && isIPv6(address) ? `${prefix64(address)}::/64` : address

/** What the keys of an IPv6 /48 begin with: a provider hands those out, so that a /64 is nothing to have many of. undefined: IPv4 */
export const networkOf = (address: string): string | undefined =>
  isIPv6(address) ? `${prefix64(address).split(':').slice(0, 3).join(':')}:` : undefined
