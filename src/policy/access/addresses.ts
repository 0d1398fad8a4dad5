/** IP addresses and CIDR blocks as texts that sort as the addresses do, IPv4 and IPv6 in one order. Not a resolver: digits only. */

import type { Span } from './ranges.ts'

/** `10.0.0.1`: no leading zeros, which some readers take for octal */
const BYTE = /^(?:0|[1-9]\d{0,2})$/
const GROUP = /^[0-9a-f]{1,4}$/i
const PREFIX = /^(?:0|[1-9]\d{0,2})$/

const readV4 = (text: string): number[] | undefined => {
  const bytes = text.split('.')
  if (bytes.length !== 4 || !bytes.every((byte) => BYTE.test(byte) && Number(byte) <= 255)) return undefined
  const [a, b, c, d] = bytes.map(Number) as [number, number, number, number]
  return [a * 256 + b, c * 256 + d]
}

/** RFC 4291 §2.2: 16-bit groups, one `::` at most, the last 32 bits perhaps as IPv4. */
const readV6 = (text: string): number[] | undefined => {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const groups = halves.map((half, at): number[] | undefined => {
    if (half === '') return []
    const fields = half.split(':')
    const last = fields.at(-1) as string
    const v4 = at === halves.length - 1 && last.includes('.') ? readV4(last) : []
    const hex = v4?.length === 2 ? fields.slice(0, -1) : fields
    if (v4 === undefined || !hex.every((field) => GROUP.test(field))) return undefined
    return [...hex.map((field) => Number.parseInt(field, 16)), ...v4]
  })
  const [head, tail] = groups
  if (head === undefined || (halves.length === 2 && tail === undefined)) return undefined
  if (tail === undefined) return head.length === 8 ? head : undefined
  const zeros = 8 - head.length - tail.length
  return zeros < 1 ? undefined : [...head, ...Array<number>(zeros).fill(0), ...tail]
}

const isMapped = (groups: readonly number[]): boolean =>
  groups.length === 8 && groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0)

const readGroups = (text: string): number[] | undefined =>
  text.length > 64 ? undefined : text.includes(':') ? readV6(text) : readV4(text)

/** The family first, so that the two never mix. */
const keyOf = (groups: readonly number[]): string =>
  (groups.length === 2 ? '4' : '6') + String.fromCharCode(...groups)

/** One connection is held against many lists. */
let last: { readonly text: string; readonly key: string | undefined } = { text: '', key: undefined }

/** An IPv4-mapped address is the IPv4 address; a zone (`%eth0`) says nothing. @returns undefined: not an address */
export const addressKey = (text: string): string | undefined => {
  if (text === last.text) return last.key
  const zone = text.indexOf('%')
  const groups = readGroups(zone === -1 ? text : text.slice(0, zone))
  const key = groups === undefined ? undefined : keyOf(isMapped(groups) ? groups.slice(6) : groups)
  last = { text, key }
  return key
}

/**
 * `10.0.0.0/8`, `2001:db8::/32` or an address. Bits behind the prefix do not count.
 * @returns undefined: neither; nor is an IPv4-mapped block of more than IPv4 has (`::ffff:10.0.0.0/8`), which holds no IPv4 address
 */
export const readBlock = (text: string): Span<string> | undefined => {
  const [address = '', prefix, ...more] = text.split('/')
  const groups = readGroups(address)
  if (groups === undefined || more.length > 0 || (prefix !== undefined && !PREFIX.test(prefix)))
    return undefined
  const bits = prefix === undefined ? groups.length * 16 : Number(prefix)
  if (bits > groups.length * 16) return undefined
  const mapped = isMapped(groups)
  if (mapped && bits < 96) return undefined
  const end = (fill: 0 | 0xffff): string => {
    const ended = groups.map((group, at) => {
      const kept = Math.min(16, Math.max(0, bits - at * 16))
      const mask = (0xffff << (16 - kept)) & 0xffff
      return (group & mask) | (fill & ~mask & 0xffff)
    })
    return keyOf(mapped ? ended.slice(6) : ended)
  }
  return { low: end(0), high: end(0xffff) }
}
