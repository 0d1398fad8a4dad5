import 'reflect-metadata'
import { X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KEY_KINDS } from '#fleet/certificate.ts'
import { DAY } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { criticalExtensionsOf, readCertificate, readCertificates } from '#pki/certificate.ts'
import { bitStringDer, constructedTag, integerDer, oidDer, TAG, timeDer, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { generateKey, spkiDer } from '#pki/keys.ts'
import { nameDer } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'
import { makePki, signDer, type LeafOptions } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 8)
const pki = makePki({ now })

const outcome = (der: Uint8Array): string => {
  try {
    readCertificate(der)
    return 'accepted'
  } catch (error) {
    if (error instanceof FleetError && error.code === 'bad_request') return error.detail
    throw error
  }
}

test('everything the facts promise, as OpenSSL sees it too', () => {
  const leaf = pki.device({ id: 'lamp-1', names: ['urn:sallyport:device:lamp-1', 'lamp.test', '10.0.0.1'] })
  const openssl = new X509Certificate(leaf.der)
  expect(leaf.facts).toMatchObject({
    fingerprint: openssl.fingerprint256.replaceAll(':', '').toLowerCase(),
    serial: openssl.serialNumber.toLowerCase(),
    commonName: 'lamp-1',
    notBefore: openssl.validFromDate.getTime(),
    notAfter: openssl.validToDate.getTime(),
    key: { kind: 'P-256', bits: 256 },
    isCa: false,
    pathLength: undefined,
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: [OID.clientAuth],
    authorityKeyId: pki.devices.ski,
    sanUris: ['urn:sallyport:device:lamp-1'],
    sanDns: ['lamp.test'],
    signatureAlgorithm: OID.ecdsaWithSha256,
  })
  expect(leaf.facts.subjectDer).toEqual(nameDer([{ oid: OID.commonName, text: 'lamp-1' }]))
  expect(leaf.facts.issuerDer).toEqual(pki.devices.facts.subjectDer)
})

test('a CA', () => {
  expect(pki.devices.facts).toMatchObject({
    isCa: true,
    pathLength: 0,
    keyUsage: ['keyCertSign', 'cRLSign'],
    subjectKeyId: pki.devices.ski,
  })
  expect(pki.root.facts).toMatchObject({ isCa: true, pathLength: undefined, authorityKeyId: undefined })
})

test.each(KEY_KINDS)('a %s key', (kind) => {
  expect(pki.device({ kind }).facts.key.kind).toBe(kind)
})

test.each<[string, LeafOptions, object]>([
  [
    'no key usage and no EKU',
    { keyUsage: undefined, extendedKeyUsage: undefined },
    { keyUsage: undefined, extendedKeyUsage: undefined },
  ],
  [
    'all nine key usages',
    { keyUsage: ['digitalSignature', 'encipherOnly', 'decipherOnly'] },
    { keyUsage: ['digitalSignature', 'encipherOnly', 'decipherOnly'] },
  ],
  ['no basic constraints', { ca: undefined }, { isCa: false }],
  ['no names', { names: [] }, { sanUris: [], sanDns: [] }],
  ['a serial of zero', { serial: '00' }, { serial: '00' }],
  ['a negative serial', { serial: 'ff01' }, { serial: 'ff01' }],
  ['a date beyond 2050', { notAfter: Date.UTC(2051, 1, 1) }, { notAfter: Date.UTC(2051, 1, 1) }],
  [
    'a subject without common name',
    { subjectDer: nameDer([{ oid: OID.organization, text: 'x' }]) },
    { commonName: undefined },
  ],
  ['an empty subject', { subjectDer: nameDer([]) }, { commonName: undefined }],
  ['a weak key: read, not judged', { shape: 'weakRsa' }, { key: { kind: 'RSA', bits: 1_024 } }],
])('%s', (_, options, expected) => {
  expect(pki.device(options).facts).toMatchObject(expected)
})

