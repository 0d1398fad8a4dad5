/** The change feed, assertion keys, answers to repeat. */

import { describe, expect, it } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { ACTOR, anchor, assertionKey, givenDevice, givenIssuer, ISSUER, NOW } from '../../support/registry.ts'
import type { Ground } from './ground.ts'

export const feedContract = (at: Ground): void => {
  const { refusedUnchanged, changesOf } = at

  describe('assertion keys', () => {
    it('are kept in the order they came, sealed as given, one for each kid', async () => {
      const keys = [assertionKey(), assertionKey()]
      const changes = await changesOf(async () => {
        for (const key of keys) await at.registry.addAssertionKey(key, ACTOR)
      })
      expect(changes).toEqual([{ kind: 'assertion_keys' }, { kind: 'assertion_keys' }])
      expect(await at.reader.assertionKeys()).toEqual(keys)
      await refusedUnchanged(
        () => at.registry.addAssertionKey(assertionKey({ kid: keys[0]?.kid ?? '' }), ACTOR),
        'conflict',
      )
      expect(JSON.stringify(await at.registry.listAudit({ limit: 10 }))).not.toContain('sealed')
    })
  })

  describe('assertion keys, taken away', () => {
    const remove = (kid: string) => at.registry.removeAssertionKey(kid, NOW, ACTOR)

    it('an older one goes, with audit and change row, and never the newest', async () => {
      const [first, second] = [assertionKey(), assertionKey({ algorithm: 'RS256' })]
      await at.registry.addAssertionKey(first, ACTOR)
      await refusedUnchanged(() => remove(first.kid), 'conflict')
      await at.registry.addAssertionKey(second, ACTOR)
      await refusedUnchanged(() => remove(second.kid), 'conflict')
      const changes = await changesOf(async () => expect(await remove(first.kid)).toBe(true))
      expect(changes).toEqual([{ kind: 'assertion_keys' }])
      expect(await at.reader.assertionKeys()).toEqual([second])
      expect((await at.registry.listAudit({ limit: 10 })).items.at(-1)).toMatchObject({
        actor: ACTOR,
        action: 'assertion_key.removed',
        subject: first.kid,
      })
      const before = await at.everything()
      expect(await remove(first.kid)).toBe(false)
      expect(await at.everything()).toBe(before)
    })
  })

  describe('idempotency', () => {
    const answer = (text: string) => ({ requestHash: `hash of ${text}`, sealed: Buffer.from(text) })

    it('keeps the first answer of a key, each scope by itself', async () => {
      expect(await at.registry.findIdempotent('op', 'k')).toBeUndefined()
      const kept = await Promise.all(
        Array.from({ length: 10 }, (_, n) => at.registry.keepIdempotent('op', 'k', answer(`${n}`), NOW)),
      )
      expect(new Set(kept.map(({ requestHash }) => requestHash))).toEqual(new Set(['hash of 0']))
      expect(await at.registry.findIdempotent('op', 'k')).toEqual(answer('0'))
      expect(await at.registry.findIdempotent('other', 'k')).toBeUndefined()
      expect(await at.registry.keepIdempotent('other', 'k', answer('x'), NOW)).toEqual(answer('x'))
    })

    it('drops an answer after a day', async () => {
      await at.registry.keepIdempotent('op', 'k', answer('old'), NOW)
      at.built.setClock(NOW + DAY - 1)
      expect(await at.registry.findIdempotent('op', 'k')).toEqual(answer('old'))
      at.built.setClock(NOW + DAY)
      expect(await at.registry.findIdempotent('op', 'k')).toBeUndefined()
      expect(await at.registry.keepIdempotent('op', 'k', answer('new'), NOW + DAY)).toEqual(answer('new'))
    })

    it('forgets all that are older than a day, however many, and no other', async () => {
      await Promise.all(
        Array.from({ length: 120 }, (_, n) => at.registry.keepIdempotent('op', `${n}`, answer('old'), NOW)),
      )
      await at.registry.keepIdempotent('op', 'late', answer('late'), NOW + 1)
      await at.registry.forgetIdempotent(NOW + DAY)
      // the clock of the at.registry is still at NOW: what is gone is gone, and not merely too old
      for (const key of ['0', '119']) expect(await at.registry.findIdempotent('op', key)).toBeUndefined()
      expect(await at.registry.findIdempotent('op', 'late')).toEqual(answer('late'))
    })
  })

  describe('the change feed', () => {
    it('tells changes in commit order, and nothing twice when all goes well', async () => {
      const start = await at.reader.cursor()
      expect(await at.reader.changesSince(start)).toEqual({ changes: [], cursor: start })
      const device = await givenDevice(at.registry)
      await at.registry.putAccess('anchor', { value: anchor(), now: NOW, actor: ACTOR })
      await at.registry.setDeviceState({
        id: device.id,
        state: 'revoked',
        reason: 'unspecified',
        now: NOW,
        actor: ACTOR,
      })
      const told = await at.reader.changesSince(start)
      expect(told.changes).toEqual([
        { kind: 'issuer', ski: ISSUER },
        { kind: 'access' },
        { kind: 'device', deviceId: device.id },
      ])
      expect(told.cursor).toBe(await at.reader.cursor())
      expect((await at.reader.changesSince(told.cursor)).changes).toEqual([])
    })

    it('tells at most 1,000 at a time, and goes on where it stopped', async () => {
      const start = await at.reader.cursor()
      await Promise.all(
        Array.from({ length: 1_200 }, (_, n) =>
          at.registry.addAssertionKey(assertionKey({ kid: `kid ${n}` }), ACTOR),
        ),
      )
      const first = await at.reader.changesSince(start)
      const second = await at.reader.changesSince(first.cursor)
      expect([first.changes.length, second.changes.length]).toEqual([1_000, 200])
    })

    it.each(['', 'nonsense', '1.', `1.${'0'.repeat(32)}`, `999999.${'0'.repeat(32)}`, '9'.repeat(99)])(
      'tells a reader whose cursor "%s" it cannot place to check everything again',
      async (cursor) => {
        await givenIssuer(at.registry)
        await givenIssuer(at.registry, 'f6'.repeat(20))
        const { changes, cursor: next } = await at.reader.changesSince(cursor)
        expect(changes).toEqual([
          { kind: 'reset' },
          { kind: 'access' },
          { kind: 'assertion_keys' },
          { kind: 'credentials' },
          { kind: 'anchor_crls' },
          { kind: 'issuer', ski: ISSUER },
          { kind: 'issuer', ski: 'f6'.repeat(20) },
        ])
        expect(next).toBe(await at.reader.cursor())
      },
    )

    it('notices a cursor of another registry', async () => {
      await givenDevice(at.registry)
      await using other = await at.build()
      await givenDevice(other.registry)
      const { changes } = await other.reader.changesSince(await at.reader.cursor())
      expect(changes[0]).toEqual({ kind: 'reset' })
    })
  })
}
