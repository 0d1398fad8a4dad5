/** What every registry must do with enrolments that an operator decides: a part of the registry contract. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import type { EnrollmentRequest } from '#fleet/credentials.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import type { Registry } from '#registry/registry.ts'
import type { RequestLimits } from '#registry/requests.ts'
import {
  ACTOR,
  deviceId,
  freshHex,
  givenGroup,
  givenIssuer,
  givenToken,
  NOW,
  recordReserved,
  reservation,
} from '../support/registry.ts'
import type { Built } from './registry.ts'

type Asked = Parameters<Registry['openRequest']>[0]

const refused = (promise: Promise<unknown>, code: ErrorCode) =>
  expect(promise).rejects.toMatchObject({ name: 'FleetError', code })

const asked = (over: Partial<Asked> = {}): Asked => ({
  id: freshHex(8),
  group: 'pumps',
  deviceId: deviceId(),
  spkiSha256: freshHex(32),
  csr: Buffer.from(freshHex(40), 'hex'),
  credential: { kind: 'none', id: 'pumps' },
  address: '192.0.2.7',
  createdAt: NOW,
  expiresAt: NOW + 7 * DAY,
  ...over,
})

const LIMITS: RequestLimits = { open: 1_000, addressKey: '192.0.2.7', ofAddress: undefined }

export const requestContract = (name: string, build: () => Promise<Built>): void => {
  describe(`registry contract, requests: ${name}`, () => {
    let built: Built
    let registry: Registry
    beforeEach(async () => {
      built = await build()
      ;({ registry } = built)
    })
    afterEach(() => built[Symbol.asyncDispose]())

    const open = (over: Partial<Asked> = {}, limits: Partial<RequestLimits> = {}) =>
      registry.openRequest(asked(over), { ...LIMITS, ...limits }, ACTOR)
    const again = (request: EnrollmentRequest, over: Partial<Asked> = {}) =>
      open({
        credential: request.credential,
        spkiSha256: request.spkiSha256,
        deviceId: request.deviceId,
        ...over,
      })
    const actions = async () =>
      (await registry.listAudit({ limit: 1_000 })).items.map(({ action, subject, actor }) => ({
        action,
        subject,
        actor,
      }))
    const passTo = (now: number) => {
      built.setClock(now)
      return now
    }

    it('are kept as they were asked, and found by id and by credential and key', async () => {
      const request = asked()
      const kept = { ...request, state: 'waiting', decidedAt: undefined, decidedBy: undefined }
      expect(await registry.openRequest(request, LIMITS, ACTOR)).toEqual(kept)
      expect(await registry.findRequest(request.id)).toEqual(kept)
      expect(await registry.findRequestOf(request.credential, request.spkiSha256)).toEqual(kept)
      expect(await registry.findRequest('nobody')).toBeUndefined()
      expect(await registry.findRequestOf(request.credential, freshHex(32))).toBeUndefined()
      expect(await registry.findRequestOf({ kind: 'token', id: 'pumps' }, request.spkiSha256)).toBeUndefined()
      expect(await actions()).toEqual([{ action: 'request.opened', subject: request.id, actor: ACTOR }])
    })

    it('asked again: the first one, its CSR and its id; nothing is written', async () => {
      const first = await open()
      expect(await again(first, { csr: Buffer.of(1), address: '198.51.100.1' })).toEqual(first)
      expect(await actions()).toHaveLength(1)
      // another key, another credential: another request
      expect((await open({ credential: first.credential })).id).not.toBe(first.id)
      expect(
        (await open({ spkiSha256: first.spkiSha256, credential: { kind: 'none', id: 'lamps' } })).id,
      ).not.toBe(first.id)
    })

    it('at once with one credential and key: one request', async () => {
      const one = asked()
      const all = await Promise.all(
        Array.from({ length: 20 }, () => registry.openRequest({ ...one, id: freshHex(8) }, LIMITS, ACTOR)),
      )
      expect(new Set(all.map(({ id }) => id)).size).toBe(1)
      expect((await registry.listRequests({ limit: 100 })).items).toHaveLength(1)
    })

    it('an id that is taken is refused', async () => {
      const first = await open()
      await refused(open({ id: first.id }), 'conflict')
    })

    it('the group and the address have their limits, of those that wait only', async () => {
      const first = await open({}, { open: 2 })
      await open({}, { open: 2 })
      await refused(open({}, { open: 2 }), 'quota_exceeded')
      expect((await again(first)).id).toBe(first.id)
      await open({ group: 'lamps' }, { open: 2 })
      await registry.decideRequest(first.id, 'denied', NOW, ACTOR)
      await open({}, { open: 2 })

      const from = { addressKey: '2001:db8:0:1::/64', ofAddress: 2 }
      await open({}, from)
      await open({ group: 'lamps' }, from)
      await refused(open({}, from), 'quota_exceeded')
      await open({}, { ...from, addressKey: '2001:db8:0:2::/64' })
      // after their time they are in nobody's way
      const later = passTo(NOW + 7 * DAY)
      await open({ createdAt: later, expiresAt: later + DAY }, { ...from, open: 1 })
    })

    it('kinds of credentials have their share, and a network has its own', async () => {
      const of = (kind: 'none' | 'allow_list' | 'token') => ({ credential: { kind, id: freshHex(4) } })
      const shares = {
        open: 4,
        ofKinds: [
          { kinds: ['none'], most: 1 },
          { kinds: ['none', 'allow_list'], most: 2 },
        ],
      } as const
      await open(of('none'), shares)
      await refused(open(of('none'), shares), 'quota_exceeded')
      await open(of('allow_list'), shares)
      await refused(open(of('allow_list'), shares), 'quota_exceeded')
      await open(of('token'), shares)
      await open(of('token'), shares)
      await refused(open(of('token'), shares), 'quota_exceeded')

      const from = (addressKey: string) => ({
        addressKey,
        ofNetwork: { prefix: '2001:db8:1:', most: 2 },
      })
      await open({ group: 'lamps' }, from('2001:db8:1:1::/64'))
      await open({ group: 'lamps' }, from('2001:db8:1:ffff::/64'))
      await open({ group: 'lamps' }, { addressKey: '2001:db8:10:1::/64' })
      await refused(open({ group: 'lamps' }, from('2001:db8:1:2::/64')), 'quota_exceeded')
    })

    it('a credential has no more open than it can still make', async () => {
      await givenIssuer(registry)
      await givenGroup(registry, 'pumps')
      await givenGroup(registry, 'pumps')
      const token = await givenToken(registry, { uses: 2 })
      const credential = { kind: 'token', id: token.id } as const
      const room = (limits: Partial<RequestLimits> = {}) =>
        registry.checkRequestRoom({ group: 'pumps', credential }, { ...LIMITS, ...limits })
      const first = await open({ credential })
      await room()
      const second = await open({ credential })
      await refused(room(), 'quota_exceeded')
      await refused(open({ credential }, { ofCredential: 99 }), 'quota_exceeded')
      expect((await again(first)).id).toBe(first.id)
      // what was approved will take a use, what was denied will not
      await registry.decideRequest(first.id, 'approved', NOW, ACTOR)
      await refused(open({ credential }), 'quota_exceeded')
      await registry.decideRequest(second.id, 'denied', NOW, ACTOR)
      const third = await open({ credential })
      await registry.checkUsesLeft(credential, undefined)
      for (const each of [first, third]) {
        await registry.decideRequest(each.id, 'approved', NOW, ACTOR)
        await registry.reserve(
          reservation(credential, {
            deviceId: each.deviceId,
            spkiSha256: each.spkiSha256,
            group: 'pumps',
            requestId: each.id,
          }),
        )
      }
      await refused(registry.checkUsesLeft(credential, undefined), 'token_spent')
      await refused(open({ credential }), 'token_spent')
      await refused(room(), 'token_spent')
    })

    it('200 keys at once by one token of one use: one waits', async () => {
      const credential = { kind: 'token', id: (await givenToken(registry)).id } as const
      const all = await Promise.allSettled(Array.from({ length: 200 }, () => open({ credential })))
      expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    })

    it('so has a bootstrap certificate, and whatever else is given a number', async () => {
      await givenIssuer(registry)
      await givenGroup(registry, 'pumps')
      const credential = { kind: 'bootstrap', id: freshHex(32) } as const
      await registry.checkUsesLeft(credential, 1)
      await open({ credential }, { ofCredential: 1 })
      await refused(open({ credential }, { ofCredential: 1 }), 'quota_exceeded')
      const used = { kind: 'bootstrap', id: freshHex(32) } as const
      await registry.reserve(reservation({ ...used, uses: 1, bound: false }))
      await refused(registry.checkUsesLeft(used, 1), 'quota_exceeded')
      await refused(open({ credential: used }, { ofCredential: 1 }), 'quota_exceeded')
      const copied = { kind: 'renewal', id: freshHex(32) } as const
      await open({ credential: copied }, { ofCredential: 1 })
      await refused(open({ credential: copied }, { ofCredential: 1 }), 'quota_exceeded')
    })

    it('200 at once do not pass the limit', async () => {
      const all = await Promise.allSettled(Array.from({ length: 200 }, () => open({}, { open: 10 })))
      expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(10)
      expect((await registry.listRequests({ limit: 1_000 })).items).toHaveLength(10)
      expect(await actions()).toHaveLength(10)
    })

    describe.each(['approved', 'denied'] as const)('%s', (decision) => {
      it('once, by whoever was first; its end moves with the decision', async () => {
        const request = await open()
        const at = passTo(NOW + 3 * DAY)
        const decided = await registry.decideRequest(request.id, decision, at, ACTOR)
        expect(decided).toEqual({
          ...request,
          state: decision,
          decidedAt: at,
          decidedBy: ACTOR,
          expiresAt: at + 7 * DAY,
        })
        expect(await registry.findRequest(request.id)).toEqual(decided)
        expect(await registry.decideRequest(request.id, decision, at + 1, 'operator:other')).toEqual(decided)
        expect((await actions()).map(({ action }) => action)).toEqual([
          'request.opened',
          `request.${decision}`,
        ])
      })

      it('and asked again: as it was decided, until its end', async () => {
        const request = await open()
        await registry.decideRequest(request.id, decision, NOW, ACTOR)
        expect(await again(request)).toMatchObject({ id: request.id, state: decision })
        const later = passTo(NOW + 7 * DAY)
        expect(await again(request, { createdAt: later, expiresAt: later + DAY })).toMatchObject({
          state: 'waiting',
        })
      })
    })

    it('a yes may be taken back, for as long as it could have stood; a no may not', async () => {
      const { id } = await open()
      await registry.decideRequest(id, 'approved', NOW, ACTOR)
      const at = passTo(NOW + DAY)
      const denied = await registry.decideRequest(id, 'denied', at, 'operator:other')
      expect(denied).toMatchObject({
        state: 'denied',
        decidedAt: at,
        decidedBy: 'operator:other',
        expiresAt: at + 7 * DAY,
      })
      await refused(registry.decideRequest(id, 'approved', at + 1, ACTOR), 'conflict')
      expect(await registry.findRequest(id)).toEqual(denied)
      expect((await actions()).map(({ action }) => action)).toEqual([
        'request.opened',
        'request.approved',
        'request.denied',
      ])
    })

    it('yes and no at once: no counts, whoever was first', async () => {
      for (const first of ['approved', 'denied'] as const) {
        const { id } = await open()
        await Promise.allSettled([
          registry.decideRequest(id, first, NOW, 'operator:a'),
          registry.decideRequest(id, first === 'approved' ? 'denied' : 'approved', NOW, 'operator:b'),
        ])
        expect(await registry.findRequest(id)).toMatchObject({ state: 'denied' })
      }
    })

    it('what has its certificate is not taken back', async () => {
      await givenIssuer(registry)
      await givenGroup(registry, 'pumps')
      await givenGroup(registry, 'pumps')
      const { id, deviceId: of, spkiSha256 } = await open()
      await registry.decideRequest(id, 'approved', NOW, ACTOR)
      await registry.reserve(
        reservation({ kind: 'approval', id }, { deviceId: of, spkiSha256, group: 'pumps' }),
      )
      await refused(registry.decideRequest(id, 'denied', NOW, ACTOR), 'conflict')
    })

    it('what does not exist, or has expired, is not decided', async () => {
      expect(await registry.decideRequest('nobody', 'approved', NOW, ACTOR)).toBeUndefined()
      const { id } = await open()
      await refused(registry.decideRequest(id, 'approved', passTo(NOW + 7 * DAY), ACTOR), 'conflict')
      expect(await registry.findRequest(id)).toMatchObject({ state: 'expired', decidedAt: undefined })
    })

    it('a credential has an open request while one waits or is approved', async () => {
      const credential = { kind: 'token', id: 'k3v9' } as const
      expect(await registry.hasOpenRequest(credential)).toBe(false)
      const { id } = await open({ credential })
      expect(await registry.hasOpenRequest(credential)).toBe(true)
      expect(await registry.hasOpenRequest({ kind: 'bootstrap', id: 'k3v9' })).toBe(false)
      await registry.decideRequest(id, 'approved', NOW, ACTOR)
      expect(await registry.hasOpenRequest(credential)).toBe(true)
      passTo(NOW + 7 * DAY)
      expect(await registry.hasOpenRequest(credential)).toBe(false)
      const denied = await open({ credential, createdAt: NOW + 7 * DAY, expiresAt: NOW + 14 * DAY })
      expect(await registry.hasOpenRequest(credential)).toBe(true)
      await registry.decideRequest(denied.id, 'denied', NOW + 7 * DAY, ACTOR)
      expect(await registry.hasOpenRequest(credential)).toBe(false)
    })

    it('and while what was issued may have been lost on the way', async () => {
      await givenIssuer(registry)
      await givenGroup(registry, 'pumps')
      await givenGroup(registry, 'pumps')
      const token = await givenToken(registry)
      const credential = { kind: 'token', id: token.id } as const
      const { id, deviceId: of, spkiSha256 } = await open({ credential })
      await registry.decideRequest(id, 'approved', NOW, ACTOR)
      const asked = { deviceId: of, spkiSha256, group: 'pumps', requestId: id }
      const { certificate } = await registry.reserve(reservation(credential, asked))
      expect(await registry.hasOpenRequest(credential)).toBe(true)
      // died in between; and then the answer was lost
      const late = passTo(token.expiresAt + DAY)
      const repeated = () => registry.reserve(reservation(credential, { ...asked, now: late }))
      expect(await repeated()).toMatchObject({
        kind: 'reserved',
        certificate: { serial: certificate.serial },
      })
      await recordReserved(registry, certificate.serial, late)
      expect(await registry.hasOpenRequest(credential)).toBe(true)
      expect(await repeated()).toMatchObject({ kind: 'already' })
      passTo(NOW + 7 * DAY)
      expect(await registry.hasOpenRequest(credential)).toBe(false)
    })

    it('are listed oldest first, by state as of now and by group, without their CSRs', async () => {
      const [a, b, c] = [await open(), await open({ group: 'lamps' }), await open()]
      const late = await open({ expiresAt: NOW + 30 * DAY })
      await registry.decideRequest(b.id, 'denied', NOW, ACTOR)
      const ids = async (o: Omit<Parameters<Registry['listRequests']>[0], 'limit'>, limit = 100) =>
        (await registry.listRequests({ ...o, limit })).items.map(({ id }) => id)
      expect(await ids({})).toEqual([a.id, b.id, c.id, late.id])
      expect(await ids({ state: 'waiting' })).toEqual([a.id, c.id, late.id])
      expect(await ids({ group: 'lamps' })).toEqual([b.id])
      expect(await ids({ group: 'lamps', state: 'waiting' })).toEqual([])
      const page = await registry.listRequests({ state: 'waiting', limit: 1 })
      expect(page.items.map(({ id }) => id)).toEqual([a.id])
      expect(page.items[0]).not.toHaveProperty('csr')
      expect(await ids({ state: 'waiting', after: page.next })).toEqual([c.id, late.id])
      passTo(NOW + 8 * DAY)
      expect(await ids({ state: 'waiting' })).toEqual([late.id])
      expect(await ids({ state: 'expired' })).toEqual([a.id, c.id])
    })

    it('expire, told once; ended ones are dropped when they are old', async () => {
      const [a, b, c] = [await open(), await open(), await open({ expiresAt: NOW + 60 * DAY })]
      await registry.decideRequest(b.id, 'denied', NOW, ACTOR)
      expect(await registry.expireRequests(passTo(NOW + 6 * DAY), NOW)).toBe(0)
      expect(await registry.expireRequests(passTo(NOW + 7 * DAY), NOW)).toBe(1)
      expect(await registry.expireRequests(NOW + 7 * DAY, NOW)).toBe(0)
      expect((await actions()).filter(({ action }) => action === 'request.expired')).toEqual([
        { action: 'request.expired', subject: a.id, actor: 'system' },
      ])
      expect(await registry.expireRequests(passTo(NOW + 30 * DAY), NOW + 7 * DAY)).toBe(2)
      expect((await registry.listRequests({ limit: 10 })).items.map(({ id }) => id)).toEqual([c.id])
    })

    it('many expire in one call', async () => {
      await Promise.all(Array.from({ length: 450 }, () => open()))
      expect(await registry.expireRequests(passTo(NOW + 7 * DAY), NOW)).toBe(450)
    })
  })
}
