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
  givenIssuer,
  givenToken,
  ISSUER,
  NOW,
  recordReserved,
  reservation,
} from '../../support/registry.ts'
import type { Ground } from './ground.ts'

const cut = (id: DeviceId, when: number, over: Partial<Cut> = {}): Cut => ({
  deviceId: id,
  at: when,
  isCut: true,
  seenAt: undefined,
  ...over,
})

export const cutContract = (at: Ground): void => {
  const to = (id: DeviceId, state: DeviceState, now: number, reason: RevocationReason = 'unspecified') =>
    at.registry.setDeviceState({ id, state, reason, now, actor: ACTOR })
  const all = () => at.reader.cutDevices(0, undefined, 1_000)

  describe('cuts', () => {
    it.each(['suspended', 'revoked', 'retired'] as const)('a device that is %s', async (state) => {
      const { id } = await givenDevice(at.registry)
      expect(at.reader.wasCut(id, 0)).toBeUndefined()
      await to(id, state, NOW + 5)
      expect(at.reader.wasCut(id, NOW + 5)).toEqual(cut(id, NOW + 5))
      expect(at.reader.wasCut(id, NOW + 6)).toBeUndefined()
      expect(await all()).toEqual([cut(id, NOW + 5)])
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
        cut(resumed.id, NOW + 1, { isCut: false }),
        cut(anew.id, NOW + 3, { isCut: false }),
      ])
    })

    it.each<RevocationReason>(['keyCompromise', 'unspecified', 'superseded'])(
      'not one of its certificates alone, for %s',
      async (reason) => {
        const { id, certificate } = await givenDevice(at.registry)
        await at.registry.revokeCertificate(certificate.serial, reason, NOW + 5, ACTOR)
        expect(at.reader.wasCut(id, 0)).toBeUndefined()
        expect(await all()).toEqual([])
      },
    )

    it('and when a door last let it in', async () => {
      const { id, fingerprint } = await givenDevice(at.registry)
      await to(id, 'suspended', NOW + 1)
      await to(id, 'active', NOW + 2)
      await at.registry.recordSightings([{ fingerprint, at: NOW + 3 }], '1', NOW + 4)
      const told = cut(id, NOW + 1, { isCut: false, seenAt: NOW + 3 })
      expect(at.reader.wasCut(id, 0)).toEqual(told)
      expect(await all()).toEqual([told])
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
      expect(at.reader.wasCut(id, 0)).toEqual(cut(id, NOW + 9))
    })

    it('follow each other, whatever the clock says', async () => {
      const [first, second] = [await givenDevice(at.registry), await givenDevice(at.registry)]
      await to(first.id, 'suspended', NOW + HOUR)
      await to(second.id, 'suspended', NOW + 1)
      expect(await all()).toEqual([first.id, second.id].toSorted().map((id) => cut(id, NOW + HOUR)))
    })

    it('are told page by page, earliest first', async () => {
      const cuts: Cut[] = []
      for (const time of [1, 1, 1, 2, 3]) {
        const { id } = await givenDevice(at.registry)
        await to(id, 'suspended', NOW + time)
        cuts.push(cut(id, NOW + time))
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

    describe('with an issuer that fell', () => {
      const other = freshHex(20)
      const third = freshHex(20)
      const fall = (ski: string, now: number) =>
        at.registry.moveIssuer({ ski, from: ['active'], to: 'revoked', now, actor: ACTOR })
      /** its next certificate, of another issuer */
      const renewed = async (id: DeviceId, issuerSki: string, now: number) => {
        const token = await givenToken(at.registry, { deviceId: id, createdAt: now })
        const asked = reservation({ kind: 'token', id: token.id }, { deviceId: id, issuerSki, now })
        await recordReserved(at.registry, (await at.registry.reserve(asked)).certificate.serial, now)
      }

      it('those who have their newest certificate of it, and nobody else', async () => {
        const { id } = await givenDevice(at.registry)
        const elsewhere = await givenDevice(at.registry, { issuerSki: other })
        const moved = await givenDevice(at.registry)
        await renewed(moved.id, other, NOW + 1)
        expect(await at.changesOf(() => fall(ISSUER, NOW + 5))).toEqual([{ kind: 'issuer', ski: ISSUER }])
        expect(at.reader.wasCut(id, NOW + 5)).toEqual(cut(id, NOW + 5))
        expect(at.reader.wasCut(id, NOW + 6)).toBeUndefined()
        for (const good of [elsewhere.id, moved.id]) expect(at.reader.wasCut(good, 0)).toBeUndefined()
        expect(await all()).toEqual([cut(id, NOW + 5)])
      })

      it('is remembered when they have another one', async () => {
        const { id } = await givenDevice(at.registry)
        await givenIssuer(at.registry, other)
        await fall(ISSUER, NOW + 5)
        await renewed(id, other, NOW + 6)
        expect(at.reader.wasCut(id, 0)).toEqual(cut(id, NOW + 5, { isCut: false }))
        expect(await all()).toEqual([cut(id, NOW + 5, { isCut: false })])
      })

      it('not those who were shut out before and have nothing of it', async () => {
        const { id } = await givenDevice(at.registry)
        await to(id, 'revoked', NOW + 1)
        await fall(ISSUER, NOW + 5)
        expect(await all()).toEqual([cut(id, NOW + 1)])
      })

      it('however many devices there are beside them', async () => {
        const line = { group: 'default', tags: {}, spkiSha256: undefined, state: 'registered' } as const
        const others = Array.from({ length: 1_100 }, () => ({ id: deviceId(), ...line }))
        await givenIssuer(at.registry)
        await at.registry.registerDevices(others, NOW, ACTOR)
        const [first, last] = ['.', '~'].map((letter) => `${letter}${freshHex(8)}` as DeviceId)
        for (const id of [last, first]) await givenDevice(at.registry, { deviceId: id as DeviceId })
        await fall(ISSUER, NOW + 5)
        expect(await all()).toEqual([cut(first as DeviceId, NOW + 5), cut(last as DeviceId, NOW + 5)])
      })

      it('page by page, in order with the others, whatever falls', async () => {
        await givenIssuer(at.registry, other)
        await givenIssuer(at.registry, third)
        const given = async (issuerSki: string) => (await givenDevice(at.registry, { issuerSki })).id
        const early = [await given(third), await given(third)]
        const fallen = [await given(ISSUER), await given(other), await given(ISSUER)]
        const late = await given(third)
        await to(early[0] as DeviceId, 'suspended', NOW + 1)
        await to(early[1] as DeviceId, 'suspended', NOW + 5)
        await fall(ISSUER, NOW + 5)
        // in the same millisecond
        await fall(other, NOW + 5)
        await to(late, 'retired', NOW + 7)
        await to(fallen[0] as DeviceId, 'revoked', NOW + 8)
        const expected = [
          cut(early[0] as DeviceId, NOW + 1),
          ...[early[1] as DeviceId, ...fallen].toSorted().map((id) => cut(id, NOW + 5)),
          cut(late, NOW + 7),
          cut(fallen[0] as DeviceId, NOW + 8),
        ]
        expect(await all()).toEqual(expected)
        for (const limit of [1, 2, 3]) {
          const paged: Cut[] = []
          let page = await at.reader.cutDevices(0, undefined, limit)
          for (; page.length > 0;) {
            paged.push(...page)
            const last = page.at(-1) as Cut
            page = page.length < limit ? [] : await at.reader.cutDevices(last.at, last.deviceId, limit)
          }
          expect(paged).toEqual(expected)
        }
      })
    })

    it('of a device that nobody knows there is none, nor of one that differs in case', async () => {
      const { id } = await givenDevice(at.registry, { deviceId: deviceId(`pump-${freshHex(4)}`) })
      await to(id, 'suspended', NOW)
      expect(at.reader.wasCut(deviceId(), 0)).toBeUndefined()
      expect(at.reader.wasCut(id.toUpperCase() as DeviceId, 0)).toBeUndefined()
    })
  })
}