test('a certificate by an implementation that is not ours', async () => {
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, true, [
    'sign',
    'verify',
  ])
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '7f01',
    name: 'CN=lamp-1, O=Acme',
    notBefore: new Date(now),
    notAfter: new Date(now + DAY),
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-384' },
    extensions: [
      new x509.BasicConstraintsExtension(true, 2, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyCertSign, true),
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: 'urn:a:b' },
        { type: 'ip', value: '::1' },
      ]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  expect(readCertificate(new Uint8Array(made.rawData))).toMatchObject({
    serial: '7f01',
    commonName: 'lamp-1',
    isCa: true,
    pathLength: 2,
    keyUsage: ['digitalSignature', 'keyCertSign'],
    key: { kind: 'P-384' },
    sanUris: ['urn:a:b'],
    notBefore: now,
  })
})

describe('what is refused', () => {
  const key = generateKey('P-256')
  const algorithm = tlv(TAG.sequence, oidDer(OID.ecdsaWithSha256))
  const named = nameDer([{ oid: OID.commonName, text: 'x' }])
  type Parts = Partial<Record<'version' | 'serial' | 'algorithm' | 'validity' | 'spki' | 'tail', Buffer>>
  const by = (parts: Parts): Buffer =>
    signDer(
      tlv(
        TAG.sequence,
        parts.version ?? tlv(constructedTag(0), integerDer(Buffer.of(2))),
        parts.serial ?? integerDer(Buffer.of(1)),
        parts.algorithm ?? algorithm,
        named,
        parts.validity ?? tlv(TAG.sequence, timeDer(now), timeDer(now + DAY)),
        named,
        parts.spki ?? spkiDer(key.publicKey),
        parts.tail ?? Buffer.alloc(0),
      ),
      key.privateKey,
    )
  const extensions = (...list: readonly Buffer[]): { tail: Buffer } => ({
    tail: tlv(constructedTag(3), tlv(TAG.sequence, ...list)),
  })
  const extension = (oid: string, value: Buffer, critical = false): { tail: Buffer } =>
    extensions(extensionDer(oid, critical, value))
  const eku = extensionDer(OID.extendedKeyUsage, false, tlv(TAG.sequence, oidDer(OID.clientAuth)))

  test('a version 1 certificate is read, and is no CA', () => {
    expect(readCertificate(by({ version: Buffer.alloc(0) }))).toMatchObject({
      isCa: false,
      keyUsage: undefined,
    })
  })
  test('so is one with unique identifiers', () => {
    const tail = Buffer.concat([
      tlv(0x81, Buffer.of(0, 0xff)),
      tlv(0x82, Buffer.of(0, 0xff)),
      extensions(eku).tail,
    ])
    expect(outcome(by({ tail }))).toBe('accepted')
  })

  test('CA FALSE and critical FALSE, written out, are read for what they say', () => {
    const constraints = tlv(TAG.octetString, tlv(TAG.sequence, tlv(TAG.boolean, Buffer.of(0))))
    const extension = tlv(
      TAG.sequence,
      oidDer(OID.basicConstraints),
      tlv(TAG.boolean, Buffer.of(0)),
      constraints,
    )
    const der = by(extensions(extension))
    expect(readCertificate(der).isCa).toBe(false)
    expect(criticalExtensionsOf(der)).toEqual([])
  })

  test.each<[string, Parts, string]>([
    [
      'version 4',
      { version: tlv(constructedTag(0), integerDer(Buffer.of(3))) },
      'certificate version: is not 2 or 3',
    ],
    [
      'version 1, written out',
      { version: tlv(constructedTag(0), integerDer(Buffer.of(0))) },
      'certificate version: is not 2 or 3',
    ],
    [
      'extensions in version 1',
      { version: Buffer.alloc(0), ...extensions(eku) },
      'certificate: has fields that its version has not',
    ],
    [
      'fields after the extensions',
      { tail: Buffer.concat([extensions(eku).tail, tlv(0x81, Buffer.of(0, 1))]) },
      'certificate: has fields that its version has not',
    ],
    [
      'a serial of 65 octets',
      { serial: integerDer(Buffer.alloc(65, 1)) },
      'serial number: is empty or too long',
    ],
    ['an empty serial', { serial: tlv(TAG.integer) }, 'certificate: is not canonical DER'],
    [
      'two signature algorithms',
      { algorithm: tlv(TAG.sequence, oidDer(OID.ed25519)) },
      'certificate: names two signature algorithms',
    ],
    ['one date', { validity: tlv(TAG.sequence, timeDer(now)) }, 'validity: has too few elements'],
    [
      'an extension twice',
      extensions(eku, eku),
      `certificate extensions: has extension ${OID.extendedKeyUsage} twice`,
    ],
    ['no extensions in their field', extensions(), 'certificate extensions: has too few elements'],
    [
      'a path length that is no number',
      extension(
        OID.basicConstraints,
        tlv(TAG.sequence, tlv(TAG.boolean, Buffer.of(255)), tlv(TAG.octetString)),
      ),
      'path length: is missing or of another type',
    ],
    [
      'an empty EKU',
      extension(OID.extendedKeyUsage, tlv(TAG.sequence)),
      'extended key usage: has too few elements',
    ],
    [
      'a key usage bit beyond the nine',
      extension(OID.keyUsage, tlv(TAG.bitString, Buffer.of(6, 0, 0x40))),
      'key usage: has an unknown bit',
    ],
    [
      'an empty SAN',
      extension(OID.subjectAltName, tlv(TAG.sequence)),
      'subject alternative name: has too few elements',
    ],
    [
      'a NUL in a SAN',
      extension(OID.subjectAltName, tlv(TAG.sequence, tlv(0x86, Buffer.from('urn:a\0b')))),
      'subject alternative name: holds a name that is empty, too long or not printable ASCII',
    ],
    [
      'octets after an extension’s value',
      extension(
        OID.extendedKeyUsage,
        Buffer.concat([tlv(TAG.sequence, oidDer(OID.clientAuth)), Buffer.of(0)]),
      ),
      'extended key usage: is not DER',
    ],
    [
      'a key with unused bits',
      { spki: tlv(TAG.sequence, algorithm, tlv(TAG.bitString, Buffer.of(4, 0xf0))) },
      'public key: has unused bits',
    ],
  ])('%s', (_, parts, problem) => {
    expect(outcome(by(parts))).toBe(problem)
  })

  test('a signature with unused bits', () => {
    const der = tlv(TAG.sequence, tlv(TAG.sequence), algorithm, tlv(TAG.bitString, Buffer.of(1, 0xfe)))
    expect(outcome(der)).toBe('certificate signature: has unused bits')
  })
  test('more than 16 KiB', () => {
    expect(outcome(Buffer.alloc(16_385))).toBe('certificate: is larger than 16384 bytes')
  })
  test('a common name with a NUL, in subject or issuer', () => {
    const subjectDer = nameDer([{ oid: OID.commonName, text: 'lamp-1\0.evil' }])
    expect(outcome(pki.device({ subjectDer }).der)).toBe('subject: holds a character that is not allowed')
    expect(outcome(pki.device({ by: { ...pki.devices, subjectDer } }).der)).toBe(
      'issuer: holds a character that is not allowed',
    )
  })
  test('an unknown curve is read, and its key has no name', () => {
    const spki = tlv(TAG.sequence, tlv(TAG.sequence, oidDer('1.2.3')), bitStringDer(Buffer.of(1)))
    expect(readCertificate(by({ spki })).key).toEqual({ kind: 'other', bits: 0 })
  })
})

test('what is critical is told', () => {
  const extraExtensions = [extensionDer('1.2.3.4', true, tlv(TAG.null))]
  expect(criticalExtensionsOf(pki.device({ extraExtensions }).der)).toEqual([
    OID.basicConstraints,
    OID.keyUsage,
    '1.2.3.4',
  ])
})

test('several in one PEM, in order', () => {
  expect(readCertificates(pki.devices.pem + pki.root.pem).map(({ commonName }) => commonName)).toEqual([
    'Test Devices',
    'Test Root',
  ])
})

test('any octets, and a good certificate with any change, are facts or a refusal and nothing else', () => {
  const { der } = pki.device()
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
      expect(outcome(octets)).not.toBe('accepted')
    }),
  )
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.nat(4), fc.uint8Array({ maxLength: 4 }), (at, remove, insert) => {
      outcome(Buffer.concat([der.subarray(0, at), insert, der.subarray(at + remove)]))
    }),
    { numRuns: 2_000 },
  )
})
