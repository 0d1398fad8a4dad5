import 'reflect-metadata'
import { createPublicKey, generateKeyPairSync, KeyObject } from 'node:crypto'
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KEY_KINDS } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCsr } from '#pki/csr.ts'
import { bitStringDer, integerDer, oidDer, TAG, tlv, utf8Der } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { generateKey, spkiDer } from '#pki/keys.ts'
import { OID } from '#pki/oids.ts'
import { toPem } from '#pki/pem.ts'
import { attributeDer, makeCsr, type CsrOptions } from '../../support/pki.ts'

const outcome = (input: string | Uint8Array): string => {
  try {
    readCsr(input)
    return 'accepted'
  } catch (error) {
    if (error instanceof FleetError) return `${error.code}: ${error.detail}`
    throw error
  }
}

const attribute = (oid: string, tag: number, text: string | Buffer): Buffer =>
  tlv(TAG.set, tlv(TAG.sequence, oidDer(oid), tlv(tag, Buffer.from(text as string))))
const subject = (...rdns: readonly Buffer[]): { subjectDer: Buffer } => ({
  subjectDer: tlv(TAG.sequence, ...rdns),
})
const cn = (text: string | Buffer, tag: number = TAG.utf8String): Buffer =>
  attribute(OID.commonName, tag, text)
const san = (...names: readonly Buffer[]): { extraExtensions: readonly Buffer[] } => ({
  extraExtensions: [extensionDer(OID.subjectAltName, false, tlv(TAG.sequence, ...names))],
})
const name = (tag: number, text: string): Buffer => tlv(0x80 | tag, Buffer.from(text, 'latin1'))

describe('what is read', () => {
  test('everything the facts promise', () => {
    const csr = makeCsr({
      commonName: 'lamp-1',
      names: ['urn:sallyport:device:lamp-1', 'lamp.test', '10.0.0.1'],
    })
    const facts = readCsr(csr.pem)
    expect(facts).toMatchObject({
      key: { kind: 'P-256', bits: 256 },
      commonName: 'lamp-1',
      sanUris: ['urn:sallyport:device:lamp-1'],
      sanDns: ['lamp.test'],
      sanOthers: 1,
    })
    expect(facts.spkiDer).toEqual(spkiDer(csr.publicKey))
    expect(facts.spkiSha256).toMatch(/^[0-9a-f]{64}$/)
    expect(readCsr(csr.der)).toMatchObject({ spkiSha256: facts.spkiSha256 })
  })

  test.each(KEY_KINDS)('a %s key', (kind) => {
    expect(readCsr(makeCsr({ kind }).pem).key.kind).toBe(kind)
  })

  test.each<[string, CsrOptions, string | undefined]>([
    ['no common name', {}, undefined],
    ['PrintableString', subject(cn('lamp-1', TAG.printableString)), 'lamp-1'],
    ['IA5String', subject(cn('lamp-1', TAG.ia5String)), 'lamp-1'],
    ['T61String, which has several readings, is no name', subject(cn('lamp-1', 0x14)), undefined],
    [
      'after an organisation',
      subject(attribute(OID.organization, TAG.utf8String, 'Acme'), cn('lamp-1')),
      'lamp-1',
    ],
    ['beyond ASCII', { commonName: 'Lämpchen 7' }, 'Lämpchen 7'],
  ])('common name: %s', (_, options, expected) => {
    expect(readCsr(makeCsr(options).pem).commonName).toBe(expected)
  })

  test.each<[string, (pem: string) => string]>([
    ['the old label', (pem) => pem.replaceAll('CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST')],
    ['openssl -text before it', (pem) => `Certificate Request:\n    Data:\n${pem}`],
    ['DOS line ends', (pem) => pem.replaceAll('\n', '\r\n')],
  ])('PEM with %s', (_, change) => {
    expect(outcome(change(makeCsr({}).pem))).toBe('accepted')
  })

  test.each<[string, CsrOptions]>([
    ['a challenge password', { extraAttributes: [attributeDer('1.2.840.113549.1.9.7', utf8Der('secret'))] }],
    ['an unknown attribute', { extraAttributes: [attributeDer('1.3.6.1.4.1.311.13.2.3', utf8Der('10.0'))] }],
    ['an empty SAN, as strongSwan writes one', san()],
    [
      'critical FALSE, written out',
      {
        extraExtensions: [
          tlv(TAG.sequence, oidDer('1.2.3'), tlv(TAG.boolean, Buffer.of(0)), tlv(TAG.octetString)),
        ],
      },
    ],
    [
      'a request to be a CA, which is not granted',
      { extraExtensions: [extensionDer(OID.basicConstraints, true, tlv(0x30, tlv(1, Buffer.of(255))))] },
    ],
  ])('%s is let through', (_, options) => {
    expect(outcome(makeCsr(options).pem)).toBe('accepted')
  })

  test('a request by an implementation that is not ours', async () => {
    const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, true, [
      'sign',
      'verify',
    ])
    const request = await Pkcs10CertificateRequestGenerator.create({
      name: 'CN=lamp-1, O=Acme',
      keys,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-384' },
    })
    const facts = readCsr(request.toString('pem'))
    expect(facts).toMatchObject({ commonName: 'lamp-1', key: { kind: 'P-384' } })
    expect(facts.spkiDer).toEqual(spkiDer(KeyObject.from(keys.publicKey)))
  })
})

