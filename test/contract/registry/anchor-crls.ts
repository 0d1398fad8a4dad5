/** CRLs of foreign anchors. */

import { describe, expect, it } from 'vitest'
import type { AnchorCrlRecord } from '#registry/access-memory.ts'
import { ACTOR, anchor, anchorCrl, NOW } from '../../support/registry.ts'
import type { Ground } from './ground.ts'

export const anchorCrlContract = (at: Ground): void => {
  const { refusedUnchanged, everything, changesOf } = at

  describe('CRLs of anchors', () => {
    const by = { now: NOW, actor: ACTOR }
    const givenAnchor = (name = 'development') =>
      at.registry.putAccess('anchor', { value: anchor({ name }), ...by })
    const keep = (over: Partial<AnchorCrlRecord> = {}) =>
      at.registry.keepAnchorCrl(anchorCrl(over), NOW, ACTOR)
    /** `der` is a Buffer on one side and octets on the other. */
    const kept = async () =>
      (await at.reader.anchorCrls()).map((crl) => ({ ...crl, der: Buffer.from(crl.der) }))

    it('one of each CA of each anchor, as it was given, with audit and change row', async () => {
      await givenAnchor()
      await givenAnchor('partner')
      const given = [
        anchorCrl({ issuer: 'a0'.repeat(32), source: 'http://crl.example.test/a' }),
        anchorCrl({ issuer: 'b0'.repeat(32), number: undefined, entries: 0 }),
        anchorCrl({ anchor: 'partner', issuer: 'a0'.repeat(32), number: `${2n ** 150n}` }),
      ]
      expect(await at.reader.anchorCrls()).toEqual([])
      const changes = await changesOf(async () => {
        for (const crl of given) expect(await at.registry.keepAnchorCrl(crl, NOW, ACTOR)).toEqual(crl)
      })
      expect(changes).toEqual(given.map(() => ({ kind: 'anchor_crls' })))
      expect(await kept()).toEqual(given)
      const [, second = anchorCrl()] = given
      const { der, ...summary } = second
      expect((await at.registry.listAnchorCrls())[1]).toEqual(summary)
      expect((await at.registry.listAnchorCrls()).map(({ anchor: name }) => name)).toEqual(
        given.map(({ anchor: name }) => name),
      )
      const found = await at.registry.findAnchorCrl('development', second.issuer)
      expect(found && { ...found, der: Buffer.from(found.der) }).toEqual({ ...summary, der })
      expect(await at.registry.findAnchorCrl('partner', second.issuer)).toBeUndefined()
      expect((await at.registry.listAudit({ limit: 10 })).items.at(-3)).toMatchObject({
        actor: ACTOR,
        action: 'anchor_crl.kept',
        subject: 'development',
        details: { issuer: 'a0'.repeat(32), number: '7', entries: 1, source: given[0]?.source },
      })
    })

    it('of no anchor is refused', async () => {
      await refusedUnchanged(() => keep(), 'not_found')
      // an application of that name is none
      await at.registry.putAccess('policy', {
        value: { name: 'development', decision: 'allow', include: [], require: [], exclude: [] },
        ...by,
      })
      await refusedUnchanged(() => keep(), 'not_found')
    })

    it.each([
      ['a later thisUpdate', { thisUpdate: NOW + 1 }],
      ['a later thisUpdate and a lower number', { thisUpdate: NOW + 1, number: '6' }],
      ['the same moment and a higher number', { number: '10' }],
      ['the same moment and number, and other content', {}],
    ])('takes the place of the one before: %s', async (_what, over) => {
      await givenAnchor()
      await keep()
      const next = anchorCrl(over)
      expect(await at.registry.keepAnchorCrl(next, NOW, ACTOR)).toEqual(next)
      expect(await kept()).toEqual([next])
    })

    it.each([
      ['an earlier thisUpdate', { thisUpdate: NOW - 1 }],
      ['an earlier thisUpdate and a higher number', { thisUpdate: NOW - 1, number: '8' }],
      ['the same moment and a lower number', { number: '6' }],
      ['the same moment and no number', { number: undefined }],
      ['the very same', { der: anchorCrl().der, source: 'http://crl.example.test/a', keptAt: NOW + 1 }],
    ])('changes nothing, and answers with what is kept: %s', async (_what, over) => {
      await givenAnchor()
      const first = anchorCrl('der' in over ? { der: over.der } : {})
      await at.registry.keepAnchorCrl(first, NOW, ACTOR)
      const before = await everything()
      const answer = await keep(over)
      expect({ ...answer, der: Buffer.from(answer.der) }).toEqual(first)
      expect(await everything()).toBe(before)
    })

    it('go with their anchor, and no other one', async () => {
      await givenAnchor()
      await givenAnchor('partner')
      await keep()
      await keep({ issuer: 'a0'.repeat(32) })
      const other = anchorCrl({ anchor: 'partner' })
      await at.registry.keepAnchorCrl(other, NOW, ACTOR)
      const changes = await changesOf(() => at.registry.deleteAccess('anchor', 'development', by))
      expect(new Set(changes.map(({ kind }) => kind))).toEqual(new Set(['access', 'anchor_crls']))
      expect(await kept()).toEqual([other])
      // another one of that name does not find them
      await givenAnchor()
      expect(await kept()).toEqual([other])
    })

    it('an anchor without any goes without a word of them', async () => {
      await givenAnchor()
      const changes = await changesOf(() => at.registry.deleteAccess('anchor', 'development', by))
      expect(changes).toEqual([{ kind: 'access' }])
    })
  })
}
