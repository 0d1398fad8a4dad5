/** What every registry must do with issuers, server anchors, fetched chains and imported CRLs: a part of the registry contract. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ISSUER_STATES, type IssuerState } from '#fleet/certificate.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import type { ImportedCrl } from '#registry/authorities.ts'
import type { Registry, RegistryReader } from '#registry/registry.ts'
import {
  ACTOR,
  deviceId,
  freshHex,
  givenDevice,
  givenToken,
  ISSUER,
  NOW,
  reservation,
} from '../support/registry.ts'
import type { Built } from './registry.ts'

const refused = (promise: Promise<unknown>, code: ErrorCode) =>
  expect(promise).rejects.toMatchObject({ name: 'FleetError', code })

const NEXT = 'b2'.repeat(20)

export const authorityContract = (name: string, build: () => Promise<Built>): void => {
  describe(`registry contract, authorities: ${name}`, () => {
    let built: Built
    let registry: Registry
    let reader: RegistryReader
    beforeEach(async () => {
      built = await build()
      ;({ registry, reader } = built)
    })
    afterEach(() => built[Symbol.asyncDispose]())

    const register = (ski: string, state: 'prepared' | 'active' = 'active') =>
      registry.registerIssuer({ ski, der: Buffer.from(ski), spkiSha256: `key of ${ski}`, state }, NOW)
    const move = (ski: string, from: readonly IssuerState[], to: IssuerState, now = NOW) =>
      registry.moveIssuer({ ski, from, to, now, actor: ACTOR })
    const stateOf = async (ski: string) =>
      (await reader.issuers()).find((issuer) => issuer.ski === ski)?.state
    const lastAudit = async () => (await registry.listAudit({ limit: 1_000 })).items.at(-1)

    const PATHS: Readonly<Record<IssuerState, readonly IssuerState[]>> = {
      prepared: [],
      offered: ['offered'],
      active: ['offered', 'active'],
      retiring: ['offered', 'active', 'retiring'],
      retired: ['retired'],
      revoked: ['revoked'],
    }
    const bring = async (ski: string, state: IssuerState) => {
      await register(ski, 'prepared')
      for (const next of PATHS[state]) await move(ski, ISSUER_STATES, next)
    }

    describe('issuers', () => {
      it('moves one, tells the doors and the audit, and the reader sees it', async () => {
        await register(NEXT, 'prepared')
        const cursor = await registry.cursor()
        const moved = await registry.moveIssuer({
          ski: NEXT,
          from: ['prepared'],
          to: 'offered',
          now: NOW + HOUR,
          actor: ACTOR,
          details: { forced: true },
        })
        expect(moved).toMatchObject({ ski: NEXT, state: 'offered', offeredAt: NOW + HOUR })
        expect((await reader.changesSince(cursor)).changes).toEqual([{ kind: 'issuer', ski: NEXT }])
        expect(await lastAudit()).toMatchObject({
          at: NOW + HOUR,
          actor: ACTOR,
          action: 'issuer.offered',
          subject: NEXT,
          details: { from: 'prepared', forced: true },
        })
        expect(await stateOf(NEXT)).toBe('offered')
      })

      it('refuses from another state, and changes nothing', async () => {
        await bring(NEXT, 'offered')
        const before = [
          await registry.issuers(),
          await registry.cursor(),
          await registry.trustVersion('chain'),
        ]
        await refused(move(NEXT, ['prepared', 'retiring'], 'active'), 'conflict')
        expect([
          await registry.issuers(),
          await registry.cursor(),
          await registry.trustVersion('chain'),
        ]).toEqual(before)
      })

      it('says nothing of one that is not there', async () => {
        expect(await move('c3'.repeat(20), ISSUER_STATES, 'revoked')).toBeUndefined()
      })

      it('makes one active, and every other active one retiring, in one transaction', async () => {
        await register(ISSUER)
        await bring(NEXT, 'offered')
        const cursor = await registry.cursor()
        await move(NEXT, ['offered'], 'active')
        expect([await stateOf(ISSUER), await stateOf(NEXT)]).toEqual(['retiring', 'active'])
        expect((await registry.changesSince(cursor)).changes).toEqual([
          { kind: 'issuer', ski: NEXT },
          { kind: 'issuer', ski: ISSUER },
        ])
        expect(await lastAudit()).toMatchObject({ action: 'issuer.active', details: { before: [ISSUER] } })
      })

      it('of several moves at once from one state, one wins', async () => {
        await bring(NEXT, 'offered')
        const all = await Promise.allSettled(
          Array.from({ length: 10 }, () => move(NEXT, ['offered'], 'active')),
        )
        expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      })

      it.each<[IssuerState, IssuerState, boolean]>([
        ['prepared', 'offered', true],
        ['prepared', 'retired', false],
        ['prepared', 'revoked', false],
        ['offered', 'active', false],
        ['offered', 'retired', true],
        ['active', 'retiring', false],
        ['active', 'revoked', true],
        ['retiring', 'active', false],
        ['retiring', 'retired', true],
        ['retired', 'revoked', false],
      ])('the version of the chain, from %s to %s: rises: %s', async (from, to, rises) => {
        await bring(NEXT, from)
        const [chain, server] = [await registry.trustVersion('chain'), await registry.trustVersion('server')]
        await move(NEXT, [from], to)
        expect(await registry.trustVersion('chain')).toBe(chain + (rises ? 1 : 0))
        expect(await registry.trustVersion('server')).toBe(server)
      })

      it('a version rises when an issuer comes as active, and not when it comes prepared', async () => {
        const before = await registry.trustVersion('chain')
        await register(NEXT, 'prepared')
        expect(await registry.trustVersion('chain')).toBe(before)
        await register(ISSUER)
        expect(await registry.trustVersion('chain')).toBe(before + 1)
        await register(ISSUER)
        expect(await registry.trustVersion('chain')).toBe(before + 1)
      })

      it('remembers when and with which version it was first offered', async () => {
        await register(NEXT, 'prepared')
        const version = (await registry.trustVersion('chain')) + 1
        await move(NEXT, ['prepared'], 'offered', NOW + 1)
        const active = await move(NEXT, ['offered'], 'active', NOW + 2)
        expect(active).toMatchObject({ offeredAt: NOW + 1, offeredVersion: version })
        expect(await registry.trustVersion('chain')).toBe(version)
      })

      it('an issuer that is not active gives no certificate', async () => {
        await register(ISSUER)
        await bring(NEXT, 'active')
        await refused(givenDevice(registry), 'issuer_unusable')
      })

      it.each<[IssuerState]>(ISSUER_STATES.map((state) => [state]))(
        'the doors are told that the issuer of a certificate is %s',
        async (state) => {
          const { fingerprint } = await givenDevice(registry)
          if (state !== 'active') await move(ISSUER, ['active'], state)
          expect(reader.status(fingerprint)?.issuerState).toBe(state)
        },
      )

      it('counts what could still be used, by issuer', async () => {
        expect(await registry.liveCertificates(NOW)).toEqual(new Map())
        const { id } = await givenDevice(registry)
        await givenDevice(registry)
        await givenDevice(registry, { issuerSki: NEXT, notAfter: NOW + DAY })
        await registry.setDeviceState({ id, state: 'revoked', reason: 'unspecified', now: NOW, actor: ACTOR })
        const counted = new Map([
          [ISSUER, 1],
          [NEXT, 1],
        ])
        expect(await registry.liveCertificates(NOW)).toEqual(counted)
        expect(await reader.liveCertificates(NOW + DAY)).toEqual(counted)
        expect(await registry.liveCertificates(NOW + DAY + 1)).toEqual(new Map([[ISSUER, 1]]))
      })
    })

    describe('server anchors', () => {
      const [ONE, TWO] = ['11'.repeat(32), '22'.repeat(32)]
      const add = (fingerprint: string, state: 'prepared' | 'active') =>
        registry.addServerAnchor({ fingerprint, der: Buffer.from(fingerprint), state }, NOW, ACTOR)

      it('keeps them in order, and those that are known as they are', async () => {
        const version = await registry.trustVersion('server')
        await add(ONE, 'active')
        await add(TWO, 'prepared')
        expect(await add(ONE, 'prepared')).toMatchObject({ fingerprint: ONE, state: 'active' })
        expect(
          (await registry.serverAnchors()).map(({ fingerprint, state }) => [fingerprint, state]),
        ).toEqual([
          [ONE, 'active'],
          [TWO, 'prepared'],
        ])
        expect(await registry.trustVersion('server')).toBe(version + 1)
      })

      it('rotates like an issuer, and no door hears of it', async () => {
        await add(ONE, 'active')
        await add(TWO, 'prepared')
        const [cursor, chain] = [await registry.cursor(), await registry.trustVersion('chain')]
        const version = (await registry.trustVersion('server')) + 1
        const turn = { fingerprint: TWO, now: NOW + 1, actor: ACTOR }
        await registry.moveServerAnchor({ ...turn, from: ['prepared'], to: 'offered' })
        expect(await registry.moveServerAnchor({ ...turn, from: ['offered'], to: 'active' })).toMatchObject({
          state: 'active',
          offeredAt: NOW + 1,
          offeredVersion: version,
        })
        expect((await registry.serverAnchors()).map(({ state }) => state)).toEqual(['retiring', 'active'])
        await refused(registry.moveServerAnchor({ ...turn, from: ['offered'], to: 'retired' }), 'conflict')
        expect(await registry.trustVersion('server')).toBe(version)
        expect(await registry.trustVersion('chain')).toBe(chain)
        expect(await registry.cursor()).toBe(cursor)
        expect(await lastAudit()).toMatchObject({
          action: 'server_anchor.active',
          details: { before: [ONE] },
        })
      })

      it('says nothing of one that is not there', async () => {
        const gone = { fingerprint: TWO, from: ['prepared'], to: 'offered', now: NOW, actor: ACTOR } as const
        expect(await registry.moveServerAnchor(gone)).toBeUndefined()
      })
    })

    describe('who has fetched what', () => {
      const share = (least: number) => registry.trustShare('server', least)

      it('counts each active device once, by the newest version that it was given', async () => {
        const { id } = await givenDevice(registry)
        await givenDevice(registry)
        expect(await share(1)).toEqual({ fetched: 0, active: 2 })
        for (const version of [2, 2, 1, 3, 2]) await registry.recordTrustFetch(id, 'server', version, NOW)
        expect(await share(3)).toEqual({ fetched: 1, active: 2 })
        expect(await share(4)).toEqual({ fetched: 0, active: 2 })
        expect(await registry.trustShare('chain', 1)).toEqual({ fetched: 0, active: 2 })
      })

      it('nobody fetches twice, however often: the same version again writes nothing', async () => {
        const { id } = await givenDevice(registry)
        await registry.recordTrustFetch(id, 'server', 2, NOW)
        await Promise.all(
          Array.from({ length: 50 }, (_, at) => registry.recordTrustFetch(id, 'server', 2, NOW + at)),
        )
        expect(await share(2)).toEqual({ fetched: 1, active: 1 })
      })

      it('counts who is suspended, for they come back, and leaves out who has ended, and who is no device', async () => {
        const [held, ended] = [await givenDevice(registry), await givenDevice(registry)]
        for (const { id } of [held, ended]) await registry.recordTrustFetch(id, 'server', 5, NOW)
        await registry.recordTrustFetch(deviceId('nobody'), 'server', 5, NOW)
        const set = (id: DeviceId, state: 'suspended' | 'revoked') =>
          registry.setDeviceState({ id, state, reason: 'unspecified', now: NOW, actor: ACTOR })
        await set(held.id, 'suspended')
        expect(await share(5)).toEqual({ fetched: 2, active: 2 })
        expect(await share(6)).toEqual({ fetched: 0, active: 2 })
        await set(ended.id, 'revoked')
        expect(await share(5)).toEqual({ fetched: 1, active: 1 })
      })

      it('forgets it with a life: a device that comes back from revoked has fetched nothing', async () => {
        const { id, reservation: first } = await givenDevice(registry)
        for (const kind of ['server', 'chain'] as const) await registry.recordTrustFetch(id, kind, 5, NOW)
        await registry.setDeviceState({ id, state: 'revoked', reason: 'unspecified', now: NOW, actor: ACTOR })
        const token = await givenToken(registry, { deviceId: id })
        await registry.reserve(
          reservation({ kind: 'token', id: token.id }, { deviceId: id, spkiSha256: first.spkiSha256 }),
        )
        expect(await share(1)).toEqual({ fetched: 0, active: 1 })
        expect(await registry.trustShare('chain', 1)).toEqual({ fetched: 0, active: 1 })
        await registry.recordTrustFetch(id, 'server', 4, NOW)
        expect(await share(4)).toEqual({ fetched: 1, active: 1 })
      })

      it('leaves no trace in the audit and the feed', async () => {
        const { id } = await givenDevice(registry)
        const before = [await registry.cursor(), await lastAudit(), await registry.findDevice(id)]
        await registry.recordTrustFetch(id, 'chain', 2, NOW + 1)
        expect([await registry.cursor(), await lastAudit(), await registry.findDevice(id)]).toEqual(before)
      })
    })

    describe('imported CRLs', () => {
      const crl = (over: Partial<ImportedCrl> = {}): ImportedCrl => ({
        ski: ISSUER,
        der: Buffer.from(freshHex(8)),
        // larger than a JavaScript number holds
        number: 2n ** 100n,
        thisUpdate: NOW,
        nextUpdate: NOW + DAY,
        ...over,
      })

      it('keeps the newest of each issuer', async () => {
        const first = crl()
        const newer = crl({ number: 2n ** 100n + 1n, thisUpdate: NOW + 1 })
        const other = crl({ ski: NEXT, number: 1n })
        for (const each of [first, newer, other]) await registry.keepImportedCrl(each, NOW + 1, ACTOR)
        expect(await registry.importedCrls()).toEqual([newer, other])
        expect(await lastAudit()).toMatchObject({ action: 'crl.imported', subject: NEXT })
      })

      it.each<[string, Partial<ImportedCrl>]>([
        ['the same number', { thisUpdate: NOW + 1 }],
        ['a lower number', { number: 9n, thisUpdate: NOW + 1 }],
        ['the same time', { number: 2n ** 100n + 1n }],
        ['an earlier time', { number: 2n ** 100n + 1n, thisUpdate: NOW - 1 }],
      ])('refuses %s: an old list would bring back what was revoked', async (_, over) => {
        const first = crl()
        await registry.keepImportedCrl(first, NOW, ACTOR)
        await refused(registry.keepImportedCrl(crl(over), NOW, ACTOR), 'conflict')
        expect(await registry.importedCrls()).toEqual([first])
      })
    })
  })
}