const PS = `${'x'.repeat(1_025)}`
const key = generateKey('P-256')
const spki = Buffer.from(spkiDer(key.publicKey))
const ecAlgorithm = (curve: string): Buffer => tlv(TAG.sequence, oidDer(OID.ecPublicKey), oidDer(curve))
const spkiWith = (algorithm: Buffer, bits: Buffer): { spkiDer: Buffer } => ({
  spkiDer: tlv(TAG.sequence, algorithm, bitStringDer(bits)),
})
const rsaAlgorithm = tlv(TAG.sequence, oidDer(OID.rsaEncryption), tlv(TAG.null))
const rsaSpki = (modulus: Buffer, exponent: Buffer) =>
  spkiWith(rsaAlgorithm, tlv(TAG.sequence, integerDer(modulus), integerDer(exponent)))
const modulus = (bits: number): Buffer => {
  const octets = Buffer.alloc(bits / 8, 0xff)
  return octets
}
const F4 = Buffer.of(1, 0, 1)
const ed25519 = (point: string) =>
  spkiWith(tlv(TAG.sequence, oidDer(OID.ed25519)), Buffer.from(point.padEnd(64, '0'), 'hex'))
const compressed = (() => {
  const point = spki.subarray(-65)
  return Buffer.concat([Buffer.of((point[64] as number) & 1 ? 3 : 2), point.subarray(1, 33)])
})()

const ODD_KIND = 'weak_key: the key is not P-256, P-384, P-521, Ed25519 or RSA, in its usual encoding'
const CHARACTER = 'holds a character that is not allowed'

