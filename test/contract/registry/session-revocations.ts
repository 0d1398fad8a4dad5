/** Sessions that end before their time: by an operator, by their holder, by a restored backup. */

import { describe, expect, it } from 'vitest'
import { DAY, HOUR } from '#fleet/clock.ts'
import { MAX_AHEAD, MAX_SESSION, type SessionRevocation } from '#fleet/session.ts'
import type { Logout } from '#registry/registry.ts'
import { ACTOR, freshHex, givenToken, NOW, serviceToken, sessionRevocation } from '../../support/registry.ts'
import type { Ground } from './ground.ts'

export const sessionRevocationContract = (at: Ground): void => {
  const { everything, actions, changesOf } = at
  const revoke = (over: Partial<SessionRevocation> = {}, now = NOW) =>
    at.registry.revokeSessions(sessionRevocation(over), now, ACTOR)
  const device = { scope: 'device', subject: 'cam-1' } as const
  const all = { scope: 'everything', subject: '' } as const

  describe('sessions revoked', () => {
    it('is the same array until something in it changes', async () => {
      const none = at.reader.sessionRevocations()
      expect(none).toEqual([])
      await givenToken(at.registry)
      expect(at.reader.sessionRevocations()).toBe(none)
      const one = sessionRevocation()
      await at.registry.revokeSessions(one, NOW, ACTOR)
      const some = at.reader.sessionRevocations()
      expect(some).toEqual([one])
      expect(at.reader.sessionRevocations()).toBe(some)
      expect(at.registry.sessionRevocations()).toEqual(some)
    })

    it('of every scope, with audit and change row, and each reader sees it with its next question', async () => {
      const given = [
        sessionRevocation(),
        sessionRevocation({ ...device }),
        sessionRevocation({ scope: 'application', subject: 'f0'.repeat(32) }),
        sessionRevocation({ ...all }),
      ]
      const changes = await changesOf(async () => {
        for (const each of given) await at.registry.revokeSessions(each, NOW, ACTOR)
      })
      expect(changes).toEqual(given.map(() => ({ kind: 'credentials' })))
      const kept = at.reader.sessionRevocations()
      expect(kept).toHaveLength(given.length)
      expect(kept).toEqual(expect.arrayContaining(given))
      const entries = (await at.registry.listAudit({ limit: 10 })).items
      expect(entries.map(({ action, subject, details }) => [action, subject, details['scope']])).toEqual(
        given.map(({ scope, subject }) => ['sessions.revoked', subject || 'everything', scope]),
      )
      expect(entries[0]).toMatchObject({
        actor: ACTOR,
        details: { before: NOW, expires_at: NOW + DAY },
      })
    })

    it.each([
      ['later ones count', { before: NOW + 1, expiresAt: NOW + 2 * DAY }, {}],
      ['one of the two', { before: NOW + 1 }, {}],
      ['the other of the two', { expiresAt: NOW + 2 * DAY }, {}],
      ['each by itself', { before: NOW + 1, expiresAt: NOW + HOUR }, { expiresAt: NOW + DAY }],
    ])('again for the same subject: %s', async (_what, over, kept) => {
      await revoke(device)
      expect(await changesOf(() => revoke({ ...device, ...over }))).toEqual([{ kind: 'credentials' }])
      expect(at.reader.sessionRevocations()).toEqual([sessionRevocation({ ...device, ...over, ...kept })])
    })

    it.each([
      ['the same', device, {}],
      ['an earlier one', device, { before: NOW - 1, expiresAt: NOW + HOUR }],
      ['a token, whose `before` says nothing', { subject: freshHex(32) }, { before: NOW + 9 }],
      ['one that has expired', device, { before: NOW + 9, expiresAt: NOW }],
    ])('again for the same subject: %s changes nothing', async (_what, subject, over) => {
      await revoke(subject)
      const before = await everything()
      await revoke({ ...subject, ...over })
      expect(await everything()).toBe(before)
    })

    it('does not take one subject for another, nor one scope for another', async () => {
      await revoke({ ...device, before: NOW })
      await revoke({ ...device, subject: 'CAM-1', before: NOW + 1 })
      await revoke({ scope: 'application', subject: device.subject, before: NOW + 2 })
      expect(at.reader.sessionRevocations()).toHaveLength(3)
    })

    it('drops what has expired, when the next one comes', async () => {
      await revoke({ ...device, expiresAt: NOW + HOUR })
      await revoke({ subject: 'aa'.repeat(32) }, NOW + HOUR - 1)
      expect(at.reader.sessionRevocations()).toHaveLength(2)
      await revoke({ subject: 'bb'.repeat(32) }, NOW + HOUR)
      expect(at.reader.sessionRevocations().map(({ subject }) => subject)).toEqual([
        'aa'.repeat(32),
        'bb'.repeat(32),
      ])
    })
  })

  describe('logouts of the inbox', () => {
    const record = (logouts: readonly Logout[], now = NOW) =>
      at.registry.recordSightings([], freshHex(4), now, logouts)
    const named = (count: number, prefix: string, since = NOW): readonly Logout[] =>
      Array.from({ length: count }, (_, n) => ({ holder: `${prefix}${n}`, at: since + n }))

    it('are kept as revocations of the device, with one audit entry and one change row for all of them', async () => {
      const logouts = [
        { holder: 'cam-1', at: NOW - 3 },
        { holder: 'CAM-1', at: NOW - 2 },
        { holder: 'partner/Pumpe 7', at: NOW - 1 },
      ]
      expect(await changesOf(() => record(logouts))).toEqual([{ kind: 'credentials' }])
      expect(at.reader.sessionRevocations()).toEqual(
        expect.arrayContaining(
          logouts.map(({ holder, at: before }) => ({
            scope: 'device',
            subject: holder,
            before,
            expiresAt: before + MAX_SESSION,
          })),
        ),
      )
      expect(at.reader.sessionRevocations()).toHaveLength(3)
      const entries = (await at.registry.listAudit({ limit: 10 })).items
      expect(entries).toMatchObject([
        {
          actor: 'system',
          action: 'sessions.revoked',
          subject: 'logout',
          details: { scope: 'device', count: 3, names: logouts.map(({ holder }) => holder) },
        },
      ])
    })

    it('said again, or too late, are nothing; the cursor moves all the same', async () => {
      const one = { holder: 'cam-1', at: NOW }
      await record([one])
      const before = await actions()
      const changes = await changesOf(() =>
        at.registry.recordSightings([], 'next', NOW + 1, [
          one,
          { holder: 'cam-1', at: NOW - 9 },
          { holder: 'cam-2', at: NOW + 1 - MAX_SESSION },
        ]),
      )
      expect(changes).toEqual([])
      expect(await actions()).toEqual(before)
      expect(await at.registry.inboxCursor()).toBe('next')
    })

    it('end nothing that is still to come, whatever the other desk says; its clock may be a little ahead', async () => {
      await record([{ holder: 'cam-1', at: Number.MAX_SAFE_INTEGER }])
      await record([{ holder: 'cam-2', at: NOW + 30_000 }])
      expect(at.reader.sessionRevocations()).toMatchObject([
        { before: NOW + MAX_AHEAD, expiresAt: NOW + MAX_AHEAD + MAX_SESSION },
        { before: NOW + 30_000 },
      ])
    })

    it('of one device take one row, however many they are', async () => {
      const cams = Array.from({ length: 11_000 }, (_, n) => ({ holder: 'cam-1', at: NOW - 20_000 + n }))
      await record(cams)
      expect(at.reader.sessionRevocations()).toMatchObject([{ subject: 'cam-1', before: NOW - 9_001 }])
    })

    it('of very many names of one anchor end the sessions of that anchor, and of no other', async () => {
      await record([...named(1_000, 'partner/x'), ...named(3, 'partner-b/'), ...named(3, 'part')], NOW + DAY)
      expect(at.reader.sessionRevocations()).toHaveLength(1_006)
      expect(await changesOf(() => record(named(1, 'partner/y'), NOW + DAY))).toEqual([
        { kind: 'credentials' },
      ])
      const kept = at.reader.sessionRevocations()
      expect(kept).toHaveLength(7)
      expect(kept.filter(({ subject }) => subject.startsWith('partner/'))).toEqual([
        { scope: 'device', subject: 'partner/', before: NOW + 999, expiresAt: NOW + 999 + MAX_SESSION },
      ])
      expect((await at.registry.listAudit({ limit: 1_000 })).items.slice(-2)).toMatchObject([
        { action: 'sessions.revoked', subject: 'partner/', details: { scope: 'device', replaced: 1_001 } },
        { action: 'sessions.revoked', subject: 'logout' },
      ])
    })

    it('more than the doors can keep end every session that has begun', async () => {
      const many = (count: number) =>
        Array.from({ length: count }, () => ({ holder: `cam-${freshHex(8)}`, at: NOW }))
      await record(many(9_999))
      await revoke({ subject: 'aa'.repeat(32), before: NOW + 9, expiresAt: NOW + 2 * MAX_SESSION })
      expect(at.reader.sessionRevocations()).toHaveLength(10_000)
      expect(await changesOf(() => record(many(1), NOW + 1))).toEqual([{ kind: 'credentials' }])
      expect(at.reader.sessionRevocations()).toEqual([
        { ...all, before: NOW + 1, expiresAt: NOW + 2 * MAX_SESSION },
      ])
      expect((await at.registry.listAudit({ limit: 1_000 })).items.slice(-2)).toMatchObject([
        { action: 'sessions.revoked', subject: 'everything', details: { replaced: 10_001 } },
        { action: 'sessions.revoked', subject: 'logout' },
      ])
      await record(many(2), NOW + 2)
      expect(at.reader.sessionRevocations()).toHaveLength(3)
    })
  })

  describe('a restored registry', () => {
    const restored = (now: number) =>
      at.registry.voidOutstandingTokens({ now, actor: 'system', why: 'a test' })

    it('ends every session that has begun, and the secrets of before a rotation; the others stay', async () => {
      const old = { hash: freshHex(32), until: NOW + DAY }
      const [rotated, other] = [serviceToken({ previous: old }), serviceToken()]
      for (const each of [rotated, other]) await at.registry.createServiceToken(each, ACTOR)
      await givenToken(at.registry)
      const changes = await changesOf(async () => expect(await restored(NOW + 1)).toBe(1))
      expect(changes[0]).toEqual({ kind: 'reset' })
      expect(at.reader.sessionRevocations()).toEqual([
        { ...all, before: NOW + 1, expiresAt: NOW + 1 + MAX_SESSION },
      ])
      expect(at.reader.serviceToken(rotated.clientId)).toEqual({ ...rotated, previous: undefined })
      expect(at.reader.serviceToken(other.clientId)).toEqual(other)
      const entries = (await at.registry.listAudit({ limit: 10 })).items
      expect(entries.at(-1)).toMatchObject({
        action: 'registry.restored',
        details: { why: 'a test', tokens_voided: 1, service_token_secrets_voided: 1 },
      })
    })
  })
}
