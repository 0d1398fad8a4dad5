/**
 * Renewal by a certificate that has expired, or seems to: the one way in for which OpenSSL has already said no, so everything it would
 * have checked must be checked again. Each forgery is shown at /v1/renew and at EST simplereenroll, inside the grace of its group.
 *
 * What cannot be forged is not here: the right certificate, octet for octet, with another key. The handshake's CertificateVerify (RFC 8446
 * §4.4.3) is checked against the key in that certificate, whatever else is wrong with it, and a client without the private key never
 * finishes its handshake. So a fingerprint on record is proof of possession, and "expired" takes nothing away from it.
 */

import { connect as tlsConnect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { generateKey } from '#pki/keys.ts'
import { OID } from '#pki/oids.ts'
import { makeHome, startDesk, type Answer, type Home, type TestDesk } from '../../support/enroll-desk.ts'
import { reasonIn } from '../../support/issued.ts'
import { keyPemOf, makeCa, makeCsr, type KeyPair, type LeafOptions, type TestCa } from '../../support/pki.ts'
import { RESERVATION_DEFAULTS } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { children, tlv } from '../attacks/attacker.ts'

const said = ({ status, text }: Answer) => [status, reasonIn(text)]
const now = Date.now()
/** by every clock, ours and OpenSSL's, and by less than the grace */
const EXPIRED = { notBefore: now - 20 * DAY, notAfter: now - DAY }

type Who = { readonly cert: string; readonly key: string }
type Real = Who & { readonly serial: string; readonly keyPair: KeyPair; readonly der: Buffer }

const folder = temporaryFolder()
let home: Home
let desk: TestDesk
/** one that has expired, and one that has not */
let late: Real
let good: Real

const enrol = async (at: TestDesk, commonName: string, certificateTtl: number): Promise<Real> => {
  const { text } = await at.claim({ certificateTtl })
  const csr = makeCsr({ commonName })
  const { json } = await at.device('/v1/enroll', { token: text, body: { csr: csr.pem } })
  const cert = json?.['certificate'] as string
  return {
    cert,
    key: keyPemOf(csr.privateKey),
    serial: json?.['serial'] as string,
    keyPair: csr,
    der: Buffer.from(cert.replaceAll(/-----[^-]*-----|\s/g, ''), 'base64'),
  }
}

beforeAll(async () => {
  // a desk of twenty days ago, then the same one today: no waiting for anything to expire
  home = await makeHome(folder.path, { now: now - 20 * DAY })
  const clock = () => now - 20 * DAY
  {
    await using before = await startDesk({ home, clock })
    late = await enrol(before, 'late-1', 10 * DAY)
  }
  desk = await startDesk({ home })
  good = await enrol(desk, 'good-1', 30 * DAY)
})
afterAll(async () => {
  await desk.stop()
  folder[Symbol.dispose]()
})

const leaf = (o: LeafOptions): Who => {
  const made = home.pki.device({ id: 'late-1', serial: late.serial, ...EXPIRED, ...o })
  return { cert: made.fullPem, key: made.keyPem }
}
/** the same names and key identifiers as ours, other keys */
const double = (of: TestCa, by?: TestCa): TestCa => ({
  ...makeCa({ name: '', now: now - 20 * DAY, subjectDer: of.subjectDer, pathLength: 0, ...(by && { by }) }),
  ski: of.ski,
})
const as = (ca: TestCa): Who => ({ cert: ca.pem, key: ca.keyPem })
const pem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`

/** (r, n − s): the other signature that each ECDSA signature has. The same words by another fingerprint. */
const otherSignature = ({ der, key }: Real): Who => {
  const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const [tbs, algorithm, bits] = children(der) as [Buffer, Buffer, Buffer]
  const [r, s] = children(bits.subarray(3)) as [Buffer, Buffer]
  const value = (n - BigInt(`0x${s.subarray(2).toString('hex')}`)).toString(16).padStart(64, '0')
  const bytes = Buffer.from(Number.parseInt(value[0] as string, 16) > 7 ? `00${value}` : value, 'hex')
  return {
    cert: pem(tlv(0x30, tbs, algorithm, tlv(0x03, Buffer.of(0), tlv(0x30, r, tlv(0x02, bytes))))),
    key,
  }
}

const UNKNOWN = [403, 'certificate_unknown']
const UNTRUSTED = [403, 'certificate_untrusted']
const EITHER = [UNKNOWN, UNTRUSTED]

const forgeries: readonly [string, () => Who, readonly unknown[][]][] = [
  ['signed by itself', () => as(makeCa({ name: 'late-1', now, ca: false, ...EXPIRED })), [UNTRUSTED]],
  [
    "with the device's own key, signed by itself",
    () => as(makeCa({ name: 'late-1', now, ca: false, key: late.keyPair, ...EXPIRED })),
    [UNTRUSTED],
  ],
  ['by another CA with all our names', () => leaf({ by: home.pki.other.devices }), [UNTRUSTED]],
  ['… for the device’s own key', () => leaf({ by: home.pki.other.devices, key: late.keyPair }), [UNTRUSTED]],
  [
    'by a look-alike of our intermediate, under a look-alike of our root',
    () => leaf({ by: double(home.pki.devices, double(home.pki.root)) }),
    [UNTRUSTED],
  ],
  [
    'by a look-alike of our intermediate that has signed itself',
    () => leaf({ by: double(home.pki.devices) }),
    [UNTRUSTED],
  ],
  [
    '… with our real chain after it',
    () => ({
      ...leaf({ by: double(home.pki.devices) }),
      cert:
        home.pki.device({
          id: 'late-1',
          serial: late.serial,
          ...EXPIRED,
          by: double(home.pki.devices),
          key: late.keyPair,
        }).certPem +
        home.pki.devices.pem +
        home.pki.root.pem,
      key: late.key,
    }),
    [UNTRUSTED],
  ],
  [
    'by an intermediate of ours that has a look-alike’s key, expired too',
    () => leaf({ by: { ...double(home.pki.devices, home.pki.other.root) } }),
    [UNTRUSTED],
  ],
  ['by the intermediate of services', () => leaf({ by: home.pki.services }), EITHER],
  [
    '… that says it is a device',
    () => leaf({ by: home.pki.services, key: late.keyPair, extendedKeyUsage: [OID.clientAuth] }),
    EITHER,
  ],
  [
    'by another intermediate of our root',
    () =>
      leaf({ by: makeCa({ name: 'Test Devices', now: now - 20 * DAY, by: home.pki.root, pathLength: 0 }) }),
    EITHER,
  ],
  ['by our root itself', () => leaf({ by: home.pki.root }), EITHER],
  ['by our stolen key: the real words, another certificate', () => leaf({ by: home.pki.devices }), EITHER],
  [
    '… for the device’s own key and dates',
    () =>
      leaf({ by: home.pki.devices, key: late.keyPair, notBefore: now - 20 * DAY, notAfter: now - 10 * DAY }),
    EITHER,
  ],
  ['the real one by its other signature', () => otherSignature(late), EITHER],
  [
    'by a device’s certificate that plays CA',
    () =>
      leaf({
        by: {
          ...home.pki.devices,
          privateKey: good.keyPair.privateKey,
          pem: good.cert,
          subjectDer: children(children(good.der)[0] as Buffer)[5] as Buffer,
        },
      }),
    [UNTRUSTED],
  ],
  [
    'that never expired, by another CA',
    () => leaf({ by: home.pki.other.devices, notBefore: now - HOUR, notAfter: now + DAY }),
    [UNTRUSTED],
  ],
  [
    'that is yet to begin, by another CA',
    () => leaf({ by: home.pki.other.devices, notBefore: now + HOUR, notAfter: now + DAY }),
    [UNTRUSTED],
  ],
]

/** Ours, and no device's. */
const notDevices: readonly [string, () => Who][] = [
  ['the intermediate itself', () => as(home.pki.devices)],
  ['the root itself', () => as(home.pki.root)],
  ['the intermediate of services', () => as(home.pki.services)],
  [
    'a server’s certificate',
    () => {
      const server = home.pki.server()
      return { cert: server.fullPem, key: server.keyPem }
    },
  ],
  ['a CA of another house', () => as(home.pki.other.devices)],
  ['a root of another house, expired', () => as(makeCa({ name: 'Test Root', now, ...EXPIRED }))],
]

const renew = (who: Who, over: 'REST' | 'EST', commonName = 'late-1', key?: KeyPair): Promise<Answer> => {
  const csr = makeCsr({ commonName, ...(key && { key }) })
  return over === 'REST'
    ? desk.device('/v1/renew', { body: { csr: csr.pem }, tls: who })
    : desk.device('/.well-known/est/simplereenroll', {
        headers: { 'content-type': 'application/pkcs10' },
        rawBody: csr.der.toString('base64'),
        tls: who,
      })
}

describe.each(['REST', 'EST'] as const)('over %s', (over) => {
  test.each(forgeries)('a certificate %s: 403', async (_, make, outcomes) => {
    const who = make()
    const before = await desk.registry.certificatesOf('late-1' as DeviceId)
    const answer = await renew(who, over)
    expect(said(answer)).toBeOneOf(outcomes as unknown[])
    // with its own key too, should somebody think that possession of any key is enough
    expect((await renew(who, over, 'late-1', generateKey('P-256'))).status).toBe(403)
    expect(await desk.registry.certificatesOf('late-1' as DeviceId)).toEqual(before)
  })

  test.each(notDevices)('%s as a client certificate: 403', async (_, make) => {
    const answer = await renew(make(), over)
    expect(answer.status).toBe(403)
    expect(reasonIn(answer.text)).toBeOneOf([
      'certificate_untrusted',
      'certificate_unknown',
      'certificate_wrong_purpose',
      'certificate_required',
    ])
  })
})

/** Its fingerprint is on record as a good certificate's, as if the registry had been written to; its signature is another CA's. */
const onRecord = async (): Promise<Who> => {
  const { token } = await desk.claim()
  const forged = home.pki.device({ id: 'forged-1', by: home.pki.other.devices, ...EXPIRED })
  const { fingerprint, serial, spkiSha256, der } = forged.facts
  await desk.registry.reserve({
    ...RESERVATION_DEFAULTS,
    ...EXPIRED,
    now: EXPIRED.notBefore,
    actor: 'system',
    deviceId: 'forged-1' as DeviceId,
    credential: { kind: 'token', id: token.id },
    spkiSha256,
    serial,
    issuerSki: home.pki.devices.ski,
    ttl: DAY,
    issuerNotAfter: now + DAY,
  })
  await desk.registry.recordCertificate(serial, fingerprint, der, now, 'system')
  return { cert: forged.fullPem, key: forged.keyPem }
}

test('when to renew is said to the real one, expired, and to no forgery, even when its fingerprint is on record', async () => {
  const advice = (tls: Who): Promise<Answer> => desk.device('/v1/renewal', { method: 'GET', tls })
  expect((await advice(late)).json).toMatchObject({ reason: 'certificate_expired' })
  const forged = await onRecord()
  expect(said(await advice(forged))).toEqual(UNTRUSTED)
  expect(said(await advice(leaf({ by: home.pki.other.devices })))).toEqual(UNTRUSTED)
})

test.each(['REST', 'EST'] as const)(
  'and the real one, expired, renews over %s with its own key and no other',
  async (over) => {
    expect(said(await renew(late, over, 'late-1'))).toEqual([403, 'certificate_expired'])
    // the forgeries above were not refused for being late
    expect((await renew(late, over, 'late-1', late.keyPair)).status).toBe(over === 'REST' ? 201 : 200)
  },
)

test('the real certificate with another key does not get through a handshake', () => {
  const { port } = new URL(desk.urls['devices'] as string)
  expect(() =>
    tlsConnect({
      host: '127.0.0.1',
      port: Number(port),
      cert: late.cert,
      key: good.key,
      rejectUnauthorized: false,
    }),
  ).toThrow(/key values mismatch/i)
})
