/** Anchors, applications and policies. */

import { describe, expect, it } from 'vitest'
import { ACTOR, anchor, application, givenDevice, NOW, policy } from '../../support/registry.ts'
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
      expect(empty).toEqual({ version: 0, anchors: [], applications: [], policies: [] })
      await givenDevice(at.registry)
      expect(at.reader.access()).toBe(empty)
      await at.registry.putAccess('anchor', { value: anchor(), ...by })
      const one = at.reader.access()
      expect(one).toEqual({ version: 1, anchors: [anchor()], applications: [], policies: [] })
      expect(at.reader.access()).toBe(one)
      expect(at.registry.access()).toEqual(one)
    })

    it('stores, finds, lists and deletes each kind, each change with its version, change row and audit', async () => {
      const app = application()
      const values = { policy: policy(), application: app, anchor: anchor() } as const
      for (const kind of ['policy', 'application', 'anchor'] as const) {
        const changes = await changesOf(() => at.registry.putAccess(kind, { value: values[kind], ...by }))
        expect(changes).toEqual([{ kind: 'access' }])
        expect((await at.registry.findAccess(kind, values[kind].name))?.value).toEqual(values[kind])
        expect((await at.registry.listAccess(kind, { limit: 10 })).items).toHaveLength(1)
        expect(await at.registry.findAccess(kind, 'nobody')).toBeUndefined()
      }
      expect(at.reader.access().version).toBe(3)
      for (const kind of ['application', 'policy', 'anchor'] as const) {
        const changes = await changesOf(async () =>
          expect(await at.registry.deleteAccess(kind, values[kind].name, by)).toBe(true),
        )
        expect(changes).toEqual([{ kind: 'access' }])
        expect(await at.registry.deleteAccess(kind, values[kind].name, by)).toBe(false)
      }
      expect(at.reader.access()).toMatchObject({ version: 6, anchors: [], applications: [], policies: [] })
      expect(await actions()).toEqual([
        'policy.created',
        'application.created',
        'anchor.created',
        'application.deleted',
        'policy.deleted',
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
