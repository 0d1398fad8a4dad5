/** What limits the life of a certificate: the whole chain above it, and only for as long as that chain is in the way. And how many. */

import { expect, test } from 'vitest'
import { acceptCsr, issueCertificate } from '#enroll/issuance.ts'
import { acceptRenewer, renewFor } from '#enroll/renew-device.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { readCertificate } from '#pki/certificate.ts'
import { openIssuer, type Issuer } from '#pki/issuer.ts'
import { issuanceDeps } from '../../support/issuance-deps.ts'
import { makeCa, makeCsr, makePki, type TestCa } from '../../support/pki.ts'
import { deviceId, givenToken, NOW, RESERVATION_DEFAULTS } from '../../support/registry.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

const pki = makePki({ now: NOW })

/** root → upper → devices, as an organisation's own CA may be built: what is in the middle ends first */
const threeLevels = (upperNotAfter: number): { readonly upper: TestCa; readonly ca: TestCa } => {
  const upper = makeCa({ name: 'Upper', now: NOW, by: pki.root, notAfter: upperNotAfter })
  return { upper, ca: makeCa({ name: 'Devices', now: NOW, by: upper, pathLength: 0 }) }
}

const open = ({ upper, ca }: ReturnType<typeof threeLevels>): Promise<Issuer> =>
  openIssuer({
    rootPem: pki.root.pem,
    intermediatePem: ca.pem + upper.pem,
    keyPem: ca.keyPem,
    statusUrl: 'http://status.test',
    now: NOW,
  })

