/**
 * What every registry must do about single certificates, groups that are revoked, OCSP, and what a CRL lists. A part of the registry
 * contract, in a file of its own.
 */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { Registry, RegistryReader } from '#registry/registry.ts'
import { CRL_NUMBER_LEAD } from '#registry/revocations.ts'
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
} from '../support/registry.ts'
import type { Built } from './registry.ts'

const OTHER_ISSUER = 'b2'.repeat(20)

export const revocationContract = (name: string, build: () => Promise<Built>): void => {
  describe(`registry contract: ${name}: revocations`, () => {
    let built: Built
    let registry: Registry
    let reader: RegistryReader

    beforeEach(async () => {
      built = await build()
      ;({ registry, reader } = built)
      await givenIssuer(registry)
    })
    afterEach(() => built[Symbol.asyncDispose]())

    const set = (id: DeviceId, state: DeviceState, reason: RevocationReason = 'unspecified', now = NOW + 5) =>
      registry.setDeviceState({ id, state, reason, now, actor: ACTOR })
    const revoke = (serial: string, reason: RevocationReason, now = NOW + 7) =>
      registry.revokeCertificate(serial, reason, now, ACTOR)
    const status = (serial: string, ski = ISSUER) => registry.serialStatus(ski, serial)
    const actions = async () => (await registry.listAudit({ limit: 1_000 })).items.map(({ action }) => action)
    const crl = async () =>
      Object.fromEntries(
        (await registry.revokedCertificates(ISSUER, NOW)).map(({ serial, ...entry }) => [serial, entry]),
      )
    const intend = async (id = deviceId()) => {
      const token = await givenToken(registry)
      const asked = reservation({ kind: 'token', id: token.id }, { deviceId: id })
      await registry.reserve(asked)
      return asked
    }

    describe('serialStatus', () => {
      it('says what a CRL of the moment would say', async () => {
        const { id, certificate } = await givenDevice(registry)
        const { serial } = certificate
        expect(status(serial)).toEqual({ status: 'good' })
        await set(id, 'suspended', 'certificateHold')
        const held = { revokedAt: NOW + 5, reason: 'certificateHold' }
        expect(status(serial)).toEqual({ status: 'revoked', ...held })
        expect(await crl()).toEqual({ [serial]: held })
        await set(id, 'active')
        expect(status(serial)).toEqual({ status: 'good' })
        expect(await crl()).toEqual({})
        await set(id, 'revoked', 'superseded', NOW + 9)
        const revoked = { revokedAt: NOW + 9, reason: 'superseded' }
        expect(status(serial)).toEqual({ status: 'revoked', ...revoked })
        expect(await crl()).toEqual({ [serial]: revoked })
      })

      it('knows nobody that is not on record, only intended, or of another issuer', async () => {
        await givenIssuer(registry, OTHER_ISSUER)
        const { certificate } = await givenDevice(registry)
        const { serial } = await intend()
        expect(status(freshHex(16))).toEqual({ status: 'unknown' })
        expect(status(serial)).toEqual({ status: 'unknown' })
        expect(status(certificate.serial, OTHER_ISSUER)).toEqual({ status: 'unknown' })
        expect(status(certificate.serial, 'nobody')).toEqual({ status: 'unknown' })
      })

      it('what was revoked while it was only intended is revoked: it may have been signed', async () => {
        const { serial, deviceId: id } = await intend()
        await set(id, 'revoked', 'cessationOfOperation')
        expect(status(serial)).toMatchObject({ status: 'revoked', reason: 'cessationOfOperation' })
        expect(await crl()).toHaveProperty(serial)
      })
    })

    describe('of a revoked issuer', () => {
      const end = (reason: 'cACompromise' | 'superseded', now = NOW + 20) =>
        registry.moveIssuer({ ski: ISSUER, from: ['active'], to: 'revoked', reason, now, actor: ACTOR })

      it.each(['cACompromise', 'superseded'] as const)(
        'every serial is revoked (%s), also one that is on no record, or on hold',
        async (reason) => {
          const [good, held] = [await givenDevice(registry), await givenDevice(registry)]
          await set(held.id, 'suspended', 'certificateHold')
          const { serial } = await intend()
          await end(reason)
          const said = { status: 'revoked', revokedAt: NOW + 20, reason }
          for (const each of [good.certificate.serial, held.certificate.serial, serial, freshHex(16), 'ff'])
            expect(status(each)).toEqual(said)
          await givenIssuer(registry, OTHER_ISSUER)
          expect(status(good.certificate.serial, OTHER_ISSUER)).toEqual({ status: 'unknown' })
        },
      )

      it('what was revoked before keeps its date and its reason', async () => {
        const { certificate } = await givenDevice(registry)
        await revoke(certificate.serial, 'keyCompromise')
        await end('cACompromise')
        expect(status(certificate.serial)).toEqual({
          status: 'revoked',
          revokedAt: NOW + 7,
          reason: 'keyCompromise',
        })
      })

      it('a retired one goes on saying what is true', async () => {
        const { certificate } = await givenDevice(registry)
        await registry.moveIssuer({ ski: ISSUER, from: ['active'], to: 'retired', now: NOW, actor: ACTOR })
        expect(status(certificate.serial)).toEqual({ status: 'good' })
        await revoke(certificate.serial, 'superseded')
        expect(status(certificate.serial)).toMatchObject({ status: 'revoked', reason: 'superseded' })
        expect(await crl()).toHaveProperty(certificate.serial)
      })
    })

    describe('revokeSerial', () => {
      const rogue = (over: Partial<Parameters<Registry['revokeSerial']>[0]> = {}) =>
        ({
          issuerSki: ISSUER,
          serial: freshHex(16),
          notAfter: NOW + DAY,
          reason: 'unspecified',
          now: NOW + 3,
          actor: ACTOR,
          ...over,
        }) as const

      it('of any form: it stands on the CRL until its end, and OCSP says so, of this issuer alone', async () => {
        await givenIssuer(registry, OTHER_ISSUER)
        const version = await registry.revocationVersion(ISSUER)
        const cursor = await reader.cursor()
        const serials = ['00', '7f', '00ff', freshHex(16), 'ab'.repeat(32)]
        for (const serial of serials) {
          const kept = {
            issuerSki: ISSUER,
            serial,
            notAfter: NOW + DAY,
            revokedAt: NOW + 3,
            reason: 'unspecified',
          }
          expect(await registry.revokeSerial(rogue({ serial }))).toEqual(kept)
          expect(status(serial)).toEqual({ status: 'revoked', revokedAt: NOW + 3, reason: 'unspecified' })
          expect(status(serial, OTHER_ISSUER)).toEqual({ status: 'unknown' })
        }
        expect(Object.keys(await crl()).toSorted()).toEqual(serials.toSorted())
        expect(await registry.revokedCertificates(ISSUER, NOW + DAY)).toHaveLength(5)
        expect(await registry.revokedCertificates(ISSUER, NOW + DAY + 1)).toEqual([])
        expect(await registry.revokedCertificates(OTHER_ISSUER, NOW)).toEqual([])
        expect(await registry.revocationVersion(ISSUER)).toBeGreaterThan(version)
        expect((await registry.listAudit({ limit: 1_000 })).items.at(-1)).toMatchObject({
          actor: ACTOR,
          action: 'serial.revoked',
          subject: serials.at(-1),
          details: { issuer_ski: ISSUER, reason: 'unspecified', not_after: NOW + DAY },
        })
        // no door admits what is on no record
        expect((await reader.changesSince(cursor)).changes).toEqual([])
      })

      it('its issuer is spoken of for as long', async () => {
        const { certificate } = await givenDevice(registry)
        await registry.revokeSerial(rogue({ notAfter: NOW + DAY }))
        expect(await registry.lastExpiry(ISSUER)).toBe(Math.max(certificate.notAfter, NOW + DAY))
        await registry.revokeSerial(rogue({ notAfter: certificate.notAfter + DAY }))
        expect(await registry.lastExpiry(ISSUER)).toBe(certificate.notAfter + DAY)
      })

      it('again: the date stays, the graver reason and the later end count, and else nothing is written', async () => {
        const { serial } = rogue()
        await registry.revokeSerial(rogue({ serial, reason: 'superseded' }))
        const written = await actions()
        const version = await registry.revocationVersion(ISSUER)
        const again = await registry.revokeSerial(rogue({ serial, now: NOW + 9, notAfter: NOW + 5 }))
        expect(again).toMatchObject({ revokedAt: NOW + 3, reason: 'superseded', notAfter: NOW + DAY })
        expect([await actions(), await registry.revocationVersion(ISSUER)]).toEqual([written, version])
        const graver = rogue({ serial, reason: 'keyCompromise', notAfter: NOW + 2 * DAY, now: NOW + 9 })
        const after = { revokedAt: NOW + 3, reason: 'keyCompromise', notAfter: NOW + 2 * DAY }
        expect(await registry.revokeSerial(graver)).toMatchObject(after)
        expect(await registry.revokeSerial(rogue({ serial, reason: 'superseded' }))).toMatchObject(after)
      })

      it('one that was only intended ends, and is never recorded', async () => {
        const { serial } = await intend()
        await registry.revokeSerial(rogue({ serial }))
        expect(status(serial)).toMatchObject({ status: 'revoked' })
        expect(await crl()).toHaveProperty(serial)
        await expect(recordReserved(registry, serial)).rejects.toMatchObject({ code: 'certificate_revoked' })
      })

      it('refuses what was issued, and an issuer that is not there; another issuer’s serial is free', async () => {
        await givenIssuer(registry, OTHER_ISSUER)
        const { certificate } = await givenDevice(registry)
        const { serial } = certificate
        const before = await actions()
        const refusals = [
          [rogue({ serial }), 'conflict'],
          [rogue({ issuerSki: 'c3'.repeat(20) }), 'not_found'],
        ] as const
        for (const [ask, code] of refusals)
          await expect(registry.revokeSerial(ask)).rejects.toMatchObject({ code })
        expect(await actions()).toEqual(before)
        await registry.revokeSerial(rogue({ serial, issuerSki: OTHER_ISSUER }))
        expect(status(serial)).toEqual({ status: 'good' })
        expect(status(serial, OTHER_ISSUER)).toMatchObject({ status: 'revoked' })
      })
    })

    it('after an old backup CRL numbers go on above all that the desk of before may have used', async () => {
      await givenIssuer(registry, OTHER_ISSUER)
      const seconds = Math.floor(NOW / 1_000)
      for (const _ of Array(100)) await registry.takeCrlNumber(OTHER_ISSUER, NOW)
      await registry.voidOutstandingTokens({ now: NOW, actor: 'system', why: 'x' })
      expect(await registry.takeCrlNumber(ISSUER, NOW)).toBe(BigInt(seconds + CRL_NUMBER_LEAD + 1))
      expect(await registry.takeCrlNumber(OTHER_ISSUER, NOW)).toBe(BigInt(seconds + 100 + CRL_NUMBER_LEAD))
    })

    describe('recordResponder', () => {
      const responder = (over = {}) => ({
        serial: freshHex(16),
        issuerSki: ISSUER,
        spkiSha256: freshHex(32),
        notBefore: NOW,
        notAfter: NOW + 7 * DAY,
        ...over,
      })

      it('writes an audit entry, and makes nothing that a door or OCSP could find', async () => {
        const asked = responder()
        await registry.recordResponder(asked, NOW)
        const entry = (await registry.listAudit({ limit: 1_000 })).items.at(-1)
        expect(entry).toMatchObject({
          at: NOW,
          actor: 'system',
          action: 'ocsp_responder.reserved',
          subject: asked.serial,
          details: { issuer_ski: ISSUER, spki_sha256: asked.spkiSha256, not_after: asked.notAfter },
        })
        expect(await registry.findCertificate(asked.serial)).toBeUndefined()
        expect(status(asked.serial)).toEqual({ status: 'unknown' })
      })

      it('refuses a serial that a certificate has, and an issuer that is not there', async () => {
        const { certificate } = await givenDevice(registry)
        const before = await actions()
        await expect(
          registry.recordResponder(responder({ serial: certificate.serial }), NOW),
        ).rejects.toMatchObject({ code: 'conflict' })
        await expect(
          registry.recordResponder(responder({ issuerSki: OTHER_ISSUER }), NOW),
        ).rejects.toMatchObject({ code: 'not_found' })
        expect(await actions()).toEqual(before)
      })
    })

    describe('revokeCertificate', () => {
      it('ends one certificate and nothing else: CRL, doors and audit say so at once', async () => {
        const { id, certificate, fingerprint } = await givenDevice(registry)
        const before = await registry.findDevice(id)
        const version = await registry.revocationVersion(ISSUER)
        const cursor = await reader.cursor()
        const revoked = await revoke(certificate.serial, 'affiliationChanged')
        const said = { revokedAt: NOW + 7, revocationReason: 'affiliationChanged' }
        expect(revoked).toEqual({ ...certificate, state: 'revoked', ...said })
        expect(await registry.findCertificate(certificate.serial)).toEqual(revoked)
        expect(status(certificate.serial)).toMatchObject({ status: 'revoked', revokedAt: NOW + 7 })
        expect(await crl()).toHaveProperty(certificate.serial)
        expect(reader.status(fingerprint)?.certificateState).toBe('revoked')
        expect(await registry.revocationVersion(ISSUER)).toBeGreaterThan(version)
        expect((await reader.changesSince(cursor)).changes).toEqual([{ kind: 'device', deviceId: id }])
        const after = await registry.findDevice(id)
        expect(after?.state).toBe('active')
        expect(after?.revision).toBeGreaterThan(before?.revision ?? 0)
        expect((await registry.listAudit({ limit: 1_000 })).items.at(-1)).toMatchObject({
          at: NOW + 7,
          actor: ACTOR,
          action: 'certificate.revoked',
          subject: certificate.serial,
          details: { device_id: id, reason: 'affiliationChanged' },
        })
        expect((await registry.findKey(certificate.spkiSha256))?.compromised).toBe(false)
      })

      it('is unknown of what is not there, and of what is only intended', async () => {
        const { serial } = await intend()
        const before = await actions()
        expect(await revoke(freshHex(16), 'superseded')).toBeUndefined()
        expect(await revoke(serial, 'superseded')).toBeUndefined()
        expect(await actions()).toEqual(before)
      })

      it('a second time changes nothing, but for a compromise that is learnt late', async () => {
        const { certificate } = await givenDevice(registry)
        const { serial, spkiSha256 } = certificate
        const first = await revoke(serial, 'superseded')
        const version = await registry.revocationVersion(ISSUER)
        expect(await revoke(serial, 'privilegeWithdrawn', NOW + 8)).toEqual(first)
        expect(await registry.revocationVersion(ISSUER)).toBe(version)
        const late = await revoke(serial, 'keyCompromise', NOW + 9)
        expect(late).toMatchObject({ revokedAt: NOW + 7, revocationReason: 'keyCompromise' })
        expect(await registry.revocationVersion(ISSUER)).toBeGreaterThan(version)
        expect((await registry.findKey(spkiSha256))?.compromised).toBe(true)
        const done = await actions()
        expect(await revoke(serial, 'keyCompromise', NOW + 10)).toEqual(late)
        expect(await revoke(serial, 'superseded', NOW + 11)).toEqual(late)
        expect(await actions()).toEqual(done)
      })

      it('with keyCompromise its key is never certified again', async () => {
        const { id, certificate } = await givenDevice(registry)
        await revoke(certificate.serial, 'keyCompromise')
        const token = await givenToken(registry, { deviceId: id })
        const again = reservation(
          { kind: 'token', id: token.id },
          { deviceId: id, spkiSha256: certificate.spkiSha256 },
        )
        await expect(registry.reserve(again)).rejects.toMatchObject({ code: 'key_compromised' })
      })
    })

    describe('listCertificates', () => {
      const all = async (over: Partial<Parameters<Registry['listCertificates']>[0]> = {}, limit = 2) => {
        const serials: string[] = []
        let after: string | undefined
        do {
          const page = await registry.listCertificates({ limit, after, ...over })
          expect(page.items.length).toBeLessThanOrEqual(limit)
          serials.push(...page.items.map(({ serial }) => serial))
          after = page.next
        } while (after !== undefined)
        return serials
      }

      it('gives each once, newest first, in pages, and filters', async () => {
        await givenIssuer(registry, OTHER_ISSUER)
        const made = []
        for (let n = 0; n < 7; n += 1)
          made.push((await givenDevice(registry, n % 3 === 0 ? { issuerSki: OTHER_ISSUER } : {})).certificate)
        await intend()
        const serials = made.map(({ serial }) => serial).toReversed()
        expect(await all()).toEqual(serials)
        expect(await all({}, 7)).toEqual(serials)
        expect(await all({ issuerSki: OTHER_ISSUER })).toEqual(
          serials.filter((_, at) => (serials.length - 1 - at) % 3 === 0),
        )
        const lost = made.slice(2, 5)
        for (const { serial } of lost) await revoke(serial, 'superseded')
        const lostSerials = lost.map(({ serial }) => serial).toReversed()
        expect(await all({ state: 'revoked' })).toEqual(lostSerials)
        expect(await all({ state: 'live' })).toEqual(serials.filter((each) => !lostSerials.includes(each)))
        expect(await all({ state: 'pending' })).toEqual([])
        const [first] = (await registry.listCertificates({ limit: 1 })).items
        expect(first).toEqual({ ...made.at(-1), der: undefined })
        expect(first).not.toHaveProperty('der')
      })

      it('of one device: all that it ever had, whoever came in between', async () => {
        const mine: string[] = []
        const { id, certificate } = await givenDevice(registry)
        mine.push(certificate.serial)
        for (let n = 0; n < 4; n += 1) {
          await givenDevice(registry)
          const token = await givenToken(registry, { deviceId: id })
          const again = reservation({ kind: 'token', id: token.id }, { deviceId: id })
          const { serial } = (await registry.reserve(again)).certificate
          mine.push((await recordReserved(registry, serial)).serial)
        }
        await revoke(mine[1] as string, 'superseded')
        const newest = mine.toReversed()
        expect(await all({ deviceId: id })).toEqual(newest)
        expect(await all({ deviceId: id }, 5)).toEqual(newest)
        const { items } = await registry.listCertificates({ deviceId: id, limit: 10 })
        const lost = items.filter(({ state }) => state === 'revoked').map(({ serial }) => serial)
        expect(lost).toContain(mine[1])
        expect(await all({ deviceId: id, state: 'revoked' }, 1)).toEqual(lost)
        expect(await all({ deviceId: id, issuerSki: OTHER_ISSUER })).toEqual([])
        expect(await all({ deviceId: `${id}x` })).toEqual([])
      })

      it('refuses a next that cannot be one', async () => {
        await expect(registry.listCertificates({ limit: 1, after: "1' or 1" })).rejects.toMatchObject({
          code: 'bad_request',
        })
      })
    })

    describe('revokeGroupPart', () => {
      const part = (over: Partial<Parameters<Registry['revokeGroupPart']>[0]> = {}) =>
        registry.revokeGroupPart({
          group: 'cams',
          after: undefined,
          limit: 2,
          reason: 'superseded',
          now: NOW + 7,
          actor: ACTOR,
          ...over,
        })
      const inGroup = async (id: string, group = 'cams') =>
        givenDevice(registry, { group, deviceId: deviceId(id) })

      it('revokes device by device as setDeviceState does, in parts, and leaves others alone', async () => {
        const cams = []
        for (const id of ['cam-c', 'cam-a', 'cam-b', 'cam-d', 'cam-e']) cams.push(await inGroup(id))
        const pump = await inGroup('pump-1', 'pumps')
        await set(deviceId('cam-b'), 'suspended', 'certificateHold')
        await set(deviceId('cam-d'), 'retired', 'cessationOfOperation')
        const bound = await givenToken(registry, { deviceId: deviceId('cam-a') })
        const version = await registry.revocationVersion(ISSUER)
        const cursor = await reader.cursor()

        const first = await part()
        expect(first).toEqual({ revoked: 2, next: 'cam-b' })
        const second = await part({ after: first.next })
        expect(second).toEqual({ revoked: 2, next: 'cam-e' })
        expect(await part({ after: second.next })).toEqual({ revoked: 0, next: undefined })

        for (const id of ['cam-a', 'cam-b', 'cam-c', 'cam-e'])
          expect(await registry.findDevice(deviceId(id))).toMatchObject({ state: 'revoked' })
        expect((await registry.findDevice(deviceId('cam-d')))?.state).toBe('retired')
        expect((await registry.findDevice(pump.id))?.state).toBe('active')
        expect((await registry.findToken(bound.id))?.revokedAt).toBe(NOW + 7)
        const listed = await crl()
        for (const { id, certificate } of cams)
          expect(listed[certificate.serial]?.reason).toBe(
            id === 'cam-d' ? 'cessationOfOperation' : 'superseded',
          )
        expect(listed).not.toHaveProperty(pump.certificate.serial)
        expect(await registry.revocationVersion(ISSUER)).toBeGreaterThan(version)
        const { changes } = await reader.changesSince(cursor)
        expect(changes).toEqual(
          ['cam-a', 'cam-b', 'cam-c', 'cam-e'].map((id) => ({ kind: 'device', deviceId: id })),
        )
        const audit = (await registry.listAudit({ limit: 1_000 })).items.filter(
          ({ action, actor }) => action === 'device.revoked' && actor === ACTOR,
        )
        expect(audit.map(({ subject }) => subject)).toEqual(['cam-a', 'cam-b', 'cam-c', 'cam-e'])
        expect(audit[0]?.details).toEqual({
          reason: 'superseded',
          certificates: 1,
          keys: 0,
          tokens: 1,
          token_ids: [bound.id],
        })
      })

      it('repeated it finds nothing more to do, and says nothing', async () => {
        await inGroup('cam-a')
        expect(await part()).toEqual({ revoked: 1, next: undefined })
        const [before, version] = [await actions(), await registry.revocationVersion(ISSUER)]
        expect(await part()).toEqual({ revoked: 0, next: undefined })
        expect(await part({ reason: 'keyCompromise' })).toEqual({ revoked: 0, next: undefined })
        expect(await actions()).toEqual(before)
        expect(await registry.revocationVersion(ISSUER)).toBe(version)
      })

      it('with keyCompromise no key of theirs is certified again', async () => {
        const { certificate } = await inGroup('cam-a')
        await part({ reason: 'keyCompromise' })
        expect(await registry.findKey(certificate.spkiSha256)).toEqual({
          deviceId: 'cam-a',
          compromised: true,
        })
      })

      it('a reservation under way is void', async () => {
        await givenGroup(registry, 'cams')
        const token = await givenToken(registry)
        const asked = reservation(
          { kind: 'token', id: token.id },
          { group: 'cams', deviceId: deviceId('cam-z') },
        )
        const { certificate } = await registry.reserve(asked)
        await part()
        await expect(recordReserved(registry, certificate.serial)).rejects.toMatchObject({
          code: 'certificate_revoked',
        })
      })
    })
  })
}
