import 'reflect-metadata'
import * as x509 from '@peculiar/x509'
import { describe, expect, test } from 'vitest'
import { DAY, HOUR, SECOND } from '#fleet/clock.ts'
import { REVOCATION_REASONS, type RevocationReason } from '#fleet/revocation-reason.ts'
import { crlTbs, type CrlContent, type CrlEntry } from '#pki/crl.ts'
import { childrenOf, contentOf, readDer, TAG, tagOf, timeOf, type Node } from '#pki/der.ts'
import { readExtensions } from '#pki/extensions.ts'
import { OID } from '#pki/oids.ts'
import { algorithmForKey } from '#pki/signatures.ts'
import { makePki, randomSerial, signDer } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 8)
const pki = makePki({ now })
const { devices } = pki
const reasons = Object.keys(REVOCATION_REASONS) as RevocationReason[]

const content = (entries: readonly CrlEntry[], changes: Partial<CrlContent> = {}): CrlContent => ({
  issuerDer: devices.subjectDer,
  issuerSki: devices.ski,
  algorithm: algorithmForKey(devices.publicKey),
  number: 1n,
  thisUpdate: now,
  nextUpdate: now + HOUR,
  distributionPoints: [`http://status.test/crl/${devices.ski}.crl`],
  entries,
  ...changes,
})
const entry = (changes: Partial<CrlEntry> = {}): CrlEntry => ({
  serial: randomSerial(),
  revokedAt: now - DAY,
  reason: 'keyCompromise',
  ...changes,
})
const fields = async (crl: CrlContent): Promise<readonly Node[]> =>
  childrenOf(readDer(await crlTbs(crl), 'CRL'), TAG.sequence, 'CRL')
const extensionsOf = async (crl: CrlContent) => {
  const [extensions] = childrenOf((await fields(crl)).at(-1), 0xa0, 'CRL')
  return readExtensions(extensions, 'CRL')
}

test('every reason and a row of dates, as an implementation that is not ours reads them', async () => {
  const entries = reasons.map((reason, at) => entry({ reason, revokedAt: now - at * 12_345_678 * SECOND }))
  const crl = new x509.X509Crl(signDer(await crlTbs(content(entries)), devices.privateKey))
  expect(crl.entries.map(({ serialNumber }) => serialNumber.toLowerCase())).toEqual(
    entries.map(({ serial }) => serial),
  )
  expect(crl.entries.map(({ revocationDate }) => revocationDate.getTime())).toEqual(
    entries.map(({ revokedAt }) => revokedAt),
  )
  expect(crl.entries.map(({ reason }) => reason ?? REVOCATION_REASONS.unspecified)).toEqual(
    reasons.map((reason) => REVOCATION_REASONS[reason]),
  )
  expect(crl.thisUpdate.getTime()).toBe(now)
  expect(crl.nextUpdate?.getTime()).toBe(now + HOUR)
  expect(await crl.verify({ publicKey: new x509.X509Certificate(devices.der).publicKey })).toBe(true)
})

test('`unspecified` is left out (RFC 5280 §5.3.1)', async () => {
  const tbs = await crlTbs(content([entry({ reason: 'unspecified' })]))
  expect(tbs.includes(Buffer.from('551d15', 'hex'))).toBe(false)
})

test('no entries: no revokedCertificates at all (§5.1.2.6)', async () => {
  expect((await fields(content([]))).map(tagOf)).toEqual([
    TAG.integer,
    TAG.sequence,
    TAG.sequence,
    TAG.utcTime,
    TAG.utcTime,
    0xa0,
  ])
})

test.each<[string, number, number]>([
  ['the last second of 2049 in UTCTime', Date.UTC(2050, 0, 1) - SECOND, TAG.utcTime],
  ['the first of 2050 in GeneralizedTime', Date.UTC(2050, 0, 1), TAG.generalizedTime],
  ['a fraction is dropped', Date.UTC(2026, 0, 1, 23, 59, 59, 999), TAG.utcTime],
])('%s', async (_, revokedAt, tag) => {
  const tbs = await fields(
    content([entry({ revokedAt })], { thisUpdate: revokedAt, nextUpdate: revokedAt + HOUR }),
  )
  const [first] = childrenOf(tbs[5], TAG.sequence, 'entries')
  const [, date] = childrenOf(first, TAG.sequence, 'entry')
  expect(tagOf(date as Node)).toBe(tag)
  expect(timeOf(date, 'date')).toBe(Math.floor(revokedAt / SECOND) * SECOND)
  expect(tagOf(tbs[3] as Node)).toBe(tag)
})

test.each<[bigint, string]>([
  [0n, '00'],
  [127n, '7f'],
  [128n, '0080'],
  [1_795_507_559_123n, '01a20c6d7953'],
  [2n ** 158n, `40${'00'.repeat(19)}`],
])('CRL number %s', async (number, expected) => {
  const value = (await extensionsOf(content([], { number }))).get(OID.crlNumber)
  const written = contentOf(
    readDer(value?.value ?? Buffer.alloc(0), 'number'),
    TAG.integer,
    'number',
  ).toString('hex')
  expect(BigInt(`0x${written}`)).toBe(number)
  if (number < 1_000n) expect(written).toBe(expected)
})

test('extensions: key id, number, and a critical distribution point that does not say which kinds it holds', async () => {
  const extensions = await extensionsOf(content([]))
  expect([...extensions].map(([oid, { critical }]) => [oid, critical])).toEqual([
    [OID.authorityKeyId, false],
    [OID.crlNumber, false],
    [OID.issuingDistributionPoint, true],
  ])
  const point = readDer(extensions.get(OID.issuingDistributionPoint)?.value ?? Buffer.alloc(0), 'IDP')
  expect(childrenOf(point, TAG.sequence, 'IDP').map(tagOf)).toEqual([0xa0])
})

describe('malformed serials are ours, and stop it', () => {
  test.each(['', 'a', 'xyz0', 'AB', 'ab'.repeat(33)])('%j', async (serial) => {
    await expect(crlTbs(content([entry({ serial })]))).rejects.toMatchObject({ code: 'internal' })
  })
})

test('a long CRL is written in slices: others run meanwhile', async () => {
  const entries = Array.from({ length: 10_000 }, (_, at) => entry({ revokedAt: now - at * HOUR }))
  let turns = 0
  let written = false
  const count = (): void => {
    turns += 1
    if (!written) setImmediate(count)
  }
  setImmediate(count)
  const tbs = await crlTbs(content(entries))
  written = true
  expect(turns).toBeGreaterThanOrEqual(2)
  // 49 octets each: what is in them, openssl says in test/interop/pki-crl.test.ts
  expect(tbs.length - (await crlTbs(content([]))).length).toBeGreaterThanOrEqual(490_000)
})
