/** Issuers, and what their CRLs are made of. */

import { describe, expect, it } from 'vitest'
import { HOUR } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { DeviceState } from '#fleet/device.ts'
import { ACTOR, givenDevice, givenIssuer, ISSUER, NOW } from '../../support/registry.ts'
import type { Ground } from './ground.ts'

export const issuerContract = (at: Ground): void => {
  const { refusedUnchanged, everything, changesOf } = at

  describe('issuers and CRLs', () => {
    it('registers an issuer once, as it was first given', async () => {
      const changes = await changesOf(() => givenIssuer(at.registry))
      expect(changes).toEqual([{ kind: 'issuer', ski: ISSUER }])
      const before = await everything()
      const renewed = { ski: ISSUER, der: Buffer.from('another'), spkiSha256: `key of ${ISSUER}` }
      expect(await at.registry.registerIssuer(renewed, NOW + 1)).toMatchObject({
        ski: ISSUER,
        state: 'active',
        der: Buffer.from(`issuer ${ISSUER}`),
      })
      expect(await everything()).toBe(before)
      expect(await at.reader.issuers()).toHaveLength(1)
      await refusedUnchanged(
        () => at.registry.registerIssuer({ ...renewed, spkiSha256: 'another key' }, NOW + 1),
        'conflict',
      )
    })

    it('takes a certificate that was made anew, in the place of the one it was compared with, and of no other', async () => {
      await givenIssuer(at.registry)
      const [old, anew] = [Buffer.from(`issuer ${ISSUER}`), Buffer.from('anew')]
      const renewed = { ski: ISSUER, der: anew, spkiSha256: `key of ${ISSUER}` }
      const version = await at.registry.trustVersion('chain')
      const unchanged = await everything()
      await at.registry.registerIssuer({ ...renewed, replaces: Buffer.from('another') }, NOW + 1)
      expect(await everything()).toBe(unchanged)
      const changes = await changesOf(async () => {
        expect(await at.registry.registerIssuer({ ...renewed, replaces: old }, NOW + 1)).toMatchObject({
          der: anew,
          state: 'active',
        })
      })
      // the doors judge by it, and whoever has fetched the chain has not got it
      expect(changes).toEqual([{ kind: 'issuer', ski: ISSUER }])
      expect(await at.registry.trustVersion('chain')).toBe(version + 1)
      expect((await at.reader.issuers()).map(({ der }) => Buffer.from(der))).toEqual([anew])
      await refusedUnchanged(
        () =>
          at.registry.registerIssuer(
            { ...renewed, der: old, replaces: anew, spkiSha256: 'another key' },
            NOW + 1,
          ),
        'conflict',
      )
    })

    it('lists revoked ones of this issuer, held ones as certificateHold, until one CRL past expiry', async () => {
      const revoke = (id: DeviceId, state: DeviceState, now: number) =>
        at.registry.setDeviceState({ id, state, reason: 'keyCompromise', now, actor: ACTOR })
      const revokedOne = await givenDevice(at.registry)
      const held = await givenDevice(at.registry)
      const expired = await givenDevice(at.registry, { notAfter: NOW + HOUR })
      const elsewhere = await givenDevice(at.registry, { issuerSki: 'd4'.repeat(20) })
      await givenDevice(at.registry)
      await revoke(revokedOne.id, 'revoked', NOW + 1)
      await revoke(held.id, 'suspended', NOW + 2)
      await revoke(expired.id, 'revoked', NOW + 3)
      await revoke(elsewhere.id, 'revoked', NOW + 4)
      const entries = async (from: number) =>
        (await at.registry.revokedCertificates(ISSUER, from)).toSorted((a, b) => a.revokedAt - b.revokedAt)
      const first = { serial: revokedOne.certificate.serial, revokedAt: NOW + 1, reason: 'keyCompromise' }
      const second = { serial: held.certificate.serial, revokedAt: NOW + 2, reason: 'certificateHold' }
      const third = { serial: expired.certificate.serial, revokedAt: NOW + 3, reason: 'keyCompromise' }
      expect(await entries(NOW + HOUR)).toEqual([first, second, third])
      expect(await entries(NOW + HOUR + 1)).toEqual([first, second])
      await revoke(held.id, 'active', NOW + 5)
      expect(await entries(NOW + HOUR + 1)).toEqual([first])
    })

    it('CRL numbers only rise: with the clock, faster than the clock, and when it goes back', async () => {
      await givenIssuer(at.registry)
      const seconds = BigInt(NOW / 1_000)
      expect(await at.registry.takeCrlNumber(ISSUER, NOW)).toBe(seconds)
      expect(await at.registry.takeCrlNumber(ISSUER, NOW)).toBe(seconds + 1n)
      expect(await at.registry.takeCrlNumber(ISSUER, NOW + 60_999)).toBe(seconds + 60n)
      expect(await at.registry.takeCrlNumber(ISSUER, 0)).toBe(seconds + 61n)
      const many = await Promise.all(Array.from({ length: 20 }, () => at.registry.takeCrlNumber(ISSUER, 0)))
      expect(new Set(many).size).toBe(20)
      await refusedUnchanged(() => at.registry.takeCrlNumber('e5'.repeat(20), NOW), 'not_found')
      // somebody else has used some, and one that no registry can hold
      const last = await at.registry.takeCrlNumber(ISSUER, NOW, seconds + 5_000n)
      expect(last).toBe(seconds + 5_001n)
      expect(await at.registry.takeCrlNumber(ISSUER, NOW, seconds)).toBe(last + 1n)
      expect(await at.registry.takeCrlNumber(ISSUER, NOW, 10n ** 40n)).toBe(last + 2n)
    })

    it('says when CRLs were made: the last one, and the first from a time on; a number that was not signed is none', async () => {
      await givenIssuer(at.registry)
      expect(await at.registry.lastCrlAt(ISSUER)).toBeUndefined()
      expect(await at.registry.firstCrlFrom(ISSUER, 0)).toBeUndefined()
      const make = async (time: number) =>
        at.registry.recordCrl(ISSUER, await at.registry.takeCrlNumber(ISSUER, time))
      for (const time of [NOW, NOW + 500, NOW + 60_000]) {
        await make(time)
        await at.registry.takeCrlNumber(ISSUER, time + 100)
      }
      expect(await at.registry.lastCrlAt(ISSUER)).toBe(NOW + 60_000)
      const first = (time: number) => at.registry.firstCrlFrom(ISSUER, time)
      expect(await Promise.all([0, NOW, NOW + 1, NOW + 501, NOW + 60_001].map(first))).toEqual([
        NOW,
        NOW,
        NOW + 500,
        NOW + 60_000,
        undefined,
      ])
      // of a clock that was set back
      await make(NOW + 1_000)
      expect(await at.registry.lastCrlAt(ISSUER)).toBe(NOW + 1_000)
      expect(await at.registry.lastCrlAt('e5'.repeat(20))).toBeUndefined()
    })

    it('says when the last certificate of an issuer ends', async () => {
      await givenIssuer(at.registry)
      expect(await at.registry.lastExpiry(ISSUER)).toBeUndefined()
      const { certificate } = await givenDevice(at.registry)
      expect(await at.registry.lastExpiry(ISSUER)).toBe(certificate.notAfter)
    })

    it('keeps the first status URL, and another one only when told to replace it', async () => {
      await givenIssuer(at.registry)
      const keep = { issuerSki: ISSUER, url: 'http://a.test', replace: false, now: NOW, actor: ACTOR }
      expect(await at.registry.keepStatusUrl(keep)).toBe('http://a.test')
      expect(await at.registry.keepStatusUrl({ ...keep, url: 'http://b.test' })).toBe('http://a.test')
      expect(await at.registry.keepStatusUrl({ ...keep, url: 'http://b.test', replace: true })).toBe(
        'http://b.test',
      )
      expect(await at.registry.keepStatusUrl(keep)).toBe('http://b.test')
      expect(await at.registry.statusUrls(ISSUER)).toEqual(['http://a.test', 'http://b.test'])
      await at.registry.keepStatusUrl({ ...keep, replace: true })
      expect(await at.registry.statusUrls(ISSUER)).toEqual(['http://a.test', 'http://b.test'])
      expect(await at.registry.statusUrls('e5'.repeat(20))).toEqual([])
      const { items } = await at.registry.listAudit({ limit: 100 })
      expect(
        items.filter(({ action }) => action === 'issuer.status_url').map(({ details }) => details),
      ).toEqual([
        { before: null, after: 'http://a.test' },
        { before: 'http://a.test', after: 'http://b.test' },
        { before: 'http://b.test', after: 'http://a.test' },
      ])
      await refusedUnchanged(
        () => at.registry.keepStatusUrl({ ...keep, issuerSki: 'e5'.repeat(20) }),
        'not_found',
      )
    })
  })
}
