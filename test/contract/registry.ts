/**
 * What every registry must do, whatever it is made of: each verb, each named refusal and that it changes nothing, what concurrency and
 * order promise. A second implementation is held against it by one line. Not what is SQLite's own: test/unit/registry.
 */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import {
  type Change,
  MOST_SHOWN,
  type Registry,
  type RegistryReader,
  type Reservation,
} from '#registry/registry.ts'
import {
  ACTOR,
  anchor,
  application,
  assertionKey,
  claimToken,
  deviceId,
  freshHex,
  givenDevice,
  givenIssuer,
  givenToken,
  ISSUER,
  NOW,
  operatorToken,
  policy,
  recordReserved,
  reservation,
} from '../support/registry.ts'

const [MOST_SUCCESSORS, MOST_USABLE] = [3, 10]

export type Built = AsyncDisposable & {
  readonly registry: Registry
  /** another handle on the same memory, as the gateway has it */
  readonly reader: RegistryReader
  /** sets the clock that the registry was given */
  setClock(now: number): void
}

const refused = (promise: Promise<unknown>, code: ErrorCode) =>
  expect(promise).rejects.toMatchObject({ name: 'FleetError', code })

export const registryContract = (name: string, build: () => Promise<Built>): void => {
  describe(`registry contract: ${name}`, () => {
    let built: Built
    let registry: Registry
    let reader: RegistryReader

    beforeEach(async () => {
      built = await build()
      ;({ registry, reader } = built)
    })
    afterEach(() => built[Symbol.asyncDispose]())

    /** Everything that a verb could have changed, as text. */
    const everything = async (): Promise<string> =>
      JSON.stringify([
        await registry.listTokens({ limit: 1_000 }),
        await registry.listOperatorTokens({ limit: 1_000 }),
        await registry.listDevices({ now: NOW, limit: 1_000 }),
        await Promise.all(
          (await registry.listDevices({ now: NOW, limit: 1_000 })).items.map(({ id }) =>
            registry.certificatesOf(id),
          ),
        ),
        await registry.issuers(),
        await registry.revokedCertificates(ISSUER, 0),
        await registry.revocationVersion(ISSUER).catch(() => undefined),
        registry.access(),
        await registry.listAudit({ limit: 1_000 }),
        await registry.assertionKeys(),
        await registry.cursor(),
        await registry.inboxCursor(),
      ])

    const refusedUnchanged = async (act: () => Promise<unknown>, code: ErrorCode): Promise<void> => {
      const before = await everything()
      await refused(act(), code)
      expect(await everything()).toBe(before)
    }

    const actions = async (): Promise<readonly string[]> =>
      (await registry.listAudit({ limit: 1_000 })).items.map(({ action }) => action)

    const changesOf = async (act: () => Promise<unknown>): Promise<readonly Change[]> => {
      const cursor = await reader.cursor()
      await act()
      return (await reader.changesSince(cursor)).changes
    }

    describe('claim tokens', () => {
      it('are found as they were made, by id only, and audited without their hash', async () => {
        const token = await givenToken(registry, { deviceId: deviceId('cam-1'), uses: 3 })
        expect(await registry.findToken(token.id)).toEqual(token)
        expect(await registry.findToken('nobody')).toBeUndefined()
        const [entry] = (await registry.listAudit({ limit: 10 })).items
        expect(entry).toMatchObject({ at: NOW, actor: ACTOR, action: 'token.created', subject: token.id })
        expect(JSON.stringify(entry)).not.toContain(token.hash)
      })

      it('refuse a second one with the same id', async () => {
        const token = await givenToken(registry)
        await refusedUnchanged(() => registry.createToken(claimToken({ id: token.id }), ACTOR), 'conflict')
      })

      it('are revoked once: a second time changes nothing', async () => {
        const token = await givenToken(registry)
        expect(await registry.revokeToken(token.id, NOW + 1, ACTOR)).toEqual({ ...token, revokedAt: NOW + 1 })
        expect(await registry.revokeToken(token.id, NOW + 2, ACTOR)).toEqual({ ...token, revokedAt: NOW + 1 })
        expect(await registry.findToken(token.id)).toMatchObject({ revokedAt: NOW + 1 })
        expect((await actions()).filter((action) => action === 'token.revoked')).toHaveLength(1)
        expect(await registry.revokeToken('nobody', NOW, ACTOR)).toBeUndefined()
      })
    })

    describe('operator tokens', () => {
      it('are made, found and revoked once', async () => {
        const token = operatorToken({ role: 'admin' })
        await registry.createOperatorToken(token, ACTOR)
        expect(await registry.findOperatorToken(token.id)).toEqual(token)
        expect(await registry.findOperatorToken('nobody')).toBeUndefined()
        await refusedUnchanged(
          () => registry.createOperatorToken(operatorToken({ id: token.id }), ACTOR),
          'conflict',
        )
        expect(await registry.revokeOperatorToken(token.id, NOW + 1, ACTOR)).toMatchObject({
          revokedAt: NOW + 1,
        })
        expect(await registry.revokeOperatorToken(token.id, NOW + 2, ACTOR)).toMatchObject({
          revokedAt: NOW + 1,
        })
        expect(await registry.revokeOperatorToken('nobody', NOW, ACTOR)).toBeUndefined()
        expect(await actions()).toEqual(['operator_token.created', 'operator_token.revoked'])
        expect(JSON.stringify(await registry.listAudit({ limit: 10 }))).not.toContain(token.hash)
      })
    })

    describe('paging', () => {
      const walk = async (
        list: (page: { after?: string | undefined; limit: number }) => Promise<{
          readonly items: readonly unknown[]
          readonly next: string | undefined
        }>,
      ): Promise<readonly number[]> => {
        const sizes: number[] = []
        for (let after: string | undefined; ;) {
          const page = await list({ after, limit: 2 })
          sizes.push(page.items.length)
          if (page.next === undefined) return sizes
          after = page.next
        }
      }

      it('gives every item once, in every list', async () => {
        for (let n = 0; n < 5; n += 1) {
          await givenDevice(registry)
          await registry.createOperatorToken(operatorToken(), ACTOR)
          await registry.putAccess('anchor', { value: anchor({ name: `a${n}` }), now: NOW, actor: ACTOR })
        }
        expect(await walk((page) => registry.listTokens(page))).toEqual([2, 2, 1])
        expect(await walk((page) => registry.listOperatorTokens(page))).toEqual([2, 2, 1])
        expect(await walk((page) => registry.listDevices({ now: NOW, ...page }))).toEqual([2, 2, 1])
        expect(
          await walk((page) => registry.listDevices({ now: NOW, ...page, condition: 'active' })),
        ).toEqual([2, 2, 1])
        expect(
          await walk((page) => registry.listDevices({ now: NOW, ...page, condition: 'retired' })),
        ).toEqual([0])
        expect(await walk((page) => registry.listAccess('anchor', page))).toEqual([2, 2, 1])
        const audit = await registry.listAudit({ limit: 1_000 })
        expect((await walk((page) => registry.listAudit(page))).reduce((a, b) => a + b)).toBe(
          audit.items.length,
        )
      })

      it('neither repeats nor hides what was there when others come in between', async () => {
        const ids = ['b', 'd', 'f'].map(deviceId)
        for (const id of ids) await givenDevice(registry, { deviceId: id })
        const first = await registry.listDevices({ now: NOW, limit: 2 })
        await givenDevice(registry, { deviceId: deviceId('a') })
        await givenDevice(registry, { deviceId: deviceId('e') })
        const second = await registry.listDevices({ now: NOW, limit: 2, after: first.next })
        expect([...first.items, ...second.items].map(({ id }) => id)).toEqual(['b', 'd', 'e', 'f'])
        expect(second.next).toBeUndefined()
      })

      it('bounds the limit and refuses an `after` that no page gave', async () => {
        for (let n = 0; n < 3; n += 1) await givenToken(registry)
        expect((await registry.listTokens({ limit: 0 })).items).toHaveLength(1)
        expect((await registry.listTokens({ limit: 1e9 })).items).toHaveLength(3)
        for (const after of ['', '-1', '1 or 1=1', '9'.repeat(30)])
          await refused(registry.listTokens({ after, limit: 2 }), 'bad_request')
      })
    })

    describe('reserve', () => {
      it('makes the device, takes the serial, spends the token and writes what is meant', async () => {
        await givenIssuer(registry)
        const token = await givenToken(registry)
        const asked = reservation({ kind: 'token', id: token.id }, { deviceId: deviceId('cam-1') })
        const reserved = await registry.reserve(asked)
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
          },
        })
        expect(await registry.findToken(token.id)).toMatchObject({ used: 1 })
        expect(await registry.findDevice(deviceId('cam-1'))).toEqual({
          id: 'cam-1',
          state: 'active',
          group: 'default',
          tags: {},
          createdAt: NOW,
          lastSeenAt: undefined,
          revision: 1,
        })
        expect(await registry.findKey(asked.spkiSha256)).toEqual({ deviceId: 'cam-1', compromised: false })
        expect(await registry.findTokenUse(token.id, asked.spkiSha256)).toMatchObject({
          serial: asked.serial,
        })
        expect(await registry.findTokenUse(token.id, freshHex(32))).toBeUndefined()
        expect(await registry.findKey(freshHex(32))).toBeUndefined()
        expect(await registry.certificatesOf(deviceId('cam-1'))).toEqual([])
        expect(await actions()).toEqual(expect.arrayContaining(['device.created', 'certificate.reserved']))
      })

      it('gives the same row to the same token and key, with the first serial and dates, and spends nothing', async () => {
        await givenIssuer(registry)
        const token = await givenToken(registry)
        const asked = reservation({ kind: 'token', id: token.id })
        const first = await registry.reserve(asked)
        const again = {
          ...asked,
          serial: freshHex(16),
          notBefore: NOW + 5,
          notAfter: NOW + DAY,
          now: NOW + 5,
        }
        expect(await registry.reserve(again)).toEqual(first)
        expect(await registry.findToken(token.id)).toMatchObject({ used: 1 })
        const live = await recordReserved(registry, asked.serial)
        expect(await registry.reserve(again)).toEqual({ kind: 'already', certificate: live })
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
      ) => registry.setDeviceState({ id: device.id, state, reason: reason as never, now: NOW, actor: ACTOR })

      const cases: readonly Case[] = [
        { title: 'no such token', code: 'token_invalid', given: async () => byToken('nobody') },
        {
          title: 'a token at the instant it expires',
          code: 'token_expired',
          given: async () => byToken((await givenToken(registry)).id, { now: NOW + HOUR }),
        },
        {
          title: 'a revoked token',
          code: 'token_revoked',
          given: async () => {
            const { id } = await givenToken(registry)
            await registry.revokeToken(id, NOW, ACTOR)
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
            await registry.revokeToken(token.id, NOW, ACTOR)
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
          given: async () => byToken((await givenToken(registry, { deviceId: deviceId('bound') })).id),
        },
        {
          title: 'a used token and key for another id',
          code: 'device_id_mismatch',
          given: async ({ reservation: asked }) => ({ ...asked, deviceId: deviceId() }),
        },
        {
          title: 'an unbound token for an id that exists',
          code: 'device_exists',
          given: async ({ id }) => byToken((await givenToken(registry)).id, { deviceId: id }),
        },
        {
          title: 'an unbound token for the id of its own device, with another key',
          code: 'device_exists',
          given: async () => {
            const { id } = await givenToken(registry, { uses: 2 })
            const first = byToken(id)
            await registry.reserve(first)
            return byToken(id, { deviceId: first.deviceId })
          },
        },
        {
          title: 'an id that differs only in case',
          code: 'device_exists',
          given: async ({ id }) =>
            byToken((await givenToken(registry)).id, { deviceId: deviceId(id.toUpperCase()) }),
        },
        {
          title: 'an id that differs only in case, by a token bound to it',
          code: 'device_exists',
          given: async ({ id }) => {
            const upper = deviceId(id.toUpperCase())
            return byToken((await givenToken(registry, { deviceId: upper })).id, { deviceId: upper })
          },
        },
        {
          title: 'a suspended device',
          code: 'device_suspended',
          given: async (device) => {
            await moved(device, 'suspended')
            return byToken((await givenToken(registry, { deviceId: device.id })).id, { deviceId: device.id })
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
        {
          title: 'a retired device',
          code: 'device_retired',
          given: async (device) => {
            await moved(device, 'retired')
            return byToken((await givenToken(registry, { deviceId: device.id })).id, { deviceId: device.id })
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
            byToken((await givenToken(registry)).id, { spkiSha256 }),
        },
        {
          title: 'a key reported compromised, for the device that comes back',
          code: 'key_compromised',
          given: async (device) => {
            await moved(device, 'revoked', 'keyCompromise')
            const { spkiSha256 } = device.reservation
            const { id } = await givenToken(registry, { deviceId: device.id })
            return byToken(id, { deviceId: device.id, spkiSha256 })
          },
        },
        {
          title: 'a key reported compromised, for another device',
          code: 'key_compromised',
          given: async (device) => {
            await moved(device, 'retired', 'keyCompromise')
            return byToken((await givenToken(registry)).id, { spkiSha256: device.reservation.spkiSha256 })
          },
        },
        {
          title: 'a serial that is taken',
          code: 'conflict',
          given: async ({ reservation: { serial } }) => byToken((await givenToken(registry)).id, { serial }),
        },
        {
          title: 'an issuer that is not on record',
          code: 'issuer_unusable',
          given: async () => byToken((await givenToken(registry)).id, { issuerSki: 'b2'.repeat(20) }),
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
            const token = await givenToken(registry, { deviceId: device.id })
            await registry.reserve(byToken(token.id, { deviceId: device.id }))
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
            const other = await givenDevice(registry)
            const { spkiSha256 } = other.reservation
            return reservation({ kind: 'renewal', fingerprint, late: false }, { deviceId: id, spkiSha256 })
          },
        },
        {
          title: 'an old use whose certificate was revoked, after the device came back',
          code: 'certificate_revoked',
          given: async (device) => {
            await moved(device, 'revoked')
            const token = await givenToken(registry, { deviceId: device.id })
            await registry.reserve(byToken(token.id, { deviceId: device.id }))
            return device.reservation
          },
        },
      ]
      it.each(cases)('refuses $title: $code, and nothing has changed', async ({ given, code }) => {
        const device = await givenDevice(registry)
        const asked = await given(device)
        const before =
          asked.credential.kind === 'token' ? await registry.findToken(asked.credential.id) : undefined
        await refusedUnchanged(() => registry.reserve(asked), code)
        if (asked.credential.kind === 'token')
          expect(await registry.findToken(asked.credential.id)).toEqual(before)
      })

      it('brings a revoked device back by a new token bound to its id, its old certificates stay revoked', async () => {
        const device = await givenDevice(registry)
        await moved(device, 'revoked')
        const token = await givenToken(registry, { deviceId: device.id })
        const changes = await changesOf(() =>
          registry.reserve(
            byToken(token.id, { deviceId: device.id, spkiSha256: device.reservation.spkiSha256 }),
          ),
        )
        expect(changes).toEqual([{ kind: 'device', deviceId: device.id }])
        expect(await registry.findDevice(device.id)).toMatchObject({ state: 'active', revision: 4 })
        expect(reader.status(device.fingerprint)).toMatchObject({
          certificateState: 'revoked',
          deviceState: 'active',
        })
        expect(await actions()).toContain('device.reactivated')
      })

      it('re-enrols an active device by a bound token, with the same key or another', async () => {
        const device = await givenDevice(registry)
        const token = await givenToken(registry, { deviceId: device.id, uses: 2 })
        const { spkiSha256 } = device.reservation
        expect(await registry.reserve(byToken(token.id, { deviceId: device.id, spkiSha256 }))).toMatchObject({
          kind: 'reserved',
        })
        expect(await registry.reserve(byToken(token.id, { deviceId: device.id }))).toMatchObject({
          kind: 'reserved',
        })
        expect(await registry.findToken(token.id)).toMatchObject({ used: 2 })
      })

      it('renews: the same certificate and key ask for the same successor', async () => {
        const device = await givenDevice(registry)
        const asked = reservation(
          { kind: 'renewal', fingerprint: device.fingerprint, late: false },
          { deviceId: device.id, spkiSha256: device.reservation.spkiSha256 },
        )
        const first = await registry.reserve(asked)
        expect(await registry.reserve({ ...asked, serial: freshHex(16) })).toEqual(first)
        const live = await recordReserved(registry, asked.serial)
        expect(await registry.reserve({ ...asked, serial: freshHex(16) })).toEqual({
          kind: 'already',
          certificate: live,
        })
        const other = await registry.reserve({ ...asked, serial: freshHex(16), spkiSha256: freshHex(32) })
        expect(other.certificate.serial).not.toBe(asked.serial)
        expect((await registry.certificatesOf(device.id)).map(({ serial }) => serial)).toEqual([
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
        await givenIssuer(registry)
        await givenIssuer(registry, 'c3'.repeat(20))
        const token = await givenToken(registry)
        const asked = byToken(token.id, { notAfter: NOW + 40 * MINUTE })
        await registry.reserve(asked)
        const version = await registry.revocationVersion(ISSUER)
        const again = { ...asked, serial: freshHex(16), ...later }
        expect(await registry.reserve(again)).toMatchObject({
          kind: 'reserved',
          certificate: { serial: again.serial, issuerSki: again.issuerSki, notAfter: again.notAfter },
        })
        expect(await registry.findToken(token.id)).toMatchObject({ used: 1 })
        // it may have been signed, and lost
        expect(await registry.revocationVersion(ISSUER)).toBeGreaterThan(version)
        expect(await registry.revokedCertificates(ISSUER, 0)).toEqual([
          { serial: asked.serial, revokedAt: again.now, reason: 'superseded' },
        ])
        await refused(recordReserved(registry, asked.serial), 'certificate_revoked')
        expect(await registry.findTokenUse(token.id, asked.spkiSha256)).toMatchObject({
          serial: again.serial,
        })
      })

      it('gives a certificate three successors and no more, however often each is asked for', async () => {
        const device = await givenDevice(registry)
        const renewal = () =>
          reservation(
            { kind: 'renewal', fingerprint: device.fingerprint, late: false },
            { deviceId: device.id },
          )
        const asked = Array.from({ length: MOST_SUCCESSORS }, renewal)
        for (const each of asked) {
          await registry.reserve(each)
          await recordReserved(registry, each.serial)
        }
        const fourth = renewal()
        await refusedUnchanged(() => registry.reserve(fourth), 'rate_limited')
        await expect(registry.reserve(fourth)).rejects.toMatchObject({
          detail: expect.stringContaining(`renewed with ${MOST_SUCCESSORS} keys`) as string,
        })
        for (const each of asked)
          expect(await registry.reserve({ ...each, serial: freshHex(16) })).toMatchObject({
            kind: 'already',
            certificate: { serial: each.serial },
          })
        // the newest goes on
        const { certificate } = await registry.reserve(asked[0] as Reservation)
        const next = renewal()
        const credential = {
          kind: 'renewal',
          fingerprint: certificate.fingerprint as string,
          late: false,
        } as const
        expect(await registry.reserve({ ...next, credential })).toMatchObject({ kind: 'reserved' })
      })

      it('lets a device have ten usable certificates, until some expire or it is revoked', async () => {
        const device = await givenDevice(registry)
        const enrol = async (over: Partial<Reservation> = {}) => {
          const { id } = await givenToken(registry, { deviceId: device.id, expiresAt: NOW + DAY })
          const asked = byToken(id, { deviceId: device.id, notAfter: NOW + HOUR, ...over })
          return { asked, reserved: await registry.reserve(asked) }
        }
        for (let n = 1; n < MOST_USABLE; n += 1) await enrol()
        const { id } = await givenToken(registry, { deviceId: device.id, expiresAt: NOW + DAY })
        const further = byToken(id, { deviceId: device.id })
        await refusedUnchanged(() => registry.reserve(further), 'rate_limited')
        const renewal = { kind: 'renewal', fingerprint: device.fingerprint, late: false } as const
        await refusedUnchanged(
          () => registry.reserve(reservation(renewal, { deviceId: device.id })),
          'rate_limited',
        )
        expect(await registry.reserve(device.reservation)).toMatchObject({ kind: 'already' })
        expect(await registry.reserve({ ...further, now: NOW + HOUR })).toMatchObject({ kind: 'reserved' })
        await moved(device, 'revoked')
        expect(await enrol()).toMatchObject({ reserved: { kind: 'reserved' } })
      })

      it('remembers the life that was granted, not the one that an expiring issuer left', async () => {
        const device = await givenDevice(registry, { notAfter: NOW + HOUR, ttl: 30 * DAY })
        expect(await registry.grantedTtl(device.fingerprint)).toBe(30 * DAY)
        expect(await registry.grantedTtl(freshHex(32))).toBeUndefined()
      })

      it('lets one of 50 keys have a token of one use, the others find it spent', async () => {
        await givenIssuer(registry)
        const token = await givenToken(registry)
        const outcomes = await Promise.allSettled(
          Array.from({ length: 50 }, () => registry.reserve(byToken(token.id))),
        )
        expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
        for (const outcome of outcomes)
          if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'token_spent' })
        expect(await registry.findToken(token.id)).toMatchObject({ used: 1 })
        expect((await registry.listDevices({ now: NOW, limit: 100 })).items).toHaveLength(1)
      })

      it('gives 50 requests with one token and one key the same row, and their signatures one winner', async () => {
        await givenIssuer(registry)
        const token = await givenToken(registry)
        const asked = byToken(token.id)
        const rows = await Promise.all(
          Array.from({ length: 50 }, () => registry.reserve({ ...asked, serial: freshHex(16) })),
        )
        expect(new Set(rows.map((row) => JSON.stringify(row))).size).toBe(1)
        const serial = rows[0]?.certificate.serial as string
        const records = await Promise.all(rows.map(() => recordReserved(registry, serial)))
        expect(new Set(records.map(({ fingerprint }) => fingerprint)).size).toBe(1)
        expect(await registry.findToken(token.id)).toMatchObject({ used: 1 })
      })

      it('lets one of 50 tokens make an id, whatever the case of its letters', async () => {
        await givenIssuer(registry)
        const tokens = await Promise.all(Array.from({ length: 50 }, () => givenToken(registry)))
        const outcomes = await Promise.allSettled(
          tokens.map(({ id }, n) =>
            registry.reserve(byToken(id, { deviceId: deviceId(n % 2 === 0 ? 'Camera' : 'cAMERA') })),
          ),
        )
        expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      })
    })

    describe('recordCertificate', () => {
      const reserved = async (): Promise<Reservation> => {
        await givenIssuer(registry)
        const token = await givenToken(registry)
        const asked = reservation({ kind: 'token', id: token.id })
        await registry.reserve(asked)
        return asked
      }

      it('makes it live, with its bytes, its audit entry and its change', async () => {
        const asked = await reserved()
        const fingerprint = freshHex(32)
        expect(reader.status(fingerprint)).toBeUndefined()
        const changes = await changesOf(() =>
          registry.recordCertificate(asked.serial, fingerprint, Buffer.from('der'), NOW, 'system'),
        )
        expect(changes).toEqual([{ kind: 'device', deviceId: asked.deviceId }])
        expect(reader.status(fingerprint)).toEqual({
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
        })
        const [certificate] = await registry.certificatesOf(asked.deviceId)
        expect(certificate).toMatchObject({ state: 'live', fingerprint })
        const { certificate: again } = await registry.reserve(asked)
        expect(Buffer.from(again.der ?? [])).toEqual(Buffer.from('der'))
        // what is shown of the device has changed, so its ETag has
        expect(await registry.findDevice(asked.deviceId)).toMatchObject({ revision: 2 })
        expect((await actions()).at(-1)).toBe('certificate.issued')
      })

      it('keeps what the first writer recorded', async () => {
        const asked = await reserved()
        const first = await recordReserved(registry, asked.serial)
        const before = await everything()
        expect(await recordReserved(registry, asked.serial)).toEqual(first)
        expect(await everything()).toBe(before)
      })

      it.each(['suspended', 'revoked', 'retired'] as const)(
        'refuses when the device has been %s since the reservation',
        async (state) => {
          const asked = await reserved()
          await registry.setDeviceState({
            id: asked.deviceId,
            state,
            reason: 'unspecified',
            now: NOW,
            actor: ACTOR,
          })
          await refusedUnchanged(() => recordReserved(registry, asked.serial), 'certificate_revoked')
        },
      )

      it('can be made up for once a suspended device is resumed', async () => {
        const asked = await reserved()
        for (const state of ['suspended', 'active'] as const)
          await registry.setDeviceState({
            id: asked.deviceId,
            state,
            reason: 'unspecified',
            now: NOW,
            actor: ACTOR,
          })
        expect(await registry.reserve({ ...asked, serial: freshHex(16) })).toMatchObject({
          kind: 'reserved',
          certificate: { serial: asked.serial },
        })
        expect(await recordReserved(registry, asked.serial)).toMatchObject({ state: 'live' })
      })

      it('refuses a serial that was never reserved', async () => {
        await givenIssuer(registry)
        await refusedUnchanged(() => recordReserved(registry, freshHex(16)), 'not_found')
      })
    })

    it('newestRecordedTime follows every issuance, revocation and audit entry', async () => {
      expect(await registry.newestRecordedTime()).toBe(0)
      const device = await givenDevice(registry)
      expect(await registry.newestRecordedTime()).toBe(NOW)
      await registry.setDeviceState({
        id: device.id,
        state: 'revoked',
        reason: 'unspecified',
        now: NOW + 9,
        actor: ACTOR,
      })
      expect(await registry.newestRecordedTime()).toBe(NOW + 9)
      await givenToken(registry)
      expect(await registry.newestRecordedTime()).toBe(NOW + 9)
    })

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
        registry.setDeviceState({ id, state, reason: 'superseded', now: NOW + 5, actor: ACTOR, ...over })

      it.each(STATES.flatMap((from) => STATES.map((state) => ({ from, state }))))(
        '$from → $state',
        async ({ from, state }) => {
          const { id } = await givenDevice(registry)
          for (const step of reach[from]) await to(id, step)
          if (from === state) {
            const before = await everything()
            expect(await to(id, state)).toMatchObject({ state })
            expect(await everything()).toBe(before)
          } else if (allowed.has(`${from} ${state}`)) {
            const { revision } = (await registry.findDevice(id)) ?? { revision: 0 }
            const changes = await changesOf(() => to(id, state))
            expect(await registry.findDevice(id)).toMatchObject({ state, revision: revision + 1 })
            expect(changes).toEqual([{ kind: 'device', deviceId: id }])
          } else await refusedUnchanged(() => to(id, state), 'conflict')
        },
      )

      it('revocation takes certificates, intended ones too, and bound tokens with it', async () => {
        const device = await givenDevice(registry)
        const bound = await givenToken(registry, { deviceId: device.id, uses: 2 })
        const unbound = await givenToken(registry)
        const intended = reservation({ kind: 'token', id: bound.id }, { deviceId: device.id })
        await registry.reserve(intended)
        await to(device.id, 'revoked')
        expect(reader.status(device.fingerprint)).toMatchObject({
          certificateState: 'revoked',
          deviceState: 'revoked',
        })
        expect(await registry.findToken(bound.id)).toMatchObject({ revokedAt: NOW + 5 })
        expect(await registry.findToken(unbound.id)).toMatchObject({ revokedAt: undefined })
        expect(await registry.revokedCertificates(ISSUER, 0)).toEqual([
          { serial: device.certificate.serial, revokedAt: NOW + 5, reason: 'superseded' },
          { serial: intended.serial, revokedAt: NOW + 5, reason: 'superseded' },
        ])
        expect((await registry.listAudit({ limit: 1_000 })).items.at(-1)).toMatchObject({
          action: 'device.revoked',
          subject: device.id,
          actor: ACTOR,
          details: { reason: 'superseded', certificates: 2, keys: 0, tokens: 1, token_ids: [bound.id] },
        })
      })

      it('names at most 20 of the tokens it made void in the audit, and counts all', async () => {
        const device = await givenDevice(registry)
        for (let n = 0; n < 23; n += 1) await givenToken(registry, { deviceId: device.id })
        await to(device.id, 'retired', { reason: 'keyCompromise' })
        const details = (await registry.listAudit({ limit: 1_000 })).items.at(-1)?.details
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
          const device = await givenDevice(registry)
          await to(device.id, state)
          const pending = await givenToken(registry, { deviceId: device.id })
          const before = (await registry.findDevice(device.id))?.revision ?? 0
          const version = await registry.revocationVersion(ISSUER)
          const report = () => to(device.id, asked, { reason: 'keyCompromise', now: NOW + 9 })
          const changes = await changesOf(async () =>
            expect(await report()).toMatchObject({ state, revision: before + 1 }),
          )
          expect(changes).toEqual([{ kind: 'device', deviceId: device.id }])
          expect(await registry.revokedCertificates(ISSUER, 0)).toEqual([
            { serial: device.certificate.serial, revokedAt: NOW + 5, reason: 'keyCompromise' },
          ])
          expect(await registry.revocationVersion(ISSUER)).toBeGreaterThan(version)
          expect(await registry.findToken(pending.id)).toMatchObject({ revokedAt: NOW + 9 })
          expect((await registry.listAudit({ limit: 1_000 })).items.at(-1)).toMatchObject({
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
          const { id } = await givenToken(registry)
          await refused(
            registry.reserve(reservation({ kind: 'token', id }, { spkiSha256 })),
            'key_compromised',
          )
        },
      )

      it('a stolen key that is reported late honours If-Match, and only that reason is news', async () => {
        const { id } = await givenDevice(registry)
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
          await givenIssuer(registry, 'f6'.repeat(20))
          const { id } = await givenDevice(registry)
          const versions = () =>
            Promise.all([ISSUER, 'f6'.repeat(20)].map((ski) => registry.revocationVersion(ski)))
          const [ours = 0, other] = await versions()
          await to(id, state)
          expect(await versions()).toEqual([ours + 1, other])
        },
      )

      it('the revocation version stays when a device enrols, renews or is seen, and rises when it is resumed', async () => {
        const { id, fingerprint } = await givenDevice(registry)
        const version = await registry.revocationVersion(ISSUER)
        const renewal = reservation({ kind: 'renewal', fingerprint, late: false }, { deviceId: id })
        await registry.reserve(renewal)
        await recordReserved(registry, renewal.serial)
        await givenDevice(registry)
        await registry.recordSightings([{ fingerprint, at: NOW }], 'cursor', NOW)
        expect(await registry.revocationVersion(ISSUER)).toBe(version)
        await to(id, 'suspended')
        await to(id, 'active')
        expect(await registry.revocationVersion(ISSUER)).toBe(version + 2)
        await refused(registry.revocationVersion('e5'.repeat(20)), 'not_found')
      })

      it('shows the newest 100 certificates of a device, and its CRL lists all', async () => {
        const { id } = await givenDevice(registry)
        let serial = ''
        for (let n = 0; n < MOST_SHOWN; n += 1) {
          const token = await givenToken(registry, { deviceId: id })
          const asked = reservation({ kind: 'token', id: token.id }, { deviceId: id, notAfter: NOW + HOUR })
          await registry.reserve(asked)
          await recordReserved(registry, asked.serial)
          if (n % 8 === 7) await to(id, 'revoked')
          serial = asked.serial
        }
        await to(id, 'revoked')
        const shown = await registry.certificatesOf(id)
        expect(shown).toHaveLength(MOST_SHOWN)
        expect(shown[0]).toMatchObject({ serial })
        expect(shown[0]).not.toHaveProperty('der')
        expect(await registry.revokedCertificates(ISSUER, 0)).toHaveLength(MOST_SHOWN + 1)
      })

      it('retiring a revoked device for keyCompromise says so on the CRL, with the first date', async () => {
        const device = await givenDevice(registry)
        await to(device.id, 'revoked')
        await to(device.id, 'retired', { reason: 'keyCompromise', now: NOW + 9 })
        expect(await registry.revokedCertificates(ISSUER, 0)).toMatchObject([
          { revokedAt: NOW + 5, reason: 'keyCompromise' },
        ])
        expect(await registry.findKey(device.reservation.spkiSha256)).toMatchObject({ compromised: true })
      })

      it('honours If-Match before anything else', async () => {
        const { id } = await givenDevice(registry)
        await refusedUnchanged(() => to(id, 'suspended', { ifRevision: 7 }), 'precondition_failed')
        expect(await to(id, 'suspended', { ifRevision: 2 })).toMatchObject({ revision: 3 })
        await refusedUnchanged(() => to(id, 'suspended', { ifRevision: 2 }), 'precondition_failed')
      })

      it('lets one of two that hold the same revision through', async () => {
        const { id } = await givenDevice(registry)
        const outcomes = await Promise.allSettled([
          to(id, 'suspended', { ifRevision: 2 }),
          to(id, 'revoked', { ifRevision: 2 }),
        ])
        expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
      })

      it('knows no device that was never made', async () => {
        expect(await to(deviceId(), 'revoked')).toBeUndefined()
        expect(await registry.findDevice(deviceId())).toBeUndefined()
        expect(await registry.certificatesOf(deviceId())).toEqual([])
      })
    })

    describe('sightings', () => {
      it('keep the newest time, skip what is unknown or to come, and move the cursor', async () => {
        const { id, fingerprint } = await givenDevice(registry)
        const before = await registry.findDevice(id)
        expect(await registry.inboxCursor()).toBeUndefined()
        const changes = await changesOf(async () => {
          await registry.recordSightings(
            [
              { fingerprint, at: NOW + 3 },
              { fingerprint, at: NOW + 2 },
              { fingerprint, at: NOW + 99 },
              { fingerprint: freshHex(32), at: NOW },
            ],
            'cursor 1',
            NOW + 10,
          )
          await registry.recordSightings([{ fingerprint, at: NOW + 1 }], 'cursor 2', NOW + 10)
        })
        expect(changes).toEqual([])
        expect(await registry.findDevice(id)).toEqual({ ...before, lastSeenAt: NOW + 3 })
        expect(await registry.inboxCursor()).toBe('cursor 2')
      })
    })

    describe('issuers and CRLs', () => {
      it('registers an issuer once, as it was first given', async () => {
        const changes = await changesOf(() => givenIssuer(registry))
        expect(changes).toEqual([{ kind: 'issuer', ski: ISSUER }])
        const before = await everything()
        const renewed = { ski: ISSUER, der: Buffer.from('another'), spkiSha256: `key of ${ISSUER}` }
        expect(await registry.registerIssuer(renewed, NOW + 1)).toMatchObject({
          ski: ISSUER,
          state: 'active',
          der: Buffer.from(`issuer ${ISSUER}`),
        })
        expect(await everything()).toBe(before)
        expect(await reader.issuers()).toHaveLength(1)
        await refusedUnchanged(
          () => registry.registerIssuer({ ...renewed, spkiSha256: 'another key' }, NOW + 1),
          'conflict',
        )
      })

      it('lists revoked ones of this issuer, held ones as certificateHold, until one CRL past expiry', async () => {
        const revoke = (id: ReturnType<typeof deviceId>, state: DeviceState, now: number) =>
          registry.setDeviceState({ id, state, reason: 'keyCompromise', now, actor: ACTOR })
        const revokedOne = await givenDevice(registry)
        const held = await givenDevice(registry)
        const expired = await givenDevice(registry, { notAfter: NOW + HOUR })
        const elsewhere = await givenDevice(registry, { issuerSki: 'd4'.repeat(20) })
        await givenDevice(registry)
        await revoke(revokedOne.id, 'revoked', NOW + 1)
        await revoke(held.id, 'suspended', NOW + 2)
        await revoke(expired.id, 'revoked', NOW + 3)
        await revoke(elsewhere.id, 'revoked', NOW + 4)
        const entries = async (from: number) =>
          (await registry.revokedCertificates(ISSUER, from)).toSorted((a, b) => a.revokedAt - b.revokedAt)
        const first = { serial: revokedOne.certificate.serial, revokedAt: NOW + 1, reason: 'keyCompromise' }
        const second = { serial: held.certificate.serial, revokedAt: NOW + 2, reason: 'certificateHold' }
        const third = { serial: expired.certificate.serial, revokedAt: NOW + 3, reason: 'keyCompromise' }
        expect(await entries(NOW + HOUR)).toEqual([first, second, third])
        expect(await entries(NOW + HOUR + 1)).toEqual([first, second])
        await revoke(held.id, 'active', NOW + 5)
        expect(await entries(NOW + HOUR + 1)).toEqual([first])
      })

      it('CRL numbers only rise: with the clock, faster than the clock, and when it goes back', async () => {
        await givenIssuer(registry)
        const seconds = BigInt(NOW / 1_000)
        expect(await registry.takeCrlNumber(ISSUER, NOW)).toBe(seconds)
        expect(await registry.takeCrlNumber(ISSUER, NOW)).toBe(seconds + 1n)
        expect(await registry.takeCrlNumber(ISSUER, NOW + 60_999)).toBe(seconds + 60n)
        expect(await registry.takeCrlNumber(ISSUER, 0)).toBe(seconds + 61n)
        const many = await Promise.all(Array.from({ length: 20 }, () => registry.takeCrlNumber(ISSUER, 0)))
        expect(new Set(many).size).toBe(20)
        await refusedUnchanged(() => registry.takeCrlNumber('e5'.repeat(20), NOW), 'not_found')
      })

      it('says when the last certificate of an issuer ends', async () => {
        await givenIssuer(registry)
        expect(await registry.lastExpiry(ISSUER)).toBeUndefined()
        const { certificate } = await givenDevice(registry)
        expect(await registry.lastExpiry(ISSUER)).toBe(certificate.notAfter)
      })

      it('keeps the first status URL, and another one only when told to replace it', async () => {
        await givenIssuer(registry)
        const keep = { issuerSki: ISSUER, url: 'http://a.test', replace: false, now: NOW, actor: ACTOR }
        expect(await registry.keepStatusUrl(keep)).toBe('http://a.test')
        expect(await registry.keepStatusUrl({ ...keep, url: 'http://b.test' })).toBe('http://a.test')
        expect(await registry.keepStatusUrl({ ...keep, url: 'http://b.test', replace: true })).toBe(
          'http://b.test',
        )
        expect(await registry.keepStatusUrl(keep)).toBe('http://b.test')
        expect(await registry.statusUrls(ISSUER)).toEqual(['http://a.test', 'http://b.test'])
        await registry.keepStatusUrl({ ...keep, replace: true })
        expect(await registry.statusUrls(ISSUER)).toEqual(['http://a.test', 'http://b.test'])
        expect(await registry.statusUrls('e5'.repeat(20))).toEqual([])
        const { items } = await registry.listAudit({ limit: 100 })
        expect(
          items.filter(({ action }) => action === 'issuer.status_url').map(({ details }) => details),
        ).toEqual([
          { before: null, after: 'http://a.test' },
          { before: 'http://a.test', after: 'http://b.test' },
          { before: 'http://b.test', after: 'http://a.test' },
        ])
        await refusedUnchanged(
          () => registry.keepStatusUrl({ ...keep, issuerSki: 'e5'.repeat(20) }),
          'not_found',
        )
      })
    })

    describe('access', () => {
      const by = { now: NOW, actor: ACTOR }
      const given = async () => {
        await registry.putAccess('policy', { value: policy(), ...by })
        return registry.putAccess('application', { value: application(), ...by })
      }

      it('gives the same object until something in it changes', async () => {
        const empty = reader.access()
        expect(empty).toEqual({ version: 0, anchors: [], applications: [], policies: [] })
        await givenDevice(registry)
        expect(reader.access()).toBe(empty)
        await registry.putAccess('anchor', { value: anchor(), ...by })
        const one = reader.access()
        expect(one).toEqual({ version: 1, anchors: [anchor()], applications: [], policies: [] })
        expect(reader.access()).toBe(one)
        expect(registry.access()).toEqual(one)
      })

      it('stores, finds, lists and deletes each kind, each change with its version, change row and audit', async () => {
        const app = application()
        const values = { policy: policy(), application: app, anchor: anchor() } as const
        for (const kind of ['policy', 'application', 'anchor'] as const) {
          const changes = await changesOf(() => registry.putAccess(kind, { value: values[kind], ...by }))
          expect(changes).toEqual([{ kind: 'access' }])
          expect((await registry.findAccess(kind, values[kind].name))?.value).toEqual(values[kind])
          expect((await registry.listAccess(kind, { limit: 10 })).items).toHaveLength(1)
          expect(await registry.findAccess(kind, 'nobody')).toBeUndefined()
        }
        expect(reader.access().version).toBe(3)
        for (const kind of ['application', 'policy', 'anchor'] as const) {
          const changes = await changesOf(async () =>
            expect(await registry.deleteAccess(kind, values[kind].name, by)).toBe(true),
          )
          expect(changes).toEqual([{ kind: 'access' }])
          expect(await registry.deleteAccess(kind, values[kind].name, by)).toBe(false)
        }
        expect(reader.access()).toMatchObject({ version: 6, anchors: [], applications: [], policies: [] })
        expect(await actions()).toEqual([
          'policy.created',
          'application.created',
          'anchor.created',
          'application.deleted',
          'policy.deleted',
          'anchor.deleted',
        ])
      })

      it('keeps the id of an application, also against a caller that brings another', async () => {
        const { value } = await given()
        const changed = await registry.putAccess('application', {
          value: application({ hostnames: ['other.test'] }),
          ...by,
        })
        expect(changed.value).toMatchObject({ id: value.id, hostnames: ['other.test'] })
        await refusedUnchanged(
          () =>
            registry.putAccess('application', { value: application({ name: 'twin', id: value.id }), ...by }),
          'conflict',
        )
      })

      it('changes nothing when the value is the stored one', async () => {
        const { value, revision } = await given()
        const before = await everything()
        expect(await registry.putAccess('application', { value, ...by })).toEqual({ value, revision })
        await registry.applyAccess({ anchors: [], applications: [value], policies: [policy()] }, NOW, ACTOR)
        expect(await everything()).toBe(before)
      })

      it('honours If-Match, 0 meaning that it must not exist', async () => {
        const put = (ifRevision: number, hostname: string) =>
          registry.putAccess('anchor', { value: anchor({ hostnames: [hostname] }), ifRevision, ...by })
        await refusedUnchanged(() => put(1, 'a.test'), 'precondition_failed')
        const { revision } = await put(0, 'a.test')
        await refusedUnchanged(() => put(0, 'b.test'), 'precondition_failed')
        const { revision: next } = await put(revision, 'b.test')
        expect(next).toBeGreaterThan(revision)
        await refusedUnchanged(() => put(revision, 'c.test'), 'precondition_failed')
        const remove = (ifRevision: number) =>
          registry.deleteAccess('anchor', 'development', { ...by, ifRevision })
        await refusedUnchanged(() => remove(revision), 'precondition_failed')
        expect(await remove(next)).toBe(true)
        // a revision is not given twice: the ETag of what was deleted does not fit its successor
        expect((await put(0, 'd.test')).revision).toBeGreaterThan(next)
      })

      it('refuses a dangling name of a policy, and to delete one in use', async () => {
        await given()
        await refusedUnchanged(
          () => registry.putAccess('application', { value: application({ policies: ['nobody'] }), ...by }),
          'not_found',
        )
        await refusedUnchanged(() => registry.deleteAccess('policy', 'valid', by), 'in_use')
      })

      it('applies a whole file or none of it, with one change of version', async () => {
        const apply = (policies: readonly string[]) =>
          registry.applyAccess(
            {
              anchors: [anchor(), anchor({ name: 'second' })],
              applications: [application({ policies })],
              policies: [policy(), policy({ name: 'late' })],
            },
            NOW,
            ACTOR,
          )
        await refusedUnchanged(() => apply(['valid', 'nobody']), 'not_found')
        expect(await changesOf(() => apply(['valid', 'late']))).toEqual([{ kind: 'access' }])
        const snapshot = reader.access()
        expect(snapshot).toMatchObject({
          version: 1,
          anchors: [{ name: 'development' }, { name: 'second' }],
          applications: [{ policies: ['valid', 'late'] }],
        })
      })

      it('does not mistake one kind for another of the same name', async () => {
        await registry.putAccess('anchor', { value: anchor({ name: 'same' }), ...by })
        await registry.putAccess('policy', { value: policy({ name: 'same' }), ...by })
        expect(await registry.deleteAccess('anchor', 'same', by)).toBe(true)
        expect(await registry.findAccess('policy', 'same')).toBeDefined()
      })
    })

    describe('assertion keys', () => {
      it('are kept in the order they came, sealed as given, one for each kid', async () => {
        const keys = [assertionKey(), assertionKey()]
        const changes = await changesOf(async () => {
          for (const key of keys) await registry.addAssertionKey(key, ACTOR)
        })
        expect(changes).toEqual([{ kind: 'assertion_keys' }, { kind: 'assertion_keys' }])
        expect(await reader.assertionKeys()).toEqual(keys)
        await refusedUnchanged(
          () => registry.addAssertionKey(assertionKey({ kid: keys[0]?.kid ?? '' }), ACTOR),
          'conflict',
        )
        expect(JSON.stringify(await registry.listAudit({ limit: 10 }))).not.toContain('sealed')
      })
    })

    describe('idempotency', () => {
      const answer = (text: string) => ({ requestHash: `hash of ${text}`, sealed: Buffer.from(text) })

      it('keeps the first answer of a key, each scope by itself', async () => {
        expect(await registry.findIdempotent('op', 'k')).toBeUndefined()
        const kept = await Promise.all(
          Array.from({ length: 10 }, (_, n) => registry.keepIdempotent('op', 'k', answer(`${n}`), NOW)),
        )
        expect(new Set(kept.map(({ requestHash }) => requestHash))).toEqual(new Set(['hash of 0']))
        expect(await registry.findIdempotent('op', 'k')).toEqual(answer('0'))
        expect(await registry.findIdempotent('other', 'k')).toBeUndefined()
        expect(await registry.keepIdempotent('other', 'k', answer('x'), NOW)).toEqual(answer('x'))
      })

      it('drops an answer after a day', async () => {
        await registry.keepIdempotent('op', 'k', answer('old'), NOW)
        built.setClock(NOW + DAY - 1)
        expect(await registry.findIdempotent('op', 'k')).toEqual(answer('old'))
        built.setClock(NOW + DAY)
        expect(await registry.findIdempotent('op', 'k')).toBeUndefined()
        expect(await registry.keepIdempotent('op', 'k', answer('new'), NOW + DAY)).toEqual(answer('new'))
      })

      it('forgets all that are older than a day, however many, and no other', async () => {
        await Promise.all(
          Array.from({ length: 120 }, (_, n) => registry.keepIdempotent('op', `${n}`, answer('old'), NOW)),
        )
        await registry.keepIdempotent('op', 'late', answer('late'), NOW + 1)
        await registry.forgetIdempotent(NOW + DAY)
        // the clock of the registry is still at NOW: what is gone is gone, and not merely too old
        for (const key of ['0', '119']) expect(await registry.findIdempotent('op', key)).toBeUndefined()
        expect(await registry.findIdempotent('op', 'late')).toEqual(answer('late'))
      })
    })

    describe('the change feed', () => {
      it('tells changes in commit order, and nothing twice when all goes well', async () => {
        const start = await reader.cursor()
        expect(await reader.changesSince(start)).toEqual({ changes: [], cursor: start })
        const device = await givenDevice(registry)
        await registry.putAccess('anchor', { value: anchor(), now: NOW, actor: ACTOR })
        await registry.setDeviceState({
          id: device.id,
          state: 'revoked',
          reason: 'unspecified',
          now: NOW,
          actor: ACTOR,
        })
        const told = await reader.changesSince(start)
        expect(told.changes).toEqual([
          { kind: 'issuer', ski: ISSUER },
          { kind: 'device', deviceId: device.id },
          { kind: 'access' },
          { kind: 'device', deviceId: device.id },
        ])
        expect(told.cursor).toBe(await reader.cursor())
        expect((await reader.changesSince(told.cursor)).changes).toEqual([])
      })

      it('tells at most 1,000 at a time, and goes on where it stopped', async () => {
        const start = await reader.cursor()
        await Promise.all(
          Array.from({ length: 1_200 }, (_, n) =>
            registry.addAssertionKey(assertionKey({ kid: `kid ${n}` }), ACTOR),
          ),
        )
        const first = await reader.changesSince(start)
        const second = await reader.changesSince(first.cursor)
        expect([first.changes.length, second.changes.length]).toEqual([1_000, 200])
      })

      it.each(['', 'nonsense', '1.', `1.${'0'.repeat(32)}`, `999999.${'0'.repeat(32)}`, '9'.repeat(99)])(
        'tells a reader whose cursor "%s" it cannot place to check everything again',
        async (cursor) => {
          await givenIssuer(registry)
          await givenIssuer(registry, 'f6'.repeat(20))
          const { changes, cursor: next } = await reader.changesSince(cursor)
          expect(changes).toEqual([
            { kind: 'reset' },
            { kind: 'access' },
            { kind: 'assertion_keys' },
            { kind: 'issuer', ski: ISSUER },
            { kind: 'issuer', ski: 'f6'.repeat(20) },
          ])
          expect(next).toBe(await reader.cursor())
        },
      )

      it('notices a cursor of another registry', async () => {
        await givenDevice(registry)
        await using other = await build()
        await givenDevice(other.registry)
        const { changes } = await other.reader.changesSince(await reader.cursor())
        expect(changes[0]).toEqual({ kind: 'reset' })
      })
    })

    it('refuses every write once it is closed', async () => {
      await registry[Symbol.asyncDispose]()
      await refused(registry.createToken(claimToken(), ACTOR), 'registry_unavailable')
    })
  })
}