const setUp = async (issuer: Issuer, issuerPerHour?: number) => {
  await using opened = new AsyncDisposableStack()
  const { registry, clock, pass } = opened.use(await openTestRegistry(NOW))
  const use = (next: Issuer) =>
    issuanceDeps({
      registry,
      clock,
      issuer: next,
      ...(issuerPerHour === undefined ? {} : { issuerPerHour }),
    })
  const first = await use(issuer)
  const owned = opened.move()
  return { registry, ...first, use, pass, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const csr = () => acceptCsr(makeCsr().pem)
const firstGroup = (desk: Awaited<ReturnType<typeof setUp>>): EnrollmentGroup =>
  desk.registry.groups().get('default') as EnrollmentGroup
const common = (desk: Awaited<ReturnType<typeof setUp>>) => ({
  actor: 'system',
  requestId: undefined,
  group: firstGroup(desk),
  tags: {},
  csr: csr(),
  ttl: 30 * DAY,
})

test('a CA in the middle that ends first shortens the certificate, and burns no token', async () => {
  await using issuer = await open(threeLevels(NOW + 10 * DAY))
  expect(issuer.notAfter).toBe(NOW + 10 * DAY)
  await using desk = await setUp(issuer)
  const token = await givenToken(desk.registry)
  const issued = await issueCertificate(desk.deps, {
    ...common(desk),
    deviceId: deviceId('lamp-1'),
    credential: { kind: 'token', id: token.id },
  })
  expect(issued.notAfter).toBe(NOW + 10 * DAY)
  expect(readCertificate(issued.der).notAfter).toBe(issued.notAfter)
  const { start, end } = issued.renewWindow
  expect([start, end]).toEqual([NOW + (20 * DAY) / 3, NOW + (25 * DAY) / 3])
  expect(issued.renewAfter).toBeGreaterThanOrEqual(start)
  expect(issued.renewAfter).toBeLessThanOrEqual(end)
})

test('a signer that is away costs no use of a token, and leaves no row', async () => {
  await using inner = await open(threeLevels(NOW + 100 * DAY))
  let away = true
  const issuer: Issuer = { ...inner, ready: () => !away }
  await using desk = await setUp(issuer)
  const token = await givenToken(desk.registry)
  const ask = {
    ...common(desk),
    deviceId: deviceId('lamp-1'),
    credential: { kind: 'token', id: token.id },
  } as const
  await expect(issueCertificate(desk.deps, ask)).rejects.toMatchObject({
    code: 'issuer_unusable',
    retryAfter: 5,
  })
  expect(await desk.registry.findToken(token.id)).toMatchObject({ used: 0 })
  expect(await desk.registry.findDevice(ask.deviceId)).toBeUndefined()
  away = false
  expect((await issueCertificate(desk.deps, ask)).fresh).toBe(true)
})

test('a row that was meant to live longer than the issuer can sign for does not hold its use for ever', async () => {
  const levels = threeLevels(NOW + 10 * DAY)
  await using issuer = await open(levels)
  await using desk = await setUp(issuer)
  const token = await givenToken(desk.registry)
  const ask = {
    ...common(desk),
    deviceId: deviceId('lamp-2'),
    credential: { kind: 'token', id: token.id },
  } as const
  // as it was left by a desk that knew of a longer life
  await desk.registry.reserve({
    ...RESERVATION_DEFAULTS,
    actor: ask.actor,
    deviceId: ask.deviceId,
    credential: ask.credential,
    ttl: ask.ttl,
    now: NOW,
    spkiSha256: ask.csr.spkiSha256,
    serial: '40'.repeat(16),
    issuerSki: issuer.ski,
    notBefore: NOW,
    notAfter: NOW + 30 * DAY,
    issuerNotAfter: NOW + 365 * DAY,
  })
  const issued = await issueCertificate(desk.deps, ask)
  expect(issued).toMatchObject({ fresh: true, notAfter: NOW + 10 * DAY })
  expect(await desk.registry.findToken(token.id)).toMatchObject({ used: 1 })
})

test('a life that an expiring CA cut short grows back with the next CA', async () => {
  await using old = await open(threeLevels(NOW + 2 * HOUR))
  await using desk = await setUp(old)
  const token = await givenToken(desk.registry, { certificateTtl: 30 * DAY })
  const id = deviceId('lamp-3')
  const short = await issueCertificate(desk.deps, {
    ...common(desk),
    deviceId: id,
    credential: { kind: 'token', id: token.id },
  })
  expect(short.notAfter).toBe(NOW + 2 * HOUR)
  const leaf = readCertificate(short.der)
  desk.pass(80 * MINUTE)
  await using next = await open(threeLevels(NOW + 365 * DAY))
  const { ski } = old
  await desk.registry.moveIssuer({ ski, from: ['active'], to: 'retiring', now: NOW, actor: 'system' })
  const { deps } = await desk.use(next)
  const peer: Peer = {
    leaf,
    sentChain: [],
    trusted: true,
    resumed: false,
    serverName: 'localhost',
    address: '192.0.2.1',
  }
  const renewed = await renewFor(deps, acceptRenewer(deps, peer), { csr: makeCsr().pem })
  expect(renewed).toMatchObject({ pending: true, notAfter: NOW + 80 * MINUTE + 30 * DAY })
})

test('an issuer that has signed what it may in an hour signs no more, says so once, and goes on in the next hour', async () => {
  await using issuer = await pki.openIssuer({ now: NOW })
  await using desk = await setUp(issuer, 2)
  const token = await givenToken(desk.registry, { uses: 10, expiresAt: NOW + DAY })
  const enroll = (name: string) =>
    issueCertificate(desk.deps, {
      ...common(desk),
      deviceId: deviceId(name),
      credential: { kind: 'token', id: token.id },
    })
  await enroll('a-1')
  await enroll('a-2')
  for (let n = 0; n < 3; n += 1)
    await expect(enroll('a-3')).rejects.toMatchObject({ code: 'quota_exceeded', retryAfter: 3_600 })
  expect(desk.alerts).toEqual([
    { kind: 'quota_exceeded', details: { actor: 'system', credential: 'token', group: 'default' } },
  ])
  desk.pass(HOUR)
  await enroll('a-3')
  expect(await desk.registry.findToken(token.id)).toMatchObject({ used: 3 })
})

test('a signer that has signed what it may in an hour is told of like any quota, and the same request is completed later', async () => {
  await using inner = await pki.openIssuer({ now: NOW })
  let full = true
  const issuer: Issuer = {
    ...inner,
    issueDevice: (ask) =>
      full
        ? Promise.reject(
            new FleetError('quota_exceeded', 'the signer signs 1 certificates an hour at most', {
              retryAfter: 60,
            }),
          )
        : inner.issueDevice(ask),
  }
  await using desk = await setUp(issuer)
  const token = await givenToken(desk.registry)
  const ask = {
    ...common(desk),
    deviceId: deviceId('a-4'),
    credential: { kind: 'token', id: token.id },
  } as const
  for (let n = 0; n < 3; n += 1)
    await expect(issueCertificate(desk.deps, ask)).rejects.toMatchObject({
      code: 'quota_exceeded',
      retryAfter: 60,
    })
  expect(desk.alerts).toEqual([
    { kind: 'quota_exceeded', details: { actor: 'system', credential: 'token', group: 'default' } },
  ])
  full = false
  expect(await issueCertificate(desk.deps, ask)).toMatchObject({ fresh: true })
  expect(await desk.registry.findToken(token.id)).toMatchObject({ used: 1 })
})

test('an id that the profile of its group cannot hold gets no certificate and costs nothing', async () => {
  await using issuer = await pki.openIssuer({ now: NOW })
  await using desk = await setUp(issuer)
  const token = await givenToken(desk.registry)
  const group = {
    ...firstGroup(desk),
    profile: { ...firstGroup(desk).profile, dnsNames: ['${device.id}.example'] },
  }
  const ask = { ...common(desk), group, credential: { kind: 'token', id: token.id } } as const
  await expect(issueCertificate(desk.deps, { ...ask, deviceId: deviceId('lamp_1') })).rejects.toMatchObject({
    code: 'device_id_invalid',
    detail: expect.stringContaining('dns_names') as string,
  })
  const issued = await issueCertificate(desk.deps, { ...ask, deviceId: deviceId('lamp-1') })
  expect(readCertificate(issued.der).sanDns).toEqual(['lamp-1.example'])
})
