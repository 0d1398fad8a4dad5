import { expect, test } from 'vitest'
import { TopicAliases } from '#gateway/mqtt/aliases.ts'

const set = (aliases: TopicAliases, alias: number, topic: string): boolean => {
  const bytes = Buffer.from(`..${topic}..`)
  const known = aliases.set(alias, bytes, 2, bytes.length - 2)
  // what it stood in is overwritten by the next packet
  bytes.fill(0)
  return known
}

test('stands for what was said last', () => {
  const aliases = new TopicAliases(2)
  expect(aliases.topic(1)).toBeUndefined()
  expect(set(aliases, 1, 'a/b')).toBe(true)
  expect(set(aliases, 2, 'a/c')).toBe(true)
  expect(set(aliases, 1, 'a/d')).toBe(true)
  expect(set(aliases, 1, 'a/d')).toBe(true)
  expect(`${aliases.topic(1)?.toString()} ${aliases.topic(2)?.toString()}`).toBe('a/d a/c')
})

test.each([
  [0, 1, false],
  [3, 3, true],
  [3, 4, false],
  [3, 65_535, false],
])('at most %d: %d is %s', (maximum, alias, expected) => {
  expect(set(new TopicAliases(maximum), alias, 'a')).toBe(expected)
})

test('a megabyte of topics is the end of it, whatever the setting; one that is replaced makes room', () => {
  const aliases = new TopicAliases(65_535)
  let count = 0
  while (count < 65_535 && set(aliases, count + 1, 'x'.repeat(1_024))) count++
  expect(count).toBe(1_024)
  expect(set(aliases, 1, 'x')).toBe(true)
  expect(set(aliases, 2_000, 'x'.repeat(1_000))).toBe(true)
  expect(set(aliases, 2_001, 'x'.repeat(1_025))).toBe(false)
})
