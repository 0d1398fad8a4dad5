import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  filterCovers,
  isTopicFilter,
  isTopicName,
  MAX_TOPIC_BYTES,
  MAX_TOPIC_LEVELS,
  stripShare,
} from '#wire/topics.ts'

describe('a topic name', () => {
  test.each([
    'a',
    '/',
    'a/b',
    '/a',
    'a/',
    'a//b',
    'ä/☃/💡',
    '$SYS/x',
    ' ',
    'a b',
    'x'.repeat(MAX_TOPIC_BYTES),
  ])('is %j', (text) => expect(isTopicName(text)).toBe(true))
  test.each([
    ['nothing', ''],
    ['a wildcard', 'a/+'],
    ['a wildcard within a level', 'a+b'],
    ['everything', '#'],
    ['NUL', 'a\u0000b'],
    ['a control character', 'a\nb'],
    ['a control character of the second kind', 'a\u0085b'],
    ['DEL', 'a\u007f'],
    ['a noncharacter', 'a\uffff'],
    ['half of a pair', 'a\ud800b'],
    ['the other half', 'a\udc00'],
    ['one byte too many', 'x'.repeat(MAX_TOPIC_BYTES + 1)],
    ['too many bytes, in fewer characters', 'é'.repeat(MAX_TOPIC_BYTES / 2 + 1)],
    ['one level too many', '/'.repeat(MAX_TOPIC_LEVELS)],
  ])('is not %s', (_, text) => expect(isTopicName(text)).toBe(false))
  test('has as many levels as it may', () => expect(isTopicName('/'.repeat(MAX_TOPIC_LEVELS - 1))).toBe(true))
})

describe('a filter', () => {
  test.each(['#', '+', '/', 'a/#', '/#', '+/+', 'a/+/b', '+/#', '/+', '$SYS/#', 'a'])('is %j', (text) =>
    expect(isTopicFilter(text)).toBe(true),
  )
  test.each([
    '',
    'a#',
    'a/#/b',
    '#/a',
    '##',
    'a+',
    '+a',
    'a/b+/c',
    '+#',
    'a/\u0000',
    '/'.repeat(MAX_TOPIC_LEVELS),
  ])('is not %j', (text) => expect(isTopicFilter(text)).toBe(false))
})

describe('a share', () => {
  test.each([
    ['$share/g/a/b', 'a/b'],
    ['$share/g//a', '/a'],
    ['$share/g/#', '#'],
    ['$share/$/a', 'a'],
    ['a/b', 'a/b'],
    ['$shared/g/a', '$shared/g/a'],
    ['$share/g/$share/h/a', '$share/h/a'],
    ['$share', '$share'],
    ['$share/g', undefined],
    ['$share/g/', undefined],
    ['$share//a', undefined],
    ['$share/g+/a', undefined],
    ['$share/#/a', undefined],
  ])('%j stands for %j', (filter, plain) => expect(stripShare(filter)).toBe(plain))
})

describe('matching', () => {
  test.each<[string, string, boolean]>([
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['sport/#', 'sports', false],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    ['#', '$SYS/x', false],
    ['+/x', '$SYS/x', false],
    ['$SYS/#', '$SYS/x', true],
    ['a/+/#', 'a/$x', true],
    ['a', 'A', false],
  ])('%j and %j: %j', (filter, topic, matches) => expect(filterCovers(filter, topic)).toBe(matches))
})

describe('covering', () => {
  test.each<[string, string, boolean]>([
    ['devices/lamp-1/#', 'devices/lamp-1/#', true],
    ['devices/lamp-1/#', 'devices/lamp-1', true],
    ['devices/lamp-1/#', 'devices/lamp-1/+/x', true],
    ['devices/lamp-1/#', 'devices/+/x', false],
    ['devices/lamp-1/#', 'devices/#', false],
    ['devices/lamp-1/#', '#', false],
    ['devices/lamp-1/#', '+/+/+', false],
    ['devices/lamp-1/#', 'devices/lamp-10/x', false],
    ['devices/+/x', 'devices/+/x', true],
    ['devices/+/x', 'devices/lamp-1/x', true],
    ['devices/+/x', 'devices/#', false],
    ['devices/+', 'devices/+/#', false],
    ['#', '$SYS/#', false],
    ['#', '#', true],
    ['+/#', '$SYS/#', false],
    ['$SYS/#', '$SYS/+', true],
    ['a/b', 'a/b/#', false],
    ['a', 'a', true],
  ])('%j covers %j: %j', (wide, narrow, covers) => expect(filterCovers(wide, narrow)).toBe(covers))
})

/** By the letter of MQTT 3.1.1 §4.7, level by level, and slow. */
const matchesByTheBook = (filter: readonly string[], topic: readonly string[]): boolean => {
  const [first, ...rest] = filter
  if (first === undefined) return topic.length === 0
  // the parent level too
  if (first === '#') return true
  const [name, ...below] = topic
  if (name === undefined) return false
  return (first === '+' || first === name) && matchesByTheBook(rest, below)
}

const LEVELS = ['a', 'b', '', '$x']
const names: string[] = []
for (const one of LEVELS) {
  names.push(one)
  for (const two of LEVELS) {
    names.push(`${one}/${two}`)
    for (const three of LEVELS) names.push(`${one}/${two}/${three}`)
  }
}
const filters = fc
  .array(fc.constantFrom(...LEVELS, '+', '#'), { minLength: 1, maxLength: 3 })
  .map((levels) => levels.join('/'))
  .filter(isTopicFilter)
const byTheBook = (filter: string, topic: string): boolean =>
  !(/^[+#]/.test(filter) && topic.startsWith('$')) && matchesByTheBook(filter.split('/'), topic.split('/'))

test('matching is what the specification says', () => {
  fc.assert(
    fc.property(filters, fc.constantFrom(...names), (filter, topic) => {
      expect(filterCovers(filter, topic)).toBe(byTheBook(filter, topic))
    }),
  )
})

test('a filter that is covered matches nothing that the wider one does not', () => {
  fc.assert(
    fc.property(filters, filters, (wide, narrow) => {
      fc.pre(filterCovers(wide, narrow))
      for (const topic of names) if (byTheBook(narrow, topic)) expect(byTheBook(wide, topic)).toBe(true)
    }),
  )
})

test('covering is transitive, and every filter covers itself', () => {
  fc.assert(
    fc.property(filters, filters, filters, (a, b, c) => {
      expect(filterCovers(a, a)).toBe(true)
      if (filterCovers(a, b) && filterCovers(b, c)) expect(filterCovers(a, c)).toBe(true)
    }),
  )
})
