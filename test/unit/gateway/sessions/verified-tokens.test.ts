import { expect, test, vi } from 'vitest'
import type { readSession } from '#gateway/sessions/session-token.ts'
import { createVerifiedTokens } from '#gateway/sessions/verified-tokens.ts'
import { makeSigningKey, ringOf } from '../../../support/signing-keys.ts'

const key = makeSigningKey('k')

const open = (o: { most?: number } = {}) => {
  const keys = ringOf(key)
  const time = { now: 1_000 }
  /** tokens of this test: `<name> <end>`, or `bad` */
  const read = vi.fn<typeof readSession>((_, token) =>
    token.startsWith('bad') ? undefined : ({ id: token, expiresAt: Number(token.split(' ')[1]) } as never),
  )
  return { keys, time, read, verify: createVerifiedTokens({ keys, clock: () => time.now, read, ...o }) }
}

test('read once, as long as it lasts', () => {
  const { verify, read, time } = open()
  expect(verify('a 2000')).toBe(verify('a 2000'))
  expect(read).toHaveBeenCalledTimes(1)
  time.now = 2_000
  expect(verify('a 2000')?.id).toBe('a 2000')
  expect(verify('a 2000')?.id).toBe('a 2000')
  // past its end it is told, and not remembered
  expect(read).toHaveBeenCalledTimes(2)
})

test('what is not ours is never remembered', () => {
  const { verify, read } = open()
  expect([verify('bad'), verify('bad')]).toEqual([undefined, undefined])
  expect(read).toHaveBeenCalledTimes(2)
})

test('with the keys everything is forgotten', () => {
  const { verify, read, keys } = open()
  verify('a 2000')
  keys.load([])
  verify('a 2000')
  expect(read).toHaveBeenCalledTimes(2)
  expect(read.mock.lastCall?.[0]).toEqual([])
})

test('so many at most: the oldest goes', () => {
  const { verify, read } = open({ most: 2 })
  for (const name of ['a', 'b', 'c']) verify(`${name} 2000`)
  verify('b 2000')
  expect(read).toHaveBeenCalledTimes(3)
  verify('a 2000')
  expect(read).toHaveBeenCalledTimes(4)
})

test('one that is too long is not even hashed', () => {
  const { verify, read } = open()
  expect(verify('a'.repeat(8_193))).toBeUndefined()
  expect(read).not.toHaveBeenCalled()
})
