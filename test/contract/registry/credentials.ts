/** Claim tokens, operator tokens, and paging as every list has it. */

import { describe, expect, it } from 'vitest'
import {
  ACTOR,
  anchor,
  claimToken,
  deviceId,
  givenDevice,
  givenToken,
  NOW,
  operatorToken,
} from '../../support/registry.ts'
import { refused, type Ground } from './ground.ts'

export const credentialContract = (at: Ground): void => {
  const { refusedUnchanged, actions } = at

  describe('claim tokens', () => {
    it('are found as they were made, by id only, and audited without their hash', async () => {
      const token = await givenToken(at.registry, { deviceId: deviceId('cam-1'), uses: 3 })
      expect(await at.registry.findToken(token.id)).toEqual(token)
      expect(await at.registry.findToken('nobody')).toBeUndefined()
      const [entry] = (await at.registry.listAudit({ limit: 10 })).items
      expect(entry).toMatchObject({ at: NOW, actor: ACTOR, action: 'token.created', subject: token.id })
      expect(JSON.stringify(entry)).not.toContain(token.hash)
    })

    it('refuse a second one with the same id', async () => {
      const token = await givenToken(at.registry)
      await refusedUnchanged(() => at.registry.createToken(claimToken({ id: token.id }), ACTOR), 'conflict')
    })

    it('are revoked once: a second time changes nothing', async () => {
      const token = await givenToken(at.registry)
      expect(await at.registry.revokeToken(token.id, NOW + 1, ACTOR)).toEqual({
        ...token,
        revokedAt: NOW + 1,
      })
      expect(await at.registry.revokeToken(token.id, NOW + 2, ACTOR)).toEqual({
        ...token,
        revokedAt: NOW + 1,
      })
      expect(await at.registry.findToken(token.id)).toMatchObject({ revokedAt: NOW + 1 })
      expect((await actions()).filter((action) => action === 'token.revoked')).toHaveLength(1)
      expect(await at.registry.revokeToken('nobody', NOW, ACTOR)).toBeUndefined()
    })
  })

  describe('operator tokens', () => {
    it('are made, found and revoked once', async () => {
      const token = operatorToken({ role: 'admin' })
      await at.registry.createOperatorToken(token, ACTOR)
      expect(await at.registry.findOperatorToken(token.id)).toEqual(token)
      expect(await at.registry.findOperatorToken('nobody')).toBeUndefined()
      await refusedUnchanged(
        () => at.registry.createOperatorToken(operatorToken({ id: token.id }), ACTOR),
        'conflict',
      )
      expect(await at.registry.revokeOperatorToken(token.id, NOW + 1, ACTOR)).toMatchObject({
        revokedAt: NOW + 1,
      })
      expect(await at.registry.revokeOperatorToken(token.id, NOW + 2, ACTOR)).toMatchObject({
        revokedAt: NOW + 1,
      })
      expect(await at.registry.revokeOperatorToken('nobody', NOW, ACTOR)).toBeUndefined()
      expect(await actions()).toEqual(['operator_token.created', 'operator_token.revoked'])
      expect(JSON.stringify(await at.registry.listAudit({ limit: 10 }))).not.toContain(token.hash)
    })
  })

  describe('paging', () => {
    const walk = async (
      list: (page: { after?: string | undefined; limit: number }) => Promise<{
        readonly items: readonly unknown[]
        readonly next: string | undefined
      }>,
    ): Promise<readonly number[]> => {
      const sizes: number[] = []
      for (let after: string | undefined; ;) {
        const page = await list({ after, limit: 2 })
        sizes.push(page.items.length)
        if (page.next === undefined) return sizes
        after = page.next
      }
    }

    it('gives every item once, in every list', async () => {
      for (let n = 0; n < 5; n += 1) {
        await givenDevice(at.registry)
        await at.registry.createOperatorToken(operatorToken(), ACTOR)
        await at.registry.putAccess('anchor', { value: anchor({ name: `a${n}` }), now: NOW, actor: ACTOR })
      }
      expect(await walk((page) => at.registry.listTokens(page))).toEqual([2, 2, 1])
      expect(await walk((page) => at.registry.listOperatorTokens(page))).toEqual([2, 2, 1])
      expect(await walk((page) => at.registry.listDevices({ now: NOW, ...page }))).toEqual([2, 2, 1])
      expect(
        await walk((page) => at.registry.listDevices({ now: NOW, ...page, condition: 'active' })),
      ).toEqual([2, 2, 1])
      expect(
        await walk((page) => at.registry.listDevices({ now: NOW, ...page, condition: 'retired' })),
      ).toEqual([0])
      expect(await walk((page) => at.registry.listAccess('anchor', page))).toEqual([2, 2, 1])
      const audit = await at.registry.listAudit({ limit: 1_000 })
      expect((await walk((page) => at.registry.listAudit(page))).reduce((a, b) => a + b)).toBe(
        audit.items.length,
      )
    })

    it('neither repeats nor hides what was there when others come in between', async () => {
      const ids = ['b', 'd', 'f'].map(deviceId)
      for (const id of ids) await givenDevice(at.registry, { deviceId: id })
      const first = await at.registry.listDevices({ now: NOW, limit: 2 })
      await givenDevice(at.registry, { deviceId: deviceId('a') })
      await givenDevice(at.registry, { deviceId: deviceId('e') })
      const second = await at.registry.listDevices({ now: NOW, limit: 2, after: first.next })
      expect([...first.items, ...second.items].map(({ id }) => id)).toEqual(['b', 'd', 'e', 'f'])
      expect(second.next).toBeUndefined()
    })

    it('bounds the limit and refuses an `after` that no page gave', async () => {
      for (let n = 0; n < 3; n += 1) await givenToken(at.registry)
      expect((await at.registry.listTokens({ limit: 0 })).items).toHaveLength(1)
      expect((await at.registry.listTokens({ limit: 1e9 })).items).toHaveLength(3)
      for (const after of ['', '-1', '1 or 1=1', '9'.repeat(30)])
        await refused(at.registry.listTokens({ after, limit: 2 }), 'bad_request')
    })
  })
}
