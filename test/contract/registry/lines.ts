/**
 * Which certificate came in the place of which, as an attacker would have it: with a copied certificate, a stolen key, a use that is repeated
 * for ever, a group that was closed meanwhile; and that a device is never left with nothing by our own housekeeping.
 */

import { beforeEach, describe, expect, it } from 'vitest'
import { DAY, HOUR, SECOND } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Reservation } from '#registry/registry.ts'
import {
  ACTOR,
  deviceId,
  freshHex,
  givenDevice,
  givenGroup,
  givenIssuer,
  givenToken,
  ISSUER,
  NOW,
  recordReserved,
  RESERVATION_DEFAULTS,
  reservation,
} from '../../support/registry.ts'
import { type Ground, refused } from './ground.ts'

const OTHER_ISSUER = 'c3'.repeat(20)
const THIRD_ISSUER = 'd4'.repeat(20)
const LISTED = { kind: 'allow_list' } as const

export const linesContract = (at: Ground): void => {
  const { refusedUnchanged, changesOf } = at

  const renewal = (id: DeviceId, fingerprint: string, over: Partial<Reservation> = {}): Reservation =>
    reservation({ kind: 'renewal', fingerprint, late: false }, { deviceId: id, ...over })
  const byToken = async (id: DeviceId, over: Partial<Reservation> = {}): Promise<Reservation> =>
    reservation(
      {
        kind: 'token',
        id: (await givenToken(at.registry, { deviceId: id, expiresAt: NOW + 90 * DAY })).id,
      },
      { deviceId: id, ...over },
    )
  const enrolled = async (asked: Reservation) => {
    const { certificate } = await at.registry.reserve(asked)
    const record = await recordReserved(at.registry, certificate.serial, asked.now)
    return { ...record, fingerprint: record.fingerprint as string }
  }
  const confirmed = async (asked: Reservation) => {
    const next = await enrolled(asked)
    await at.registry.confirmCertificate(next.fingerprint, asked.now, ACTOR)
    return next
  }
  const again = (asked: Reservation, over: Partial<Reservation> = {}): Reservation => ({
    ...asked,
    serial: freshHex(16),
    ...over,
  })
  const seen = (fingerprint: string, when: number, now = when) =>
    at.registry.recordSightings([{ fingerprint, at: when }], freshHex(4), now)
  const stateOf = ({ fingerprint }: { readonly fingerprint: string }) =>
    at.reader.status(fingerprint)?.certificateState
  const endIssuer = (ski: string) =>
    at.registry.moveIssuer({ ski, from: ['active'], to: 'revoked', now: NOW, actor: ACTOR })

  describe('a device that enrols anew', () => {
    it('begins a new line: what it had is succeeded, whoever has a copy of it', async () => {
      const device = await givenDevice(at.registry)
      const anew = await enrolled(await byToken(device.id))
      expect(anew).toMatchObject({ state: 'live', predecessor: undefined })
      expect(await at.registry.findCertificate(device.certificate.serial)).toMatchObject({
        state: 'live',
        supersededBy: anew.serial,
      })
      await refusedUnchanged(
        () => at.registry.reserve(renewal(device.id, device.fingerprint)),
        'clone_suspected',
      )
      // expired, it is still a copy
      const late = { kind: 'renewal', fingerprint: device.fingerprint, late: true } as const
      await refused(
        at.registry.reserve(reservation(late, { deviceId: device.id, now: NOW + 31 * DAY })),
        'clone_suspected',
      )
      expect(stateOf(await enrolled(renewal(device.id, anew.fingerprint)))).toBe('pending')
    })

    it('is live at once, with its dates; the older places are vacated, and what was pending is void', async () => {
      const device = await givenDevice(at.registry)
      const second = await confirmed(renewal(device.id, device.fingerprint))
      const pending = await enrolled(renewal(device.id, second.fingerprint))
      const asked = await byToken(device.id, { notAfter: NOW + 40 * DAY, renewAt: NOW + 21 * DAY })
      await at.registry.reserve(asked)
      const changes = await changesOf(() => recordReserved(at.registry, asked.serial))
      expect(changes).toEqual([{ kind: 'device', deviceId: device.id }])
      expect([device, second, pending].map(stateOf)).toEqual(['revoked', 'live', 'revoked'])
      expect(await at.registry.findDevice(device.id)).toMatchObject({
        expiresAt: NOW + 40 * DAY,
        renewAt: NOW + 21 * DAY,
      })
    })

    it('and loses the answer gets it again for as long as its token lives, and nobody takes it back', async () => {
      const device = await givenDevice(at.registry)
      const asked = await byToken(device.id)
      const anew = await enrolled(asked)
      expect(await at.registry.withdrawUnconfirmed(NOW + 30 * DAY, 100)).toBe(0)
      expect(await at.registry.reserve(again(asked, { now: NOW + 8 * DAY }))).toMatchObject({
        kind: 'already',
        certificate: { serial: anew.serial, state: 'live' },
      })
    })

    it('with the one key of its life, and renews by what it had, gets what it got', async () => {
      const device = await givenDevice(at.registry)
      const { spkiSha256 } = device.certificate
      const anew = await enrolled(await byToken(device.id, { spkiSha256 }))
      expect(await at.registry.reserve(renewal(device.id, device.fingerprint, { spkiSha256 }))).toMatchObject(
        {
          kind: 'already',
          certificate: { serial: anew.serial },
        },
      )
    })

    it('after its issuer fell has a certificate that is live', async () => {
      const device = await givenDevice(at.registry)
      await givenIssuer(at.registry, OTHER_ISSUER)
      await endIssuer(ISSUER)
      expect(await enrolled(await byToken(device.id, { issuerSki: OTHER_ISSUER }))).toMatchObject({
        state: 'live',
      })
    })
  })

  describe('one that is pending', () => {
    it('stays when its time is over and nothing else is good, and can still be confirmed', async () => {
      const device = await givenDevice(at.registry, { notAfter: NOW + DAY })
      const next = await enrolled(renewal(device.id, device.fingerprint))
      const late = NOW + 8 * DAY
      expect(await at.registry.withdrawUnconfirmed(late, 10)).toBe(0)
      expect(stateOf(next)).toBe('pending')
      expect(await at.registry.findCertificate(next.serial)).toMatchObject({ pendingUntil: next.notAfter })
      expect(await at.registry.confirmCertificate(next.fingerprint, late, ACTOR)).toMatchObject({
        state: 'live',
      })
    })

    it('stays, and is no successor: who lost it renews by the expired one', async () => {
      const device = await givenDevice(at.registry, { notAfter: NOW + DAY })
      const lost = await enrolled(renewal(device.id, device.fingerprint))
      await at.registry.withdrawUnconfirmed(NOW + 8 * DAY, 10)
      const late = reservation(
        { kind: 'renewal', fingerprint: device.fingerprint, late: true },
        { deviceId: device.id, now: NOW + 9 * DAY, spkiSha256: device.certificate.spkiSha256 },
      )
      expect(await enrolled(late)).toMatchObject({ state: 'live' })
      expect(stateOf(lost)).toBe('revoked')
    })

    it('stays when the issuer of what was before fell', async () => {
      const device = await givenDevice(at.registry)
      await givenIssuer(at.registry, OTHER_ISSUER)
      const next = await enrolled(renewal(device.id, device.fingerprint, { issuerSki: OTHER_ISSUER }))
      await endIssuer(ISSUER)
      expect(await at.registry.withdrawUnconfirmed(NOW + 8 * DAY, 10)).toBe(0)
      expect(stateOf(next)).toBe('pending')
    })

    it('goes when its own issuer fell, and may be asked for again', async () => {
      const device = await givenDevice(at.registry)
      await givenIssuer(at.registry, OTHER_ISSUER)
      const asked = renewal(device.id, device.fingerprint, { issuerSki: OTHER_ISSUER })
      await confirmed(asked)
      await endIssuer(OTHER_ISSUER)
      for (const spkiSha256 of [asked.spkiSha256, freshHex(32)])
        expect(await at.registry.reserve(again(asked, { issuerSki: ISSUER, spkiSha256 }))).toMatchObject({
          kind: 'reserved',
        })
    })

    it('is waited for anew when what overtook it is of an issuer that fell: nothing else is good', async () => {
      const device = await givenDevice(at.registry)
      await givenIssuer(at.registry, OTHER_ISSUER)
      const asked = renewal(device.id, device.fingerprint)
      await enrolled(asked)
      await enrolled(renewal(device.id, device.fingerprint, { issuerSki: OTHER_ISSUER }))
      const repeat = () => at.registry.reserve(again(asked, { now: NOW + SECOND }))
      expect(await repeat()).toMatchObject({ certificate: { pendingUntil: NOW + 5 * SECOND } })
      await endIssuer(OTHER_ISSUER)
      expect(await repeat()).toMatchObject({ certificate: { pendingUntil: asked.pendingUntil } })
    })

    it('is not pushed out by who asks after it: who is admitted first wins', async () => {
      const device = await givenDevice(at.registry)
      const own = await enrolled(renewal(device.id, device.fingerprint))
      const copy = await enrolled(renewal(device.id, device.fingerprint, { now: NOW + 10 }))
      // the door's word of a handshake before the copy asked comes a second later
      await seen(own.fingerprint, NOW + 9, NOW + SECOND)
      await at.registry.withdrawUnconfirmed(NOW + 6 * SECOND, 10)
      expect([own, copy].map(stateOf)).toEqual(['live', 'revoked'])
      await refusedUnchanged(
        () => at.registry.reserve(renewal(device.id, device.fingerprint)),
        'clone_suspected',
      )
    })
  })

  describe('a successor that is none', () => {
    it('an operator revoked it: the device falls back, renews, and that one succeeds', async () => {
      const device = await givenDevice(at.registry)
      const { spkiSha256 } = device.certificate
      const second = await confirmed(renewal(device.id, device.fingerprint))
      await at.registry.revokeCertificate(second.serial, 'unspecified', NOW, ACTOR)
      expect(await at.registry.renewalsBy(device.fingerprint, 0)).toMatchObject({ successor: undefined })
      const third = await confirmed(renewal(device.id, device.fingerprint, { spkiSha256 }))
      expect(await at.registry.findCertificate(device.certificate.serial)).toMatchObject({
        supersededBy: third.serial,
      })
      await refusedUnchanged(
        () => at.registry.reserve(renewal(device.id, device.fingerprint)),
        'clone_suspected',
      )
    })

    it('not when it had a successor itself', async () => {
      const device = await givenDevice(at.registry)
      const second = await confirmed(renewal(device.id, device.fingerprint))
      const third = await enrolled(renewal(device.id, second.fingerprint))
      await at.registry.revokeCertificate(second.serial, 'unspecified', NOW, ACTOR)
      await at.registry.confirmCertificate(third.fingerprint, NOW, ACTOR)
      await refusedUnchanged(
        () => at.registry.reserve(renewal(device.id, device.fingerprint)),
        'clone_suspected',
      )
    })
  })

  it('what a certificate has led to: its successor, whether it lost its place, and the keys of a day', async () => {
    const device = await givenDevice(at.registry)
    const of = () => at.registry.renewalsBy(device.fingerprint, NOW - DAY)
    expect(await of()).toEqual({ successor: undefined, displaced: false, keys: 0 })
    const asked = renewal(device.id, device.fingerprint)
    await enrolled(asked)
    await at.registry.reserve(again(asked))
    const second = await confirmed(renewal(device.id, device.fingerprint))
    const successor = { serial: second.serial, spkiSha256: second.spkiSha256 }
    expect(await of()).toEqual({ successor, displaced: false, keys: 2 })
    await confirmed(renewal(device.id, second.fingerprint))
    expect(await of()).toEqual({ successor, displaced: true, keys: 2 })
    expect(await at.registry.renewalsBy(device.fingerprint, NOW)).toMatchObject({ keys: 0 })
    expect(await at.registry.renewalsBy(freshHex(32), 0)).toBeUndefined()
  })

  describe('a key that was stolen', () => {
    it('buys no clean certificate, confirms nothing, and its device comes back by a token', async () => {
      const device = await givenDevice(at.registry)
      const next = await enrolled(renewal(device.id, device.fingerprint))
      await at.registry.blockKeys([device.certificate.spkiSha256, next.spkiSha256], NOW, ACTOR)
      await refusedUnchanged(
        () => at.registry.reserve(renewal(device.id, device.fingerprint)),
        'key_compromised',
      )
      await refusedUnchanged(
        () => at.registry.confirmCertificate(next.fingerprint, NOW, ACTOR),
        'key_compromised',
      )
      expect(await enrolled(await byToken(device.id))).toMatchObject({ state: 'live' })
    })

    it('not when it has expired either', async () => {
      const device = await givenDevice(at.registry, { notAfter: NOW + HOUR })
      await at.registry.blockKeys([device.certificate.spkiSha256], NOW, ACTOR)
      const late = { kind: 'renewal', fingerprint: device.fingerprint, late: true } as const
      const asked = reservation(late, { deviceId: device.id, now: NOW + DAY })
      await refusedUnchanged(() => at.registry.reserve(asked), 'key_compromised')
    })
  })

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
      ['the allow-list', undefined, async () => reservation(LISTED, { deviceId: await registered() })],
      ['an IDevID with one use', undefined, async () => reservation({ ...bootstrap, bound: true })],
      ['a bound token with another use', 2, async () => boundToken(2)],
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

    it.each([
      ['the allow-list', async () => reservation(LISTED, { deviceId: await registered() })],
      ['an IDevID with one use', async () => reservation({ ...bootstrap, bound: true })],
    ])('expired: %s gives one a day where the group renews nothing', async (_by, given) => {
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

    it.each([
      ['the allow-list', async () => reservation(LISTED, { deviceId: await registered() })],
      ['an IDevID with one use', async () => reservation({ ...bootstrap, bound: true })],
    ])('expired: %s gives as many as the group renews in a day', async (_by, given) => {
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
      await at.registry.moveIssuer({
        ski: OTHER_ISSUER,
        from: ['active'],
        to: 'revoked',
        now: NOW,
        actor: ACTOR,
      })
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

  describe('what changed while others were asked', () => {
    beforeEach(async () => {
      await givenIssuer(at.registry)
    })
    it('the group was disabled', async () => {
      const device = await givenDevice(at.registry, { group: 'hooked' })
      const token = await givenToken(at.registry)
      await givenGroup(at.registry, 'hooked', { enabled: false })
      const asked = reservation({ kind: 'token', id: token.id }, { group: 'hooked' })
      await refusedUnchanged(() => at.registry.reserve(asked), 'group_disabled')
      await refusedUnchanged(
        () => at.registry.reserve(renewal(device.id, device.fingerprint, { group: 'hooked' })),
        'group_disabled',
      )
      await refusedUnchanged(
        () => at.registry.reserve(reservation({ kind: 'token', id: token.id }, { group: 'gone' })),
        'group_disabled',
      )
    })

    it('the id was registered in another group', async () => {
      for (const name of ['hooked', 'safe']) await givenGroup(at.registry, name)
      const token = await givenToken(at.registry, { group: 'hooked' })
      const asked = reservation({ kind: 'token', id: token.id }, { group: 'hooked' })
      const line = { group: 'safe', tags: {}, spkiSha256: undefined, state: 'registered' } as const
      await at.registry.registerDevices([{ id: asked.deviceId, ...line }], NOW, ACTOR)
      await refusedUnchanged(() => at.registry.reserve(asked), 'conflict')
    })
  })
}
