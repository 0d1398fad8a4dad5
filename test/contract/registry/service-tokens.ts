/** Service tokens, and the question that the doors ask of them. */

import { describe, expect, it } from 'vitest'
import { HOUR } from '#fleet/clock.ts'
import type { ServiceToken } from '#fleet/credentials.ts'
import { ACTOR, freshHex, NOW, serviceToken } from '../../support/registry.ts'
import { refused, type Ground } from './ground.ts'

export const serviceTokenContract = (at: Ground): void => {
  const { refusedUnchanged, everything, actions, changesOf } = at

  describe('service tokens', () => {
    const given = async (over: Partial<ServiceToken> = {}): Promise<ServiceToken> => {
      const token = serviceToken(over)
      await at.registry.createServiceToken(token, ACTOR)
      return token
    }
    const rotate = (
      id: string,
      over: { readonly previousUntil?: number; readonly hash?: string; readonly ifRevision?: number } = {},
    ) =>
      at.registry.rotateServiceToken({
        id,
        hash: freshHex(32),
        previousUntil: NOW + HOUR,
        now: NOW + 1,
        actor: ACTOR,
        ...over,
      })
    const shown = async (token: ServiceToken) => [
      await at.registry.findServiceToken(token.id),
      at.reader.serviceToken(token.clientId),
      at.registry.serviceToken(token.clientId),
    ]

    it('are found by id, and by a door by client id, as they were made', async () => {
      const old = { hash: freshHex(32), until: NOW + 5 }
      for (const over of [{}, { expiresAt: NOW + HOUR }, { previous: old, revokedAt: NOW }]) {
        const token = await given(over)
        expect(await shown(token)).toEqual([token, token, token])
        expect(at.reader.serviceToken(token.id)).toBeUndefined()
        expect(at.reader.serviceToken(token.clientId.toUpperCase())).toBeUndefined()
        expect(await at.registry.findServiceToken(token.clientId)).toBeUndefined()
      }
    })

    it('are audited without a hash, and tell no door: nobody can have used one yet', async () => {
      let token = serviceToken()
      expect(await changesOf(async () => (token = await given()))).toEqual([])
      const [entry] = (await at.registry.listAudit({ limit: 10 })).items
      expect(entry).toMatchObject({
        at: NOW,
        actor: ACTOR,
        action: 'service_token.created',
        subject: token.id,
        details: { name: token.name, client_id: token.clientId },
      })
      await rotate(token.id)
      const audit = JSON.stringify(await at.registry.listAudit({ limit: 10 }))
      expect(audit).not.toContain(token.hash)
      expect(audit).not.toContain(at.reader.serviceToken(token.clientId)?.hash)
    })

    it.each(['id', 'name', 'clientId'] as const)('refuse a second one with the same %s', async (key) => {
      const token = await given()
      await refusedUnchanged(
        () => at.registry.createServiceToken(serviceToken({ [key]: token[key] }), ACTOR),
        'conflict',
      )
    })

    it('are listed in the order of making, revoked ones too', async () => {
      const tokens = [await given(), await given({ revokedAt: NOW }), await given()]
      const first = await at.registry.listServiceTokens({ limit: 2 })
      const second = await at.registry.listServiceTokens({ limit: 2, after: first.next })
      expect([...first.items, ...second.items]).toEqual(tokens)
      expect(second.next).toBeUndefined()
      await refused(at.registry.listServiceTokens({ limit: 2, after: 'x' }), 'bad_request')
    })

    it('are rotated: a new secret, the one of before until the given moment, and the doors are told', async () => {
      const token = await given()
      const hash = freshHex(32)
      const next = { ...token, hash, previous: { hash: token.hash, until: NOW + HOUR }, revision: 2 }
      const changes = await changesOf(async () => expect(await rotate(token.id, { hash })).toEqual(next))
      expect(changes).toEqual([{ kind: 'credentials' }])
      expect(await shown(token)).toEqual([next, next, next])
      expect((await actions()).at(-1)).toBe('service_token.rotated')
      // there is one secret of before, not two
      const last = await rotate(token.id)
      expect(last?.previous).toEqual({ hash, until: NOW + HOUR })
    })

    it.each([NOW, NOW + 1])('keep no secret of before when it ends at once (%d)', async (previousUntil) => {
      const token = await given()
      expect(await rotate(token.id, { previousUntil })).toMatchObject({ previous: undefined })
      expect(at.reader.serviceToken(token.clientId)?.previous).toBeUndefined()
    })

    it('are revoked once: a second time changes nothing', async () => {
      const token = await given()
      const revoked = { ...token, revokedAt: NOW + 1, revision: 2 }
      const revoke = (now: number) => at.registry.revokeServiceToken({ id: token.id, now, actor: ACTOR })
      const changes = await changesOf(async () => expect(await revoke(NOW + 1)).toEqual(revoked))
      expect(changes).toEqual([{ kind: 'credentials' }])
      expect(await shown(token)).toEqual([revoked, revoked, revoked])
      const before = await everything()
      expect(await revoke(NOW + 2)).toEqual(revoked)
      expect(await everything()).toBe(before)
      await refusedUnchanged(() => rotate(token.id), 'conflict')
    })

    it('of another revision are neither rotated nor revoked', async () => {
      const token = await given()
      const last = await rotate(token.id, { ifRevision: 1 })
      expect(last?.revision).toBe(2)
      const by = { id: token.id, now: NOW, actor: ACTOR }
      for (const ifRevision of [1, 3]) {
        await refusedUnchanged(() => rotate(token.id, { ifRevision }), 'precondition_failed')
        await refusedUnchanged(
          () => at.registry.revokeServiceToken({ ...by, ifRevision }),
          'precondition_failed',
        )
      }
      expect(await at.registry.revokeServiceToken({ ...by, ifRevision: 2 })).toMatchObject({ revision: 3 })
    })

    it('of an id that nobody has there is nothing to rotate or revoke', async () => {
      await given()
      const before = await everything()
      expect(await rotate('nobody')).toBeUndefined()
      expect(await at.registry.revokeServiceToken({ id: 'nobody', now: NOW, actor: ACTOR })).toBeUndefined()
      expect(await everything()).toBe(before)
    })
  })
}
