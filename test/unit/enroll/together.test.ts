import { expect, it } from 'vitest'
import { createTogether } from '#enroll/together.ts'

it('lets those of one turn go on one after the other, and those of the next turn after them', async () => {
  const together = createTogether()
  const seen: string[] = []
  const go = async (name: string) => {
    await together()
    seen.push(name)
  }
  const first = Promise.all([go('a'), go('b')])
  setImmediate(() => seen.push('next turn'))
  seen.push('not yet')
  await first
  expect(seen).toEqual(['not yet', 'a', 'b'])
  await go('c')
  expect(seen).toEqual(['not yet', 'a', 'b', 'next turn', 'c'])
})
