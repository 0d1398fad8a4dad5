import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createTopicTree } from '#gateway/mqtt/embedded/topic-tree.ts'
import { filterCovers, isTopicFilter, isTopicName } from '#wire/topics.ts'

const level = fc.constantFrom('a', 'b', '', '$s')
const names = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'))
  .filter(isTopicName)
const filters = fc
  .array(fc.oneof(level, fc.constantFrom('+', '#')), { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'))
  .filter(isTopicFilter)

const matching = (tree: ReturnType<typeof createTopicTree<string>>, name: string): string[] => {
  const found: string[] = []
  tree.matching(name, (value) => found.push(value))
  return found.toSorted()
}

test('finds the filters that match a name, and no others', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(filters, { maxLength: 12 }),
      fc.array(names, { maxLength: 12 }),
      (stored, asked) => {
        const tree = createTopicTree<string>()
        for (const filter of stored) tree.set(filter, 'me', filter)
        for (const name of asked)
          expect(matching(tree, name)).toEqual(
            stored.filter((filter) => filterCovers(filter, name)).toSorted(),
          )
      },
    ),
  )
})

test('finds the names that a filter matches, and no others', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(names, { maxLength: 12 }),
      fc.array(filters, { maxLength: 12 }),
      (stored, asked) => {
        const tree = createTopicTree<string>()
        for (const name of stored) tree.set(name, '', name)
        for (const filter of asked) {
          const found = [...tree.under(filter)]
          expect(found.toSorted()).toEqual(stored.filter((name) => filterCovers(filter, name)).toSorted())
        }
      },
    ),
  )
})

test('what is taken out is gone, and what is left is not', () => {
  fc.assert(
    fc.property(fc.uniqueArray(filters, { maxLength: 12 }), fc.nat(12), names, (stored, gone, name) => {
      const tree = createTopicTree<string>()
      for (const filter of stored) tree.set(filter, 'me', filter)
      for (const filter of stored.slice(0, gone)) tree.delete(filter, 'me')
      expect(matching(tree, name)).toEqual(
        stored
          .slice(gone)
          .filter((filter) => filterCovers(filter, name))
          .toSorted(),
      )
    }),
  )
})

describe('owners', () => {
  test('have one value each', () => {
    const tree = createTopicTree<string>()
    tree.set('a/+', 'me', 'mine')
    tree.set('a/+', 'you', 'yours')
    tree.set('a/+', 'me', 'mine now')
    expect(matching(tree, 'a/b')).toEqual(['mine now', 'yours'])
    tree.delete('a/+', 'me')
    tree.delete('a/+', 'nobody')
    tree.delete('b', 'me')
    expect(matching(tree, 'a/b')).toEqual(['yours'])
  })
  test('may have any name', () => {
    const tree = createTopicTree<string>()
    for (const name of ['__proto__', 'constructor']) tree.set(name, name, name)
    expect(matching(tree, '__proto__')).toEqual(['__proto__'])
    expect(matching(tree, 'toString')).toEqual([])
  })
})
