/** Devices from state to state, and when they were seen. */

import { describe, expect, it } from 'vitest'
import { HOUR } from '#fleet/clock.ts'
import type { DeviceState } from '#fleet/device.ts'
import { MOST_SHOWN } from '#registry/registry.ts'
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
import { refused, type Ground } from './ground.ts'

export const deviceContract = (at: Ground): void => {
  const { refusedUnchanged, everything, changesOf } = at

  describe('device states', () => {
    const STATES = ['active', 'suspended', 'revoked', 'retired'] as const
    const reach: Readonly<Record<(typeof STATES)[number], readonly DeviceState[]>> = {
      active: [],
      suspended: ['suspended'],
      revoked: ['revoked'],
      retired: ['retired'],
    }
    const allowed = new Set([
      'active suspended',
      'active revoked',
      'active retired',
      'suspended active',
      'suspended revoked',
      'suspended retired',
      'revoked retired',
    ])
    const to = (id: ReturnType<typeof deviceId>, state: DeviceState, over = {}) =>
      at.registry.setDeviceState({ id, state, reason: 'superseded', now: NOW + 5, actor: ACTOR, ...over })

    it.each(STATES.flatMap((from) => STATES.map((state) => ({ from, state }))))(
      '$from → $state',
      async ({ from, state }) => {
        const { id } = await givenDevice(at.registry)
        for (const step of reach[from]) await to(id, step)
        if (from === state) {
          const before = await everything()
          expect(await to(id, state)).toMatchObject({ state })
          expect(await everything()).toBe(before)
        } else if (allowed.has(`${from} ${state}`)) {
          const { revision } = (await at.registry.findDevice(id)) ?? { revision: 0 }
          const changes = await changesOf(() => to(id, state))
          expect(await at.registry.findDevice(id)).toMatchObject({ state, revision: revision + 1 })
          expect(changes).toEqual([{ kind: 'device', deviceId: id }])
        } else await refusedUnchanged(() => to(id, state), 'conflict')
      },
    )

    it('revocation takes certificates, intended ones too, and bound tokens with it', async () => {
      const device = await givenDevice(at.registry)
      const bound = await givenToken(at.registry, { deviceId: device.id, uses: 2 })
      const unbound = await givenToken(at.registry)
      const intended = reservation({ kind: 'token', id: bound.id }, { deviceId: device.id })
      await at.registry.reserve(intended)
      await to(device.id, 'revoked')
      expect(at.reader.status(device.fingerprint)).toMatchObject({
        certificateState: 'revoked',
        deviceState: 'revoked',
      })
      expect(await at.registry.findToken(bound.id)).toMatchObject({ revokedAt: NOW + 5 })
      expect(await at.registry.findToken(unbound.id)).toMatchObject({ revokedAt: undefined })
      expect(await at.registry.revokedCertificates(ISSUER, 0)).toEqual([
        { serial: device.certificate.serial, revokedAt: NOW + 5, reason: 'superseded' },
        { serial: intended.serial, revokedAt: NOW + 5, reason: 'superseded' },
      ])
      expect((await at.registry.listAudit({ limit: 1_000 })).items.at(-1)).toMatchObject({
        action: 'device.revoked',
        subject: device.id,
        actor: ACTOR,
        details: { reason: 'superseded', certificates: 2, keys: 0, tokens: 1, token_ids: [bound.id] },
      })
    })

    it('names at most 20 of the tokens it made void in the audit, and counts all', async () => {
      const device = await givenDevice(at.registry)
      for (let n = 0; n < 23; n += 1) await givenToken(at.registry, { deviceId: device.id })
      await to(device.id, 'retired', { reason: 'keyCompromise' })
      const details = (await at.registry.listAudit({ limit: 1_000 })).items.at(-1)?.details
      expect(details).toMatchObject({ reason: 'keyCompromise', certificates: 1, keys: 1, tokens: 23 })
      expect(details?.['token_ids']).toHaveLength(20)
    })

    it.each([
      ['revoked', 'revoked'],
      ['retired', 'retired'],
      ['retired', 'revoked'],
    ] as const)(
      'a key found stolen when the device is %s (asked for %s) is never certified again, and the CRL says why',
      async (state, asked) => {
        const device = await givenDevice(at.registry)
        await to(device.id, state)
        const pending = await givenToken(at.registry, { deviceId: device.id })
        const before = (await at.registry.findDevice(device.id))?.revision ?? 0
        const version = await at.registry.revocationVersion(ISSUER)
        const report = () => to(device.id, asked, { reason: 'keyCompromise', now: NOW + 9 })
        const changes = await changesOf(async () =>
          expect(await report()).toMatchObject({ state, revision: before + 1 }),
        )
        expect(changes).toEqual([{ kind: 'device', deviceId: device.id }])
        expect(await at.registry.revokedCertificates(ISSUER, 0)).toEqual([
          { serial: device.certificate.serial, revokedAt: NOW + 5, reason: 'keyCompromise' },
        ])
        expect(await at.registry.revocationVersion(ISSUER)).toBeGreaterThan(version)
        expect(await at.registry.findToken(pending.id)).toMatchObject({ revokedAt: NOW + 9 })
        expect((await at.registry.listAudit({ limit: 1_000 })).items.at(-1)).toMatchObject({
          at: NOW + 9,
          actor: ACTOR,
          action: 'device.key_compromised',
          subject: device.id,
          details: {
            reason: 'keyCompromise',
            certificates: 1,
            keys: 1,
            tokens: 1,
            token_ids: [pending.id],
          },
        })
        const again = await everything()
        expect(await report()).toMatchObject({ state })
        expect(await everything()).toBe(again)
        const { spkiSha256 } = device.reservation
        const { id } = await givenToken(at.registry)
        await refused(
          at.registry.reserve(reservation({ kind: 'token', id }, { spkiSha256 })),
          'key_compromised',
        )
      },
    )

    it('a stolen key that is reported late honours If-Match, and only that reason is news', async () => {
      const { id } = await givenDevice(at.registry)
      await to(id, 'retired')
      await refusedUnchanged(
        () => to(id, 'retired', { reason: 'keyCompromise', ifRevision: 1 }),
        'precondition_failed',
      )
      await refusedUnchanged(() => to(id, 'revoked', { reason: 'privilegeWithdrawn' }), 'conflict')
    })

    it.each(['suspended', 'revoked', 'retired'] as const)(
      'the revocation version of its issuers, and of no other, rises when it is %s',
      async (state) => {
        await givenIssuer(at.registry, 'f6'.repeat(20))
        const { id } = await givenDevice(at.registry)
        const versions = () =>
          Promise.all([ISSUER, 'f6'.repeat(20)].map((ski) => at.registry.revocationVersion(ski)))
        const [ours = 0, other] = await versions()
        await to(id, state)
        expect(await versions()).toEqual([ours + 1, other])
      },
    )

    it('the revocation version stays when a device enrols, renews or is seen, and rises when it is resumed', async () => {
      const { id, fingerprint } = await givenDevice(at.registry)
      const version = await at.registry.revocationVersion(ISSUER)
      const renewal = reservation({ kind: 'renewal', fingerprint, late: false }, { deviceId: id })
      await at.registry.reserve(renewal)
      await recordReserved(at.registry, renewal.serial)
      await givenDevice(at.registry)
      await at.registry.recordSightings([{ fingerprint, at: NOW }], 'cursor', NOW)
      expect(await at.registry.revocationVersion(ISSUER)).toBe(version)
      await to(id, 'suspended')
      await to(id, 'active')
      expect(await at.registry.revocationVersion(ISSUER)).toBe(version + 2)
      await refused(at.registry.revocationVersion('e5'.repeat(20)), 'not_found')
    })

    it('shows the newest 100 certificates of a device, and its CRL lists all', async () => {
      const { id } = await givenDevice(at.registry)
      let serial = ''
      for (let n = 0; n < MOST_SHOWN; n += 1) {
        const token = await givenToken(at.registry, { deviceId: id })
        const asked = reservation({ kind: 'token', id: token.id }, { deviceId: id, notAfter: NOW + HOUR })
        await at.registry.reserve(asked)
        await recordReserved(at.registry, asked.serial)
        if (n % 8 === 7) await to(id, 'revoked')
        serial = asked.serial
      }
      await to(id, 'revoked')
      const shown = await at.registry.certificatesOf(id)
      expect(shown).toHaveLength(MOST_SHOWN)
      expect(shown[0]).toMatchObject({ serial })
      expect(shown[0]).not.toHaveProperty('der')
      expect(await at.registry.revokedCertificates(ISSUER, 0)).toHaveLength(MOST_SHOWN + 1)
    })

    it('retiring a revoked device for keyCompromise says so on the CRL, with the first date', async () => {
      const device = await givenDevice(at.registry)
      await to(device.id, 'revoked')
      await to(device.id, 'retired', { reason: 'keyCompromise', now: NOW + 9 })
      expect(await at.registry.revokedCertificates(ISSUER, 0)).toMatchObject([
        { revokedAt: NOW + 5, reason: 'keyCompromise' },
      ])
      expect(await at.registry.findKey(device.reservation.spkiSha256)).toMatchObject({ compromised: true })
    })

    it('honours If-Match before anything else', async () => {
      const { id } = await givenDevice(at.registry)
      await refusedUnchanged(() => to(id, 'suspended', { ifRevision: 7 }), 'precondition_failed')
      expect(await to(id, 'suspended', { ifRevision: 2 })).toMatchObject({ revision: 3 })
      await refusedUnchanged(() => to(id, 'suspended', { ifRevision: 2 }), 'precondition_failed')
    })

    it('lets one of two that hold the same revision through', async () => {
      const { id } = await givenDevice(at.registry)
      const outcomes = await Promise.allSettled([
        to(id, 'suspended', { ifRevision: 2 }),
        to(id, 'revoked', { ifRevision: 2 }),
      ])
      expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    })

    it('knows no device that was never made', async () => {
      expect(await to(deviceId(), 'revoked')).toBeUndefined()
      expect(await at.registry.findDevice(deviceId())).toBeUndefined()
      expect(await at.registry.certificatesOf(deviceId())).toEqual([])
    })
  })

  describe('sightings', () => {
    it('keep the newest time, skip what is unknown or to come, and move the cursor', async () => {
      const { id, fingerprint } = await givenDevice(at.registry)
      const before = await at.registry.findDevice(id)
      expect(await at.registry.inboxCursor()).toBeUndefined()
      const changes = await changesOf(async () => {
        await at.registry.recordSightings(
          [
            { fingerprint, at: NOW + 3 },
            { fingerprint, at: NOW + 2 },
            { fingerprint, at: NOW + 99 },
            { fingerprint: freshHex(32), at: NOW },
          ],
          'cursor 1',
          NOW + 10,
        )
        await at.registry.recordSightings([{ fingerprint, at: NOW + 1 }], 'cursor 2', NOW + 10)
      })
      expect(changes).toEqual([])
      expect(await at.registry.findDevice(id)).toEqual({ ...before, lastSeenAt: NOW + 3 })
      expect(await at.registry.inboxCursor()).toBe('cursor 2')
    })
  })
}
