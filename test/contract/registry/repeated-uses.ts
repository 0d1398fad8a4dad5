/**
 * A use (a credential with a key) that is repeated when what it gave is worth nothing any more: it has expired, or its issuer fell. What comes in
 * its place, for whom, and what that costs, so that no use is worth certificates without end.
 */

import { beforeEach, describe, expect, it } from 'vitest'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Reservation } from '#registry/registry.ts'
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
  RESERVATION_DEFAULTS,
  reservation,
} from '../../support/registry.ts'
import { again, createAsking, renewal } from './asking.ts'
import { type Ground, refused } from './ground.ts'

const OTHER_ISSUER = 'c3'.repeat(20)
const THIRD_ISSUER = 'd4'.repeat(20)
const LISTED = { kind: 'allow_list' } as const

export const repeatedUsesContract = (at: Ground): void => {
  const { refusedUnchanged } = at
  const { enrolled, confirmed, byToken, endIssuer } = createAsking(at)

  describe('a use that is repeated when what it gave is worth nothing', () => {
    const over = (now: number): Partial<Reservation> => ({
      now,
      notBefore: now,
      notAfter: now + 30 * DAY,
    })
    beforeEach(async () => {
      await givenIssuer(at.registry)
    })
    const registered = async (): Promise<DeviceId> => {
      const line = { group: 'default', tags: {}, spkiSha256: undefined, state: 'registered' } as const
      const id = deviceId()
      await at.registry.registerDevices([{ id, ...line }], NOW, ACTOR)
      return id
    }
    const bootstrap = { kind: 'bootstrap', id: freshHex(32), uses: 1 } as const
    /** Bound to a device, and no use to pay with. */
    const free: readonly (readonly [by: string, () => Promise<Reservation>])[] = [
      ['the allow-list', async () => reservation(LISTED, { deviceId: await registered() })],
      ['an IDevID with one use', async () => reservation({ ...bootstrap, bound: true })],
    ]

    const perDay = (renewalsPerDay: number): Pick<Reservation, 'limits'> => ({
      limits: { ...RESERVATION_DEFAULTS.limits, renewalsPerDay },
    })
    const boundToken = async (uses: number): Promise<Reservation> => {
      const id = deviceId()
      const token = await givenToken(at.registry, { deviceId: id, uses, expiresAt: NOW + 90 * DAY })
      return reservation({ kind: 'token', id: token.id }, { deviceId: id })
    }
    const usedOf = async ({ credential }: Reservation): Promise<number | undefined> =>
      credential.kind === 'token' ? (await at.registry.findToken(credential.id))?.used : undefined

    it.each([
      ...free.map(([by, given]) => [by, undefined, given] as const),
      ['a bound token with another use', 2, () => boundToken(2)] as const,
    ])('expired: %s gives another one', async (_by, uses, given) => {
      const asked = await given()
      const first = await enrolled(asked)
      const now = NOW + 60 * DAY
      const next = await enrolled(again(asked, over(now)))
      expect(next).toMatchObject({ state: 'live', notAfter: now + 30 * DAY })
      expect(next.serial).not.toBe(first.serial)
      // and that one is the answer from now on
      expect(await at.registry.reserve(again(asked, over(now)))).toMatchObject({
        kind: 'already',
        certificate: { serial: next.serial },
      })
      expect(await usedOf(asked)).toBe(uses)
      // another key is another use, as ever
      await refused(
        at.registry.reserve(again(asked, { ...over(now), spkiSha256: freshHex(32) })),
        asked.credential.kind === 'allow_list'
          ? 'device_exists'
          : asked.credential.kind === 'token'
            ? 'token_spent'
            : 'quota_exceeded',
      )
    })

    it('expired: a bound token that has no use left gives no other one, and says why', async () => {
      const asked = await boundToken(1)
      await enrolled(asked)
      const late = again(asked, over(NOW + 60 * DAY))
      await refusedUnchanged(() => at.registry.reserve(late), 'token_spent')
      await expect(at.registry.reserve(late)).rejects.toMatchObject({
        detail: expect.stringContaining('has expired') as string,
      })
    })

    it('expired: what a token has paid for is no renewal, so a group that renews nothing gives it', async () => {
      const asked = { ...(await boundToken(2)), ...perDay(0) }
      await enrolled(asked)
      expect(await at.registry.reserve(again(asked, over(NOW + 60 * DAY)))).toMatchObject({
        kind: 'reserved',
      })
    })

    /** A life of half an hour, `n` hours from now, in a group that renews so often in a day. */
    const short = (n: number, most = 2): Partial<Reservation> => ({
      now: NOW + n * HOUR,
      notBefore: NOW + n * HOUR,
      notAfter: NOW + (n + 0.5) * HOUR,
      ...perDay(most),
    })

    it.each(free)('expired: %s gives one a day where the group renews nothing', async (_by, given) => {
      const asked = { ...(await given()), ...short(0, 0) }
      await enrolled(asked)
      const next = await enrolled(again(asked, short(1, 0)))
      await refusedUnchanged(() => at.registry.reserve(again(asked, short(2, 0))), 'quota_exceeded')
      // which is no renewal: that is never
      await refusedUnchanged(
        () => at.registry.reserve(renewal(asked.deviceId, next.fingerprint, short(1.2, 0))),
        'quota_exceeded',
      )
      expect(await at.registry.reserve(again(asked, short(25, 0)))).toMatchObject({ kind: 'reserved' })
    })

    it('expired: what a token has paid for is not counted among the renewals', async () => {
      const asked = { ...(await boundToken(10)), ...short(0) }
      let last = await enrolled(asked)
      for (const hour of [1, 2, 3]) last = await enrolled(again(asked, short(hour)))
      expect(await usedOf(asked)).toBe(4)
      const renew = (hour: number) => renewal(asked.deviceId, last.fingerprint, short(hour))
      expect(await at.registry.reserve(renew(3.1))).toMatchObject({ kind: 'reserved' })
      expect(await at.registry.reserve(renew(3.2))).toMatchObject({ kind: 'reserved' })
      await refusedUnchanged(() => at.registry.reserve(renew(3.3)), 'quota_exceeded')
    })

    it('expired: what was begun and never recorded is counted by the hour, and as no renewal', async () => {
      const asked = { ...reservation({ ...bootstrap, bound: true }), ...short(0) }
      await enrolled(asked)
      for (const hour of [1, 2, 3, 4])
        expect(await at.registry.reserve(again(asked, short(hour)))).toMatchObject({ kind: 'reserved' })
      await enrolled(again(asked, short(5)))
      expect(await at.registry.reserve(again(asked, short(6)))).toMatchObject({ kind: 'reserved' })
      const perHour = [{ scope: 'group:default', most: 1 }]
      const limited = (hour: number) =>
        again(asked, { ...short(hour), limits: { ...RESERVATION_DEFAULTS.limits, perHour } })
      expect(await at.registry.reserve(limited(7))).toMatchObject({ kind: 'reserved' })
      await refusedUnchanged(() => at.registry.reserve(limited(7.6)), 'quota_exceeded')
    })

    it.each(free)('expired: %s gives as many as the group renews in a day', async (_by, given) => {
      const asked = { ...(await given()), ...short(0) }
      await enrolled(asked)
      await enrolled(again(asked, short(1)))
      const last = await enrolled(again(asked, short(2)))
      await refusedUnchanged(() => at.registry.reserve(again(asked, short(3))), 'quota_exceeded')
      // one count: it renews no more today either
      const late = { kind: 'renewal', fingerprint: last.fingerprint, late: true } as const
      await refusedUnchanged(
        () => at.registry.reserve(reservation(late, { deviceId: asked.deviceId, ...short(3) })),
        'quota_exceeded',
      )
      expect(await at.registry.reserve(again(asked, short(25)))).toMatchObject({ kind: 'reserved' })
    })

    it.each([
      ['an IDevID does not begin the count of late renewals anew', false, 'quota_exceeded'],
      ['a further use of a token does', true, undefined],
    ] as const)('expired: %s', async (_what, token, then) => {
      const asked = token ? await boundToken(2) : reservation({ ...bootstrap, bound: true })
      const first = await enrolled(asked)
      const late = ({ fingerprint }: { readonly fingerprint: string }, day: number): Reservation =>
        reservation(
          { kind: 'renewal', fingerprint, late: true },
          {
            deviceId: asked.deviceId,
            ...over(NOW + day * DAY),
            limits: { ...RESERVATION_DEFAULTS.limits, expiredRenewals: 1 },
          },
        )
      const second = await enrolled(late(first, 31))
      expect(second).toMatchObject({ state: 'live' })
      const anew = await enrolled(again(asked, over(NOW + 62 * DAY)))
      const attempt = at.registry.reserve(late(anew, 93))
      if (then === undefined) expect(await attempt).toMatchObject({ kind: 'reserved' })
      else await refused(attempt, then)
    })

    /** With an operator's yes, given at that time. */
    const withYes = async (asked: Reservation, now = NOW): Promise<Reservation> => {
      const { credential, deviceId: id, spkiSha256 } = asked
      const requestId = freshHex(8)
      await at.registry.openRequest(
        {
          id: requestId,
          group: asked.group,
          deviceId: id,
          spkiSha256,
          csr: Buffer.from('csr'),
          credential: { kind: 'token', id: credential.kind === 'token' ? credential.id : '' },
          address: '192.0.2.7',
          createdAt: now,
          expiresAt: now + DAY,
        },
        { open: 10, addressKey: '192.0.2.7', ofAddress: undefined },
        ACTOR,
      )
      await at.registry.decideRequest(requestId, 'approved', now, ACTOR)
      return { ...asked, requestId }
    }

    it('expired: an operator’s yes is for one use of a token, and a further one needs its own', async () => {
      const approved = await withYes(await boundToken(3))
      await enrolled(approved)
      const late = again(approved, over(NOW + 60 * DAY))
      await refusedUnchanged(() => at.registry.reserve(late), 'enrollment_denied')
      const anew = await withYes(late, NOW + 60 * DAY)
      const next = await enrolled(anew)
      expect(await usedOf(anew)).toBe(2)
      // a repeat of it is none
      expect(await at.registry.reserve(again(anew))).toMatchObject({
        kind: 'already',
        certificate: { serial: next.serial },
      })
    })

    it('expired: a token that has ended gives no other one for what was approved before', async () => {
      const approved = await withYes(await boundToken(2))
      await enrolled(approved)
      await refusedUnchanged(
        () => at.registry.reserve(again(approved, over(NOW + 100 * DAY))),
        'token_expired',
      )
    })

    it('expired: it counts as a certificate of the hour', async () => {
      const asked = await boundToken(2)
      await enrolled(asked)
      const limits = { ...RESERVATION_DEFAULTS.limits, perHour: [{ scope: 'group:default', most: 0 }] }
      const late = again(asked, { ...over(NOW + 60 * DAY), limits })
      await refusedUnchanged(() => at.registry.reserve(late), 'quota_exceeded')
    })

    it('expired: who could only make a new device is refused', async () => {
      const { id } = await givenToken(at.registry, { expiresAt: NOW + 90 * DAY })
      const asked = reservation({ kind: 'token', id })
      await enrolled(asked)
      await refusedUnchanged(
        () => at.registry.reserve(again(asked, over(NOW + 60 * DAY))),
        'certificate_expired',
      )
    })

    it('expired: of a renewal, the next one is that of its successor', async () => {
      const device = await givenDevice(at.registry, { notAfter: NOW + 20 * DAY })
      const asked = renewal(device.id, device.fingerprint, { notAfter: NOW + DAY })
      await confirmed(asked)
      await refusedUnchanged(
        () => at.registry.reserve(again(asked, over(NOW + 2 * DAY))),
        'certificate_expired',
      )
    })

    it('its issuer fell: any credential gives another one', async () => {
      const device = await givenDevice(at.registry)
      await givenIssuer(at.registry, OTHER_ISSUER)
      await endIssuer(ISSUER)
      const next = await enrolled(again(device.reservation, { issuerSki: OTHER_ISSUER }))
      expect(next).toMatchObject({ state: 'live', issuerSki: OTHER_ISSUER })
      expect(await at.registry.findToken(device.token.id)).toMatchObject({ used: 1 })
    })

    it('its issuer fell: that is a renewal of the day', async () => {
      const device = await givenDevice(at.registry)
      await givenIssuer(at.registry, OTHER_ISSUER)
      await endIssuer(ISSUER)
      const asked = again(device.reservation, { issuerSki: OTHER_ISSUER })
      // one of them also where the group renews nothing: it is to outlive its CA
      await enrolled({ ...asked, ...perDay(0) })
      await endIssuer(OTHER_ISSUER)
      await givenIssuer(at.registry, THIRD_ISSUER)
      const next = again(asked, { issuerSki: THIRD_ISSUER })
      await refusedUnchanged(() => at.registry.reserve({ ...next, ...perDay(1) }), 'quota_exceeded')
      expect(await at.registry.reserve({ ...next, ...perDay(2) })).toMatchObject({ kind: 'reserved' })
    })

    it('its issuer fell between two that signed the same row: the second one hands out nothing', async () => {
      const { certificate } = await at.registry.reserve(await byToken(deviceId()))
      await recordReserved(at.registry, certificate.serial)
      await endIssuer(ISSUER)
      await refusedUnchanged(() => recordReserved(at.registry, certificate.serial), 'issuer_unusable')
    })

    it('its issuer fell before it was recorded: nothing leaves, and the next time it is another one', async () => {
      const asked = await byToken(deviceId())
      await at.registry.reserve(asked)
      await givenIssuer(at.registry, OTHER_ISSUER)
      await endIssuer(ISSUER)
      await refusedUnchanged(() => recordReserved(at.registry, asked.serial), 'issuer_unusable')
      const next = again(asked, { issuerSki: OTHER_ISSUER })
      expect(await enrolled(next)).toMatchObject({ serial: next.serial, state: 'live' })
    })
  })
}
