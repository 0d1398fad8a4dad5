/**
 * The root that servers are verified with is rotated, apart from the CA of the devices: what devices fetch, who is counted, which root a
 * claim token names, and that a device which comes in the middle of it gets in. With a real desk and the operator's commands.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { enrollDevice, refreshTrust, type Enrolled } from '#device-sim/index.ts'
import { DAY } from '#fleet/clock.ts'
import type { TokenCreated, TrustAnchor, TrustAnchorMoved } from '#wire/rest.ts'
import { OID } from '#pki/oids.ts'
import { makeCa, type TestCa } from '../support/pki.ts'
import { startRotation, type Rotation } from '../support/rotation.ts'

let rotation: Rotation
let next: TestCa
let services: TestCa
let file: string
let lamp: Enrolled
beforeAll(async () => {
  rotation = await startRotation()
  const now = rotation.now()
  next = makeCa({ name: 'Next Servers Root', now })
  services = makeCa({
    name: 'Next Services',
    now,
    by: next,
    pathLength: 0,
    extendedKeyUsage: [OID.serverAuth],
  })
  file = join(rotation.home.path, 'next.pem')
  writeFileSync(file, next.pem)
  lamp = await joined('lamp-1')
})
afterAll(() => rotation[Symbol.asyncDispose]())

const token = async (): Promise<TokenCreated> => rotation.json<TokenCreated>('token', 'create')
const server = (): string => (rotation.desk().urls['devices'] as string).replace('127.0.0.1', 'localhost')
/** As a device does it that knows nothing but its token. */
const joined = async (id: string): Promise<Enrolled> =>
  enrollDevice({ server: server(), token: (await token()).token, id })
const anchors = async () => (await rotation.json<{ items: TrustAnchor[] }>('trust', 'ls')).items
const served = () => rotation.desk().device('/v1/trust.pem')
const old = () => rotation.home.pki.root

test('at first there is the configured root, and it is what tokens name', async () => {
  expect(await anchors()).toMatchObject([
    { fingerprint: old().facts.fingerprint, state: 'active', presented: true },
  ])
  const answer = await served()
  expect([answer.text, answer.headers['content-type']]).toEqual([
    old().pem,
    'application/pem-certificate-chain',
  ])
  expect((await token()).root_sha256).toBe(old().facts.fingerprint)
})

test.each<[string, () => string, RegExp]>([
  ['a certificate that is no root', () => rotation.home.pki.devices.pem, /not a root/],
  ['a leaf', () => rotation.home.pki.server().certPem, /not a root/],
  ['two certificates', () => next.pem + old().pem, /expected one certificate, got 2/],
  ['text', () => 'hello', /PEM/],
  [
    'a root that has ended',
    () => makeCa({ name: 'Old', now: 0, notBefore: 0, notAfter: DAY }).pem,
    /expired/,
  ],
])('prepare refuses %s', async (_, pem, problem) => {
  const path = join(rotation.home.path, 'bad.pem')
  writeFileSync(path, pem())
  const { code, err } = await rotation.cli('trust', 'prepare', '--pem', path)
  expect([code, err]).toEqual([1, expect.stringMatching(problem)])
  expect(await anchors()).toHaveLength(1)
})

test('prepared, it is given to nobody; distributed, to everybody, under a new version', async () => {
  const before = await served()
  await rotation.json('trust', 'prepare', '--pem', file)
  // the same again changes nothing
  await rotation.json('trust', 'prepare', '--pem', file)
  expect((await served()).headers.etag).toBe(before.headers.etag)
  await rotation.json<TrustAnchorMoved>('trust', 'distribute')
  const after = await served()
  expect(after.text).toBe(old().pem + next.pem)
  expect(Number(after.headers['sallyport-trust-version'])).toBe(
    Number(before.headers['sallyport-trust-version']) + 1,
  )
  expect(after.headers.etag).toContain(`"${String(after.headers['sallyport-trust-version'])}-`)
  expect((await token()).root_sha256).toBe(old().facts.fingerprint)
})

test('a device takes both, and is counted when it asks with its certificate', async () => {
  await joined('lamp-2')
  const { err } = await rotation.cli('trust', 'activate')
  expect(err).toContain('0 of 2 active devices have fetched it (0 %)')
  const asking = { server: server(), identity: lamp, rootPem: lamp.rootPem }
  for (let at = 0; at < 10; at += 1) expect((await refreshTrust(asking)).match(/BEGIN/g)).toHaveLength(2)
  expect(await anchors()).toMatchObject([{}, { state: 'offered', fetched: 1, active_devices: 2 }])
  expect((await rotation.cli('trust', 'activate')).code).toBe(1)
})

test('activated when enough have it; tokens name the root that the server leads to until it presents another', async () => {
  const second = await joined('lamp-3')
  await rotation.desk().operator('/v1/devices/lamp-2/retire', { body: {} })
  await refreshTrust({ server: server(), identity: second, rootPem: second.rootPem })
  const moved = await rotation.json<TrustAnchorMoved>('trust', 'activate')
  expect(moved).toMatchObject({ state: 'active', presented: false, fetched: 2, active_devices: 2 })
  expect((await anchors()).map(({ state }) => state)).toEqual(['retiring', 'active'])
  expect((await token()).root_sha256).toBe(old().facts.fingerprint)
  await joined('lamp-4')
})

test('the old one is not retired while this desk presents a certificate under it', async () => {
  const { code, err } = await rotation.cli('trust', 'retire')
  expect([code, err]).toEqual([1, expect.stringContaining('leads to no other anchor')])
})

test('with a certificate under the new one, new tokens name it, and devices of before still verify the server', async () => {
  const leaf = rotation.home.pki.server(['localhost', '127.0.0.1'], { by: services })
  writeFileSync(rotation.home.config.tls.cert, leaf.fullPem)
  writeFileSync(rotation.home.config.tls.key, leaf.keyPem)
  const bundle = await refreshTrust({ server: server(), identity: lamp, rootPem: lamp.rootPem })
  await rotation.restart()
  const made = await rotation.json<TokenCreated>('token', 'create')
  expect(made.root_sha256).toBe(next.facts.fingerprint)
  // its own certificate leads to the root of devices, which is not the one that it verifies the server with
  const fifth = await enrollDevice({ server: server(), token: made.token, id: 'lamp-5' })
  expect(new X509Certificate(fifth.rootPem).fingerprint256).toBe(new X509Certificate(next.pem).fingerprint256)
  expect(
    (await refreshTrust({ server: server(), identity: lamp, rootPem: bundle })).match(/BEGIN/g),
  ).toHaveLength(2)
  // who has not fetched it is cut off: that is what the share is for
  await expect(
    refreshTrust({ server: server(), identity: lamp, rootPem: lamp.rootPem }),
  ).rejects.toMatchObject({
    code: 'target_unreachable',
  })
})

test('then the old one is retired, for good', async () => {
  expect(await rotation.json<TrustAnchorMoved>('trust', 'retire')).toMatchObject({ state: 'retired' })
  const answer = await rotation.desk().device('/v1/trust.pem', { tls: { ca: next.pem } })
  expect(answer.text).toBe(next.pem)
  writeFileSync(file, old().pem)
  expect((await rotation.cli('trust', 'prepare', '--pem', file)).err).toContain('retired, which is final')
})
