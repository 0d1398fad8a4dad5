import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createHostIndex, readHostPattern } from '#policy/access/hosts.ts'
import { cpuTime } from '../../../support/cpu-time.ts'

const indexOf = (texts: readonly string[]) =>
  createHostIndex(
    texts.flatMap((value) => {
      const pattern = readHostPattern(value)
      return pattern === undefined ? [] : [{ pattern, value }]
    }),
  )
const found = (texts: readonly string[], host: string): readonly string[] =>
  indexOf(texts)
    .find(host)
    .map(({ value }) => value)

describe('patterns', () => {
  test.each([
    'a.test',
    'localhost',
    '*.example.com',
    '*test.example.com',
    'a-*-b.example.com',
    'x.*.example.com',
    '*.*.example.com',
    'xn--bcher-kva.test',
  ])('%s is one', (text) => {
    expect(readHostPattern(text)?.text).toBe(text)
  })
  test.each([
    '',
    '.',
    '*',
    'example.*',
    'a.test.',
    '.a.test',
    'a..test',
    'A.test',
    'foo*bar*baz.example.com',
    '**.example.com',
    '-a.test',
    'a-.test',
    'a.test:443',
    'a b.test',
    'a_b.test',
    'bücher.test',
    '[::1]',
    `${'a'.repeat(64)}.test`,
    `${'a.'.repeat(127)}test`,
  ])('%j is none', (text) => {
    expect(readHostPattern(text)).toBeUndefined()
  })
})

describe('what a pattern covers', () => {
  // the tables of Cloudflare's documentation first
  test.each<[string, readonly string[], readonly string[]]>([
    ['*.example.com', ['alpha.example.com', 'beta.example.com'], ['example.com', 'foo.bar.example.com']],
    [
      '*.test.example.com',
      ['alpha.test.example.com'],
      ['test.example.com', 'example.com', 'a.b.test.example.com'],
    ],
    ['*test.example.com', ['test.example.com', 'alphatest.example.com'], ['beta.test.example.com']],
    ['a*b.example.com', ['ab.example.com', 'axb.example.com'], ['a.example.com', 'b.example.com']],
    ['aba*ba.example.com', ['ababa.example.com'], ['aba.example.com']],
    ['x.*.example.com', ['x.y.example.com'], ['x.example.com', 'y.y.example.com', 'x.y.z.example.com']],
    [
      '*.example.com',
      [],
      [
        '.example.com',
        'a/b.example.com',
        'a@evil.example.com',
        'a b.example.com',
        'a%2e.example.com',
        'a.example.com.',
        'a.example.com:443',
        'A.example.com',
        'a.example.comx',
        'aexample.com',
        `${'a'.repeat(64)}.example.com`,
      ],
    ],
    ['a.test', ['a.test'], ['b.test', 'a.test.', 'x.a.test', 'A.test', '']],
  ])('%s', (text, covered, not) => {
    for (const host of covered) expect([host, found([text], host)]).toEqual([host, [text]])
    for (const host of not) expect([host, found([text], host)]).toEqual([host, []])
  })
})

test('the name itself first, then what has more fixed letters', () => {
  const all = ['*.example.com', 'a.example.com', '*a.example.com', '*.*.com', 'a.*.com', '*.test']
  expect(found(all, 'a.example.com')).toEqual([
    'a.example.com',
    '*a.example.com',
    '*.example.com',
    'a.*.com',
    '*.*.com',
  ])
  expect(found(all, 'b.example.com')).toEqual(['*.example.com', '*.*.com'])
})

test('the index finds what each pattern says alone', () => {
  const label = fc.constantFrom('a', 'b', 'ab', '*', 'a*', '*b', 'a*b')
  const name = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => `${labels.join('.')}.test`)
  const host = fc
    .array(fc.constantFrom('a', 'b', 'ab', 'aab'), { minLength: 1, maxLength: 3 })
    .map((labels) => `${labels.join('.')}.test`)
  fc.assert(
    fc.property(fc.uniqueArray(name, { maxLength: 8 }), host, (all, asked) => {
      const regular = (text: string): RegExp =>
        new RegExp(`^${text.replaceAll('.', '\\.').replaceAll('*', '[^.]*')}$`)
      expect(found(all, asked).toSorted()).toEqual(all.filter((text) => regular(text).test(asked)).toSorted())
    }),
  )
})

test('patterns by the thousand, with stars anywhere, cost a name and a stranger next to nothing', () => {
  const each = Array.from({ length: 5_000 }, (_, n) => n)
  const index = indexOf(each.flatMap((n) => [`h${n}.p.example.com`, `*.*${n}.example.com`]))
  const [names, strangers] = [new Set<number>(), new Set<number>()]
  const cost = cpuTime(() => {
    for (const n of each) {
      names.add(index.find(`h${n}.p.example.com`).length)
      strangers.add(index.find(`x.y${n}-.example.com`).length)
    }
  })
  expect([[...names], [...strangers]]).toEqual([[1], [0]])
  expect(index.find('x.y4711.example.com').map(({ value }) => value)).toEqual([
    '*.*4711.example.com',
    '*.*711.example.com',
    '*.*11.example.com',
    '*.*1.example.com',
  ])
  // ms; 10,000 walks along the list would be 100 million labels
  expect(cost).toBeLessThan(500)
})
