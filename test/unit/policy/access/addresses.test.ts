import { BlockList, isIP } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressKey, readBlock } from '#policy/access/addresses.ts'
import { createRanges } from '#policy/access/ranges.ts'

const holds = (block: string, address: string): boolean | undefined => {
  const span = readBlock(block)
  const key = addressKey(address)
  return span === undefined || key === undefined ? undefined : createRanges([span]).has(key)
}

test.each<[string, string, boolean]>([
  ['10.0.0.0/8', '10.255.255.255', true],
  ['10.0.0.0/8', '11.0.0.0', false],
  ['10.1.2.3/8', '10.9.9.9', true],
  ['10.0.0.1', '10.0.0.1', true],
  ['10.0.0.1', '10.0.0.2', false],
  ['0.0.0.0/0', '255.255.255.255', true],
  ['0.0.0.0/0', '::1', false],
  ['::/0', '10.0.0.1', false],
  ['::/0', 'ffff::', true],
  ['10.0.0.0/31', '10.0.0.1', true],
  ['10.0.0.0/31', '10.0.0.2', false],
  ['2001:db8::/32', '2001:db8:ffff::1', true],
  ['2001:db8::/32', '2001:db9::', false],
  ['2001:DB8::1', '2001:0db8:0:0:0:0:0:1', true],
  ['fe80::/10', 'fe80::1%eth0', true],
  ['10.0.0.0/8', '::ffff:10.1.1.1', true],
  ['::ffff:10.0.0.0/104', '10.1.1.1', true],
  ['::ffff:10.0.0.0/104', '11.1.1.1', false],
  ['::ffff:0.0.0.0/96', '11.1.1.1', true],
  ['::/95', '::1', true],
  ['64:ff9b::10.0.0.0/104', '64:ff9b::a00:1', true],
])('%s holds %s: %s', (block, address, held) => {
  expect(holds(block, address)).toBe(held)
})

describe('what is none', () => {
  test.each([
    '',
    '10',
    '10.0.0',
    '10.0.0.256',
    '010.0.0.1',
    '10.0.0.1.1',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/08',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/0x8',
    ' 10.0.0.1',
    '0x0a.0.0.1',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    '12345::',
    'g::',
    '1.2.3.4::',
    '::1.2.3',
    '::/129',
    // more than all of IPv4, in the notation of IPv4: nothing that anybody could mean
    '::ffff:10.0.0.0/8',
    '::ffff:0.0.0.0/95',
    'localhost',
    '*',
  ])('%j', (text) => {
    expect(readBlock(text)).toBeUndefined()
  })
})

test('as Node reads and holds them', () => {
  const v4 = fc.ipV4()
  const v6 = fc.ipV6()
  const anything = fc.oneof(
    v4,
    v6,
    fc.string({ unit: fc.constantFrom(...'0123456789abcdef:./'.split('')), maxLength: 24 }),
  )
  fc.assert(
    fc.property(anything, (text) => {
      expect(addressKey(text) !== undefined).toBe(isIP(text) !== 0)
    }),
    { numRuns: 2_000 },
  )
  const pair = fc.oneof(fc.tuple(v4, v4, fc.nat(32)), fc.tuple(v6, v6, fc.nat(128)))
  fc.assert(
    fc.property(pair, ([net, address, prefix]) => {
      const list = new BlockList()
      list.addSubnet(net, prefix, net.includes(':') ? 'ipv6' : 'ipv4')
      const family = address.includes(':') ? 'ipv6' : 'ipv4'
      // Node holds an IPv4-mapped address of an IPv6 block by other rules
      if (addressKey(net)?.length !== addressKey(address)?.length) return
      expect(holds(`${net}/${prefix}`, address)).toBe(list.check(address, family))
    }),
    { numRuns: 1_000 },
  )
})

test('many blocks are held as each of them', () => {
  const block = fc.tuple(fc.nat(255), fc.integer({ min: 8, max: 32 })).map(([b, p]) => `10.${b}.0.0/${p}`)
  fc.assert(
    fc.property(fc.array(block, { maxLength: 20 }), fc.nat(255), fc.nat(255), (blocks, b, c) => {
      const all = createRanges(blocks.flatMap((text) => readBlock(text) ?? []))
      const address = `10.${b}.${c}.0`
      expect(all.has(addressKey(address) ?? '')).toBe(blocks.some((text) => holds(text, address)))
    }),
  )
})
