import { expect, test } from 'vitest'
import { createPlaces } from '#gateway/mqtt/places.ts'

test('so many ClientIDs of one identity, and no more until one has gone', () => {
  const places = createPlaces()
  const [a, b] = [places.take('lamp', 'lamp@a', 2), places.take('lamp', 'lamp@b', 2)]
  expect(a && b).toBeDefined()
  expect(places.take('lamp', 'lamp@c', 2)).toBeUndefined()
  expect(places.take('other', 'other', 1)).toBeDefined()
  a?.[Symbol.dispose]()
  a?.[Symbol.dispose]()
  expect(places.take('lamp', 'lamp@c', 2)).toBeDefined()
  expect(places.take('lamp', 'lamp@d', 2)).toBeUndefined()
})

test('a takeover needs no place of its own, and gives none back twice', () => {
  const places = createPlaces()
  const first = places.take('lamp', 'lamp', 1)
  const second = places.take('lamp', 'lamp', 1)
  expect(second).toBeDefined()
  first?.[Symbol.dispose]()
  expect(places.take('lamp', 'lamp@x', 1)).toBeUndefined()
  second?.[Symbol.dispose]()
  expect(places.take('lamp', 'lamp@x', 1)).toBeDefined()
})

test('fewer than there are: those that are there stay, and nobody comes', () => {
  const places = createPlaces()
  for (const id of ['a', 'b', 'c']) places.take('lamp', id, 3)
  expect(places.take('lamp', 'd', 1)).toBeUndefined()
  expect(places.take('lamp', 'a', 1)).toBeDefined()
})