describe('what is refused', () => {
  test.each<[string, CsrOptions, string]>([
    // names
    ['a NUL in the common name', { commonName: 'lamp-1\0.evil' }, `bad_csr: CSR subject: ${CHARACTER}`],
    ['a line end in it', { commonName: 'lamp-1\nX: y' }, `bad_csr: CSR subject: ${CHARACTER}`],
    ['a C1 control in it', { commonName: 'lamp\u009b1' }, `bad_csr: CSR subject: ${CHARACTER}`],
    ['a text direction override', { commonName: 'lamp\u202e1' }, `bad_csr: CSR subject: ${CHARACTER}`],
    ['UTF-8 that is not', subject(cn(Buffer.of(0xc0, 0x80))), `bad_csr: CSR subject: ${CHARACTER}`],
    [
      'a PrintableString beyond ASCII',
      subject(cn(Buffer.of(0xe4), TAG.printableString)),
      `bad_csr: CSR subject: ${CHARACTER}`,
    ],
    [
      'two common names',
      subject(cn('lamp-1'), cn('lamp-2')),
      'bad_csr: CSR subject: has more than one common name',
    ],
    [
      'two in one RDN',
      subject(tlv(TAG.set, ...['a', 'b'].map((t) => tlv(TAG.sequence, oidDer(OID.commonName), utf8Der(t))))),
      'bad_csr: CSR subject: has more than one common name',
    ],
    ['a very long one', { commonName: PS }, 'bad_csr: CSR subject: is too long'],
    [
      '33 attributes',
      subject(...Array.from({ length: 33 }, () => attribute(OID.organization, TAG.utf8String, 'x'))),
      'bad_csr: CSR subject: has too many elements',
    ],
    [
      '33 attributes in two RDNs',
      subject(
        ...[17, 16].map((n) =>
          tlv(
            TAG.set,
            ...Array.from({ length: n }, () => tlv(TAG.sequence, oidDer(OID.organization), utf8Der('x'))),
          ),
        ),
      ),
      'bad_csr: CSR subject: has too many attributes',
    ],
    ['an empty RDN', subject(tlv(TAG.set)), 'bad_csr: CSR subject: has too few elements'],
    [
      'a subject that is no Name',
      { subjectDer: utf8Der('lamp-1') },
      'bad_csr: CSR subject: is missing or of another type',
    ],
    [
      'a NUL in a DNS name',
      san(name(2, 'a\0b')),
      'bad_csr: CSR subject alternative name: holds a name that is empty, too long or not printable ASCII',
    ],
    [
      'a DNS name beyond ASCII',
      san(name(2, 'ä')),
      'bad_csr: CSR subject alternative name: holds a name that is empty, too long or not printable ASCII',
    ],
    [
      'an empty URI',
      san(name(6, '')),
      'bad_csr: CSR subject alternative name: holds a name that is empty, too long or not printable ASCII',
    ],
    [
      '101 names',
      san(...Array.from({ length: 101 }, () => name(2, 'a'))),
      'bad_csr: CSR subject alternative name: has too many elements',
    ],
    // structure
    ['version 2', { version: 1 }, 'bad_csr: CSR: is not of version 1'],
    [
      'an extension twice',
      { names: ['a.test'], ...san(name(2, 'b.test')) },
      'bad_csr: CSR extensions: has extension 2.5.29.17 twice',
    ],
    [
      'two extension requests',
      { names: ['a.test'], extraAttributes: [attributeDer(OID.extensionRequest, tlv(TAG.sequence))] },
      `bad_csr: CSR: has attribute ${OID.extensionRequest} twice`,
    ],
    [
      'an extension request with two values',
      { extraAttributes: [attributeDer(OID.extensionRequest, tlv(TAG.sequence), tlv(TAG.sequence))] },
      'bad_csr: CSR extension request: has not exactly one value',
    ],
    [
      'an empty extension request',
      { extraAttributes: [attributeDer(OID.extensionRequest, tlv(TAG.sequence))] },
      'bad_csr: CSR extensions: has too few elements',
    ],
    [
      '49 extensions',
      {
        extraExtensions: Array.from({ length: 49 }, (_, at) =>
          extensionDer(`1.2.3.${at}`, false, tlv(TAG.null)),
        ),
      },
      'bad_csr: CSR extensions: has too many elements',
    ],
    [
      '17 attributes',
      { extraAttributes: Array.from({ length: 17 }, (_, at) => attributeDer(`1.2.3.${at}`, tlv(TAG.null))) },
      'bad_csr: CSR attributes: has too many elements',
    ],
    [
      'a SAN that is not DER',
      { extraExtensions: [extensionDer(OID.subjectAltName, false, Buffer.of(0x30, 0x80, 0, 0))] },
      'bad_csr: CSR subject alternative name: is not canonical DER',
    ],
    [
      'SHA-1',
      { sha1: true },
      'bad_csr: CSR signature algorithm: 1.2.840.10045.4.1 is not one that we accept',
    ],
    // keys, before any signature is looked at: these are all signed by another key
    [
      'RSA-1024',
      { key, spkiDer: spkiDer(generateKey('RSA', 1_024).publicKey) as Buffer },
      'weak_key: an RSA key has 2048 to 8192 bits; this one has 1024',
    ],
    [
      'RSA-16384',
      { key, ...rsaSpki(modulus(16_384), F4) },
      'weak_key: an RSA key has 2048 to 8192 bits; this one has 16384',
    ],
    ['RSA with exponent 1', { key, ...rsaSpki(modulus(2_048), Buffer.of(1)) }, ODD_KIND],
    ['RSA with exponent 3', { key, ...rsaSpki(modulus(2_048), Buffer.of(3)) }, ODD_KIND],
    ['RSA with an even exponent', { key, ...rsaSpki(modulus(2_048), Buffer.of(1, 0, 2)) }, ODD_KIND],
    ['RSA with an exponent of 2 KB', { key, ...rsaSpki(modulus(2_048), modulus(2_048)) }, ODD_KIND],
    [
      'RSA with an even modulus',
      { key, ...rsaSpki(Buffer.concat([modulus(2_040), Buffer.of(0xfe)]), F4) },
      ODD_KIND,
    ],
    [
      'RSA with a negative modulus',
      {
        key,
        ...spkiWith(
          rsaAlgorithm,
          tlv(TAG.sequence, tlv(TAG.integer, modulus(2_048).fill(0x81)), integerDer(F4)),
        ),
      },
      ODD_KIND,
    ],
    [
      'RSA without NULL: a second spelling',
      { key, ...spkiWith(tlv(TAG.sequence, oidDer(OID.rsaEncryption)), Buffer.from('3000', 'hex')) },
      ODD_KIND,
    ],
    [
      'RSASSA-PSS',
      { key, spkiDer: spkiDer(generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }).publicKey) as Buffer },
      ODD_KIND,
    ],
    [
      'secp256k1',
      { key, spkiDer: spkiDer(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey) as Buffer },
      ODD_KIND,
    ],
    [
      'P-224',
      { key, spkiDer: spkiDer(generateKeyPairSync('ec', { namedCurve: 'secp224r1' }).publicKey) as Buffer },
      ODD_KIND,
    ],
    ['X25519', { key, spkiDer: spkiDer(generateKeyPairSync('x25519').publicKey) as Buffer }, ODD_KIND],
    ['Ed448', { key, spkiDer: spkiDer(generateKeyPairSync('ed448').publicKey) as Buffer }, ODD_KIND],
    ['explicit curve parameters', { key, spkiDer: explicitParameters() }, ODD_KIND],
    [
      'a compressed point: a second spelling',
      { key, ...spkiWith(ecAlgorithm(OID.prime256v1), compressed) },
      ODD_KIND,
    ],
    [
      'a hybrid point: a third',
      { key, ...spkiWith(ecAlgorithm(OID.prime256v1), Buffer.concat([Buffer.of(6), spki.subarray(-64)])) },
      ODD_KIND,
    ],
    ['the point at infinity', { key, ...spkiWith(ecAlgorithm(OID.prime256v1), Buffer.of(0)) }, ODD_KIND],
    [
      'a point of another curve',
      { key, ...spkiWith(ecAlgorithm(OID.secp384r1), spki.subarray(-65)) },
      ODD_KIND,
    ],
    [
      'a point off the curve',
      { key, ...spkiWith(ecAlgorithm(OID.prime256v1), Buffer.concat([Buffer.of(4), Buffer.alloc(64, 7)])) },
      'weak_key: the public key is not a point of its curve',
    ],
    ['Ed25519: the neutral element, whose signatures anyone makes', { key, ...ed25519('01') }, ODD_KIND],
    ['Ed25519: order 2', { key, ...ed25519(`ec${'ff'.repeat(30)}7f`) }, ODD_KIND],
    ['Ed25519: order 4, sign bit set', { key, ...ed25519(`${'00'.repeat(31)}80`) }, ODD_KIND],
    [
      'Ed25519: order 8',
      { key, ...ed25519('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05') },
      ODD_KIND,
    ],
    ['Ed25519: y not below p, a second spelling', { key, ...ed25519(`ee${'ff'.repeat(30)}7f`) }, ODD_KIND],
    [
      'Ed25519 of 31 octets',
      { key, ...spkiWith(tlv(TAG.sequence, oidDer(OID.ed25519)), Buffer.alloc(31, 9)) },
      ODD_KIND,
    ],
    // possession
    [
      'signed by another key',
      { signingKey: generateKey('P-256').privateKey },
      'csr_signature_invalid: the signature is not by the key in the request',
    ],
    [
      'signed by a key of another kind',
      { signingKey: generateKey('Ed25519').privateKey },
      'csr_signature_invalid: the signature is not by the key in the request',
    ],
  ])('%s', (_, options, expected) => {
    expect(outcome(makeCsr({ commonName: 'lamp-1', ...options }).pem)).toBe(expected)
  })

  const good = makeCsr({ commonName: 'lamp-1' })
  test.each<[string, string | Uint8Array, string]>([
    ['nothing', '', 'bad_csr: PEM: no CERTIFICATE REQUEST block'],
    ['no octets', new Uint8Array(), 'bad_csr: CSR: is not DER'],
    ['two requests', good.pem + good.pem, 'bad_csr: CSR: holds more than one request'],
    ['a certificate', toPem('CERTIFICATE', good.der), 'bad_csr: PEM: no CERTIFICATE REQUEST block'],
    ['a private key', toPem('PRIVATE KEY', good.der), 'bad_csr: PEM: no CERTIFICATE REQUEST block'],
    ['65,537 octets', Buffer.alloc(65_537), 'bad_csr: CSR: is larger than 65536 bytes'],
    ['long text', ' '.repeat(131_073), 'bad_csr: CSR: is longer than 131072 characters'],
    ['an octet after the end', Buffer.concat([good.der, Buffer.of(0)]), 'bad_csr: CSR: is not DER'],
    [
      'a second reading of a length (BER)',
      Buffer.concat([Buffer.of(0x30, 0x83, 0), good.der.subarray(2)]),
      'bad_csr: CSR: is not DER',
    ],
  ])('%s', (_, input, expected) => {
    expect(outcome(input)).toBe(expected)
  })
})

