import { expect, it } from 'vitest'
import { HOUR, MINUTE } from '#fleet/clock.ts'
import { createQuota, hourOf } from '#enroll/signer/quota.ts'
import { createSerials } from '#enroll/signer/serials.ts'

const NOW = 1_000 * HOUR

it('ends with the hour, goes on from what was counted, and takes back what was not made', () => {
  let now = NOW
  const quota = createQuota({ most: 3, counted: { hour: hourOf(NOW), count: 1 }, clock: () => now })
  quota.take()
  const giveBack = quota.take()
  expect(() => quota.take()).toThrow(expect.objectContaining({ code: 'quota_exceeded', retryAfter: 3_600 }))
  giveBack()
  quota.take()
  now += 59 * MINUTE
  expect(() => quota.take()).toThrow(expect.objectContaining({ retryAfter: 60 }))
  now += MINUTE
  const next = [quota.take(), quota.take(), quota.take()]
  expect(() => quota.take()).toThrow()
  // of the hour before: it is not this one's
  giveBack()
  expect(() => quota.take()).toThrow()
  // set back: not another hour
  now -= 2 * HOUR
  expect(() => quota.take()).toThrow()
  next[0]?.()
  quota.take()
})

it('is not counted when there is none', () => {
  const quota = createQuota({ most: undefined, counted: { hour: 0, count: 10 ** 9 }, clock: () => NOW })
  for (let at = 0; at < 1_000; at += 1) quota.take()
})

it('one serial has one content, as far back as is remembered', () => {
  const serials = createSerials([['s0', 'a']], 2)
  expect(serials.isKnown('s0', 'a')).toBe(true)
  expect(() => serials.isKnown('s0', 'b')).toThrow(expect.objectContaining({ code: 'conflict' }))
  serials.keep('s1', 'a')
  serials.forget('s1')
  expect(serials.isKnown('s1', 'b')).toBe(false)
  serials.keep('s1', 'b')
  serials.keep('s2', 'a')
  expect(serials.isKnown('s0', 'other')).toBe(false)
  expect(() => serials.isKnown('s2', 'b')).toThrow()
})
