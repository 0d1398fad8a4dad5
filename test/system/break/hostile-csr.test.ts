/**
 * Requests for certificates that nobody honest makes, through the real listener, over REST and EST: each is refused with its reason, for
 * less than a second of the desk's CPU, and leaves nothing. What is not refused is ignored: the certificate says what the CA says.
 * What the parser alone makes of more of them: test/unit/pki/csr.test.ts, csr.property.test.ts.
 */

import { X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { systemClock } from '#fleet/clock.ts'
import { bitStringDer, implicitTag, integerDer, oidDer, TAG, tlv, utf8Der } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { OID } from '#pki/oids.ts'
import { toPem } from '#pki/pem.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { meter } from '../../support/cpu-of.ts'
import { startDeskProcess, type DeskProcess } from '../../support/desk-process.ts'
import { addClaimToken, makeHome, type Home } from '../../support/enroll-desk.ts'
import { certificateOfEst, certificateOfRest, reasonIn } from '../../support/issued.ts'
import { enrolmentBytes, openLine } from '../../support/lines.ts'
import { attributeDer, makeCsr, signDer } from '../../support/pki.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { children } from '../attacks/attacker.ts'

/** A second, as promised, of work and not of waiting. ms */
const MOST_CPU = 1_000

const folder = temporaryFolder()
let home: Home
let desk: DeskProcess
let plentiful: string
let bound: string
beforeAll(async () => {
  home = await makeHome(folder.path)
  await using registry = await openRegistry({ path: home.registryPath, clock: systemClock })
  const root = home.pki.root.facts.fingerprint
  plentiful = (await addClaimToken(registry, root, { uses: 1_000 })).text
  bound = (await addClaimToken(registry, root, { deviceId: 'lamp-1' as DeviceId })).text
  desk = await startDeskProcess({ main: 'src/enroll/main.ts', home: home.path })
})
afterAll(async () => {
  await (desk as DeskProcess | undefined)?.[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

type Der = Uint8Array
const sequence = (...parts: readonly Der[]): Buffer => tlv(TAG.sequence, ...parts)
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const good = makeCsr({ commonName: 'good' })
const cn = (text: string, tag: number = TAG.utf8String): Buffer =>
  tlv(TAG.set, sequence(oidDer(OID.commonName), tlv(tag, Buffer.from(text))))
const named = (...rdns: readonly Der[]): Der => makeCsr({ subjectDer: sequence(...rdns) }).der
const called = (commonName: string): Der => makeCsr({ commonName }).der
const withNames = (...names: readonly Der[]): Der =>
  makeCsr({ extraExtensions: [extensionDer(OID.subjectAltName, false, sequence(...names))] }).der
const rsa = (modulus: Der, exponent: Der): Der =>
  makeCsr({
    key: good,
    spkiDer: sequence(
      sequence(oidDer(OID.rsaEncryption), tlv(TAG.null)),
      bitStringDer(sequence(tlv(TAG.integer, modulus), tlv(TAG.integer, exponent))),
    ),
  }).der
/** odd, positive, of so many bits */
const modulus = (bits: number): Buffer => Buffer.concat([Buffer.of(0), Buffer.alloc(bits / 8, 0xb7)])
const F4 = hex('010001')
const p256 = (point: Der): Der =>
  makeCsr({
    key: good,
    spkiDer: sequence(sequence(oidDer(OID.ecPublicKey), oidDer(OID.prime256v1)), bitStringDer(point)),
  }).der
/** version, subject, key and attributes of the good one, as they stand in it */
const parts = children(children(good.der)[0] as Buffer)
/** of another version, and signed like that */
const version = (integer: Der): Der => signDer(sequence(integer, ...parts.slice(1)), good.privateKey)
const signed = (signature: Der): Der =>
  sequence(sequence(...parts), sequence(oidDer(OID.ecdsaWithSha256)), bitStringDer(signature))
const nested = (depth: number): Der => {
  const heads: Buffer[] = []
  for (let n = depth - 1, rest = 0; n >= 0; n -= 1) {
    const head = rest < 0x80 ? Buffer.of(0x30, rest) : Buffer.of(0x30, 0x82, rest >> 8, rest & 0xff)
    heads.unshift(head)
    rest += head.length
  }
  return Buffer.concat(heads)
}
const many = <T>(count: number, make: (n: number) => T): T[] =>
  Array.from({ length: count }, (_, n) => make(n))
const dns = (text: string): Buffer => tlv(implicitTag(2), Buffer.from(text, 'latin1'))

type Case = readonly [name: string, csr: () => Der, status: number, reason: string]

const structure: readonly Case[] = [
  ['10,000 names in 30 KB', () => withNames(...many(10_000, () => dns('a'))), 400, 'bad_csr'],
  ['10,000 names in 90 KB', () => withNames(...many(10_000, (n) => dns(`a${n}.b`))), 413, 'body_too_large'],
  ['1,000 names', () => withNames(...many(1_000, (n) => dns(`a${n}.b`))), 400, 'bad_csr'],
  ['nested 5,000 deep', () => nested(5_000), 400, 'bad_csr'],
  [
    'nested 33 deep in an attribute',
    () => makeCsr({ extraAttributes: [attributeDer('1.2.3', nested(33))] }).der,
    400,
    'bad_csr',
  ],
  [
    '1,500 attributes',
    () => makeCsr({ extraAttributes: many(1_500, (n) => attributeDer(`1.2.3.${n}`, tlv(TAG.null))) }).der,
    400,
    'bad_csr',
  ],
  [
    'an attribute of 4,000 values',
    () => makeCsr({ extraAttributes: [attributeDer('1.2.3', ...many(4_000, () => tlv(TAG.null)))] }).der,
    400,
    'bad_csr',
  ],
  [
    'an attribute twice',
    () => makeCsr({ extraAttributes: many(2, () => attributeDer('1.2.3', tlv(TAG.null))) }).der,
    400,
    'bad_csr',
  ],
  [
    'an extension twice',
    () => makeCsr({ extraExtensions: many(2, () => extensionDer(OID.keyUsage, true, hex('03020780'))) }).der,
    400,
    'bad_csr',
  ],
  [
    'the names twice',
    () =>
      makeCsr({
        names: ['a.test'],
        extraExtensions: [extensionDer(OID.subjectAltName, false, sequence(dns('b')))],
      }).der,
    400,
    'bad_csr',
  ],
  [
    'an OID of 20,000 octets',
    () =>
      makeCsr({ extraAttributes: [sequence(tlv(TAG.oid, Buffer.alloc(20_000, 0x81)), tlv(TAG.set))] }).der,
    400,
    'bad_csr',
  ],
  [
    'an OID with a number of 300 bits',
    () =>
      makeCsr({ extraAttributes: [sequence(tlv(TAG.oid, hex(`2a${'ff'.repeat(42)}7f`)), tlv(TAG.set))] }).der,
    400,
    'bad_csr',
  ],
  [
    'an outer length with a spare octet (BER)',
    () => Buffer.concat([hex('3083 00'), good.der.subarray(good.der[1] === 0x82 ? 2 : 1)]),
    400,
    'bad_csr',
  ],
  [
    'an indefinite length (BER)',
    () => Buffer.concat([hex('3080'), good.der.subarray(good.der[1] === 0x82 ? 4 : 3), hex('0000')]),
    400,
    'bad_csr',
  ],
  ['an inner length with a spare octet (BER), signed', () => version(hex('02 81 01 00')), 400, 'bad_csr'],
  [
    'a string in pieces (BER), signed',
    () =>
      makeCsr({
        subjectDer: sequence(tlv(TAG.set, sequence(oidDer(OID.commonName), hex('2c 06 0c 01 61 0c 01 62')))),
      }).der,
    400,
    'bad_csr',
  ],
  ['version −1', () => version(hex('02 01 ff')), 400, 'bad_csr'],
  ['version 0 with a spare zero', () => version(hex('02 02 00 00')), 400, 'bad_csr'],
  ['a version of 20,000 octets', () => version(tlv(TAG.integer, Buffer.alloc(20_000, 0x11))), 400, 'bad_csr'],
  ['a version without octets', () => version(hex('02 00')), 400, 'bad_csr'],
]

const keys: readonly Case[] = [
  ['RSA of 16,384 bits', () => rsa(modulus(16_384), F4), 400, 'weak_key'],
  ['RSA of 300,000 bits', () => rsa(modulus(300_000), F4), 400, 'weak_key'],
  [
    'RSA of 8,192 bits with the largest exponent, falsely signed',
    () => rsa(modulus(8_192), hex('00ffffffff')),
    400,
    'csr_signature_invalid',
  ],
  ['RSA of 1,024 bits', () => rsa(modulus(1_024), F4), 400, 'weak_key'],
  ['RSA with the exponent 1', () => rsa(modulus(2_048), Buffer.of(1)), 400, 'weak_key'],
  ['RSA with the exponent 3', () => rsa(modulus(2_048), Buffer.of(3)), 400, 'weak_key'],
  ['RSA with an exponent of 16,384 bits', () => rsa(modulus(2_048), modulus(16_384)), 400, 'weak_key'],
  ['RSA with a negative exponent', () => rsa(modulus(2_048), hex('ff0001')), 400, 'weak_key'],
  ['RSA with a negative modulus', () => rsa(modulus(2_048).subarray(1), F4), 400, 'weak_key'],
  [
    'RSA with an even modulus',
    () => rsa(Buffer.concat([modulus(2_040), Buffer.of(0xfe)]), F4),
    400,
    'weak_key',
  ],
  ['RSA with the modulus 0', () => rsa(Buffer.of(0), F4), 400, 'weak_key'],
  [
    'a point that is on no curve',
    () => p256(Buffer.concat([Buffer.of(4), Buffer.alloc(64, 7)])),
    400,
    'weak_key',
  ],
  [
    'a point whose x is the modulus of the field',
    () =>
      p256(
        Buffer.concat([
          hex('04ffffffff00000001000000000000000000000000ffffffffffffffffffffffff'),
          Buffer.alloc(32, 1),
        ]),
      ),
    400,
    'weak_key',
  ],
  ['the point at infinity', () => p256(Buffer.of(0)), 400, 'weak_key'],
  ['a point of 40,000 octets', () => p256(Buffer.alloc(40_000, 4)), 400, 'weak_key'],
]

const signatures: readonly Case[] = [
  [
    'r and s are 0',
    () => signed(sequence(integerDer(Buffer.of(0)), integerDer(Buffer.of(0)))),
    400,
    'csr_signature_invalid',
  ],
  [
    'r and s are negative',
    () => signed(sequence(hex('0201ff'), hex('0201ff'))),
    400,
    'csr_signature_invalid',
  ],
  [
    'r and s of 20,000 octets',
    () => signed(sequence(integerDer(Buffer.alloc(20_000, 0x77)), integerDer(Buffer.alloc(20_000, 0x77)))),
    400,
    'csr_signature_invalid',
  ],
  ['no signature', () => signed(Buffer.alloc(0)), 400, 'csr_signature_invalid'],
]

const names: readonly Case[] = [
  ['a NUL in the common name', () => called('lamp-1\0.evil'), 400, 'bad_csr'],
  ['a NUL at its end', () => called('lamp-1\0'), 400, 'bad_csr'],
  ['a NUL in a DNS name', () => withNames(dns('a\0.evil')), 400, 'bad_csr'],
  ['a NUL in a URI', () => withNames(tlv(implicitTag(6), Buffer.from('urn:a\0b'))), 400, 'bad_csr'],
  ['two common names', () => named(cn('lamp-1'), cn('lamp-2')), 400, 'bad_csr'],
  ['the same common name twice', () => named(cn('lamp-1'), cn('lamp-1')), 400, 'bad_csr'],
  ['no name at all', () => makeCsr().der, 400, 'device_id_invalid'],
  ['a common name of 65 letters', () => called('x'.repeat(65)), 400, 'device_id_invalid'],
  ['Cyrillic а', () => called('l\u0430mp-1'), 400, 'device_id_invalid'],
  ['full-width letters', () => called('\uff4camp-1'), 400, 'device_id_invalid'],
  ['a letter and its accent', () => called('la\u0301mp-1'), 400, 'device_id_invalid'],
  ['a zero-width joiner', () => called('lamp\u200d-1'), 400, 'device_id_invalid'],
  ['a no-break space at its end', () => called('lamp-1\u00a0'), 400, 'device_id_invalid'],
  ['a space at its end', () => called('lamp-1 '), 400, 'device_id_invalid'],
  ['a hyphen that is none', () => called('lamp\u20101'), 400, 'device_id_invalid'],
  ['a path', () => called('../lamp-1'), 400, 'device_id_invalid'],
  ['a wildcard', () => called('#'), 400, 'device_id_invalid'],
  ['turned text', () => called('lamp\u202e1-'), 400, 'bad_csr'],
  [
    'half a surrogate pair',
    () => named(tlv(TAG.set, sequence(oidDer(OID.commonName), tlv(TAG.utf8String, hex('eda080'))))),
    400,
    'bad_csr',
  ],
  [
    'overlong UTF-8',
    () => named(tlv(TAG.set, sequence(oidDer(OID.commonName), tlv(TAG.utf8String, hex('c1ac616d70'))))),
    400,
    'bad_csr',
  ],
]

/** against a token that is bound to lamp-1 */
const impostors: readonly Case[] = [
  ['a look-alike of whom the token is bound to', () => called('l\u0430mp-1'), 400, 'device_id_mismatch'],
  ['his name in capitals', () => called('LAMP-1'), 400, 'device_id_mismatch'],
  ['his name and a space', () => called('lamp-1 '), 400, 'device_id_mismatch'],
]

const ask = async (over: 'REST' | 'EST', token: string, der: Der) => {
  using line = await openLine(desk.urls['devices'] as string, { ca: home.pki.root.pem })
  const csr = { der, pem: toPem('CERTIFICATE REQUEST', der) }
  const reply = await line.ask(enrolmentBytes(over, { token, csr }))
  if (reply === undefined) throw new Error('no reply')
  return reply
}
const devices = async (): Promise<readonly string[]> => {
  await using registry = await openRegistry({ path: home.registryPath, clock: systemClock })
  return (await registry.listDevices({ limit: 100, now: Date.now() })).items.map(({ id }) => id)
}

const refused = async (token: string, der: Der, status: number, reason: string): Promise<void> => {
  for (const over of ['REST', 'EST'] as const) {
    const spent = meter(desk.child.pid as number)
    const reply = await ask(over, token, der)
    const used = spent()
    expect([over, reply.status, reasonIn(reply.body)]).toEqual([over, status, reason])
    expect(used).toBeLessThan(MOST_CPU)
  }
}

describe.each<[string, readonly Case[]]>([
  ['its structure', structure],
  ['its key', keys],
  ['its signature', signatures],
  ['its names', names],
])('refused for %s', (_, cases) => {
  test.each(cases)('%s', async (_name, make, status, reason) => {
    await refused(plentiful, make(), status, reason)
  })
})

test.each(impostors)('refused for its token: %s', async (_, make, status, reason) => {
  await refused(bound, make(), status, reason)
})

test('and nothing is left of any of them', async () => {
  expect(await devices()).toEqual([])
})

describe.each(['REST', 'EST'] as const)('what is asked for and not granted, over %s', (over) => {
  test('subject, names and extensions of the request are nowhere in the certificate', async () => {
    const id = `modest-${over}`
    const MARK = 'evilmark'
    const attribute = (oid: string, text: string): Buffer =>
      tlv(TAG.set, sequence(oidDer(oid), utf8Der(text)))
    const csr = makeCsr({
      subjectDer: sequence(
        attribute('2.5.4.6', 'XX'),
        attribute('2.5.4.10', `${MARK} org`),
        attribute('2.5.4.11', `${MARK} unit`),
        cn(id),
        attribute('2.5.4.5', `${MARK} serial`),
        attribute('1.2.840.113549.1.9.1', `${MARK}@x.test`),
      ),
      names: [`urn:sallyport:device:${MARK}`, `${MARK}.test`, `https://${MARK}.test/`, '10.9.8.7'],
      extraExtensions: [
        extensionDer(OID.basicConstraints, true, sequence(tlv(TAG.boolean, Buffer.of(0xff)))),
        extensionDer(OID.keyUsage, true, hex('03020106')),
        extensionDer(
          OID.extendedKeyUsage,
          true,
          sequence(oidDer(OID.serverAuth), oidDer('1.3.6.1.5.5.7.3.9')),
        ),
        extensionDer('1.3.6.1.4.1.99999.1', true, utf8Der(`${MARK} critical`)),
        extensionDer(OID.subjectKeyId, false, tlv(TAG.octetString, Buffer.from(MARK))),
      ],
      extraAttributes: [attributeDer('1.2.840.113549.1.9.7', utf8Der(`${MARK} password`))],
    })
    const { body } = await ask(over, plentiful, csr.der)
    const leaf = new X509Certificate(over === 'REST' ? certificateOfRest(body) : certificateOfEst(body))
    expect([leaf.subject, leaf.subjectAltName, leaf.ca, leaf.keyUsage]).toEqual([
      `CN=${id}`,
      `URI:urn:sallyport:device:${id}`,
      false,
      ['1.3.6.1.5.5.7.3.2'],
    ])
    for (const text of [MARK, 'evil', 'XX', '10.9.8.7'])
      expect(leaf.raw.includes(Buffer.from(text))).toBe(false)
    expect(leaf.raw.includes(Buffer.of(10, 9, 8, 7))).toBe(false)
    expect(desk.logLines.join('\n')).not.toContain(MARK)
  })

  test('a name that differs only in case from a device that exists', async () => {
    const reply = await ask(over, plentiful, called(`MODEST-${over}`))
    expect([reply.status, reasonIn(reply.body)]).toEqual([409, 'device_exists'])
  })
})
