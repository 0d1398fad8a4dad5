/** What every registry must do with enrolment groups and the uses of credentials: a part of the registry contract. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HOUR } from '#fleet/clock.ts'
import { GROUP_DEFAULTS, type EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { Registry } from '#registry/registry.ts'
import {
  ACTOR,
  deviceId,
  freshHex,
  givenDevice,
  givenIssuer,
  givenToken,
  NOW,
  reservation,
} from '../support/registry.ts'
import type { Built } from './registry.ts'

export const groupContract = (name: string, build: () => Promise<Built>): void => {
  describe(`registry contract, groups: ${name}`, () => {
    let built: Built
    let registry: Registry
    beforeEach(async () => {
      built = await build()
      ;({ registry } = built)
    })
    afterEach(() => built[Symbol.asyncDispose]())

    const put = (over: Partial<EnrollmentGroup> = {}) =>
      registry.putAccess('group', {
        value: { ...GROUP_DEFAULTS, name: 'pumps', ...over },
        now: NOW,
        actor: ACTOR,
      })
    const remove = (now = NOW) => registry.deleteAccess('group', 'pumps', { now, actor: ACTOR })

    it('gives one map for as long as nothing changes, with the first group in it', async () => {
      const before = registry.groups()
      expect(before.get('default')).toEqual({ ...GROUP_DEFAULTS, name: 'default' })
      expect(registry.groups()).toBe(before)
      await put({ idTemplate: 'pump-${csr.cn}', quotas: { ...GROUP_DEFAULTS.quotas, devices: 5 } })
      const after = registry.groups()
      expect(after).not.toBe(before)
      expect(after.get('pumps')).toMatchObject({ idTemplate: 'pump-${csr.cn}', quotas: { devices: 5 } })
    })

    it('and the other desk sees the same', async () => {
      const before = built.reader.groups()
      expect(before).toEqual(registry.groups())
      expect(built.reader.groups()).toBe(before)
      await put({ onClone: 'suspend' })
      expect(built.reader.groups()).toEqual(registry.groups())
      expect(built.reader.groups().get('pumps')).toMatchObject({ onClone: 'suspend' })
    })

    it('keeps a group that a device is in, until that is retired', async () => {
      await put()
      const { id } = await givenDevice(registry, { group: 'pumps' })
      await expect(remove()).rejects.toMatchObject({ code: 'in_use' })
      await registry.setDeviceState({ id, state: 'revoked', reason: 'unspecified', now: NOW, actor: ACTOR })
      await expect(remove()).rejects.toMatchObject({ code: 'in_use' })
      expect(registry.groups().has('pumps')).toBe(true)
      await registry.setDeviceState({ id, state: 'retired', reason: 'unspecified', now: NOW, actor: ACTOR })
      expect(await remove()).toBe(true)
      expect(registry.groups().has('pumps')).toBe(false)
    })

    it('keeps a group that a token could still be used for', async () => {
      await put()
      const token = await givenToken(registry, { group: 'pumps', expiresAt: NOW + HOUR })
      await expect(remove()).rejects.toMatchObject({ code: 'in_use' })
      expect(await remove(NOW + HOUR)).toBe(true)
      await put()
      await registry.revokeToken(token.id, NOW, ACTOR)
      expect(await remove()).toBe(true)
    })

    it('knows what a credential gave a key, and whom it is asked of', async () => {
      await givenIssuer(registry)
      const token = await givenToken(registry)
      const byToken = reservation({ kind: 'token', id: token.id })
      const fingerprint = freshHex(32)
      const byCertificate = reservation({ kind: 'bootstrap', id: fingerprint, uses: 1, bound: false })
      const id = deviceId()
      const line = { id, group: 'default', tags: {}, spkiSha256: undefined, state: 'registered' } as const
      await registry.registerDevices([line], NOW, ACTOR)
      const byList = reservation({ kind: 'allow_list' }, { deviceId: id })
      for (const asked of [byToken, byCertificate, byList]) await registry.reserve(asked)
      const find = (kind: 'token' | 'bootstrap' | 'allow_list' | 'approval', of: string, key: string) =>
        registry.findUse({ kind, id: of }, key)
      expect(await find('token', token.id, byToken.spkiSha256)).toMatchObject({
        serial: byToken.serial,
        state: 'intended',
        deviceId: byToken.deviceId,
      })
      expect(await find('bootstrap', fingerprint, byCertificate.spkiSha256)).toMatchObject({
        serial: byCertificate.serial,
      })
      expect(await find('allow_list', id, byList.spkiSha256)).toMatchObject({ serial: byList.serial })
      expect(await find('bootstrap', token.id, byToken.spkiSha256)).toBeUndefined()
      expect(await find('token', token.id, byList.spkiSha256)).toBeUndefined()
      expect(await find('approval', '', byToken.spkiSha256)).toBeUndefined()
    })
  })
}
