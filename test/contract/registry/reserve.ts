/** Reservations by tokens and certificates: what they write, what they refuse, what is repeated. Kinds, limits and places: reserve-kinds.ts. */

import { describe, expect, it } from 'vitest'
import { INTENDED_FOR } from '#fleet/certificate.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { ErrorCode } from '#fleet/errors.ts'
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
  reservation,
} from '../../support/registry.ts'
import { refused, type Ground } from './ground.ts'

export const reserveContract = (at: Ground): void => {
  const { refusedUnchanged, actions, changesOf } = at

  describe('reserve', () => {
    it('makes the device, takes the serial, spends the token and writes what is meant', async () => {
      await givenIssuer(at.registry)
      const token = await givenToken(at.registry)
      const asked = reservation({ kind: 'token', id: token.id }, { deviceId: deviceId('cam-1') })
      const reserved = await at.registry.reserve(asked)
      expect(reserved).toEqual({
        kind: 'reserved',
        certificate: {
          serial: asked.serial,
          deviceId: 'cam-1',
          issuerSki: ISSUER,
          spkiSha256: asked.spkiSha256,
          state: 'intended',
          notBefore: asked.notBefore,
          notAfter: asked.notAfter,
          renewAt: asked.renewAt,
          pendingUntil: asked.pendingUntil,
        },
      })
      expect(await at.registry.findToken(token.id)).toMatchObject({ used: 1 })
      expect(await at.registry.findDevice(deviceId('cam-1'))).toEqual({
        id: 'cam-1',
        state: 'active',
        group: 'default',
        tags: {},
        createdAt: NOW,
        revision: 1,
      })
      expect(await at.registry.findKey(asked.spkiSha256)).toEqual({ deviceId: 'cam-1', compromised: false })
      expect(await at.registry.findUse({ kind: 'token', id: token.id }, asked.spkiSha256)).toMatchObject({
        serial: asked.serial,
      })
      expect(await at.registry.findUse({ kind: 'token', id: token.id }, freshHex(32))).toBeUndefined()
      expect(await at.registry.findKey(freshHex(32))).toBeUndefined()
      expect(await at.registry.certificatesOf(deviceId('cam-1'))).toEqual([])
      // the intended row is its own note until it is issued
      expect((await actions()).slice(-1)).toEqual(['device.created'])
      expect(await at.registry.newestRecordedTime()).toBe(NOW)
    })

    it('makes the device in the group, with its tags, and keeps what its certificate is to say', async () => {
      await givenIssuer(at.registry)
      await givenGroup(at.registry, 'pumps')
      const token = await givenToken(at.registry)
      const extras = { organization: 'Pumps Ltd', dnsNames: ['p1.test'] }
      const asked = byToken(token.id, { group: 'pumps', tags: { site: 'north' }, extras })
      await at.registry.reserve(asked)
      expect(await at.registry.findDevice(asked.deviceId)).toMatchObject({
        group: 'pumps',
        tags: { site: 'north' },
      })
      // whoever completes it signs the same
      const again = { ...asked, serial: freshHex(16), extras: { organization: 'Others' } }
      expect((await at.registry.reserve(again)).certificate).toMatchObject({ extras })
      expect(await recordReserved(at.registry, asked.serial)).toMatchObject({ extras })
      expect(await at.registry.findDevice(asked.deviceId)).toMatchObject({ group: 'pumps' })
    })

    it('gives the same row to the same token and key, with the first serial and dates, and spends nothing', async () => {
      await givenIssuer(at.registry)
      const token = await givenToken(at.registry)
      const asked = reservation({ kind: 'token', id: token.id })
      const first = await at.registry.reserve(asked)
      const again = {
        ...asked,
        serial: freshHex(16),
        notBefore: NOW + 5,
        notAfter: NOW + DAY,
        now: NOW + 5,
      }
      expect(await at.registry.reserve(again)).toEqual(first)
      expect(await at.registry.findToken(token.id)).toMatchObject({ used: 1 })
      const live = await recordReserved(at.registry, asked.serial)
      expect(await at.registry.reserve(again)).toEqual({ kind: 'already', certificate: live })
    })

    type Case = {
      readonly title: string
      readonly code: ErrorCode
      /** @returns what is asked, on top of a token and a device of its own */
      readonly given: (device: Awaited<ReturnType<typeof givenDevice>>) => Promise<Reservation>
    }
    const byToken = (id: string, over: Partial<Reservation> = {}): Reservation =>
      reservation({ kind: 'token', id }, over)
    const moved = async (
      device: { id: ReturnType<typeof deviceId> },
      state: DeviceState,
      reason = 'unspecified',
    ) => at.registry.setDeviceState({ id: device.id, state, reason: reason as never, now: NOW, actor: ACTOR })

    const cases: readonly Case[] = [
      { title: 'no such token', code: 'token_invalid', given: async () => byToken('nobody') },
      {
        title: 'a token at the instant it expires',
        code: 'token_expired',
        given: async () => byToken((await givenToken(at.registry)).id, { now: NOW + HOUR }),
      },
      {
        title: 'a revoked token',
        code: 'token_revoked',
        given: async () => {
          const { id } = await givenToken(at.registry)
          await at.registry.revokeToken(id, NOW, ACTOR)
          return byToken(id)
        },
      },
      {
        title: 'a spent token with another key',
        code: 'token_spent',
        given: async ({ token }) => byToken(token.id),
      },
      {
        title: 'a revoked token with the key it was used with',
        code: 'token_revoked',
        given: async ({ token, reservation: asked }) => {
          await at.registry.revokeToken(token.id, NOW, ACTOR)
          return asked
        },
      },
      {
        title: 'an expired token with the key it was used with',
        code: 'token_expired',
        given: async ({ reservation: asked }) => ({ ...asked, now: NOW + HOUR }),
      },
      {
        title: 'a token bound to another id',
        code: 'device_id_mismatch',
        given: async () => byToken((await givenToken(at.registry, { deviceId: deviceId('bound') })).id),
      },
      {
        title: 'a used token and key for another id',
        code: 'device_id_mismatch',
        given: async ({ reservation: asked }) => ({ ...asked, deviceId: deviceId() }),
      },
      {
        title: 'an unbound token for an id that exists',
        code: 'device_exists',
        given: async ({ id }) => byToken((await givenToken(at.registry)).id, { deviceId: id }),
      },
      {
        title: 'an unbound token for the id of its own device, with another key',
        code: 'device_exists',
        given: async () => {
          const { id } = await givenToken(at.registry, { uses: 2 })
          const first = byToken(id)
          await at.registry.reserve(first)
          return byToken(id, { deviceId: first.deviceId })
        },
      },
      {
        title: 'an id that differs only in case',
        code: 'device_exists',
        given: async ({ id }) =>
          byToken((await givenToken(at.registry)).id, { deviceId: deviceId(id.toUpperCase()) }),
      },
      {
        title: 'an id that differs only in case, by a token bound to it',
        code: 'device_exists',
        given: async ({ id }) => {
          const upper = deviceId(id.toUpperCase())
          return byToken((await givenToken(at.registry, { deviceId: upper })).id, { deviceId: upper })
        },
      },
      {
        title: 'a suspended device',
        code: 'device_suspended',
        given: async (device) => {
          await moved(device, 'suspended')
          return byToken((await givenToken(at.registry, { deviceId: device.id })).id, { deviceId: device.id })
        },
      },
      {
        title: 'a suspended device that asks again',
        code: 'device_suspended',
        given: async (device) => {
          await moved(device, 'suspended')
          return device.reservation
        },
      },
      ...(['suspended', 'retired', 'revoked'] as const).map((state) => ({
        title: `an unbound token for a device that is ${state}`,
        code: `device_${state}` as const,
        given: async (device: Awaited<ReturnType<typeof givenDevice>>) => {
          await moved(device, state)
          return byToken((await givenToken(at.registry)).id, { deviceId: device.id })
        },
      })),
      {
        title: 'a retired device',
        code: 'device_retired',
        given: async (device) => {
          await moved(device, 'retired')
          return byToken((await givenToken(at.registry, { deviceId: device.id })).id, { deviceId: device.id })
        },
      },
      {
        title: 'a revoked device that asks again with its old unbound token',
        code: 'device_revoked',
        given: async (device) => {
          await moved(device, 'revoked')
          return device.reservation
        },
      },
      {
        title: "another device's key",
        code: 'key_in_use',
        given: async ({ reservation: { spkiSha256 } }) =>
          byToken((await givenToken(at.registry)).id, { spkiSha256 }),
      },
      {
        title: 'a key reported compromised, for the device that comes back',
        code: 'key_compromised',
        given: async (device) => {
          await moved(device, 'revoked', 'keyCompromise')
          const { spkiSha256 } = device.reservation
          const { id } = await givenToken(at.registry, { deviceId: device.id })
          return byToken(id, { deviceId: device.id, spkiSha256 })
        },
      },
      {
        title: 'a key reported compromised, for another device',
        code: 'key_compromised',
        given: async (device) => {
          await moved(device, 'retired', 'keyCompromise')
          return byToken((await givenToken(at.registry)).id, { spkiSha256: device.reservation.spkiSha256 })
        },
      },
      {
        title: 'a serial that is taken',
        code: 'conflict',
        given: async ({ reservation: { serial } }) => byToken((await givenToken(at.registry)).id, { serial }),
      },
      {
        title: 'an issuer that is not on record',
        code: 'issuer_unusable',
        given: async () => byToken((await givenToken(at.registry)).id, { issuerSki: 'b2'.repeat(20) }),
      },
      {
        title: 'renewal by a certificate that is not on record',
        code: 'certificate_unknown',
        given: async ({ id }) =>
          reservation({ kind: 'renewal', fingerprint: freshHex(32), late: false }, { deviceId: id }),
      },
      {
        title: "renewal by another device's certificate",
        code: 'device_id_mismatch',
        given: async ({ fingerprint }) => reservation({ kind: 'renewal', fingerprint, late: false }),
      },
      {
        title: 'renewal of a suspended device',
        code: 'device_suspended',
        given: async (device) => {
          await moved(device, 'suspended')
          return reservation(
            { kind: 'renewal', fingerprint: device.fingerprint, late: false },
            { deviceId: device.id },
          )
        },
      },
      {
        title: 'renewal of a revoked device',
        code: 'device_revoked',
        given: async (device) => {
          await moved(device, 'revoked')
          return reservation(
            { kind: 'renewal', fingerprint: device.fingerprint, late: false },
            { deviceId: device.id },
          )
        },
      },
      {
        title: 'renewal by a certificate from before the revocation, after the device came back',
        code: 'certificate_revoked',
        given: async (device) => {
          await moved(device, 'revoked')
          const token = await givenToken(at.registry, { deviceId: device.id })
          await at.registry.reserve(byToken(token.id, { deviceId: device.id }))
          return reservation(
            { kind: 'renewal', fingerprint: device.fingerprint, late: false },
            { deviceId: device.id },
          )
        },
      },
      {
        title: "renewal with another device's key",
        code: 'key_in_use',
        given: async ({ id, fingerprint }) => {
          const other = await givenDevice(at.registry)
          const { spkiSha256 } = other.reservation
          return reservation({ kind: 'renewal', fingerprint, late: false }, { deviceId: id, spkiSha256 })
        },
      },
      {
        title: 'an old use whose certificate was revoked, after the device came back',
        code: 'certificate_revoked',
        given: async (device) => {
          await moved(device, 'revoked')
          const token = await givenToken(at.registry, { deviceId: device.id })
          await at.registry.reserve(byToken(token.id, { deviceId: device.id }))
          return device.reservation
        },
      },
    ]
    it.each(cases)('refuses $title: $code, and nothing has changed', async ({ given, code }) => {
      const device = await givenDevice(at.registry)
      const asked = await given(device)
      const before =
        asked.credential.kind === 'token' ? await at.registry.findToken(asked.credential.id) : undefined
      await refusedUnchanged(() => at.registry.reserve(asked), code)
      if (asked.credential.kind === 'token')
        expect(await at.registry.findToken(asked.credential.id)).toEqual(before)
    })

    it('brings a revoked device back by a new token bound to its id, its old certificates stay revoked', async () => {
      const device = await givenDevice(at.registry)
      await moved(device, 'revoked')
      const token = await givenToken(at.registry, { deviceId: device.id })
      const changes = await changesOf(() =>
        at.registry.reserve(
          byToken(token.id, { deviceId: device.id, spkiSha256: device.reservation.spkiSha256 }),
        ),
      )
      expect(changes).toEqual([{ kind: 'device', deviceId: device.id }])
      expect(await at.registry.findDevice(device.id)).toMatchObject({ state: 'active', revision: 4 })
      expect(at.reader.status(device.fingerprint)).toMatchObject({
        certificateState: 'revoked',
        deviceState: 'active',
      })
      expect(await actions()).toContain('device.reactivated')
    })

    it('re-enrols an active device by a bound token, with the same key or another', async () => {
      const device = await givenDevice(at.registry)
      const token = await givenToken(at.registry, { deviceId: device.id, uses: 2 })
      const { spkiSha256 } = device.reservation
      expect(await at.registry.reserve(byToken(token.id, { deviceId: device.id, spkiSha256 }))).toMatchObject(
        {
          kind: 'reserved',
        },
      )
      expect(await at.registry.reserve(byToken(token.id, { deviceId: device.id }))).toMatchObject({
        kind: 'reserved',
      })
      expect(await at.registry.findToken(token.id)).toMatchObject({ used: 2 })
    })

    it('renews: the same certificate and key ask for the same successor', async () => {
      const device = await givenDevice(at.registry)
      const asked = reservation(
        { kind: 'renewal', fingerprint: device.fingerprint, late: false },
        { deviceId: device.id, spkiSha256: device.reservation.spkiSha256 },
      )
      const first = await at.registry.reserve(asked)
      expect(await at.registry.reserve({ ...asked, serial: freshHex(16) })).toEqual(first)
      const live = await recordReserved(at.registry, asked.serial)
      expect(await at.registry.reserve({ ...asked, serial: freshHex(16) })).toEqual({
        kind: 'already',
        certificate: live,
      })
      const other = await at.registry.reserve({ ...asked, serial: freshHex(16), spkiSha256: freshHex(32) })
      expect(other.certificate.serial).not.toBe(asked.serial)
      expect((await at.registry.certificatesOf(device.id)).map(({ serial }) => serial)).toEqual([
        asked.serial,
        device.certificate.serial,
      ])
    })

    it.each([
      ['its issuer no longer signs', { issuerSki: 'c3'.repeat(20) }],
      ['its dates are over', { now: NOW + 50 * MINUTE, notAfter: NOW + 2 * HOUR }],
      [
        'it would outlive what stands above the issuer',
        { notAfter: NOW + 30 * MINUTE, issuerNotAfter: NOW + 30 * MINUTE },
      ],
    ])('closes an intended row when %s, and reserves another for the same use', async (_why, later) => {
      await givenIssuer(at.registry)
      await givenIssuer(at.registry, 'c3'.repeat(20))
      const token = await givenToken(at.registry)
      const asked = byToken(token.id, { notAfter: NOW + 40 * MINUTE })
      await at.registry.reserve(asked)
      const version = await at.registry.revocationVersion(ISSUER)
      const again = { ...asked, serial: freshHex(16), ...later }
      expect(await at.registry.reserve(again)).toMatchObject({
        kind: 'reserved',
        certificate: { serial: again.serial, issuerSki: again.issuerSki, notAfter: again.notAfter },
      })
      expect(await at.registry.findToken(token.id)).toMatchObject({ used: 1 })
      // it may have been signed, and lost
      expect(await at.registry.revocationVersion(ISSUER)).toBeGreaterThan(version)
      expect(await at.registry.revokedCertificates(ISSUER, 0)).toEqual([
        { serial: asked.serial, revokedAt: again.now, reason: 'superseded' },
      ])
      await refused(recordReserved(at.registry, asked.serial), 'certificate_revoked')
      expect(await at.registry.findUse({ kind: 'token', id: token.id }, asked.spkiSha256)).toMatchObject({
        serial: again.serial,
      })
    })

    it('closes an intended row that began longer ago than a signer signs, and reserves another', async () => {
      await givenIssuer(at.registry)
      const token = await givenToken(at.registry, { expiresAt: NOW + 100 * DAY })
      const asked = byToken(token.id, { notAfter: NOW + 90 * DAY })
      await at.registry.reserve(asked)
      const at30 = { ...asked, serial: freshHex(16), now: asked.notBefore + INTENDED_FOR }
      expect((await at.registry.reserve(at30)).certificate.serial).toBe(asked.serial)
      const later = { ...at30, now: at30.now + 1, notBefore: at30.now, notAfter: at30.now + 90 * DAY }
      expect(await at.registry.reserve(later)).toMatchObject({
        kind: 'reserved',
        certificate: { serial: later.serial, notBefore: later.notBefore },
      })
      expect(await at.registry.findToken(token.id)).toMatchObject({ used: 1 })
      expect(await at.registry.revokedCertificates(ISSUER, 0)).toMatchObject([{ serial: asked.serial }])
    })

    it('remembers the life that was granted, not the one that an expiring issuer left', async () => {
      const device = await givenDevice(at.registry, { notAfter: NOW + HOUR, ttl: 30 * DAY })
      expect(await at.registry.grantedTtl(device.fingerprint)).toBe(30 * DAY)
      expect(await at.registry.grantedTtl(freshHex(32))).toBeUndefined()
    })

    it('lets one of 50 keys have a token of one use, the others find it spent', async () => {
      await givenIssuer(at.registry)
      const token = await givenToken(at.registry)
      const outcomes = await Promise.allSettled(
        Array.from({ length: 50 }, () => at.registry.reserve(byToken(token.id))),
      )
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'token_spent' })
      expect(await at.registry.findToken(token.id)).toMatchObject({ used: 1 })
      expect((await at.registry.listDevices({ now: NOW, limit: 100 })).items).toHaveLength(1)
    })

    it('gives 50 requests with one token and one key the same row, and their signatures one winner', async () => {
      await givenIssuer(at.registry)
      const token = await givenToken(at.registry)
      const asked = byToken(token.id)
      const rows = await Promise.all(
        Array.from({ length: 50 }, () => at.registry.reserve({ ...asked, serial: freshHex(16) })),
      )
      expect(new Set(rows.map((row) => JSON.stringify(row))).size).toBe(1)
      const serial = rows[0]?.certificate.serial as string
      const records = await Promise.all(rows.map(() => recordReserved(at.registry, serial)))
      expect(new Set(records.map(({ fingerprint }) => fingerprint)).size).toBe(1)
      expect(await at.registry.findToken(token.id)).toMatchObject({ used: 1 })
    })

    it('lets one of 50 tokens make an id, whatever the case of its letters', async () => {
      await givenIssuer(at.registry)
      const tokens = await Promise.all(Array.from({ length: 50 }, () => givenToken(at.registry)))
      const outcomes = await Promise.allSettled(
        tokens.map(({ id }, n) =>
          at.registry.reserve(byToken(id, { deviceId: deviceId(n % 2 === 0 ? 'Camera' : 'cAMERA') })),
        ),
      )
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    })
  })
}
