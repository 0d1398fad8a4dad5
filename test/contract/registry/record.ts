/** Certificates put on record, and the newest time of all that is. */

import { describe, expect, it } from 'vitest'
import type { Reservation } from '#registry/registry.ts'
import {
  ACTOR,
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

export const recordContract = (at: Ground): void => {
  const { refusedUnchanged, everything, actions, changesOf } = at

  describe('recordCertificate', () => {
    const reserved = async (): Promise<Reservation> => {
      await givenIssuer(at.registry)
      const token = await givenToken(at.registry)
      const asked = reservation({ kind: 'token', id: token.id })
      await at.registry.reserve(asked)
      return asked
    }

    it('makes it live, with its bytes, its audit entry and the dates of its device, and tells no door', async () => {
      const asked = await reserved()
      const fingerprint = freshHex(32)
      expect(at.reader.status(fingerprint)).toBeUndefined()
      const changes = await changesOf(() =>
        at.registry.recordCertificate(asked.serial, fingerprint, Buffer.from('der'), NOW, 'system'),
      )
      expect(changes).toEqual([])
      expect(at.reader.status(fingerprint)).toEqual({
        serial: asked.serial,
        deviceId: asked.deviceId,
        certificateState: 'live',
        notBefore: asked.notBefore,
        notAfter: asked.notAfter,
        deviceState: 'active',
        group: 'default',
        tags: {},
        issuerSki: ISSUER,
        issuerState: 'active',
        renewAt: asked.renewAt,
        cloneSuspected: false,
      })
      const [certificate] = await at.registry.certificatesOf(asked.deviceId)
      expect(certificate).toMatchObject({ state: 'live', fingerprint })
      const { certificate: again } = await at.registry.reserve(asked)
      expect(Buffer.from(again.der ?? [])).toEqual(Buffer.from('der'))
      // what is shown of the device has changed, so its ETag has
      expect(await at.registry.findDevice(asked.deviceId)).toMatchObject({
        revision: 2,
        renewAt: asked.renewAt,
        expiresAt: asked.notAfter,
      })
      expect((await actions()).at(-1)).toBe('certificate.issued')
    })

    it('keeps what the first writer recorded', async () => {
      const asked = await reserved()
      const first = await recordReserved(at.registry, asked.serial)
      const before = await everything()
      expect(await recordReserved(at.registry, asked.serial)).toEqual(first)
      expect(await everything()).toBe(before)
    })

    it.each(['suspended', 'revoked', 'retired'] as const)(
      'refuses when the device has been %s since the reservation',
      async (state) => {
        const asked = await reserved()
        await at.registry.setDeviceState({
          id: asked.deviceId,
          state,
          reason: 'unspecified',
          now: NOW,
          actor: ACTOR,
        })
        await refusedUnchanged(() => recordReserved(at.registry, asked.serial), 'certificate_revoked')
      },
    )

    it('can be made up for once a suspended device is resumed', async () => {
      const asked = await reserved()
      for (const state of ['suspended', 'active'] as const)
        await at.registry.setDeviceState({
          id: asked.deviceId,
          state,
          reason: 'unspecified',
          now: NOW,
          actor: ACTOR,
        })
      expect(await at.registry.reserve({ ...asked, serial: freshHex(16) })).toMatchObject({
        kind: 'reserved',
        certificate: { serial: asked.serial },
      })
      expect(await recordReserved(at.registry, asked.serial)).toMatchObject({ state: 'live' })
    })

    it('refuses a serial that was never reserved', async () => {
      await givenIssuer(at.registry)
      await refusedUnchanged(() => recordReserved(at.registry, freshHex(16)), 'not_found')
    })
  })

  it('newestRecordedTime follows every issuance, revocation and audit entry', async () => {
    expect(await at.registry.newestRecordedTime()).toBe(0)
    const device = await givenDevice(at.registry)
    expect(await at.registry.newestRecordedTime()).toBe(NOW)
    await at.registry.setDeviceState({
      id: device.id,
      state: 'revoked',
      reason: 'unspecified',
      now: NOW + 9,
      actor: ACTOR,
    })
    expect(await at.registry.newestRecordedTime()).toBe(NOW + 9)
    await givenToken(at.registry)
    expect(await at.registry.newestRecordedTime()).toBe(NOW + 9)
  })
}
