/** The places that a device's certificates take: which is `pending`, which loses its place, and what may be renewed. */

import { describe, expect, it } from 'vitest'
import { DAY, HOUR, SECOND } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Reservation } from '#registry/registry.ts'
import {
  ACTOR,
  freshHex,
  givenDevice,
  givenToken,
  ISSUER,
  NOW,
  recordReserved,
  reservation,
} from '../../support/registry.ts'
import { createAsking, renewal } from './asking.ts'
import { type Ground, refused } from './ground.ts'

/** docs/lifecycle.md */
const OVERTAKEN = 5 * SECOND

export const placesContract = (at: Ground): void => {
  const { refusedUnchanged, actions, changesOf } = at

  const { enrolled } = createAsking(at)
  const seen = (fingerprint: string, now = NOW, when = now) =>
    at.registry.recordSightings([{ fingerprint, at: when }], `cursor ${now}`, now)
  const stateOf = (fingerprint: string) => at.reader.status(fingerprint)?.certificateState
  const move = (id: DeviceId, state: 'suspended' | 'revoked' | 'active') =>
    at.registry.setDeviceState({ id, state, reason: 'superseded', now: NOW, actor: ACTOR })

  describe('places of certificates', () => {
    it('a renewal beside a confirmed one is pending: good, and nothing of the device has changed', async () => {
      const device = await givenDevice(at.registry)
      const before = await at.registry.findDevice(device.id)
      const asked = renewal(device.id, device.fingerprint)
      const changes = await changesOf(async () => {
        expect(await enrolled(asked)).toMatchObject({ state: 'pending', pendingUntil: asked.pendingUntil })
      })
      expect(changes).toEqual([])
      expect((await at.registry.certificatesOf(device.id)).map(({ state }) => state)).toEqual([
        'pending',
        'live',
      ])
      expect(await at.registry.findDevice(device.id)).toEqual({
        ...before,
        revision: (before?.revision ?? 0) + 1,
      })
      // lost on its way, it is given again
      expect(await at.registry.reserve({ ...asked, serial: freshHex(16) })).toMatchObject({
        kind: 'already',
        certificate: { serial: asked.serial, state: 'pending' },
      })
    })

    it.each([
      ['expired', NOW + 31 * DAY, undefined],
      ['revoked', NOW, 'revoked'],
    ] as const)('beside one that is %s it is live at once', async (_why, now, state) => {
      const device = await givenDevice(at.registry)
      if (state !== undefined) await move(device.id, state)
      const token = await givenToken(at.registry, { deviceId: device.id, expiresAt: NOW + 90 * DAY })
      const asked = reservation(
        { kind: 'token', id: token.id },
        { deviceId: device.id, now, notAfter: now + DAY, renewAt: now + HOUR },
      )
      expect(await enrolled(asked)).toMatchObject({ state: 'live', pendingUntil: undefined })
      expect(await at.registry.findDevice(device.id)).toMatchObject({
        renewAt: now + HOUR,
        expiresAt: now + DAY,
      })
    })

    it('one that is recorded pending ends the time of the one that was, and never before it is recorded', async () => {
      const device = await givenDevice(at.registry)
      const first = await enrolled(renewal(device.id, device.fingerprint))
      const version = await at.registry.revocationVersion(ISSUER)
      const asked = renewal(device.id, device.fingerprint)
      await at.registry.reserve(asked)
      expect(await at.registry.withdrawUnconfirmed(NOW + HOUR, 10)).toBe(0)
      await recordReserved(at.registry, asked.serial)
      // a handshake of a moment ago is heard of before it is gone
      expect(await at.registry.withdrawUnconfirmed(NOW + SECOND, 10)).toBe(0)
      expect(stateOf(first.fingerprint)).toBe('pending')
      const gone = NOW + 6 * SECOND
      const changes = await changesOf(() => at.registry.withdrawUnconfirmed(gone, 10))
      expect(changes).toEqual([{ kind: 'device', deviceId: device.id }])
      expect(stateOf(first.fingerprint)).toBe('revoked')
      expect(stateOf(device.fingerprint)).toBe('live')
      expect(await at.registry.revokedCertificates(ISSUER, 0)).toEqual([
        { serial: first.serial, revokedAt: gone, reason: 'superseded' },
      ])
      expect(await at.registry.revocationVersion(ISSUER)).toBe(version + 1)
      expect(await actions()).toContain('certificate.withdrawn')
      await refusedUnchanged(
        () => at.registry.reserve(renewal(device.id, first.fingerprint)),
        'certificate_revoked',
      )
    })

    it('of 20 renewals with 20 keys one is left pending, whatever their order', async () => {
      const device = await givenDevice(at.registry)
      const asked = Array.from({ length: 20 }, () => renewal(device.id, device.fingerprint))
      await Promise.all(asked.map((each) => at.registry.reserve(each)))
      await Promise.all(asked.toReversed().map(({ serial }) => recordReserved(at.registry, serial)))
      await at.registry.withdrawUnconfirmed(NOW + 6 * SECOND, 100)
      const states = (await at.registry.certificatesOf(device.id)).map(({ state }) => state)
      expect(states.filter((state) => state === 'pending')).toHaveLength(1)
      expect(states.filter((state) => state === 'live')).toHaveLength(1)
    })

    it('a pending one renews nothing', async () => {
      const device = await givenDevice(at.registry)
      const { fingerprint } = await enrolled(renewal(device.id, device.fingerprint))
      await refusedUnchanged(
        () => at.registry.reserve(renewal(device.id, fingerprint)),
        'certificate_pending',
      )
    })

    it('one that was taken back unconfirmed may be asked for again with the same key, as another one', async () => {
      const device = await givenDevice(at.registry)
      const asked = renewal(device.id, device.fingerprint, { spkiSha256: device.reservation.spkiSha256 })
      const first = await enrolled(asked)
      await at.registry.withdrawUnconfirmed(NOW + 8 * DAY, 10)
      expect(stateOf(first.fingerprint)).toBe('revoked')
      const again = { ...asked, serial: freshHex(16), now: NOW + 8 * DAY, pendingUntil: NOW + 15 * DAY }
      expect(await enrolled(again)).toMatchObject({ serial: again.serial, state: 'pending' })
    })

    it('of two keys that ask in turn each gets what it got, and only the one that was made last is waited for', async () => {
      const device = await givenDevice(at.registry)
      const [one, other] = [freshHex(32), freshHex(32)].map((spkiSha256) =>
        renewal(device.id, device.fingerprint, { spkiSha256 }),
      ) as [Reservation, Reservation]
      const [first, second] = [await enrolled(one), await enrolled(other)]
      for (let turn = 0; turn < 4; turn += 1)
        for (const [asked, { serial }, pendingUntil] of [
          [one, first, NOW + OVERTAKEN],
          [other, second, other.pendingUntil],
        ] as const)
          expect(
            await at.registry.reserve({ ...asked, serial: freshHex(16), now: NOW + turn * SECOND }),
          ).toMatchObject({ kind: 'already', certificate: { serial, pendingUntil } })
      await at.registry.withdrawUnconfirmed(NOW + 6 * SECOND, 10)
      expect([first, second].map(({ fingerprint }) => stateOf(fingerprint))).toEqual(['revoked', 'pending'])
    })

    it('also when the one that was begun first was recorded last', async () => {
      const device = await givenDevice(at.registry)
      const [one, other] = [renewal(device.id, device.fingerprint), renewal(device.id, device.fingerprint)]
      for (const asked of [one, other]) await at.registry.reserve(asked)
      for (const { serial } of [other, one]) await recordReserved(at.registry, serial)
      const repeat = (asked: Reservation) => at.registry.reserve({ ...asked, serial: freshHex(16) })
      expect(await repeat(other)).toMatchObject({ certificate: { pendingUntil: NOW + OVERTAKEN } })
      expect(await repeat(one)).toMatchObject({ certificate: { pendingUntil: one.pendingUntil } })
    })

    it('one whose own time is nearly over is waited for anew by who asks again', async () => {
      const device = await givenDevice(at.registry)
      const asked = renewal(device.id, device.fingerprint)
      await enrolled(asked)
      const now = asked.pendingUntil - SECOND
      const pendingUntil = now + 7 * DAY
      expect(await at.registry.reserve({ ...asked, serial: freshHex(16), now, pendingUntil })).toMatchObject({
        kind: 'already',
        certificate: { serial: asked.serial, pendingUntil },
      })
    })

    it('also beside one that was waited for longer, and is over too', async () => {
      const device = await givenDevice(at.registry)
      const [one, other] = [renewal(device.id, device.fingerprint), renewal(device.id, device.fingerprint)]
      for (const asked of [one, other]) await enrolled(asked)
      // nobody has swept yet
      const now = NOW + 8 * DAY
      const late = { serial: freshHex(16), now, pendingUntil: now + 7 * DAY }
      expect(await at.registry.reserve({ ...one, ...late })).toMatchObject({
        certificate: { serial: one.serial, pendingUntil: late.pendingUntil },
      })
      expect(await at.registry.reserve({ ...other, ...late, serial: freshHex(16) })).toMatchObject({
        certificate: { serial: other.serial, pendingUntil: other.pendingUntil },
      })
    })

    it('one that was withdrawn costs what a new one costs, so that two keys cannot drive each other out for ever', async () => {
      const device = await givenDevice(at.registry)
      const limits = {
        perHour: [],
        devices: undefined,
        registeredOnly: false,
        renewalsPerDay: 4,
        expiredRenewals: 1,
      }
      const [one, other] = [freshHex(32), freshHex(32)]
      let now = NOW
      for (const spkiSha256 of [one, other, one, other]) {
        await enrolled(renewal(device.id, device.fingerprint, { spkiSha256, limits, now }))
        now += 6 * SECOND
        await at.registry.withdrawUnconfirmed(now, 10)
      }
      const fifth = renewal(device.id, device.fingerprint, { spkiSha256: one, limits, now })
      await refusedUnchanged(() => at.registry.reserve(fifth), 'quota_exceeded')
    })

    it('one that was meant long ago has its time to be confirmed from when it is made', async () => {
      const device = await givenDevice(at.registry)
      const asked = renewal(device.id, device.fingerprint)
      await at.registry.reserve(asked)
      const late = { ...asked, serial: freshHex(16), now: NOW + 9 * DAY, pendingUntil: NOW + 16 * DAY }
      expect(await at.registry.reserve(late)).toMatchObject({
        kind: 'reserved',
        certificate: { serial: asked.serial, pendingUntil: NOW + 16 * DAY },
      })
      expect(await recordReserved(at.registry, asked.serial)).toMatchObject({ pendingUntil: NOW + 16 * DAY })
    })

    it('an expired certificate is succeeded by what it is renewed to, at once', async () => {
      const device = await givenDevice(at.registry, { notAfter: NOW + HOUR })
      const credential = { kind: 'renewal', fingerprint: device.fingerprint, late: true } as const
      const now = NOW + DAY
      const asked = reservation(credential, { deviceId: device.id, now })
      const next = await enrolled(asked)
      expect(next).toMatchObject({ state: 'live', predecessor: device.certificate.serial })
      expect((await at.registry.certificatesOf(device.id))[1]).toMatchObject({ supersededBy: next.serial })
      // and who asks by it again, with another key, is a copy
      await refusedUnchanged(
        () => at.registry.reserve(reservation(credential, { deviceId: device.id, now })),
        'clone_suspected',
      )
      expect(await at.registry.reserve({ ...asked, serial: freshHex(16) })).toMatchObject({ kind: 'already' })
    })
  })

  describe('sightings of pending certificates', () => {
    const pendingBeside = async () => {
      const device = await givenDevice(at.registry)
      const asked = renewal(device.id, device.fingerprint, {
        renewAt: NOW + 15 * DAY,
        notAfter: NOW + 40 * DAY,
      })
      return { device, asked, next: await enrolled(asked) }
    }

    it('confirm them: two places, the dates of the device, an entry and a change', async () => {
      const { device, next } = await pendingBeside()
      const changes = await changesOf(() => seen(next.fingerprint))
      expect(changes).toEqual([{ kind: 'device', deviceId: device.id }])
      expect([next.fingerprint, device.fingerprint].map(stateOf)).toEqual(['live', 'live'])
      expect(await at.registry.certificatesOf(device.id)).toMatchObject([
        { serial: next.serial, predecessor: device.certificate.serial, pendingUntil: undefined },
        { serial: device.certificate.serial, supersededBy: next.serial },
      ])
      expect(await at.registry.findDevice(device.id)).toMatchObject({
        renewAt: NOW + 15 * DAY,
        expiresAt: NOW + 40 * DAY,
        lastSeenAt: NOW,
      })
      expect((await actions()).at(-1)).toBe('certificate.confirmed')
      // seen again, it is only seen
      expect(await changesOf(() => seen(next.fingerprint, NOW + 1))).toEqual([])
    })

    it('take the place from what came before the one before', async () => {
      const { device, next } = await pendingBeside()
      await seen(next.fingerprint)
      const third = await enrolled(renewal(device.id, next.fingerprint))
      await seen(third.fingerprint)
      expect([third, next, device].map(({ fingerprint }) => stateOf(fingerprint))).toEqual([
        'live',
        'live',
        'revoked',
      ])
      expect(await at.registry.revokedCertificates(ISSUER, 0)).toEqual([
        { serial: device.certificate.serial, revokedAt: NOW, reason: 'superseded' },
      ])
    })

    it('after which another key for the one before is a copy of the device', async () => {
      const { device, asked, next } = await pendingBeside()
      await seen(next.fingerprint)
      await refusedUnchanged(
        () => at.registry.reserve(renewal(device.id, device.fingerprint)),
        'clone_suspected',
      )
      // the same key is the device itself, that has lost the answer
      expect(await at.registry.reserve({ ...asked, serial: freshHex(16) })).toMatchObject({
        kind: 'already',
        certificate: { serial: next.serial },
      })
    })

    type Pending = Awaited<ReturnType<typeof pendingBeside>>
    it.each<[string, number, number, (pending: Pending) => Promise<unknown>]>([
      ['of a suspended device', NOW, NOW, ({ device }) => move(device.id, 'suspended')],
      ['of a revoked device', NOW, NOW, ({ device }) => move(device.id, 'revoked')],
      [
        'whose key was blocked',
        NOW,
        NOW,
        ({ asked }) => at.registry.blockKeys([asked.spkiSha256], NOW, ACTOR),
      ],
      [
        'that have been withdrawn',
        NOW + 8 * DAY,
        NOW + 8 * DAY,
        () => at.registry.withdrawUnconfirmed(NOW + 8 * DAY, 10),
      ],
      ['that are still to come', NOW, NOW + 1, async () => undefined],
    ])('confirm nothing %s', async (_why, now, when, given) => {
      const pending = await pendingBeside()
      await given(pending)
      const before = await at.registry.certificatesOf(pending.device.id)
      expect(await changesOf(() => seen(pending.next.fingerprint, now, when))).toEqual([])
      expect(await at.registry.certificatesOf(pending.device.id)).toEqual(before)
    })
  })

  it('a device that is resumed without ever having had a certificate is registered again', async () => {
    const [id, other] = [freshHex(6), freshHex(6)] as unknown as [DeviceId, DeviceId]
    const line = { group: 'default', tags: {}, spkiSha256: undefined, state: 'suspended' } as const
    await at.registry.registerDevices(
      [
        { id, ...line },
        { id: other, ...line, state: 'registered' },
      ],
      NOW,
      ACTOR,
    )
    expect(await move(id, 'active')).toMatchObject({ state: 'registered' })
    await refused(move(other, 'active'), 'conflict')
    const device = await givenDevice(at.registry)
    await move(device.id, 'suspended')
    expect(await move(device.id, 'active')).toMatchObject({ state: 'active' })
  })

  it('an id that somebody has begun to enrol stays his through a suspension', async () => {
    await givenDevice(at.registry)
    const asked = reservation({ kind: 'token', id: (await givenToken(at.registry)).id })
    await at.registry.reserve(asked)
    await move(asked.deviceId, 'suspended')
    expect(await move(asked.deviceId, 'active')).toMatchObject({ state: 'active' })
    const stranger = reservation(
      { kind: 'token', id: (await givenToken(at.registry)).id },
      { deviceId: asked.deviceId },
    )
    await refusedUnchanged(() => at.registry.reserve(stranger), 'device_exists')
  })
}
