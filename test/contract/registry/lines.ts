/**
 * Which certificate came in the place of which, as an attacker would have it: with a copied certificate, a stolen key, a group that was
 * closed meanwhile; and that a device is never left with nothing by our own housekeeping. Uses that are repeated: repeated-uses.ts.
 */

import { beforeEach, describe, expect, it } from 'vitest'
import { DAY, HOUR, SECOND } from '#fleet/clock.ts'
import {
  ACTOR,
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
import { again, createAsking, renewal } from './asking.ts'
import { type Ground, refused } from './ground.ts'

const OTHER_ISSUER = 'c3'.repeat(20)

export const linesContract = (at: Ground): void => {
  const { refusedUnchanged, changesOf } = at

  const { enrolled, confirmed, byToken, endIssuer } = createAsking(at)
  const seen = (fingerprint: string, when: number, now = when) =>
    at.registry.recordSightings([{ fingerprint, at: when }], freshHex(4), now)
  const stateOf = ({ fingerprint }: { readonly fingerprint: string }) =>
    at.reader.status(fingerprint)?.certificateState

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
