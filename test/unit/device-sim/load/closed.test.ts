import { expect, test } from 'vitest'
import { closedLoop } from '#device-sim/load/closed.ts'

test('turn, rest, turn, each after the other; no rest after the last', async () => {
  const done: string[] = []
  let turns = 0
  await closedLoop({
    more: () => turns < 3,
    take: async () => {
      await Promise.resolve()
      done.push(`turn ${++turns}`)
    },
    rest: async () => {
      await Promise.resolve()
      done.push('rest')
    },
  })
  expect(done).toEqual(['turn 1', 'rest', 'turn 2', 'rest', 'turn 3'])
})