/** P-256 with its parameters spelt out: OpenSSL reads it as the same key (CVE-2020-0601 was built on this). */
function explicitParameters(): Buffer {
  const p = 'ffffffff00000001000000000000000000000000ffffffffffffffffffffffff'
  const a = 'ffffffff00000001000000000000000000000000fffffffffffffffffffffffc'
  const b = '5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b'
  const g =
    '046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5'
  const n = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'
  const octets = (text: string): Buffer => Buffer.from(text, 'hex')
  const parameters = tlv(
    TAG.sequence,
    integerDer(Buffer.of(1)),
    tlv(TAG.sequence, oidDer('1.2.840.10045.1.1'), integerDer(octets(p))),
    tlv(TAG.sequence, tlv(TAG.octetString, octets(a)), tlv(TAG.octetString, octets(b))),
    tlv(TAG.octetString, octets(g)),
    integerDer(octets(n)),
    integerDer(Buffer.of(1)),
  )
  const der = tlv(
    TAG.sequence,
    tlv(TAG.sequence, oidDer(OID.ecPublicKey), parameters),
    bitStringDer(spki.subarray(-65)),
  )
  // the attack is only worth refusing if it would work
  expect(createPublicKey({ key: der, format: 'der', type: 'spki' }).equals(key.publicKey)).toBe(true)
  return der
}

