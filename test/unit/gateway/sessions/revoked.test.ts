import { describe, expect, test, vi } from 'vitest'
import type { SessionRevocation } from '#fleet/session.ts'
import { createRevokedSessions, subjectOfToken, type Revocable } from '#gateway/sessions/revoked.ts'

const ISSUED = 1_000_000
const token: Revocable = {
  subject: subjectOfToken('jti-1'),
  applicationId: 'ab'.repeat(32),
  commonName: 'lamp-1',
  deviceId: 'lamp-1',
  anchor: undefined,
  issuedAt: ISSUED,
}
const foreign: Revocable = { ...token, deviceId: undefined, anchor: 'partner' }
const revocation = (over: Partial<SessionRevocation>): SessionRevocation => ({
  scope: 'everything',
  subject: '',
  before: ISSUED,
  expiresAt: ISSUED + 1,
  ...over,
})
const has = (each: Revocable, ...revocations: readonly SessionRevocation[]): boolean =>
  createRevokedSessions(() => revocations).has(each)

test('nothing is void when nothing is revoked', () => {
  expect(has(token)).toBe(false)
})

describe('each scope', () => {
  const rows: readonly (readonly [string, Revocable, Partial<SessionRevocation>, boolean])[] = [
    ['the token', token, { scope: 'token', subject: token.subject, before: 0 }, true],
    ['another token', token, { scope: 'token', subject: subjectOfToken('jti-2') }, false],
    ['the token by its jti', token, { scope: 'token', subject: 'jti-1' }, false],
    ['its device', token, { scope: 'device', subject: 'lamp-1' }, true],
    ['its device, before', token, { scope: 'device', subject: 'lamp-1', before: ISSUED - 1 }, false],
    ['another device', token, { scope: 'device', subject: 'lamp-2' }, false],
    ['a foreign name', foreign, { scope: 'device', subject: 'partner/lamp-1' }, true],
    ['a device of the same name', foreign, { scope: 'device', subject: 'lamp-1' }, false],
    ['a foreign name of a device', token, { scope: 'device', subject: 'partner/lamp-1' }, false],
    ['everybody of its anchor', foreign, { scope: 'device', subject: 'partner/' }, true],
    ['everybody of its anchor, before', foreign, { scope: 'device', subject: 'partner/', before: 1 }, false],
    ['everybody of another anchor', foreign, { scope: 'device', subject: 'part/' }, false],
    ['everybody of an anchor, of a device', token, { scope: 'device', subject: 'partner/' }, false],
    ['its application', token, { scope: 'application', subject: token.applicationId }, true],
    [
      'its application, before',
      token,
      { scope: 'application', subject: token.applicationId, before: 1 },
      false,
    ],
    ['another application', token, { scope: 'application', subject: 'cd'.repeat(32) }, false],
    ['everything', token, {}, true],
    ['everything before', token, { before: ISSUED - 1 }, false],
    ['a subject under another scope', token, { scope: 'application', subject: 'lamp-1' }, false],
  ]
  test.each(rows)('%s', (_, each, over, expected) => {
    expect(has(each, revocation(over))).toBe(expected)
  })
  test('of several the latest counts, in whatever order', () => {
    const early = revocation({ scope: 'device', subject: 'lamp-1', before: 1 })
    const late = revocation({ scope: 'device', subject: 'lamp-1' })
    expect([has(token, early, late), has(token, late, early)]).toEqual([true, true])
  })
})

test('a change is seen at once, and the list is read once per change', () => {
  let current: readonly SessionRevocation[] = []
  const sessions = createRevokedSessions(() => current)
  expect(sessions.has(token)).toBe(false)
  current = [revocation({})]
  expect(sessions.has(token)).toBe(true)
  const filter = vi.spyOn(current, 'filter')
  sessions.has(token)
  expect(filter).not.toHaveBeenCalled()
})

test('who has logged out here is out here at once; of many the oldest are the registry’s by now', () => {
  const sessions = createRevokedSessions(() => [])
  expect(sessions.end(token)).toEqual({ holder: 'lamp-1', at: ISSUED })
  expect(sessions.has(token)).toBe(true)
  for (let at = 0; at < 10_000; at += 1) sessions.end({ ...token, deviceId: `other-${at}` })
  expect(sessions.has(token)).toBe(false)
  expect(sessions.has({ ...token, deviceId: 'other-9999' })).toBe(true)
})

test('a logout ends what its holder began by then, of any application, and nothing since', () => {
  const sessions = createRevokedSessions(() => [])
  expect(sessions.end(foreign)).toEqual({ holder: 'partner/lamp-1', at: ISSUED })
  // an older one that is logged out later takes nothing back
  sessions.end({ ...foreign, issuedAt: ISSUED - 9 })
  const before = { ...foreign, subject: subjectOfToken('jti-2'), applicationId: 'cd'.repeat(32) }
  expect(sessions.has({ ...before, issuedAt: ISSUED - 1 })).toBe(true)
  expect(sessions.has({ ...foreign, issuedAt: ISSUED + 1 })).toBe(false)
  expect(sessions.has({ ...foreign, anchor: 'other' })).toBe(false)
  expect(sessions.has(token)).toBe(false)
})

test('and so does one of another process', () => {
  const [here, there] = [createRevokedSessions(() => []), createRevokedSessions(() => [])]
  there.endOf(here.end(foreign))
  expect([there.has(foreign), there.has({ ...foreign, issuedAt: ISSUED + 1 }), there.has(token)]).toEqual([
    true,
    false,
    false,
  ])
})

test('a registry that cannot be read is told', () => {
  const sessions = createRevokedSessions(() => {
    throw new Error('locked')
  })
  expect(() => sessions.has(token)).toThrow('locked')
})
