/** A CRL that somebody else signed: what is read of it, what is refused, and which certificates it speaks of. */

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DAY, HOUR } from '#fleet/clock.ts'
import {
  crlCovers,
  crlNames,
  crlPointsOf,
  crlSignedBy,
  readCrl,
  readCrls,
  type CrlFacts,
} from '#pki/crl-read.ts'
import { extensionDer } from '#pki/extensions.ts'
import { TAG, tlv } from '#pki/der.ts'
import { cpuTime } from '../../support/cpu-time.ts'
import { IDP, makeCrl, reasonCode, strangeExtension, type CrlOptions } from '../../support/crls.ts'
import { makeCa, makePki } from '../../support/pki.ts'
import { program } from '../../support/programs.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const now = Date.UTC(2026, 10, 24, 12)
const pki = makePki({ now })
const ca = makeCa({ name: 'Manufacturer', now })
const crl = (o: Partial<CrlOptions> = {}) => readCrl(makeCrl({ by: ca, now, ...o }).der)

test('what it says', () => {
  const read = crl({ revoked: ['01', '7f00', '00ff'], number: 4_660, entryExtensions: [reasonCode(1)] })
  expect(read).toMatchObject({
    authorityKeyId: ca.ski,
    number: 4_660n,
    thisUpdate: now - HOUR,
    nextUpdate: now + HOUR,
    scope: { users: true, cas: true, points: undefined },
  })
  expect(Buffer.from(read.issuerDer).equals(ca.subjectDer)).toBe(true)
  expect([...read.revoked]).toEqual(['01', '7f00', '00ff'])
  expect(crlSignedBy(read, ca.facts)).toBe(true)
  expect(crl().revoked.size).toBe(0)
})

test('our own CRLs', async () => {
  await using issuer = await pki.openIssuer()
  const der = await issuer.signCrl({
    number: 2n ** 40n,
    thisUpdate: now,
    nextUpdate: now + DAY,
    entries: [{ serial: '4a', revokedAt: now, reason: 'keyCompromise' }],
  })
  const read = readCrl(der)
  expect(read).toMatchObject({ number: 2n ** 40n, revoked: new Set(['4a']) })
  expect(crlSignedBy(read, pki.devices.facts)).toBe(true)
})

test.each(['P-256', 'P-384', 'P-521', 'Ed25519', 'RSA'] as const)('signed with %s', (kind) => {
  const by = makeCa({ name: 'Maker', now, kind })
  expect(crlSignedBy(readCrl(makeCrl({ by, now }).der), by.facts)).toBe(true)
})

describe('refused', () => {
  const critical = (oid: string) => extensionDer(oid, true, tlv(TAG.integer, Buffer.of(1)))
  test.each<[string, Partial<CrlOptions>, string]>([
    ['version 1', { version: 0 }, 'CRL: is not of version 2'],
    ['version 3', { version: 2 }, 'CRL: is not of version 2'],
    ['no nextUpdate', { nextUpdate: null }, 'CRL: does not say when the next one comes'],
    ['no number', { number: null }, 'CRL: has no CRL number'],
    ['no extensions', { number: null, aki: null }, 'CRL: has no extensions'],
    ['a delta CRL', { extraExtensions: [critical('2.5.29.27')] }, 'is a delta'],
    ['an unknown critical extension', { extraExtensions: [strangeExtension(true)] }, 'critical extension'],
    ['some reasons only', { idp: [IDP.someReasons] }, 'lists only some reasons'],
    ['an indirect one', { idp: [IDP.indirect] }, 'is an indirect one'],
    ['of attribute certificates', { idp: [IDP.attributes] }, 'is for attribute certificates'],
    [
      'an entry of another issuer',
      { revoked: ['01'], entryExtensions: [critical('2.5.29.29')] },
      'has an entry with a critical extension',
    ],
    [
      'an entry with an unknown critical extension',
      { revoked: ['01'], entryExtensions: [reasonCode(1), strangeExtension(true)] },
      'has an entry with a critical extension',
    ],
    ['a padded serial: it would match no certificate', { revoked: ['0001'] }, 'a serial that is not DER'],
    ['an empty serial', { revoked: [''] }, 'a serial that is not DER'],
    ['a serial of 65 octets', { revoked: ['01'.repeat(65)] }, 'a serial that is not DER'],
  ])('%s', (_, o, why) => {
    expect(() => crl(o)).toThrow(why)
  })

  test('what is not critical is skipped', () => {
    const read = crl({
      revoked: ['01'],
      entryExtensions: [reasonCode(6), strangeExtension(false)],
      extraExtensions: [strangeExtension(false)],
    })
    expect(read.revoked.has('01')).toBe(true)
  })

  test('every cut, and every octet behind it', () => {
    const { der } = makeCrl({ by: ca, now, revoked: ['01', '02'], entryExtensions: [reasonCode(1)] })
    for (let at = 0; at < der.length; at += 1) expect(() => readCrl(der.subarray(0, at))).toThrow()
    expect(() => readCrl(Buffer.concat([der, Buffer.of(0)]))).toThrow('is not one')
  })

  test('a changed octet is refused, or no longer signed, or of another CA', () => {
    const { der } = makeCrl({ by: ca, now, revoked: ['01', '02'], entryExtensions: [reasonCode(1)] })
    let read = 0
    for (let at = 0; at < der.length; at += 1) {
      const bent = Buffer.from(der)
      bent[at] = (bent[at] as number) ^ 0x01
      try {
        const facts = readCrl(bent)
        read += 1
        expect(crlSignedBy(facts, ca.facts)).toBe(false)
      } catch (error) {
        expect(error).toMatchObject({ name: 'FleetError' })
      }
    }
    expect(read).toBeGreaterThan(10)
  })

  test('BER lengths', () => {
    const { der } = makeCrl({ by: ca, now })
    const content = der.subarray(4)
    expect(() => readCrl(Buffer.concat([Buffer.of(0x30, 0x80), content, Buffer.of(0, 0)]))).toThrow('DER')
    const long = Buffer.concat([Buffer.of(0x30, 0x83, 0), der.subarray(2, 4), content])
    expect(() => readCrl(long)).toThrow('canonical')
    expect(() => readCrl(Buffer.of(0x30, 0x84, 0xff, 0xff, 0xff, 0xff))).toThrow('DER')
    expect(() => readCrl(Buffer.of(0x1f, 0x81))).toThrow('DER')
  })

  test('more than a list of that size may be', () => {
    expect(() => readCrl(Buffer.alloc(786_433, 0x30))).toThrow('is larger than 786432 bytes')
  })
})

