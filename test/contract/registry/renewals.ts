/** Renewals after they were handed out: confirmed, withdrawn, suspected. What a reservation refuses is reserve*.ts. */

import { describe, expect, it } from 'vitest'
import type { CertificateRecord } from '#fleet/certificate.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Reservation } from '#registry/registry.ts'
import {
  ACTOR,
  deviceId,
  freshHex,
  givenDevice,
  ISSUER,
  NOW,
  recordReserved,
  reservation,
} from '../../support/registry.ts'
import { type Ground, refused } from './ground.ts'

const LATER = NOW + HOUR
const UNTIL = NOW + 7 * DAY

export const renewalContract = (at: Ground): void => {
  const { refusedUnchanged, everything, actions, changesOf } = at

  type Held = { readonly id: DeviceId; readonly fingerprint: string; readonly certificate: CertificateRecord }

  /** Its successor, handed out: `pending`, unless the one it renews has expired. */
  const renewed = async (
    held: Pick<Held, 'id' | 'fingerprint'>,
    over: Partial<Reservation> = {},
  ): Promise<Held> => {
    const asked = reservation(
      { kind: 'renewal', fingerprint: held.fingerprint, late: false },
      { deviceId: held.id, pendingUntil: UNTIL, ...over },
    )
    const reserved = await at.registry.reserve(asked)
    const certificate = await recordReserved(at.registry, reserved.certificate.serial, asked.now)
    return { id: held.id, fingerprint: certificate.fingerprint as string, certificate }
  }
  const confirmed = async (held: Held, now = LATER): Promise<Held> => ({
    ...held,
    certificate: await at.registry.confirmCertificate(held.fingerprint, now, ACTOR),
  })
  const stateOf = (held: Held) => at.reader.status(held.fingerprint)?.certificateState
  const recordOf = async ({ certificate }: Held) => at.registry.findCertificate(certificate.serial)
  const moved = (id: DeviceId, state: 'suspended' | 'revoked' | 'retired' | 'active', now = LATER) =>
    at.registry.setDeviceState({ id, state, reason: 'unspecified', now, actor: ACTOR })

  /** Both ways of it. @returns undefined when it was not heard of */
  const seen = async (held: Held, seenAt: number, now = seenAt): Promise<void> =>
    at.registry.recordSightings([{ fingerprint: held.fingerprint, at: seenAt }], freshHex(8), now)

  describe('a renewed certificate', () => {
    it('is pending beside the one it renews, and both are good at the doors', async () => {
      const first = await givenDevice(at.registry)
      const second = await renewed(first)
      expect(second.certificate).toMatchObject({
        state: 'pending',
        pendingUntil: UNTIL,
        predecessor: first.certificate.serial,
        supersededBy: undefined,
      })
      expect([stateOf(first), stateOf(second)]).toEqual(['live', 'pending'])
      expect((await recordOf(first))?.supersededBy).toBeUndefined()
      // nothing is due sooner or later for it
      expect(await at.registry.findDevice(first.id)).toMatchObject({
        renewAt: first.reservation.renewAt,
        expiresAt: first.reservation.notAfter,
      })
    })
    it('takes the place of one that was pending before: its answer may have been lost', async () => {
      const first = await givenDevice(at.registry)
      const lost = await renewed(first)
      const second = await renewed(first)
      await at.registry.withdrawUnconfirmed(LATER, 10)
      expect([stateOf(first), stateOf(lost), stateOf(second)]).toEqual(['live', 'revoked', 'pending'])
      expect(await recordOf(lost)).toMatchObject({ revocationReason: 'superseded' })
      await refused(at.registry.confirmCertificate(lost.fingerprint, LATER, ACTOR), 'certificate_revoked')
    })
  })

  const WAYS = [
    [
      'confirmCertificate',
      (held: Held, now: number) => at.registry.confirmCertificate(held.fingerprint, now, 'system'),
    ],
    ['a sighting', (held: Held, now: number) => seen(held, now)],
  ] as const

  describe.each(WAYS)('confirmed by %s', (_way, confirm) => {
    it('it is live, its predecessor is succeeded and still good, and the device has its dates', async () => {
      const first = await givenDevice(at.registry)
      const second = await renewed(first, { notAfter: NOW + 40 * DAY, renewAt: NOW + 30 * DAY })
      const { revision = 0 } = (await at.registry.findDevice(first.id)) ?? {}
      const version = await at.registry.revocationVersion(ISSUER)
      const changes = await changesOf(() => confirm(second, LATER))
      expect(changes).toEqual([{ kind: 'device', deviceId: first.id }])
      expect(await recordOf(second)).toMatchObject({ state: 'live', pendingUntil: undefined })
      expect(await recordOf(first)).toMatchObject({ state: 'live', supersededBy: second.certificate.serial })
      expect(await at.registry.findDevice(first.id)).toMatchObject({
        renewAt: NOW + 30 * DAY,
        expiresAt: NOW + 40 * DAY,
      })
      expect((await at.registry.findDevice(first.id))?.revision).toBeGreaterThan(revision)
      expect((await actions()).at(-1)).toBe('certificate.confirmed')
      // nobody lost a place: there were two
      expect(await at.registry.revocationVersion(ISSUER)).toBe(version)
      expect(await at.registry.revokedCertificates(ISSUER, 0)).toEqual([])
    })

    it('the one before its predecessor is revoked as superseded: there are two slots', async () => {
      const first = await givenDevice(at.registry)
      const second = await confirmed(await renewed(first))
      const third = await renewed(second)
      expect([stateOf(first), stateOf(second), stateOf(third)]).toEqual(['live', 'live', 'pending'])
      const version = await at.registry.revocationVersion(ISSUER)
      await confirm(third, LATER + 1)
      expect([stateOf(first), stateOf(second), stateOf(third)]).toEqual(['revoked', 'live', 'live'])
      expect(await at.registry.revokedCertificates(ISSUER, 0)).toEqual([
        { serial: first.certificate.serial, revokedAt: LATER + 1, reason: 'superseded' },
      ])
      expect(await at.registry.revocationVersion(ISSUER)).toBeGreaterThan(version)
    })

    it('again, it stays as it is', async () => {
      const second = await renewed(await givenDevice(at.registry))
      await confirm(second, LATER)
      const before = await recordOf(second)
      await confirm(second, LATER + 1)
      expect(await recordOf(second)).toEqual(before)
      expect((await actions()).filter((action) => action === 'certificate.confirmed')).toHaveLength(1)
    })

    it('of two that are pending the other one is void', async () => {
      const first = await givenDevice(at.registry)
      const second = await renewed(first)
      const third = await renewed(first)
      await confirm(second, NOW + 1)
      expect([stateOf(first), stateOf(second), stateOf(third)]).toEqual(['live', 'live', 'revoked'])
      expect(await recordOf(first)).toMatchObject({ supersededBy: second.certificate.serial })
      await refused(at.registry.confirmCertificate(third.fingerprint, LATER, ACTOR), 'certificate_revoked')
    })
  })

  describe('confirmCertificate', () => {
    it('answers one that is live as it is, and writes nothing', async () => {
      const { fingerprint, certificate } = await givenDevice(at.registry)
      const before = await everything()
      expect(await at.registry.confirmCertificate(fingerprint, LATER, ACTOR)).toEqual(certificate)
      expect(await everything()).toBe(before)
    })

    it.each([
      ['is not on record', () => Promise.resolve(freshHex(32)), LATER, 'certificate_unknown'],
      [
        'was withdrawn by now, though nobody has written it yet',
        async () => (await renewed(await givenDevice(at.registry))).fingerprint,
        UNTIL + 1,
        'certificate_revoked',
      ],
      [
        'has expired',
        async () => {
          const first = await givenDevice(at.registry)
          return (await renewed(first, { notAfter: LATER, pendingUntil: LATER })).fingerprint
        },
        LATER + 1,
        'certificate_expired',
      ],
      [
        'is live and has expired',
        async () => (await givenDevice(at.registry, { notAfter: LATER })).fingerprint,
        LATER + 1,
        'certificate_expired',
      ],
      ...(
        [
          ['suspended', 'device_suspended'],
          ['revoked', 'device_revoked'],
          ['retired', 'device_retired'],
        ] as const
      ).map(
        ([state, code]) =>
          [
            `is of a device that is ${state}`,
            async () => {
              const first = await givenDevice(at.registry)
              const second = await renewed(first)
              await moved(first.id, state)
              return second.fingerprint
            },
            LATER,
            code,
          ] as const,
      ),
    ] as const)('refuses one that %s', async (_what, given, now, code) => {
      const fingerprint = await given()
      await refusedUnchanged(() => at.registry.confirmCertificate(fingerprint, now, ACTOR), code)
    })
  })

  describe('what a taken-over gateway says in its inbox', () => {
    /** Everything but the cursor and when it was seen. */
    const standing = async (id: DeviceId) => {
      const { lastSeenAt: _, ...device } = (await at.registry.findDevice(id)) ?? { lastSeenAt: 0 }
      return [device, await at.registry.certificatesOf(id), await at.registry.revokedCertificates(ISSUER, 0)]
    }

    it.each([
      ['a certificate that is live', async () => givenDevice(at.registry), LATER, LATER],
      [
        'a revoked one',
        async () => {
          const first = await givenDevice(at.registry)
          const second = await renewed(first)
          await renewed(first)
          await at.registry.withdrawUnconfirmed(LATER, 10)
          return second
        },
        LATER,
        LATER,
      ],
      [
        'one of a suspended device',
        async () => {
          const second = await renewed(await givenDevice(at.registry))
          await moved(second.id, 'suspended', NOW + 1)
          return second
        },
        LATER,
        LATER,
      ],
      [
        'one of a revoked device',
        async () => {
          const second = await renewed(await givenDevice(at.registry))
          await moved(second.id, 'revoked', NOW + 1)
          return second
        },
        LATER,
        LATER,
      ],
      ['one that will have been seen', async () => renewed(await givenDevice(at.registry)), LATER + 1, LATER],
      [
        'one that has expired since',
        async () => renewed(await givenDevice(at.registry), { notAfter: NOW + DAY, pendingUntil: NOW + DAY }),
        LATER,
        NOW + DAY + 1,
      ],
      [
        'one that was withdrawn, dated back',
        async () => {
          const second = await renewed(await givenDevice(at.registry))
          await at.registry.withdrawUnconfirmed(UNTIL + 1, 10)
          return second
        },
        LATER,
        UNTIL + 2,
      ],
    ] as const)('changes nothing: %s', async (_what, given, seenAt, now) => {
      const held = await given()
      const before = await standing(held.id)
      const changes = await changesOf(() => seen(held, seenAt, now))
      expect(changes).toEqual([])
      expect(await standing(held.id)).toEqual(before)
    })

    it('one that was never handed out has no name to be called by', async () => {
      const first = await givenDevice(at.registry)
      const asked = reservation(
        { kind: 'renewal', fingerprint: first.fingerprint, late: false },
        { deviceId: first.id },
      )
      await at.registry.reserve(asked)
      const before = await standing(first.id)
      await at.registry.recordSightings(
        [asked.serial, asked.spkiSha256, freshHex(32)].map((fingerprint) => ({ fingerprint, at: LATER })),
        'cursor',
        LATER,
      )
      expect(await standing(first.id)).toEqual(before)
    })

    it.each([UNTIL, UNTIL + HOUR])('who was let in while this desk was down has confirmed', async (when) => {
      const second = await renewed(await givenDevice(at.registry))
      await seen(second, when, UNTIL + DAY)
      expect(stateOf(second)).toBe('live')
      expect(await at.registry.withdrawUnconfirmed(UNTIL + DAY, 10)).toBe(0)
    })
  })

  describe('withdrawUnconfirmed', () => {
    it('revokes what nobody used in time, tells doors and CRL, and leaves the one before', async () => {
      const first = await givenDevice(at.registry)
      const second = await renewed(first)
      const other = await renewed(await givenDevice(at.registry), { pendingUntil: UNTIL + 1 })
      expect(await at.registry.withdrawUnconfirmed(UNTIL, 10)).toBe(0)
      const version = await at.registry.revocationVersion(ISSUER)
      let withdrawn = 0
      const changes = await changesOf(async () => {
        withdrawn = await at.registry.withdrawUnconfirmed(UNTIL + 1, 10)
      })
      expect(withdrawn).toBe(1)
      expect(changes).toEqual([{ kind: 'device', deviceId: first.id }])
      expect([stateOf(first), stateOf(second), stateOf(other)]).toEqual(['live', 'revoked', 'pending'])
      expect(await at.registry.revokedCertificates(ISSUER, 0)).toEqual([
        { serial: second.certificate.serial, revokedAt: UNTIL + 1, reason: 'superseded' },
      ])
      expect(await at.registry.revocationVersion(ISSUER)).toBeGreaterThan(version)
      expect((await actions()).at(-1)).toBe('certificate.withdrawn')
      // and the old one renews again: nothing succeeded it
      expect(stateOf(await renewed(first, { now: UNTIL + 2 }))).toBe('pending')
    })

    it('takes as many as it is told, and says how many', async () => {
      for (let one = 0; one < 3; one++) await renewed(await givenDevice(at.registry))
      const took: number[] = []
      for (let round = 0; round < 3; round++) took.push(await at.registry.withdrawUnconfirmed(UNTIL + 1, 2))
      expect(took).toEqual([2, 1, 0])
    })

    it('writes nothing when there is nothing', async () => {
      await renewed(await givenDevice(at.registry))
      const before = await everything()
      expect(await at.registry.withdrawUnconfirmed(LATER, 10)).toBe(0)
      expect(await everything()).toBe(before)
    })
  })

  describe('a fork', () => {
    const forked = async () => {
      const first = await givenDevice(at.registry)
      const second = await confirmed(await renewed(first))
      return { first, second }
    }
    const suspicion = (
      { id, fingerprint }: Pick<Held, 'id' | 'fingerprint'>,
      over: { readonly action?: 'alert' | 'suspend' | 'approval'; readonly now?: number } = {},
    ) =>
      at.registry.recordCloneSuspicion({
        deviceId: id,
        fingerprint,
        sign: 'renewal',
        spkiSha256: freshHex(32),
        address: '192.0.2.7',
        action: 'alert',
        now: LATER,
        ...over,
      })

    it('a superseded certificate gets nothing with another key, and what it got with the same', async () => {
      const { first, second } = await forked()
      const { spkiSha256 } = second.certificate
      const ask = (key: string) =>
        reservation(
          { kind: 'renewal', fingerprint: first.fingerprint, late: false },
          { deviceId: first.id, spkiSha256: key },
        )
      await refusedUnchanged(() => at.registry.reserve(ask(freshHex(32))), 'clone_suspected')
      await refusedUnchanged(() => at.registry.reserve(ask(first.certificate.spkiSha256)), 'clone_suspected')
      const again = await at.registry.reserve(ask(spkiSha256))
      expect(again.kind).toBe('already')
      expect(again.certificate.serial).toBe(second.certificate.serial)
    })

    it('is written down, with what was seen', async () => {
      const { first } = await forked()
      const changes = await changesOf(async () => {
        expect(await suspicion(first)).toMatchObject({ cloneSuspectedAt: LATER, state: 'active' })
      })
      expect(changes).toEqual([{ kind: 'device', deviceId: first.id }])
      const entry = (await at.registry.listAudit({ limit: 1_000 })).items.at(-1)
      expect(entry).toMatchObject({
        action: 'device.clone_suspected',
        subject: first.id,
        at: LATER,
        details: { fingerprint: first.fingerprint, address: '192.0.2.7', action: 'alert' },
      })
    })

    it('is told once an hour, however often it asks', async () => {
      const { first } = await forked()
      await suspicion(first)
      const before = await everything()
      for (const now of [LATER + 1, LATER + HOUR - 1])
        expect(await suspicion(first, { now })).toMatchObject({ cloneSuspectedAt: LATER })
      expect(await everything()).toBe(before)
      expect(await suspicion(first, { now: LATER + HOUR })).toMatchObject({ cloneSuspectedAt: LATER + HOUR })
    })

    it('suspends where the group says so, at once, and again when it was resumed', async () => {
      const { first } = await forked()
      await suspicion(first)
      const version = await at.registry.revocationVersion(ISSUER)
      const changes = await changesOf(() => suspicion(first, { action: 'suspend', now: LATER + 1 }))
      expect(changes).toEqual([{ kind: 'device', deviceId: first.id }])
      expect(await at.registry.findDevice(first.id)).toMatchObject({ state: 'suspended' })
      expect((await actions()).slice(-2)).toEqual(['device.clone_suspected', 'device.suspended'])
      expect(await at.registry.revocationVersion(ISSUER)).toBeGreaterThan(version)
      expect((await at.registry.revokedCertificates(ISSUER, 0)).map(({ reason }) => reason)).toEqual([
        'certificateHold',
        'certificateHold',
      ])
      await moved(first.id, 'active', LATER + 2)
      await suspicion(first, { action: 'suspend', now: LATER + 3 })
      expect(await at.registry.findDevice(first.id)).toMatchObject({ state: 'suspended' })
    })

    it.each(['revoked', 'retired'] as const)('a device that is %s is not moved by it', async (state) => {
      const { first } = await forked()
      await moved(first.id, state)
      expect(await suspicion(first, { action: 'suspend' })).toMatchObject({ state })
    })

    it('of a device that nobody knows is none', async () => {
      expect(await suspicion({ id: deviceId(), fingerprint: freshHex(32) })).toBeUndefined()
      expect(
        await at.registry.clearCloneSuspicion({ id: deviceId(), now: NOW, actor: ACTOR }),
      ).toBeUndefined()
    })

    it('is taken away by an operator, once, and may come back', async () => {
      const { first } = await forked()
      await suspicion(first)
      const suspected = () => at.reader.status(first.fingerprint)?.cloneSuspected
      expect(suspected()).toBe(true)
      const { revision = 0 } = (await at.registry.findDevice(first.id)) ?? {}
      const clear = (now: number, ifRevision?: number) =>
        at.registry.clearCloneSuspicion({ id: first.id, now, actor: ACTOR, ifRevision })
      await refusedUnchanged(() => clear(LATER + 1, revision - 1), 'precondition_failed')
      let cleared: unknown
      const changes = await changesOf(async () => (cleared = await clear(LATER + 1, revision)))
      expect(changes).toEqual([{ kind: 'device', deviceId: first.id }])
      expect(suspected()).toBe(false)
      expect(cleared).toMatchObject({ cloneSuspectedAt: undefined, revision: revision + 1 })
      expect((await at.registry.listAudit({ limit: 1_000 })).items.at(-1)).toMatchObject({
        action: 'device.clone_cleared',
        actor: ACTOR,
        subject: first.id,
      })
      const before = await everything()
      expect(await clear(LATER + 2)).toEqual(cleared)
      expect(await everything()).toBe(before)
      expect(await suspicion(first, { now: LATER + 3 })).toMatchObject({ cloneSuspectedAt: LATER + 3 })
    })
  })

  it('history stays: a retired device shows every certificate that it had', async () => {
    const first = await givenDevice(at.registry)
    const second = await confirmed(await renewed(first))
    await moved(first.id, 'retired')
    expect(await at.registry.findDevice(first.id)).toMatchObject({ state: 'retired' })
    expect((await at.registry.certificatesOf(first.id)).map(({ serial }) => serial)).toEqual([
      second.certificate.serial,
      first.certificate.serial,
    ])
    const audit = await at.registry.listAudit({ limit: 1_000 })
    const told = audit.items.filter(
      ({ subject, details }) => subject === first.id || details['device_id'] === first.id,
    )
    expect(told.map(({ action }) => action)).toEqual(
      expect.arrayContaining([
        'device.created',
        'certificate.issued',
        'certificate.confirmed',
        'device.retired',
      ]),
    )
  })
}
