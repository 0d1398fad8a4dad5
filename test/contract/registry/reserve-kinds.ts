/** Reservations by the other credentials, what an operator approved, registered devices, and what is counted. */

import { beforeEach, describe, expect, it } from 'vitest'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import type { EnrollmentRequest } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { FIRST_GROUP } from '#fleet/enrollment-group.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import type { Limits, Reservation } from '#registry/registry.ts'
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
import { createAsking } from './asking.ts'
import { type Ground, refused } from './ground.ts'

const limits = (over: Partial<Limits>): { readonly limits: Limits } => ({
  limits: { ...RESERVATION_DEFAULTS.limits, ...over },
})

const LISTED = { kind: 'allow_list' } as const
const bootstrap = (id: string, over: { uses?: number; bound?: boolean } = {}) =>
  ({ kind: 'bootstrap', id, uses: 1, bound: false, ...over }) as const

export const reserveKindsContract = (at: Ground): void => {
  const { refusedUnchanged, actions, changesOf } = at

  const given = {
    registered: async (
      over: { spkiSha256?: string; state?: 'suspended'; group?: string } = {},
    ): Promise<DeviceId> => {
      const id = deviceId()
      const group = over.group ?? FIRST_GROUP
      const line = { id, group, tags: { site: 'north' }, spkiSha256: over.spkiSha256 }
      await at.registry.registerDevices([{ ...line, state: over.state ?? 'registered' }], NOW, ACTOR)
      return id
    },
    request: async (
      of: Pick<Reservation, 'deviceId' | 'spkiSha256'> & { readonly group?: string },
      credential: EnrollmentRequest['credential'],
      decision?: 'approved' | 'denied',
    ): Promise<string> => {
      const id = freshHex(8)
      const request = {
        id,
        group: of.group ?? RESERVATION_DEFAULTS.group,
        csr: Buffer.from('csr'),
        address: '192.0.2.7',
        createdAt: NOW,
      }
      const { deviceId: asked, spkiSha256 } = of
      await at.registry.openRequest(
        { ...request, deviceId: asked, spkiSha256, credential, expiresAt: NOW + DAY },
        { open: 1_000, addressKey: '192.0.2.7', ofAddress: undefined },
        ACTOR,
      )
      if (decision !== undefined) await at.registry.decideRequest(id, decision, NOW, ACTOR)
      return id
    },
  }
  const moved = (id: DeviceId, state: 'suspended' | 'revoked' | 'retired' | 'active') =>
    at.registry.setDeviceState({ id, state, reason: 'unspecified', now: NOW, actor: ACTOR })
  const byToken = async (over: Partial<Reservation> = {}): Promise<Reservation> =>
    reservation({ kind: 'token', id: (await givenToken(at.registry)).id }, over)
  const { enrolled } = createAsking(at)

  describe('reserve, by a bootstrap certificate', () => {
    beforeEach(async () => {
      await givenIssuer(at.registry)
    })

    it('yields as many certificates as it may, and repeats cost nothing', async () => {
      const id = freshHex(32)
      const credential = bootstrap(id, { uses: 2 })
      const first = reservation(credential)
      const certificate = await enrolled(first)
      expect(await at.registry.reserve({ ...first, serial: freshHex(16) })).toEqual({
        kind: 'already',
        certificate,
      })
      await enrolled(reservation(credential))
      await refusedUnchanged(() => at.registry.reserve(reservation(credential)), 'quota_exceeded')
      // what was served is served again, and another certificate has uses of its own
      expect(await at.registry.reserve({ ...first, serial: freshHex(16) })).toMatchObject({ kind: 'already' })
      await enrolled(reservation(bootstrap(freshHex(32))))
    })

    it('lets one of 50 keys have it when it has one use', async () => {
      const credential = bootstrap(freshHex(32))
      const outcomes = await Promise.allSettled(
        Array.from({ length: 50 }, () => at.registry.reserve(reservation(credential))),
      )
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'quota_exceeded' })
    })

    it('serves a device that exists only when its id is made from it, and never a revoked one', async () => {
      const { id } = await givenDevice(at.registry)
      const ask = (bound: boolean) =>
        reservation(bootstrap(freshHex(32), { bound }), { deviceId: id, spkiSha256: freshHex(32) })
      await refusedUnchanged(() => at.registry.reserve(ask(false)), 'device_exists')
      expect(await enrolled(ask(true))).toMatchObject({ state: 'live' })
      await moved(id, 'revoked')
      await refusedUnchanged(() => at.registry.reserve(ask(true)), 'device_revoked')
    })
  })

  describe('reserve, of registered devices', () => {
    beforeEach(async () => {
      await givenIssuer(at.registry)
    })

    const ways: readonly [string, (id: DeviceId) => Promise<Reservation['credential']>][] = [
      ['the allow-list', async () => LISTED],
      ['an unbound token', async () => ({ kind: 'token', id: (await givenToken(at.registry)).id })],
      [
        'a bound token',
        async (id) => ({ kind: 'token', id: (await givenToken(at.registry, { deviceId: id })).id }),
      ],
      ['an unbound bootstrap certificate', async () => bootstrap(freshHex(32))],
      ['a bound bootstrap certificate', async () => bootstrap(freshHex(32), { bound: true })],
    ]
    it.each(ways)('makes it active by %s, with its own tags, and tells no door', async (_way, by) => {
      const id = await given.registered()
      const asked = reservation(await by(id), { deviceId: id, tags: { site: 'south' } })
      expect(await changesOf(() => at.registry.reserve(asked))).toEqual([])
      expect(await at.registry.findDevice(id)).toMatchObject({
        state: 'active',
        group: FIRST_GROUP,
        tags: { site: 'north' },
        revision: 2,
      })
      expect((await actions()).at(-1)).toBe('device.enrolled')
      expect(await recordReserved(at.registry, asked.serial)).toMatchObject({ state: 'live' })
    })

    it.each(ways)('lets it enrol by %s with its registered key, and with no other', async (_way, by) => {
      const spkiSha256 = freshHex(32)
      const id = await given.registered({ spkiSha256 })
      const other = reservation(await by(id), { deviceId: id })
      await refusedUnchanged(() => at.registry.reserve(other), 'credential_not_allowed')
      expect(
        await at.registry.reserve(reservation(await by(id), { deviceId: id, spkiSha256 })),
      ).toMatchObject({
        kind: 'reserved',
      })
    })

    it('lets nobody else have the registered key', async () => {
      const spkiSha256 = freshHex(32)
      await given.registered({ spkiSha256 })
      const asked = await byToken({ spkiSha256 })
      await refusedUnchanged(() => at.registry.reserve(asked), 'key_in_use')
    })

    it('the registered key binds the enrolment, not what comes after it', async () => {
      const spkiSha256 = freshHex(32)
      const id = await given.registered({ spkiSha256 })
      const { fingerprint } = await enrolled(reservation(LISTED, { deviceId: id, spkiSha256 }))
      const renewal = { kind: 'renewal', fingerprint, late: false } as const
      expect(await at.registry.reserve(reservation(renewal, { deviceId: id }))).toMatchObject({
        kind: 'reserved',
      })
    })

    const refusals: readonly [string, ErrorCode, () => Promise<Reservation>][] = [
      [
        'the allow-list, of an id that nobody registered',
        'device_not_registered',
        async () => reservation(LISTED),
      ],
      [
        'the allow-list, of a device that has enrolled',
        'device_exists',
        async () => reservation(LISTED, { deviceId: (await givenDevice(at.registry)).id }),
      ],
      [
        'the allow-list, of an id that differs in case',
        'device_exists',
        async () => {
          const id = await given.registered()
          return reservation(LISTED, { deviceId: deviceId(id.toUpperCase()) })
        },
      ],
      [
        'the allow-list, of a device that was registered suspended',
        'device_suspended',
        async () => reservation(LISTED, { deviceId: await given.registered({ state: 'suspended' }) }),
      ],
      [
        'the allow-list, of a revoked device',
        'device_revoked',
        async () => {
          const id = await given.registered()
          await moved(id, 'revoked')
          return reservation(LISTED, { deviceId: id })
        },
      ],
      [
        'the allow-list, of a retired device',
        'device_retired',
        async () => {
          const id = await given.registered()
          await moved(id, 'retired')
          return reservation(LISTED, { deviceId: id })
        },
      ],
      [
        'a token, when only registered devices may',
        'device_not_registered',
        () => byToken(limits({ registeredOnly: true })),
      ],
      [
        'a bootstrap certificate, when only registered devices may',
        'device_not_registered',
        async () => reservation(bootstrap(freshHex(32)), limits({ registeredOnly: true })),
      ],
    ]
    it.each(refusals)('refuses %s: %s', async (_what, code, ask) => {
      const asked = await ask()
      await refusedUnchanged(() => at.registry.reserve(asked), code)
    })

    it('lets registered devices in when only they may', async () => {
      const id = await given.registered()
      expect(
        await at.registry.reserve(await byToken({ deviceId: id, ...limits({ registeredOnly: true }) })),
      ).toMatchObject({ kind: 'reserved' })
    })

    it('a blocked key is nobody’s', async () => {
      const spkiSha256 = freshHex(32)
      await at.registry.blockKeys([spkiSha256], NOW, ACTOR)
      expect(await at.registry.findKey(spkiSha256)).toEqual({ deviceId: undefined, compromised: true })
      const asked = await byToken({ spkiSha256 })
      await refusedUnchanged(() => at.registry.reserve(asked), 'key_compromised')
    })
  })

  describe('reserve, of what an operator approved', () => {
    beforeEach(async () => {
      await givenIssuer(at.registry)
    })
    const NONE = { kind: 'none', id: 'pumps' } as const

    it('by nothing else: gives one certificate, and the same one again', async () => {
      const of = { deviceId: deviceId(), spkiSha256: freshHex(32) }
      const id = await given.request(of, NONE, 'approved')
      const asked = reservation({ kind: 'approval', id }, of)
      const certificate = await enrolled(asked)
      expect(await at.registry.findRequest(id)).toMatchObject({ state: 'issued' })
      expect(await at.registry.reserve({ ...asked, serial: freshHex(16) })).toEqual({
        kind: 'already',
        certificate,
      })
    })

    it('by a token: spends it, and closes the request in the same transaction', async () => {
      const asked = await byToken()
      const credential = asked.credential as { readonly kind: 'token'; readonly id: string }
      const requestId = await given.request(asked, credential, 'approved')
      await at.registry.reserve({ ...asked, requestId })
      expect(await at.registry.findRequest(requestId)).toMatchObject({ state: 'issued' })
      expect(await at.registry.findToken(credential.id)).toMatchObject({ used: 1 })
      expect(await at.registry.reserve({ ...asked, requestId, serial: freshHex(16) })).toMatchObject({
        kind: 'reserved',
        certificate: { serial: asked.serial },
      })
    })

    it('by a token that has expired since it was asked for, and not since it was revoked', async () => {
      const asked = await byToken()
      const credential = asked.credential as { readonly kind: 'token'; readonly id: string }
      const requestId = await given.request(asked, credential, 'approved')
      const late = { ...asked, now: NOW + 2 * HOUR }
      await refusedUnchanged(() => at.registry.reserve(late), 'token_expired')
      await at.registry.reserve({ ...late, requestId })
      await at.registry.revokeToken(credential.id, NOW, ACTOR)
      await refusedUnchanged(() => at.registry.reserve({ ...late, requestId }), 'token_revoked')
    })

    it('a superseded certificate that was approved gets its successor, and stays succeeded by the first', async () => {
      const device = await givenDevice(at.registry)
      const renewal = { kind: 'renewal', fingerprint: device.fingerprint, late: false } as const
      const next = await enrolled(reservation(renewal, { deviceId: device.id }))
      await at.registry.confirmCertificate(next.fingerprint, NOW, ACTOR)
      const asked = reservation(renewal, { deviceId: device.id })
      const id = await given.request(asked, { kind: 'renewal', id: device.fingerprint }, 'approved')
      expect(await at.registry.reserve({ ...asked, requestId: id })).toMatchObject({ kind: 'reserved' })
      const approved = await recordReserved(at.registry, asked.serial)
      expect(approved).toMatchObject({ state: 'pending', predecessor: device.certificate.serial })
      await at.registry.confirmCertificate(approved.fingerprint ?? '', NOW, ACTOR)
      const [, , first] = await at.registry.certificatesOf(device.id)
      expect(first).toMatchObject({ serial: device.certificate.serial, supersededBy: next.serial })
    })

    type Ask = { readonly of: Reservation; readonly id: string }
    const denials: readonly [string, (o: Ask) => Promise<Reservation>][] = [
      [
        'what nobody asked for',
        async ({ of }) => reservation({ kind: 'approval', id: 'nothing' }, { deviceId: of.deviceId }),
      ],
      [
        'another device',
        async ({ of, id }) => reservation({ kind: 'approval', id }, { spkiSha256: of.spkiSha256 }),
      ],
      ['another key', async ({ of, id }) => reservation({ kind: 'approval', id }, { deviceId: of.deviceId })],
      [
        'what is past its time',
        async ({ of, id }) => ({ ...of, credential: { kind: 'approval', id }, now: NOW + 3 * DAY }),
      ],
      [
        'what has been issued to another credential',
        async ({ of, id }) => {
          await at.registry.reserve({ ...of, credential: { kind: 'approval', id } })
          const token = await givenToken(at.registry, { deviceId: of.deviceId })
          return { ...of, serial: freshHex(16), credential: { kind: 'token', id: token.id }, requestId: id }
        },
      ],
      [
        'a token’s request without the token',
        async () => {
          const asked = await byToken()
          const { id = '' } = asked.credential as { readonly id?: string }
          const request = await given.request(asked, { kind: 'token', id }, 'approved')
          return { ...asked, credential: { kind: 'approval', id: request } }
        },
      ],
      [
        'what was shown in another group',
        async ({ of, id }) => ({ ...of, credential: { kind: 'approval', id }, group: 'lamps' }),
      ],
      [
        'another token’s request',
        async () => {
          const [asked, other] = [await byToken(), await byToken()]
          const { id = '' } = other.credential as { readonly id?: string }
          return { ...asked, requestId: await given.request(asked, { kind: 'token', id }, 'approved') }
        },
      ],
    ]
    it.each(denials)('refuses %s', async (_what, ask) => {
      const of = reservation(LISTED)
      const id = await given.request(of, NONE, 'approved')
      const asked = await ask({ of, id })
      await refusedUnchanged(() => at.registry.reserve(asked), 'enrollment_denied')
    })
    it.each(['denied', undefined] as const)('refuses what is %s', async (decision) => {
      const of = reservation(LISTED)
      const id = await given.request(of, NONE, decision)
      await refusedUnchanged(
        () => at.registry.reserve({ ...of, credential: { kind: 'approval', id } }),
        'enrollment_denied',
      )
    })
    it('makes new devices only', async () => {
      const { id } = await givenDevice(at.registry)
      const of = { deviceId: id, spkiSha256: freshHex(32) }
      const request = await given.request(of, NONE, 'approved')
      await refusedUnchanged(
        () => at.registry.reserve(reservation({ kind: 'approval', id: request }, of)),
        'device_exists',
      )
    })
  })

  describe('reserve, within limits', () => {
    beforeEach(async () => {
      await givenIssuer(at.registry)
    })
    const wait = (asked: Reservation) =>
      at.registry.reserve(asked).catch((error: { retryAfter?: number }) => error.retryAfter)

    it('certificates of a clock hour, each scope by itself, and a repeat costs nothing', async () => {
      const two = limits({
        perHour: [
          { scope: 'group:pumps', most: 2 },
          { scope: `issuer:${ISSUER}`, most: 3 },
        ],
      })
      const first = await byToken({ ...two, now: NOW + 20 * MINUTE })
      await at.registry.reserve(first)
      await at.registry.reserve({ ...first, serial: freshHex(16) })
      await at.registry.reserve(await byToken({ ...two, now: NOW + 59 * MINUTE }))
      const third = await byToken({ ...two, now: NOW + 59 * MINUTE })
      await refusedUnchanged(() => at.registry.reserve(third), 'quota_exceeded')
      expect(await wait(third)).toBe(60)
      // of another group: the issuer's hour is not over yet, and then it is
      const other = limits({
        perHour: [
          { scope: 'group:lamps', most: 2 },
          { scope: `issuer:${ISSUER}`, most: 3 },
        ],
      })
      await at.registry.reserve(await byToken({ ...other, now: NOW + 59 * MINUTE }))
      const fifth = await byToken({ ...other, now: NOW + 59 * MINUTE })
      await refusedUnchanged(() => at.registry.reserve(fifth), 'quota_exceeded')
      expect(
        await at.registry
          .reserve({ ...fifth, now: NOW + HOUR - 1 })
          .catch(({ code }: { code: string }) => code),
      ).toBe('quota_exceeded')
      await refused(at.registry.reserve({ ...fifth, now: NOW + HOUR }), 'token_expired')
      const next = await byToken(two)
      const token = await givenToken(at.registry, { expiresAt: NOW + DAY })
      expect(
        await at.registry.reserve({ ...next, credential: { kind: 'token', id: token.id }, now: NOW + HOUR }),
      ).toMatchObject({ kind: 'reserved' })
    })

    it('lets no more than the hour’s through, however many ask at once', async () => {
      const five = limits({ perHour: [{ scope: 'group:pumps', most: 5 }] })
      const asked = await Promise.all(Array.from({ length: 20 }, () => byToken(five)))
      const outcomes = await Promise.allSettled(asked.map((each) => at.registry.reserve(each)))
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(5)
    })

    it('devices of a group that are not retired; one that exists makes none', async () => {
      const group = 'pumps'
      await givenGroup(at.registry, group)
      const [first] = [await given.registered({ group }), await given.registered({ group })]
      const three = { group, ...limits({ devices: 3 }) }
      await at.registry.reserve(await byToken(three))
      const fourth = await byToken(three)
      await refusedUnchanged(() => at.registry.reserve(fourth), 'quota_exceeded')
      expect(await at.registry.reserve(await byToken({ ...three, deviceId: first }))).toMatchObject({
        kind: 'reserved',
      })
      await moved(first, 'suspended')
      await refusedUnchanged(() => at.registry.reserve(fourth), 'quota_exceeded')
      await moved(first, 'retired')
      expect(await at.registry.reserve(fourth)).toMatchObject({ kind: 'reserved' })
      // others come into the group, and one leaves it
      const [id, other] = [await given.registered({ group }), await given.registered({ group })]
      const fifth = await byToken({ group, ...limits({ devices: 5 }) })
      await refusedUnchanged(() => at.registry.reserve(fifth), 'quota_exceeded')
      const line = { id, group: 'lamps', tags: {}, spkiSha256: undefined, state: 'registered' } as const
      await at.registry.registerDevices([line], NOW, ACTOR)
      expect(await at.registry.reserve(fifth)).toMatchObject({ kind: 'reserved' })
      expect(other).not.toBe(id)
    })

    it('devices of a group, when they are registered too: who is registered may then enrol', async () => {
      await givenGroup(at.registry, 'pumps', {
        quotas: { devices: 2, certificatesPerHour: undefined, openRequests: 10 },
      })
      const register = async (ids: readonly DeviceId[], group = 'pumps') => {
        const line = { group, tags: {}, spkiSha256: undefined, state: 'registered' } as const
        const results = await at.registry.registerDevices(
          ids.map((id) => ({ id, ...line })),
          NOW,
          ACTOR,
        )
        return results.map(({ result, reason = result }) => reason)
      }
      const ids = [deviceId(), deviceId(), deviceId()] as const
      expect(await register(ids)).toEqual(['created', 'created', 'quota_exceeded'])
      expect(await at.registry.findDevice(ids[2])).toBeUndefined()
      // nor by another group, and who is in it already may stay
      const [outside] = [await given.registered()]
      expect(await register([outside, ids[0]])).toEqual(['quota_exceeded', 'unchanged'])
      const two = { group: 'pumps', ...limits({ devices: 2 }) }
      for (const id of ids.slice(0, 2))
        expect(await at.registry.reserve(await byToken({ ...two, deviceId: id }))).toMatchObject({
          kind: 'reserved',
        })
      await refused(at.registry.reserve(await byToken(two)), 'quota_exceeded')
    })

    const renewing = async (most: number) => {
      const device = await givenDevice(at.registry, { notAfter: NOW + 3 * DAY })
      const renewal = { kind: 'renewal', fingerprint: device.fingerprint, late: false } as const
      const ask = (over: Partial<Reservation> = {}) =>
        reservation(renewal, {
          deviceId: device.id,
          notAfter: NOW + 9 * DAY,
          ...limits({ renewalsPerDay: most }),
          ...over,
        })
      return { device, ask }
    }

    it('renewals of a device in 24 hours; repeats and enrolments are none', async () => {
      const { device, ask } = await renewing(2)
      const first = ask({ now: NOW + HOUR })
      await enrolled(first)
      await at.registry.reserve({ ...first, serial: freshHex(16) })
      await enrolled(ask({ now: NOW + 2 * HOUR }))
      const third = ask({ now: NOW + 3 * HOUR })
      await refusedUnchanged(() => at.registry.reserve(third), 'quota_exceeded')
      expect(await wait(third)).toBe((22 * HOUR) / 1_000)
      const token = await givenToken(at.registry, { deviceId: device.id, expiresAt: NOW + DAY })
      expect(
        await at.registry.reserve({
          ...ask({ now: NOW + 3 * HOUR }),
          credential: { kind: 'token', id: token.id },
        }),
      ).toMatchObject({ kind: 'reserved' })
      expect(await at.registry.reserve({ ...third, now: NOW + HOUR + DAY })).toMatchObject({
        kind: 'reserved',
      })
      await refused(at.registry.reserve(ask({ now: NOW + HOUR + DAY })), 'quota_exceeded')
      const none = (await renewing(0)).ask()
      await refusedUnchanged(() => at.registry.reserve(none), 'quota_exceeded')
    })

    it('renewals by expired certificates in a row, forgotten by one in time or a new enrolment', async () => {
      const device = await givenDevice(at.registry, { notAfter: NOW + HOUR })
      let { fingerprint } = device
      let now = NOW
      const late = (over: Partial<Reservation> = {}) =>
        reservation(
          { kind: 'renewal', fingerprint, late: true },
          {
            deviceId: device.id,
            now,
            notBefore: now,
            notAfter: now + HOUR,
            ...limits({ expiredRenewals: 2 }),
            ...over,
          },
        )
      const renewLate = async () => {
        now += 2 * HOUR
        const next = await enrolled(late())
        expect(next).toMatchObject({ state: 'live' })
        fingerprint = next.fingerprint
      }
      await renewLate()
      await renewLate()
      now += 2 * HOUR
      const third = late()
      await refusedUnchanged(() => at.registry.reserve(third), 'quota_exceeded')
      const token = await givenToken(at.registry, { deviceId: device.id, expiresAt: NOW + DAY })
      const again = await enrolled(late({ credential: { kind: 'token', id: token.id } }))
      fingerprint = again.fingerprint
      await renewLate()
      // in time, by the word of the dates and not of whoever asks
      const inTime = late({ now: now + MINUTE, notAfter: now + 3 * HOUR })
      fingerprint = (await enrolled(inTime)).fingerprint
      await at.registry.confirmCertificate(fingerprint, now + MINUTE, ACTOR)
      now += 3 * HOUR
      await renewLate()
      await renewLate()
      await refused(at.registry.reserve({ ...late(), now: now + 2 * HOUR }), 'quota_exceeded')
    })

    it('an expired certificate renews only where the group has said so', async () => {
      const device = await givenDevice(at.registry, { notAfter: NOW + HOUR })
      const asked = reservation(
        { kind: 'renewal', fingerprint: device.fingerprint, late: false },
        { deviceId: device.id, now: NOW + HOUR + 1 },
      )
      await refusedUnchanged(() => at.registry.reserve(asked), 'certificate_expired')
    })
  })
}