test('15,000 entries are read without a tree', () => {
  const revoked = Array.from({ length: 15_000 }, (_, at) => (0x40_00_00_00 + at).toString(16))
  const { pem } = makeCrl({ by: ca, now, revoked, entryExtensions: [reasonCode(1)] })
  let read: CrlFacts | undefined
  const cost = cpuTime(() => {
    ;[read] = readCrls(pem)
  })
  expect(read?.revoked.size).toBe(15_000)
  // 50 ms here; a tree of forge's would be seconds
  expect(cost).toBeLessThan(2_000)
})

describe('whose it is', () => {
  const other = makeCa({ name: 'Manufacturer', now })
  test.each<[string, Partial<CrlOptions>, boolean]>([
    ['its own', {}, true],
    ['without an authority key id', { aki: null }, true],
    ['of another name', { issuerDer: makeCa({ name: 'Other', now }).subjectDer }, false],
    ['by another key', { signingKey: other.privateKey }, false],
    ['of another key id', { aki: other.ski }, false],
  ])('%s', (_, o, expected) => {
    expect(crlSignedBy(crl(o), ca.facts)).toBe(expected)
  })

  test('a CA that may not sign CRLs, and one that is none', () => {
    const noCrl = makeCa({ name: 'Manufacturer', now, keyUsage: ['keyCertSign'], key: ca })
    const none = makeCa({ name: 'Manufacturer', now, ca: false, key: ca })
    expect(crlSignedBy(crl(), noCrl.facts)).toBe(false)
    expect(crlNames(crl(), none.facts)).toBe(false)
    expect(crlSignedBy(crl(), { ...ca.facts, keyUsage: undefined })).toBe(true)
  })
})

describe('what it speaks of (RFC 5280 §6.3.3 (b))', () => {
  const url = 'http://crl.maker.test/1.crl'
  const leaf = pki.device({ by: ca, crlUrl: url }).facts
  const plain = pki.device({ by: ca }).facts
  const below = makeCa({ name: 'Below', now, by: ca }).facts
  test.each<[string, readonly Uint8Array[] | undefined, [boolean, boolean, boolean]]>([
    ['no scope', undefined, [true, true, true]],
    ['users', [IDP.users], [true, true, false]],
    ['CAs', [IDP.cas], [false, false, true]],
    ['users and CAs: nobody', [IDP.users, IDP.cas], [false, false, false]],
    ['the point of the certificate', [IDP.point('http://x.test/', url)], [true, false, false]],
    ['another part', [IDP.point('http://crl.maker.test/2.crl')], [false, false, false]],
    ['a part of users', [IDP.point(url), IDP.users], [true, false, false]],
    ['a part of CAs', [IDP.point(url), IDP.cas], [false, false, false]],
  ])('%s', (_, idp, expected) => {
    const facts = crl(idp === undefined ? {} : { idp })
    expect([leaf, plain, below].map((each) => crlCovers(facts, each, crlPointsOf(each)))).toEqual(expected)
  })

  test('points of a certificate', () => {
    expect(crlPointsOf(leaf)).toEqual([url])
    expect(crlPointsOf(plain)).toEqual([])
  })
})

const openssl = program('openssl')
test.skipIf(openssl === undefined)('a CRL that openssl ca made', () => {
  using folder = temporaryFolder()
  const at = (name: string) => join(folder.path, name)
  writeFileSync(at('ca.pem'), ca.pem)
  writeFileSync(at('ca.key'), ca.keyPem)
  writeFileSync(at('index.txt'), `R\t301231000000Z\t260101000000Z,keyCompromise\t4A01\tunknown\t/CN=x\n`)
  writeFileSync(at('number'), '1001\n')
  writeFileSync(
    at('ca.cnf'),
    `[ca]\ndefault_ca=c\n[c]\ndatabase=${at('index.txt')}\ncrlnumber=${at('number')}\ndefault_md=sha256\ndefault_crl_days=30\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n`,
  )
  const pem = execFileSync(
    openssl as string,
    ['ca', '-gencrl', '-config', at('ca.cnf'), '-cert', at('ca.pem'), '-keyfile', at('ca.key')],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  )
  const [read] = readCrls(pem)
  expect(read).toMatchObject({ number: 0x1001n, revoked: new Set(['4a01']) })
  expect(read && crlSignedBy(read, ca.facts)).toBe(true)
})
