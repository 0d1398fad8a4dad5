/** Renewals as somebody with a copied certificate, or a stolen key, would ask for them: what is refused, and when the alarm rings. */

import { expect, test } from 'vitest'
import { acceptRenewer, renewFor } from '#enroll/renew-device.ts'
import { issueCertificate } from '#enroll/issuance.ts'
import { DAY, HOUR, SECOND } from '#fleet/clock.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { Peer } from '#fleet/peer.ts'
import { readCertificate } from '#pki/certificate.ts'
import { readCsr } from '#pki/csr.ts'
import { issuanceDeps } from '../../support/issuance-deps.ts'
import { makeCsr, makePki } from '../../support/pki.ts'
import { ACTOR, deviceId, givenGroup, givenToken, NOW } from '../../support/registry.ts'
import { openTestRegistry } from '../../support/test-registry.ts'

const pki = makePki({ now: NOW })
const id = deviceId('lamp-1')

const setUp = async (group: Partial<EnrollmentGroup> = {}) => {
  await using opened = new AsyncDisposableStack()
  const issuer = opened.use(await pki.openIssuer({ now: NOW }))
  const { registry, clock, pass } = opened.use(await openTestRegistry(NOW))
  const { deps, alerts } = await issuanceDeps({ registry, clock, issuer })
  await givenGroup(registry, 'default', group)
  const enroll = async (over: { readonly deviceId?: typeof id } = {}): Promise<CertificateFacts> => {
    const token = await givenToken(registry, { expiresAt: clock() + DAY, ...over })
    const { der } = await issueCertificate(deps, {
      actor: 'system',
      requestId: undefined,
      deviceId: id,
      credential: { kind: 'token', id: token.id },
      group: registry.groups().get('default') as EnrollmentGroup,
      tags: {},
      csr: readCsr(makeCsr().pem),
      ttl: 30 * DAY,
    })
    return readCertificate(der)
  }
  /** By the certificate `leaf`, as on a connection that has proved its key. @param csr PEM */
  const renew = async (leaf: CertificateFacts, csr: string = makeCsr().pem): Promise<CertificateFacts> => {
    const peer: Peer = {
      leaf,
      sentChain: [],
      trusted: leaf.notAfter >= clock(),
      resumed: false,
      serverName: 'localhost',
      address: '192.0.2.1',
    }
    const answer = await renewFor(deps, acceptRenewer(deps, peer), { csr })
    if (!('der' in answer)) throw new Error('waits')
    return readCertificate(answer.der)
  }
  const confirm = ({ fingerprint }: CertificateFacts) =>
    registry.confirmCertificate(fingerprint, clock(), ACTOR)
  const next = async (leaf: CertificateFacts, csr?: string) => {
    const renewed = await renew(leaf, csr)
    await confirm(renewed)
    return renewed
  }
  const owned = opened.move()
  return {
    registry,
    pass,
    clock,
    enroll,
    renew,
    next,
    confirm,
    actions: () => alerts.map(({ details }) => details['action']),
    audited: async () =>
      (await registry.listAudit({ limit: 1_000 })).items
        .filter(({ action }) => action === 'device.clone_suspected')
        .map(({ details }) => details?.['action']),
    requests: async () => (await registry.listRequests({ limit: 10 })).items.length,
    told: () => alerts.filter(({ kind }) => kind === 'clone_suspected').length,
    device: () => registry.findDevice(id),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
const refused = (promise: Promise<unknown>, code: string) =>
  expect(promise).rejects.toMatchObject({ name: 'FleetError', code })

test('a copy that slept through two renewals is refused, and the alarm rings', async () => {
  await using desk = await setUp()
  const first = await desk.enroll()
  await desk.next(await desk.next(first))
  await refused(desk.renew(first), 'certificate_revoked')
  expect(desk.told()).toBe(1)
  expect(await desk.device()).toMatchObject({ state: 'active', cloneSuspectedAt: NOW })
  // told once an hour, as of any copy
  desk.pass(SECOND)
  await refused(desk.renew(first), 'certificate_revoked')
  expect(desk.told()).toBe(1)
})

test('and its group does with the device what it does', async () => {
  await using desk = await setUp({ onClone: 'suspend' })
  const first = await desk.enroll()
  await desk.next(await desk.next(first))
  await refused(desk.renew(first), 'certificate_revoked')
  expect(await desk.device()).toMatchObject({ state: 'suspended' })
  await refused(desk.renew(first), 'device_suspended')
})

type Desk = Awaited<ReturnType<typeof setUp>>
test.each<[string, (desk: Desk, copy: CertificateFacts) => Promise<void>, string, number]>([
  ['that has its place still', async (desk, first) => void (await desk.next(first)), 'approval', 1],
  [
    'that slept through two renewals',
    async (desk, first) => void (await desk.next(await desk.next(first))),
    'alert',
    0,
  ],
  [
    'that has expired',
    async (desk, first) => {
      await desk.next(first)
      desk.pass(30 * DAY + HOUR)
    },
    'alert',
    0,
  ],
])(
  'where an operator is to decide about copies: one by a certificate %s',
  async (_which, given, action, requests) => {
    await using desk = await setUp({ onClone: 'approval' })
    const first = await desk.enroll()
    await given(desk, first)
    await expect(desk.renew(first)).rejects.toThrow()
    expect([desk.actions(), await desk.audited(), await desk.requests()]).toEqual([
      [action],
      [action],
      requests,
    ])
  },
)

test('no alarm: revoked by an operator, or the key is the successor’s', async () => {
  await using desk = await setUp({ onClone: 'suspend' })
  const csr = makeCsr().pem
  const first = await desk.enroll()
  const second = await desk.next(first, csr)
  const third = await desk.next(second)
  await refused(desk.renew(first, csr), 'certificate_revoked')
  await desk.registry.revokeCertificate(third.serial, 'unspecified', NOW, ACTOR)
  await refused(desk.renew(third), 'certificate_revoked')
  expect(desk.told()).toBe(0)
  expect(await desk.device()).toMatchObject({ state: 'active' })
})

test('a device that falls back, because its current certificate was revoked, is no copy', async () => {
  await using desk = await setUp({ onClone: 'suspend' })
  const first = await desk.enroll()
  const second = await desk.next(first)
  await desk.registry.revokeCertificate(second.serial, 'unspecified', NOW, ACTOR)
  await desk.next(first)
  desk.pass(31 * DAY)
  expect(desk.told()).toBe(0)
})

test('a copy of what a device had before it enrolled anew', async () => {
  await using desk = await setUp()
  const first = await desk.enroll()
  const anew = await desk.enroll({ deviceId: id })
  await refused(desk.renew(first), 'clone_suspected')
  expect(desk.told()).toBe(1)
  await desk.next(anew)
})

test('the third key of one certificate within a day rings the alarm, and nothing is done to the device', async () => {
  await using desk = await setUp({ onClone: 'suspend' })
  const first = await desk.enroll()
  await desk.renew(first)
  const csr = makeCsr().pem
  for (let time = 0; time < 5; time += 1) await desk.renew(first, csr)
  expect(desk.told()).toBe(0)
  const last = await desk.renew(first)
  expect(desk.told()).toBe(1)
  expect(await desk.device()).toMatchObject({ state: 'active', cloneSuspectedAt: NOW })
  await desk.confirm(last)
})

test('three keys in three days are lost answers', async () => {
  await using desk = await setUp()
  const first = await desk.enroll()
  for (let day = 0; day < 3; day += 1) {
    await desk.renew(first)
    desk.pass(DAY + SECOND)
  }
  expect(desk.told()).toBe(0)
})

test('a key that was blocked renews nothing, in time or late; a token brings the device back', async () => {
  await using desk = await setUp({ expiredGrace: 30 * DAY })
  const csr = makeCsr().pem
  const first = await desk.enroll()
  const second = await desk.next(first, csr)
  await desk.registry.blockKeys([second.spkiSha256], NOW, ACTOR)
  await refused(desk.renew(second), 'key_compromised')
  await desk.enroll({ deviceId: id })
  expect(desk.told()).toBe(0)
})

test('expired, and what came after it was revoked: another key is refused, and nobody is alarmed', async () => {
  await using desk = await setUp({ onClone: 'suspend' })
  const first = await desk.enroll()
  const second = await desk.next(first)
  await desk.registry.revokeCertificate(second.serial, 'unspecified', NOW, ACTOR)
  desk.pass(30 * DAY + HOUR)
  await refused(desk.renew(first), 'certificate_expired')
  expect(desk.told()).toBe(0)
})
