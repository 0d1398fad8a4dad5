import { expect, test } from 'vitest'
import { createBySize } from '#gateway/mqtt/embedded/by-size.ts'

test('the largest is one that nobody is twice as large as, and it has about as much as is asked', () => {
  const sizes = createBySize<string>()
  expect(sizes.largest(0)).toBeUndefined()
  sizes.set('one', 1)
  sizes.set('many', 1_000)
  sizes.set('some', 100)
  expect(sizes.largest(0)).toBe('many')
  expect(sizes.largest(1_023)).toBe('many')
  expect(sizes.largest(1_024)).toBeUndefined()
  sizes.set('many', 2)
  expect(sizes.largest(0)).toBe('some')
  sizes.delete('some')
  expect(sizes.largest(0)).toBe('many')
  sizes.delete('many')
  sizes.delete('never')
  expect(sizes.largest(0)).toBe('one')
  sizes.set('huge', 2 ** 32 - 1)
  expect(sizes.largest(0)).toBe('huge')
})
