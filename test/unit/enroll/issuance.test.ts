/** What limits the life of a certificate: the whole chain above it, and only for as long as that chain is in the way. */

import { expect, test } from 'vitest'
import { acceptCsr, issueCertificate } from '#enroll/issuance.ts'
import { renewFor } from '#enroll/renew-device.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import { readCertificate } from '#pki/certificate.ts'
import { openIssuer, type Issuer } from '#pki/issuer.ts'
import { makeCa, makeCsr, makePki, type TestCa } from '../../support/pki.ts'
import { deviceId, givenToken, NOW } from '../../support/registry.ts'
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

const setUp = async (first: Issuer) => {
  await using opened = new AsyncDisposableStack()
  const { registry, clock, pass } = opened.use(await openTestRegistry(NOW))
  const failures = { check: () => undefined, failed: () => undefined } as never
  const use = async (issuer: Issuer) => {
    const { ski, certificate } = issuer
    await registry.registerIssuer({ ski, der: certificate.der, spkiSha256: certificate.spkiSha256 }, NOW)
    return { registry, issuer, clock, failures }
  }
  const deps = await use(first)
  const owned = opened.move()
  return { registry, deps, use, pass, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

const csr = () => acceptCsr(makeCsr().pem)

test('a CA in the middle that ends first shortens the certificate, and burns no token', async () => {
  await using issuer = await open(threeLevels(NOW + 10 * DAY))
  expect(issuer.notAfter).toBe(NOW + 10 * DAY)
  await using desk = await setUp(issuer)
  const token = await givenToken(desk.registry)
  const issued = await issueCertificate(desk.deps, {
    actor: 'system',
    deviceId: deviceId('lamp-1'),
    credential: { kind: 'token', id: token.id },
    csr: csr(),
    ttl: 30 * DAY,
  })
  expect(issued.notAfter).toBe(NOW + 10 * DAY)
  expect(readCertificate(issued.der).notAfter).toBe(issued.notAfter)
})

test('a row that was meant to live longer than the issuer can sign for does not hold its use for ever', async () => {
  const levels = threeLevels(NOW + 10 * DAY)
  await using issuer = await open(levels)
  await using desk = await setUp(issuer)
  const token = await givenToken(desk.registry)
  const ask = {
    actor: 'system',
    deviceId: deviceId('lamp-2'),
    credential: { kind: 'token', id: token.id },
    csr: csr(),
    ttl: 30 * DAY,
  } as const
  // as it was left by a desk that knew of a longer life
  await desk.registry.reserve({
    ...ask,
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
    actor: 'system',
    deviceId: id,
    credential: { kind: 'token', id: token.id },
    csr: csr(),
    ttl: token.certificateTtl,
  })
  expect(short.notAfter).toBe(NOW + 2 * HOUR)
  const { fingerprint } = readCertificate(short.der)
  desk.pass(80 * MINUTE)
  await using next = await open(threeLevels(NOW + 365 * DAY))
  const deps = await desk.use(next)
  const renewed = await renewFor(deps, { deviceId: id, fingerprint }, { csr: makeCsr().pem })
  expect(renewed.notAfter).toBe(NOW + 80 * MINUTE + 30 * DAY)
})
