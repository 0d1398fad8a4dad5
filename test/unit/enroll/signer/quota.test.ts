import { expect, it } from 'vitest'
import { HOUR, MINUTE } from '#fleet/clock.ts'
import { createQuota, hourOf, isCounted } from '#enroll/signer/quota.ts'
import { createSerials } from '#enroll/signer/serials.ts'

const NOW = 1_000 * HOUR

it('ends with the hour, goes on from what was counted, and takes back what was not made', () => {
  let now = NOW
  const quota = createQuota({
    certificates: 3,
    counted: { hour: hourOf(NOW), counts: new Map([['certificates', 1]]) },
    clock: () => now,
  })
  quota.take('certificates')
  const giveBack = quota.take('certificates')
  expect(() => quota.take('certificates')).toThrow(
    expect.objectContaining({ code: 'quota_exceeded', retryAfter: 3_600 }),
  )
  giveBack()
  quota.take('certificates')
  now += 59 * MINUTE
  expect(() => quota.take('certificates')).toThrow(expect.objectContaining({ retryAfter: 60 }))
  now += MINUTE
  const next = [quota.take('certificates'), quota.take('certificates'), quota.take('certificates')]
  expect(() => quota.take('certificates')).toThrow()
  // of the hour before: it is not this one's
  giveBack()
  expect(() => quota.take('certificates')).toThrow()
  // set back: not another hour
  now -= 2 * HOUR
  expect(() => quota.take('certificates')).toThrow()
  next[0]?.()
  quota.take('certificates')
})

it('responders and CRLs are counted by themselves, for each issuer', () => {
  const quota = createQuota({
    certificates: 1,
    counted: { hour: hourOf(NOW), counts: new Map([['responders b', 60]]) },
    clock: () => NOW,
  })
  const refused = (take: () => unknown) =>
    expect(take).toThrow(expect.objectContaining({ code: 'quota_exceeded' }))
  quota.take('certificates')
  refused(() => quota.take('certificates'))
  for (let at = 0; at < 60; at += 1) quota.take('responders a')
  refused(() => quota.take('responders a'))
  refused(() => quota.take('responders b'))
  for (let at = 0; at < 4_000; at += 1) quota.take('crls a')
  refused(() => quota.take('crls a'))
  quota.take('crls b')
})

it('the first repeats of a certificate are free', () => {
  expect([0, 1, 2, 3, 4, 50].map(isCounted)).toEqual([true, false, false, false, true, true])
})

it('one serial has one content, as far back as is remembered', () => {
  const serials = createSerials([['s0', 'a']], 2)
  expect(serials.times('s0', 'a')).toBe(1)
  expect(() => serials.times('s0', 'b')).toThrow(expect.objectContaining({ code: 'conflict' }))
  serials.keep('s1', 'a')
  serials.takeBack('s1')
  expect(serials.times('s1', 'b')).toBe(0)
  serials.keep('s1', 'b')
  serials.keep('s1', 'b')
  expect(serials.times('s1', 'b')).toBe(2)
  serials.takeBack('s1')
  expect(serials.times('s1', 'b')).toBe(1)
  serials.keep('s2', 'a')
  expect(serials.times('s0', 'other')).toBe(0)
  expect(() => serials.times('s2', 'b')).toThrow()
})
