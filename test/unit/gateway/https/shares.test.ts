import { beforeEach, describe, expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { createShares, groupOf, type Shares } from '#gateway/https/shares.ts'

let shares: Shares
beforeEach(() => {
  shares = createShares(320)
})
/** how many of `most` it gets under names of its own, or under one */
const taken = (most: number, name: (at: number) => string, group?: string): number =>
  Array.from({ length: most }, (_, at) => shares.take(name(at), group)).filter((each) => each !== undefined)
    .length

test('a sixteenth for a name, and half for a group', () => {
  expect(taken(30, () => 'lamp-1')).toBe(20)
  expect(taken(30, () => 'x', 'partner')).toBe(20)
  expect(taken(200, String, 'partner')).toBe(140)
  expect(taken(200, String, '')).toBe(160)
  expect(taken(400, (at) => `lamp-${at}`)).toBe(400 - 1)
})
test('eight at least', () => {
  shares = createShares(10)
  expect([taken(30, () => 'lamp-1'), taken(30, String, 'partner')]).toEqual([8, 8])
})
test('what is over is given back, also where only the group had no room', () => {
  shares = createShares(1)
  const some = Array.from({ length: 8 }, (_, at) => shares.take(`a-${at}`, 'partner'))
  for (let at = 0; at < 20; at += 1) expect(shares.take('b', 'partner')).toBeUndefined()
  for (const each of some) each?.[Symbol.dispose]()
  expect(taken(30, () => 'b', 'partner')).toBe(8)
})

describe('who is counted together', () => {
  test.each([
    ['a device', { kind: 'device', id: 'lamp-1' as DeviceId, group: 'default', tags: {} }, undefined],
    ['a service token', { kind: 'service', id: 'st-1', name: 'ci' }, undefined],
    ['a foreign certificate', { kind: 'foreign', anchor: 'partner', name: 'x' }, 'partner'],
    ['whoever it is', { kind: 'none' }, ''],
  ] as const)('%s', (_, identity, group) => {
    expect(groupOf(identity)).toBe(group)
  })
})
