import 'reflect-metadata'
import { X509Crl } from '@peculiar/x509'
import { describe, expect, test, vi } from 'vitest'
import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import { openCrlPublisher, type CrlPublisher } from '#enroll/crl-publisher.ts'
import { FleetError } from '#fleet/errors.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { REVOCATION_REASONS, type RevocationReason } from '#fleet/revocation-reason.ts'
import type { Registry } from '#registry/registry.ts'
import { CRL_NUMBER_LEAD } from '#registry/revocations.ts'
import { createLog } from '#runtime/log.ts'
import { makePki, randomSerial } from '../../support/pki.ts'
import {
  givenDevice,
  givenIssuer,
  givenToken,
  NOW,
  recordReserved,
  reservation,
} from '../../support/registry.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

const TTL = HOUR
const now = NOW

/** serial → reason code, as an implementation that is not ours reads them. */
const listed = (publisher: CrlPublisher, ski: string): Record<string, number> => {
  const crl = publisher.current(ski)
  if (crl === undefined) return { none: -1 }
  const { entries } = new X509Crl(new Uint8Array(crl.der))
  return Object.fromEntries(
    entries.map(({ serialNumber, reason }) => [serialNumber.toLowerCase(), reason ?? 0]),
  )
}

const setUp = async (wrap: (registry: Registry) => Registry = (registry) => registry) => {
  await using opened = new AsyncDisposableStack()
  const test = opened.use(await openTestRegistry(now))
  const pki = makePki({ now })
  const issuer = opened.use(await pki.openIssuer())
  await givenIssuer(test.registry, issuer.ski)
  const lines: { level: string; msg: string; reason?: string }[] = []
  const log = createLog('enroll', 'debug', {
    write: (line) => lines.push(JSON.parse(line) as (typeof lines)[number]),
  })
  const calls = { takeCrlNumber: 0, revocationVersion: 0 }
  const inner = wrap(test.registry)
  /** counts CRLs by the numbers they take, and looks */
  const registry = new Proxy(inner, {
    get: (target, name) => {
      if (name === 'takeCrlNumber' || name === 'revocationVersion') calls[name] += 1
      const member: unknown = Reflect.get(target, name, target)
      return typeof member === 'function' ? (member.bind(target) as unknown) : member
    },
  })
  const deps = { registry, issuers: () => [issuer], clock: test.clock, log, ttl: TTL, poll: 5, apart: 5 }
  const device = async () => {
    const { id, certificate } = await givenDevice(test.registry, {
      issuerSki: issuer.ski,
      serial: randomSerial(),
      now,
      notBefore: now,
      notAfter: now + DAY,
    })
    return { id, serial: certificate.serial }
  }
  const owned = opened.move()
  return {
    ...test,
    pki,
    deps,
    issuer,
    ski: issuer.ski,
    calls,
    lines,
    device,
    set: (id: DeviceId, state: DeviceState, reason: RevocationReason = 'unspecified') =>
      test.registry.setDeviceState({ id, state, reason, now: test.clock(), actor: 'operator:x' }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const soon = <T>(act: () => T): Promise<T> => vi.waitFor(act, { timeout: SECOND, interval: 5 })

describe('the CRL', () => {
  test('is there at once, empty, and says its times', async () => {
    await using desk = await setUp()
    await using publisher = await openCrlPublisher(desk.deps)
    expect(listed(publisher, desk.ski)).toEqual({})
    expect(publisher.current(desk.ski)).toMatchObject({ thisUpdate: now - 5 * MINUTE, nextUpdate: now + TTL })
    const crl = new X509Crl(new Uint8Array(publisher.current(desk.ski)?.der ?? []))
    expect(crl.nextUpdate?.getTime()).toBe(now + TTL)
  })

  test('has what was revoked before it started', async () => {
    await using desk = await setUp()
    const { id, serial } = await desk.device()
    await desk.set(id, 'revoked', 'keyCompromise')
    await using publisher = await openCrlPublisher(desk.deps)
    expect(listed(publisher, desk.ski)).toEqual({ [serial]: REVOCATION_REASONS.keyCompromise })
  })

  test('follows a revocation, a suspension and a resumption, each with a higher number', async () => {
    await using desk = await setUp()
    const [lost, held] = [await desk.device(), await desk.device()]
    await using publisher = await openCrlPublisher(desk.deps)
    const numbers = [publisher.current(desk.ski)?.number ?? 0n]
    const expectListed = async (expected: Record<string, number>) => {
      await soon(() => expect(listed(publisher, desk.ski)).toEqual(expected))
      numbers.push(publisher.current(desk.ski)?.number ?? 0n)
    }
    await desk.set(lost.id, 'revoked', 'superseded')
    await expectListed({ [lost.serial]: REVOCATION_REASONS.superseded })
    await desk.set(held.id, 'suspended', 'certificateHold')
    await expectListed({
      [lost.serial]: REVOCATION_REASONS.superseded,
      [held.serial]: REVOCATION_REASONS.certificateHold,
    })
    await desk.set(held.id, 'active')
    await expectListed({ [lost.serial]: REVOCATION_REASONS.superseded })
    expect(numbers).toEqual(numbers.toSorted((a, b) => Number(a - b)))
    expect(new Set(numbers).size).toBe(4)
  })

  test('lists what a device lost, though it has enrolled again before anybody looked', async () => {
    await using desk = await setUp()
    const { id, serial } = await desk.device()
    await using publisher = await openCrlPublisher({ ...desk.deps, poll: 100 })
    await desk.set(id, 'revoked', 'keyCompromise')
    const { issuerSki } = (await desk.registry.certificatesOf(id))[0] as { issuerSki: string }
    const { id: token } = await givenToken(desk.registry, {
      deviceId: id,
      createdAt: now,
      expiresAt: now + HOUR,
    })
    const ask = reservation({ kind: 'token', id: token }, { deviceId: id, issuerSki, serial: randomSerial() })
    await recordReserved(desk.registry, (await desk.registry.reserve(ask)).certificate.serial, now)
    expect((await desk.registry.findDevice(id))?.state).toBe('active')
    await soon(() => {
      expect(listed(publisher, desk.ski)).toEqual({ [serial]: REVOCATION_REASONS.keyCompromise })
    })
  })

  test('is not made again for enrolments, and once for many revocations', async () => {
    await using desk = await setUp()
    const devices = []
    for (let at = 0; at < 20; at += 1) devices.push(await desk.device())
    await using publisher = await openCrlPublisher(desk.deps)
    for (let at = 0; at < 10; at += 1) await desk.device()
    await Promise.all(devices.map(({ id }) => desk.set(id, 'revoked', 'keyCompromise')))
    await soon(() => expect(Object.keys(listed(publisher, desk.ski))).toHaveLength(20))
    expect(desk.calls.takeCrlNumber).toBeLessThanOrEqual(4)
  })

  test('is made no faster than it may, however fast the list changes, and tells the end of it', async () => {
    await using desk = await setUp()
    const { id, serial } = await desk.device()
    const started = performance.now()
    await using publisher = await openCrlPublisher({ ...desk.deps, apart: 150 })
    while (performance.now() - started < 500) {
      await desk.set(id, 'suspended', 'certificateHold')
      await desk.set(id, 'active')
    }
    expect(desk.calls.takeCrlNumber).toBeLessThanOrEqual(1 + (performance.now() - started) / 150)
    await desk.set(id, 'revoked', 'superseded')
    await soon(() => expect(listed(publisher, desk.ski)).toEqual({ [serial]: REVOCATION_REASONS.superseded }))
  })

  test('is made twice a second at most', async () => {
    await using desk = await setUp()
    const { id, serial } = await desk.device()
    const { apart: _, ...deps } = desk.deps
    // before the first one: the half second is counted from when that was begun
    const made = performance.now()
    await using publisher = await openCrlPublisher(deps)
    await desk.set(id, 'revoked', 'superseded')
    await vi.waitFor(() => expect(listed(publisher, desk.ski)).toHaveProperty(serial), {
      timeout: 5 * SECOND,
      interval: 5,
    })
    expect(performance.now() - made).toBeGreaterThan(400)
    expect(desk.calls.takeCrlNumber).toBe(2)
  })

  test.each([
    ['near the clock: half a second apart', CRL_NUMBER_LEAD - 2, 400],
    [
      'as far ahead of the clock as it may be: a second apart, which the clock makes up',
      CRL_NUMBER_LEAD,
      900,
    ],
  ])('its number is %s', async (_, ahead, least) => {
    await using desk = await setUp()
    const { id, serial } = await desk.device()
    for (let at = 0; at < ahead; at += 1) await desk.registry.takeCrlNumber(desk.ski, now)
    const { apart: __, ...deps } = desk.deps
    const made = performance.now()
    await using publisher = await openCrlPublisher(deps)
    expect(publisher.current(desk.ski)?.number).toBe(BigInt(now / SECOND + ahead))
    await desk.set(id, 'revoked', 'superseded')
    await vi.waitFor(() => expect(listed(publisher, desk.ski)).toHaveProperty(serial), {
      timeout: 5 * SECOND,
      interval: 5,
    })
    expect(performance.now() - made).toBeGreaterThan(least)
  })

  test('is made again at half of its life, and never served beyond it', async () => {
    await using desk = await setUp()
    await using publisher = await openCrlPublisher(desk.deps)
    const first = publisher.current(desk.ski)
    desk.pass(TTL / 2 - 1)
    await desk.device()
    expect(publisher.current(desk.ski)?.number).toBe(first?.number)
    desk.pass(1)
    await soon(() => expect(publisher.current(desk.ski)?.nextUpdate).toBe(now + TTL / 2 + TTL))
    desk.pass(TTL)
    expect(publisher.current(desk.ski)).toBeUndefined()
    await soon(() => expect(publisher.current(desk.ski)).toBeDefined())
  })

  test.each([
    ['the desk was down, and its list could not be read', 'revokedCertificates', true],
    ['its list could not be read', 'revokedCertificates', false],
    ['it was not signed, and the desk was down', 'signCrl', true],
    ['it was not signed', 'signCrl', false],
  ] as const)('has what expired while %s, however long that was, and once', async (_, verb, restarts) => {
    const away = { now: false }
    const unless = <T>(what: typeof verb, work: () => Promise<T>): Promise<T> =>
      away.now && verb === what ? Promise.reject(new FleetError('registry_unavailable', 'away')) : work()
    await using desk = await setUp((registry) => ({
      ...registry,
      revokedCertificates: (...asked) =>
        unless('revokedCertificates', () => registry.revokedCertificates(...asked)),
    }))
    const issuer: typeof desk.issuer = {
      ...desk.issuer,
      signCrl: (asked) => unless('signCrl', () => desk.issuer.signCrl(asked)),
    }
    const deps = { ...desk.deps, issuers: () => [issuer] }
    const { id, serial } = await desk.device()
    await using opened = new AsyncDisposableStack()
    let publisher = opened.use(await openCrlPublisher(deps))
    await desk.set(id, 'revoked', 'superseded')
    await soon(() => expect(listed(publisher, desk.ski)).toHaveProperty(serial))
    away.now = true
    // its certificate ends in a day, and its last CRL long before
    desk.pass(5 * DAY)
    await soon(() => expect(desk.lines.map(({ msg }) => msg)).toContain('crl not made'))
    if (restarts) {
      await publisher[Symbol.asyncDispose]()
      publisher = opened.use(await openCrlPublisher(deps))
    }
    away.now = false
    await vi.waitFor(() => expect(listed(publisher, desk.ski)).toHaveProperty(serial), {
      timeout: 10 * SECOND,
      interval: 5,
    })
    desk.pass(TTL)
    await soon(() => expect(listed(publisher, desk.ski)).toEqual({}))
  })

  test('rises from what another run left, though the clock was set back', async () => {
    await using desk = await setUp()
    const before = await openCrlPublisher(desk.deps)
    const number = before.current(desk.ski)?.number ?? 0n
    await before[Symbol.asyncDispose]()
    desk.pass(-4 * MINUTE)
    await using publisher = await openCrlPublisher(desk.deps)
    expect(publisher.current(desk.ski)?.number).toBe(number + 1n)
  })

  test('of a clock that was ahead is replaced when the clock has been put right', async () => {
    await using desk = await setUp()
    desk.pass(2 * DAY)
    await using publisher = await openCrlPublisher(desk.deps)
    const ahead = publisher.current(desk.ski)
    expect(ahead?.thisUpdate).toBeGreaterThan(now + DAY)
    desk.pass(-2 * DAY)
    await soon(() => expect(publisher.current(desk.ski)?.thisUpdate).toBe(now - 5 * MINUTE))
    expect(publisher.current(desk.ski)?.number).toBeGreaterThan(ahead?.number ?? 0n)
  })

  test('is not signed, and takes no number, while the clock is behind what is on record', async () => {
    await using desk = await setUp()
    desk.pass(HOUR)
    const { id } = await desk.device()
    await desk.set(id, 'revoked', 'keyCompromise')
    desk.pass(-HOUR)
    await using publisher = await openCrlPublisher({ ...desk.deps, apart: 100 })
    expect(publisher.current(desk.ski)).toBeUndefined()
    expect(desk.calls.takeCrlNumber).toBe(0)
    expect(desk.lines).toContainEqual(
      expect.objectContaining({ msg: 'crl not made', reason: 'clock_behind' }),
    )
    // looked at again before it may be tried again: that is no recovery
    const looks = desk.calls.revocationVersion
    await soon(() => expect(desk.calls.revocationVersion).toBeGreaterThan(looks + 2))
    expect(desk.lines.map(({ msg }) => msg)).not.toContain('crl recovered')
    desk.pass(HOUR - 4 * MINUTE)
    await soon(() => expect(Object.keys(listed(publisher, desk.ski))).toHaveLength(1))
    expect(desk.lines.filter(({ msg }) => msg === 'crl not made')).toHaveLength(1)
  })

  test('says every status URL that its issuer ever had', async () => {
    await using desk = await setUp()
    const keep = { issuerSki: desk.ski, now, actor: 'system', replace: true } as const
    await desk.registry.keepStatusUrl({ ...keep, url: 'http://before.test' })
    await desk.registry.keepStatusUrl({ ...keep, url: 'http://status.test:8081' })
    await using publisher = await openCrlPublisher(desk.deps)
    const der = Buffer.from(publisher.current(desk.ski)?.der ?? []).toString('latin1')
    for (const base of ['http://before.test', 'http://status.test:8081'])
      expect(der.split(`${base}/crl/${desk.ski}.crl`)).toHaveLength(2)
  })
})

describe('of several issuers', () => {
  test('each has its own, and one that cannot sign does not hold up the others', async () => {
    await using desk = await setUp()
    const other = await makePki({ now }).openIssuer()
    await givenIssuer(desk.registry, other.ski)
    await using publisher = await openCrlPublisher({ ...desk.deps, issuers: () => [desk.issuer, other] })
    const first = publisher.current(other.ski)?.number
    expect(first).toBeDefined()
    const { id, serial } = await desk.device()
    await desk.set(id, 'revoked', 'superseded')
    await soon(() => expect(listed(publisher, desk.ski)).toHaveProperty(serial))
    expect(listed(publisher, other.ski)).toEqual({})
    expect(publisher.current(other.ski)?.number).toBe(first)
    await other[Symbol.asyncDispose]()
    desk.pass(TTL / 2)
    await soon(() => expect(publisher.current(desk.ski)?.nextUpdate).toBe(now + TTL / 2 + TTL))
    await soon(() =>
      expect(desk.lines).toContainEqual(expect.objectContaining({ msg: 'crl not made', issuer: other.ski })),
    )
  })

  test('one that comes later gets its CRL; of one that goes the last is served to its end', async () => {
    await using desk = await setUp()
    await using other = await makePki({ now }).openIssuer()
    await givenIssuer(desk.registry, other.ski)
    let issuers = [desk.issuer]
    await using publisher = await openCrlPublisher({ ...desk.deps, issuers: () => issuers })
    expect(publisher.current(other.ski)).toBeUndefined()
    issuers = [other]
    await soon(() => expect(publisher.current(other.ski)).toBeDefined())
    const last = publisher.current(desk.ski)?.number
    const { id } = await desk.device()
    await desk.set(id, 'revoked', 'superseded')
    desk.pass(TTL / 2)
    await soon(() => expect(publisher.current(other.ski)?.nextUpdate).toBe(now + TTL / 2 + TTL))
    expect(publisher.current(desk.ski)?.number).toBe(last)
    desk.pass(TTL / 2)
    expect(publisher.current(desk.ski)).toBeUndefined()
  })
})

describe('when the key is with a signer', () => {
  test('takes no number while it is away, and goes on after numbers that somebody else has used', async () => {
    await using desk = await setUp()
    let away = true
    let used: bigint | undefined
    const issuer = {
      ...desk.issuer,
      ready: () => !away,
      lastCrlNumber: () => used,
      signCrl: async (request: Parameters<typeof desk.issuer.signCrl>[0]) => {
        const last = BigInt(Math.floor(desk.clock() / 1_000)) + 3_600n
        if (request.number > last) return await desk.issuer.signCrl(request)
        used = last
        throw new FleetError('issuer_unusable', 'the signer refused')
      },
    }
    await using publisher = await openCrlPublisher({ ...desk.deps, issuers: () => [issuer] })
    expect(desk.calls.takeCrlNumber).toBe(0)
    away = false
    await soon(() => expect(publisher.current(desk.ski)?.number).toBeGreaterThan(used ?? 0n))
    expect(desk.calls.takeCrlNumber).toBe(2)
  })
})

describe('when the registry fails', () => {
  const unavailable = () => Promise.reject(new FleetError('registry_unavailable', 'locked'))

  test.each(['revocationVersion', 'revokedCertificates', 'takeCrlNumber'] as const)(
    'in %s: tries again, one line for the outage, nothing lost',
    async (verb) => {
      let broken = true
      await using desk = await setUp(
        (registry) =>
          new Proxy(registry, {
            get: (target, name) => {
              if (broken && name === verb) return unavailable
              const member: unknown = Reflect.get(target, name, target)
              return typeof member === 'function' ? (member.bind(target) as unknown) : member
            },
          }),
      )
      const { id, serial } = await desk.device()
      await using publisher = await openCrlPublisher(desk.deps)
      await desk.set(id, 'revoked', 'keyCompromise')
      await soon(() => expect(desk.lines.filter(({ level }) => level === 'warn')).toHaveLength(1))
      expect(desk.lines.find(({ level }) => level === 'warn')).toMatchObject({
        msg: 'crl not made',
        reason: 'registry_unavailable',
      })
      broken = false
      await soon(() =>
        expect(listed(publisher, desk.ski)).toEqual({ [serial]: REVOCATION_REASONS.keyCompromise }),
      )
      await soon(() => expect(desk.lines.map(({ msg }) => msg)).toContain('crl recovered'))
      expect(desk.lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
    },
  )

  test('a closed publisher does nothing any more', async () => {
    await using desk = await setUp()
    const publisher = await openCrlPublisher(desk.deps)
    await publisher[Symbol.asyncDispose]()
    const { takeCrlNumber } = desk.calls
    const { id } = await desk.device()
    await desk.set(id, 'revoked')
    desk.pass(TTL * 2)
    expect(desk.calls.takeCrlNumber).toBe(takeCrlNumber)
    expect(publisher.current(desk.ski)).toBeUndefined()
  })
})
