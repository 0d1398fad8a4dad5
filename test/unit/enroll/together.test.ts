import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createTogether } from '#enroll/together.ts'

/** @returns who asks, and says when it was let through */
const witness = () => {
  const together = createTogether()
  const seen: string[] = []
  return {
    seen,
    go: async (name: string) => {
      await together()
      seen.push(name)
    },
  }
}

it('lets those of one turn go on one after the other', async () => {
  const { seen, go } = witness()
  const all = Promise.all([go('a'), go('b')])
  seen.push('not yet')
  await all
  expect(seen).toEqual(['not yet', 'a', 'b'])
  await go('c')
  expect(seen).toEqual(['not yet', 'a', 'b', 'c'])
})

it('waits for those of the next turns, as long as each brings some', async () => {
  const { seen, go } = witness()
  const all: Promise<void>[] = [go('a')]
  await nextTurn()
  all.push(go('b'))
  await nextTurn()
  all.push(go('c'))
  expect(seen).toEqual([])
  await Promise.all(all)
  expect(seen).toEqual(['a', 'b', 'c'])
})

it('and for no more than a few turns, however many come', async () => {
  const { seen, go } = witness()
  const all: Promise<void>[] = []
  for (let turn = 0; turn < 20; turn += 1) {
    all.push(go(`${turn}`))
    await nextTurn()
  }
  expect(seen.length).toBeGreaterThan(5)
  await Promise.all(all)
  expect(seen).toEqual(Array.from({ length: 20 }, (_, turn) => `${turn}`))
})
