/** When devices were cut: what a gateway that was away must hear of. */

import { describe, expect, it } from 'vitest'
import { HOUR } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { Cut } from '#registry/registry.ts'
import {
  ACTOR,
  deviceId,
  freshHex,
  givenDevice,
  givenToken,
  NOW,
  recordReserved,
  reservation,
} from '../../support/registry.ts'
import type { Ground } from './ground.ts'

export const cutContract = (at: Ground): void => {
  const to = (id: DeviceId, state: DeviceState, now: number, reason: RevocationReason = 'unspecified') =>
    at.registry.setDeviceState({ id, state, reason, now, actor: ACTOR })
  const all = () => at.reader.cutDevices(0, undefined, 1_000)

  describe('cuts', () => {
    it.each(['suspended', 'revoked', 'retired'] as const)('a device that is %s', async (state) => {
      const { id } = await givenDevice(at.registry)
      expect(at.reader.wasCut(id, 0)).toBeUndefined()
      await to(id, state, NOW + 5)
      expect(at.reader.wasCut(id, NOW + 5)).toBe(NOW + 5)
      expect(at.reader.wasCut(id, NOW + 6)).toBeUndefined()
      expect(await all()).toEqual([{ deviceId: id, at: NOW + 5, isCut: true }])
    })

    it('is remembered when the device is something again', async () => {
      const [resumed, anew] = [await givenDevice(at.registry), await givenDevice(at.registry)]
      await to(resumed.id, 'suspended', NOW + 1)
      await to(resumed.id, 'active', NOW + 2)
      await to(anew.id, 'revoked', NOW + 3)
      const token = await givenToken(at.registry, { deviceId: anew.id, createdAt: NOW + 4 })
      const asked = reservation({ kind: 'token', id: token.id }, { deviceId: anew.id, now: NOW + 5 })
      await recordReserved(at.registry, (await at.registry.reserve(asked)).certificate.serial, NOW + 5)
      expect(await at.registry.findDevice(anew.id)).toMatchObject({ state: 'active' })
      expect(await all()).toEqual([
        { deviceId: resumed.id, at: NOW + 1, isCut: false },
        { deviceId: anew.id, at: NOW + 3, isCut: false },
      ])
    })

    it.each<[RevocationReason, boolean]>([
      ['keyCompromise', true],
      ['unspecified', true],
      ['superseded', false],
    ])('one of its certificates, for %s: %s', async (reason, cut) => {
      const { id, certificate } = await givenDevice(at.registry)
      await at.registry.revokeCertificate(certificate.serial, reason, NOW + 5, ACTOR)
      expect(at.reader.wasCut(id, NOW)).toBe(cut ? NOW + 5 : undefined)
    })

    it('a whole group, and a copy', async () => {
      const { id } = await givenDevice(at.registry, { group: 'pumps' })
      const other = await givenDevice(at.registry)
      await at.registry.revokeGroupPart({
        group: 'pumps',
        after: undefined,
        limit: 10,
        reason: 'unspecified',
        now: NOW + 5,
        actor: ACTOR,
      })
      await at.registry.recordCloneSuspicion({
        deviceId: other.id,
        fingerprint: other.fingerprint,
        sign: 'takeovers',
        action: 'suspend',
        now: NOW + 6,
      })
      expect((await all()).map(({ deviceId: cut }) => cut)).toEqual([id, other.id])
    })

    it('a stolen key that is reported late is a cut of its own', async () => {
      const { id } = await givenDevice(at.registry)
      await to(id, 'revoked', NOW + 1)
      await to(id, 'revoked', NOW + 9, 'keyCompromise')
      expect(at.reader.wasCut(id, 0)).toBe(NOW + 9)
    })

    it('follow each other, whatever the clock says', async () => {
      const [first, second] = [await givenDevice(at.registry), await givenDevice(at.registry)]
      await to(first.id, 'suspended', NOW + HOUR)
      await to(second.id, 'suspended', NOW + 1)
      expect(await all()).toEqual(
        [first.id, second.id].toSorted().map((id) => ({ deviceId: id, at: NOW + HOUR, isCut: true })),
      )
    })

    it('are told page by page, earliest first', async () => {
      const cuts: Cut[] = []
      for (const time of [1, 1, 1, 2, 3]) {
        const { id } = await givenDevice(at.registry)
        await to(id, 'suspended', NOW + time)
        cuts.push({ deviceId: id, at: NOW + time, isCut: true })
      }
      const inOrder = cuts.toSorted((a, b) => a.at - b.at || (a.deviceId < b.deviceId ? -1 : 1))
      const paged: Cut[] = []
      let page = await at.reader.cutDevices(NOW, undefined, 2)
      for (; page.length > 0;) {
        paged.push(...page)
        const { at: since, deviceId: after } = page.at(-1) as Cut
        page = await at.reader.cutDevices(since, after, 2)
      }
      expect(paged).toEqual(inOrder)
      expect(await at.reader.cutDevices(NOW + 2, undefined, 10)).toEqual(inOrder.slice(3))
    })

    it('of a device that nobody knows there is none, nor of one that differs in case', async () => {
      const { id } = await givenDevice(at.registry, { deviceId: deviceId(`pump-${freshHex(4)}`) })
      await to(id, 'suspended', NOW)
      expect(at.reader.wasCut(deviceId(), 0)).toBeUndefined()
      expect(at.reader.wasCut(id.toUpperCase() as DeviceId, 0)).toBeUndefined()
    })
  })
}