describe('for any input', () => {
  const good = makeCsr({ commonName: 'lamp-1', names: ['urn:a:b', 'a.test'] })

  test('random octets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
        expect(outcome(octets)).toMatch(/^(bad_csr|weak_key|csr_signature_invalid): /)
      }),
    )
  })

  test('random text', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
        const text = Buffer.from(octets).toString('latin1')
        expect(
          outcome(`-----BEGIN CERTIFICATE REQUEST-----\n${text}\n-----END CERTIFICATE REQUEST-----`),
        ).toMatch(/^bad_csr: /)
      }),
    )
  })

  const edit = fc.record({
    at: fc.nat(good.der.length - 1),
    remove: fc.nat(4),
    insert: fc.uint8Array({ maxLength: 4 }),
  })
  test('a good request with a few octets changed is refused, whatever was changed', () => {
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        let der = good.der
        for (const { at, remove, insert } of edits)
          der = Buffer.concat([der.subarray(0, at), insert, der.subarray(at + remove)])
        fc.pre(!der.equals(good.der))
        expect(outcome(der)).toMatch(/^(bad_csr|weak_key|csr_signature_invalid): /)
      }),
      { numRuns: 2_000 },
    )
  })

  test('every single bit of it matters', () => {
    const accepted: number[] = []
    for (let bit = 0; bit < good.der.length * 8; bit += 1) {
      const der = Buffer.from(good.der)
      der[bit >> 3] = (der[bit >> 3] as number) ^ (1 << (bit & 7))
      if (outcome(der) === 'accepted') accepted.push(bit)
    }
    expect(accepted).toEqual([])
  })
})
