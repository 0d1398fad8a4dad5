/** Anchors, applications, policies and rule groups. */

import { describe, expect, it } from 'vitest'
import type { Policy, RuleGroup, Rules } from '#fleet/access.ts'
import {
  ACTOR,
  anchor,
  application,
  givenDevice,
  NOW,
  policy,
  ruleGroup,
  serviceToken,
} from '../../support/registry.ts'
import type { Ground } from './ground.ts'

export const accessContract = (at: Ground): void => {
  const { refusedUnchanged, everything, actions, changesOf } = at

  describe('access', () => {
    const by = { now: NOW, actor: ACTOR }
    const given = async () => {
      await at.registry.putAccess('policy', { value: policy(), ...by })
      return at.registry.putAccess('application', { value: application(), ...by })
    }

    it('gives the same object until something in it changes', async () => {
      const empty = at.reader.access()
      expect(empty).toEqual({ version: 0, anchors: [], applications: [], policies: [], ruleGroups: [] })
      await givenDevice(at.registry)
      expect(at.reader.access()).toBe(empty)
      await at.registry.putAccess('anchor', { value: anchor(), ...by })
      const one = at.reader.access()
      expect(one).toEqual({ version: 1, anchors: [anchor()], applications: [], policies: [], ruleGroups: [] })
      expect(at.reader.access()).toBe(one)
      expect(at.registry.access()).toEqual(one)
    })

    it('stores, finds, lists and deletes each kind, each change with its version, change row and audit', async () => {
      const app = application()
      const values = {
        rule_group: ruleGroup(),
        policy: policy(),
        application: app,
        anchor: anchor(),
      } as const
      for (const kind of ['rule_group', 'policy', 'application', 'anchor'] as const) {
        const changes = await changesOf(() => at.registry.putAccess(kind, { value: values[kind], ...by }))
        expect(changes).toEqual([{ kind: 'access' }])
        expect((await at.registry.findAccess(kind, values[kind].name))?.value).toEqual(values[kind])
        expect((await at.registry.listAccess(kind, { limit: 10 })).items).toHaveLength(1)
        expect(await at.registry.findAccess(kind, 'nobody')).toBeUndefined()
      }
      expect(at.reader.access().version).toBe(4)
      for (const kind of ['application', 'policy', 'rule_group', 'anchor'] as const) {
        const changes = await changesOf(async () =>
          expect(await at.registry.deleteAccess(kind, values[kind].name, by)).toBe(true),
        )
        expect(changes).toEqual([{ kind: 'access' }])
        expect(await at.registry.deleteAccess(kind, values[kind].name, by)).toBe(false)
      }
      expect(at.reader.access()).toEqual({
        version: 8,
        anchors: [],
        applications: [],
        policies: [],
        ruleGroups: [],
      })
      expect(await actions()).toEqual([
        'rule_group.created',
        'policy.created',
        'application.created',
        'anchor.created',
        'application.deleted',
        'policy.deleted',
        'rule_group.deleted',
        'anchor.deleted',
      ])
    })

    it('keeps the id of an application, also against a caller that brings another', async () => {
      const { value } = await given()
      const changed = await at.registry.putAccess('application', {
        value: application({ hostnames: ['other.test'] }),
        ...by,
      })
      expect(changed.value).toMatchObject({ id: value.id, hostnames: ['other.test'] })
      await refusedUnchanged(
        () =>
          at.registry.putAccess('application', { value: application({ name: 'twin', id: value.id }), ...by }),
        'conflict',
      )
    })

    it('changes nothing when the value is the stored one', async () => {
      const { value, revision } = await given()
      const before = await everything()
      expect(await at.registry.putAccess('application', { value, ...by })).toEqual({ value, revision })
      await at.registry.applyAccess({ anchors: [], applications: [value], policies: [policy()] }, NOW, ACTOR)
      expect(await everything()).toBe(before)
    })

    it('honours If-Match, 0 meaning that it must not exist', async () => {
      const put = (ifRevision: number, hostname: string) =>
        at.registry.putAccess('anchor', { value: anchor({ hostnames: [hostname] }), ifRevision, ...by })
      await refusedUnchanged(() => put(1, 'a.test'), 'precondition_failed')
      const { revision } = await put(0, 'a.test')
      await refusedUnchanged(() => put(0, 'b.test'), 'precondition_failed')
      const { revision: next } = await put(revision, 'b.test')
      expect(next).toBeGreaterThan(revision)
      await refusedUnchanged(() => put(revision, 'c.test'), 'precondition_failed')
      const remove = (ifRevision: number) =>
        at.registry.deleteAccess('anchor', 'development', { ...by, ifRevision })
      await refusedUnchanged(() => remove(revision), 'precondition_failed')
      expect(await remove(next)).toBe(true)
      // a revision is not given twice: the ETag of what was deleted does not fit its successor
      expect((await put(0, 'd.test')).revision).toBeGreaterThan(next)
    })

    it('refuses a dangling name of a policy, and to delete one in use', async () => {
      await given()
      await refusedUnchanged(
        () => at.registry.putAccess('application', { value: application({ policies: ['nobody'] }), ...by }),
        'not_found',
      )
      await refusedUnchanged(() => at.registry.deleteAccess('policy', 'valid', by), 'in_use')
    })

    describe('rules that name something', () => {
      const PARTS = ['include', 'require', 'exclude'] as const
      const WITH = { include: [{ everyone: {} }], require: [], exclude: [] } as const
      const naming = (part: keyof Rules, rule: Rules['include'][number]): Rules => ({
        ...WITH,
        [part]: [{ ip: { ip: '192.0.2.0/24' } }, rule],
      })
      const putPolicy = (over: Partial<Policy>) =>
        at.registry.putAccess('policy', { value: policy(over), ...by })
      const putGroup = (over: Partial<RuleGroup> = {}) =>
        at.registry.putAccess('rule_group', { value: ruleGroup(over), ...by })

      it.each(PARTS)('%s: a rule group must exist, and stays while a policy names it', async (part) => {
        const named = naming(part, { group: { id: 'crew' } })
        await refusedUnchanged(() => putPolicy(named), 'not_found')
        await putGroup()
        await putPolicy(named)
        await refusedUnchanged(() => at.registry.deleteAccess('rule_group', 'crew', by), 'in_use')
        // one that it does not name, and one that nobody names any more
        await putGroup({ name: 'crew2' })
        expect(await at.registry.deleteAccess('rule_group', 'crew2', by)).toBe(true)
        await putPolicy(WITH)
        expect(await at.registry.deleteAccess('rule_group', 'crew', by)).toBe(true)
      })

      it.each(PARTS)('%s: a service token must exist, revoked or not', async (part) => {
        const token = serviceToken({ revokedAt: NOW })
        const named = naming(part, { service_token: { token_id: token.id } })
        await refusedUnchanged(() => putPolicy(named), 'not_found')
        await refusedUnchanged(() => putGroup(named), 'not_found')
        await at.registry.createServiceToken(token, ACTOR)
        await putPolicy(named)
        await putGroup(named)
        expect(at.reader.access()).toMatchObject({ policies: [named], ruleGroups: [named] })
        // the client id is another name
        const wrong = naming(part, { service_token: { token_id: token.clientId } })
        await refusedUnchanged(() => putPolicy(wrong), 'not_found')
      })

      it('a policy or group of that name is no rule group', async () => {
        await putPolicy({ ...WITH, name: 'crew' })
        await refusedUnchanged(() => putPolicy(naming('include', { group: { id: 'crew' } })), 'not_found')
      })

      it('in a file that brings what it names', async () => {
        const apply = (over: Partial<Parameters<typeof at.registry.applyAccess>[0]>) =>
          at.registry.applyAccess(
            {
              anchors: [],
              applications: [],
              policies: [policy(naming('require', { group: { id: 'crew' } }))],
              ...over,
            },
            NOW,
            ACTOR,
          )
        await refusedUnchanged(() => apply({}), 'not_found')
        const missing = ruleGroup(naming('include', { service_token: { token_id: 'nobody' } }))
        await refusedUnchanged(() => apply({ ruleGroups: [missing] }), 'not_found')
        expect(await changesOf(() => apply({ ruleGroups: [ruleGroup()] }))).toEqual([{ kind: 'access' }])
        expect(at.reader.access()).toMatchObject({ version: 1, ruleGroups: [ruleGroup()] })
        // and what is there already need not be brought again
        await apply({ anchors: [anchor()] })
      })
    })

    it('applies a whole file or none of it, with one change of version', async () => {
      const apply = (policies: readonly string[]) =>
        at.registry.applyAccess(
          {
            anchors: [anchor(), anchor({ name: 'second' })],
            applications: [application({ policies })],
            policies: [policy(), policy({ name: 'late' })],
          },
          NOW,
          ACTOR,
        )
      await refusedUnchanged(() => apply(['valid', 'nobody']), 'not_found')
      expect(await changesOf(() => apply(['valid', 'late']))).toEqual([{ kind: 'access' }])
      const snapshot = at.reader.access()
      expect(snapshot).toMatchObject({
        version: 1,
        anchors: [{ name: 'development' }, { name: 'second' }],
        applications: [{ policies: ['valid', 'late'] }],
      })
    })

    it('does not mistake one kind for another of the same name', async () => {
      await at.registry.putAccess('anchor', { value: anchor({ name: 'same' }), ...by })
      await at.registry.putAccess('policy', { value: policy({ name: 'same' }), ...by })
      expect(await at.registry.deleteAccess('anchor', 'same', by)).toBe(true)
      expect(await at.registry.findAccess('policy', 'same')).toBeDefined()
    })
  })
}
