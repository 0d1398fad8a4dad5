import { createHash, X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { KEY_KINDS } from '#fleet/certificate.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import { criticalExtensionsOf, readCertificate } from '#pki/certificate.ts'
import { issuedBy, verifyChain } from '#pki/chain.ts'
import { bitStringDer, oidDer, TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { openIssuer, type Issuer } from '#pki/issuer.ts'
import { generateKey, spkiDer } from '#pki/keys.ts'
import { OID } from '#pki/oids.ts'
import { keyPemOf, makeCa, makePki, randomSerial, type CaOptions, type TestCa } from '../../support/pki.ts'

const now = Date.UTC(2026, 10, 24, 8)
const pki = makePki({ now })
const statusUrl = 'http://status.test:8081'
const id = (text: string): DeviceId => text as DeviceId

const request = (changes: Partial<Parameters<Issuer['issueDevice']>[0]> = {}) => ({
  deviceId: id('lamp-1'),
  spkiDer: spkiDer(generateKey('P-256').publicKey),
  serial: randomSerial(),
  notBefore: now - 5 * MINUTE,
  notAfter: now + 30 * DAY,
  ...changes,
})

const refusal = async (act: Promise<unknown>): Promise<string> => {
  try {
    await act
    return 'opened'
  } catch (error) {
    if (error instanceof FleetError) return `${error.code}: ${error.detail}`
    throw error
  }
}

describe('a device certificate', () => {
  test('is what the contract says, field by field', async () => {
    await using issuer = await pki.openIssuer({ statusUrl })
    const asked = request({ deviceId: id('Lamp_1~a:b.c-d') })
    const facts = readCertificate(await issuer.issueDevice(asked))
    expect(facts).toMatchObject({
      commonName: 'Lamp_1~a:b.c-d',
      serial: asked.serial,
      notBefore: asked.notBefore,
      notAfter: asked.notAfter,
      isCa: false,
      pathLength: undefined,
      keyUsage: ['digitalSignature'],
      extendedKeyUsage: [OID.clientAuth],
      authorityKeyId: issuer.ski,
      sanUris: ['urn:sallyport:device:Lamp_1~a:b.c-d'],
      sanDns: [],
      signatureAlgorithm: OID.ecdsaWithSha256,
    })
    expect(facts.subjectKeyId).toMatch(/^[0-9a-f]{40}$/)
    expect(facts.issuerDer).toEqual(pki.devices.facts.subjectDer)
    expect(criticalExtensionsOf(facts.der)).toEqual([OID.basicConstraints, OID.keyUsage])
    const text = new X509Certificate(facts.der)
    expect(text.infoAccess).toBe(
      `OCSP - URI:${statusUrl}/ocsp\nCA Issuers - URI:${statusUrl}/issuer/${issuer.ski}.cer`,
    )
    expect(Buffer.from(facts.der).includes(`${statusUrl}/crl/${issuer.ski}.crl`)).toBe(true)
    expect(issuedBy(facts, issuer.certificate)).toBe(true)
  })

  test.each(KEY_KINDS)('for a %s key', async (kind) => {
    await using issuer = await pki.openIssuer()
    const { publicKey } = generateKey(kind)
    const der = await issuer.issueDevice(request({ spkiDer: spkiDer(publicKey) }))
    expect(new X509Certificate(der).publicKey.equals(publicKey)).toBe(true)
  })

  test.each(KEY_KINDS)('by a %s CA', async (kind) => {
    const ca = makeCa({ name: 'Devices', now, by: pki.root, kind, pathLength: 0 })
    await using issuer = await open(ca)
    expect(issuedBy(readCertificate(await issuer.issueDevice(request())), ca.facts)).toBe(true)
    const crl = await issuer.signCrl({ number: 1n, thisUpdate: now, nextUpdate: now + HOUR, entries: [] })
    expect(crl.length).toBeGreaterThan(100)
  })

  test('the issuer’s name is copied octet for octet, however it was encoded', async () => {
    const attribute = (oid: string, tag: number, text: string): Buffer =>
      tlv(TAG.set, tlv(TAG.sequence, oidDer(oid), tlv(tag, Buffer.from(text, 'latin1'))))
    const subjectDer = tlv(
      TAG.sequence,
      attribute('2.5.4.6', TAG.printableString, 'DE'),
      attribute(OID.organization, 0x14, 'B\xfchne'),
      attribute('0.9.2342.19200300.100.1.25', TAG.ia5String, 'test'),
      attribute(OID.commonName, TAG.printableString, 'Odd'),
    )
    const ca = makeCa({ name: 'unused', now, by: pki.root, pathLength: 0, subjectDer })
    await using issuer = await open(ca)
    expect(readCertificate(await issuer.issueDevice(request())).issuerDer).toEqual(subjectDer)
  })

  test.each<[string, Partial<Parameters<Issuer['issueDevice']>[0]>, string]>([
    [
      'a life beyond the issuer’s',
      { notAfter: pki.devices.facts.notAfter + 1 },
      'issuer_unusable: the CA expires at',
    ],
    [
      'a serial with the top bit set',
      { serial: `8${'0'.repeat(31)}` },
      'internal: a serial number has 16 octets',
    ],
    [
      'a serial that could shrink',
      { serial: `0${'1'.repeat(31)}` },
      'internal: a serial number has 16 octets',
    ],
    ['a short serial', { serial: '4'.repeat(30) }, 'internal: a serial number has 16 octets'],
    [
      'dates the wrong way round',
      { notBefore: now + DAY, notAfter: now },
      'internal: a certificate that ends before it begins',
    ],
    [
      'a key of no name',
      { spkiDer: tlv(TAG.sequence, tlv(TAG.sequence, oidDer('1.2.3')), bitStringDer(Buffer.of(1))) },
      'weak_key: the key is too weak or of a kind',
    ],
    [
      'a key that is too small',
      { spkiDer: spkiDer(generateKey('RSA', 1_024).publicKey) },
      'weak_key: the key is too weak or of a kind',
    ],
    ['octets that are no key', { spkiDer: Buffer.of(1, 2, 3) }, 'bad_request: public key: is not DER'],
  ])('refused: %s', async (_, changes, expected) => {
    await using issuer = await pki.openIssuer()
    expect(await refusal(issuer.issueDevice(request(changes)))).toContain(expected)
  })

  test('to the last second of the issuer, and of everything above it', async () => {
    const top = makeCa({ name: 'Short root', now, notAfter: now + 10 * DAY })
    const ca = makeCa({ name: 'Devices', now, by: top, pathLength: 0 })
    await using issuer = await open(ca, { rootPem: top.pem })
    expect(await refusal(issuer.issueDevice(request({ notAfter: now + 10 * DAY })))).toBe('opened')
    expect(await refusal(issuer.issueDevice(request({ notAfter: now + 10 * DAY + 1 })))).toContain(
      'issuer_unusable',
    )
  })
})

const open = (ca: TestCa, changes: Partial<Parameters<typeof openIssuer>[0]> = {}): Promise<Issuer> =>
  openIssuer({
    rootPem: pki.root.pem,
    intermediatePem: ca.pem,
    keyPem: ca.keyPem,
    statusUrl,
    now,
    ...changes,
  })

const NAMES = extensionDer(OID.nameConstraints, false, tlv(TAG.sequence))
const CRITICAL_NAMES = extensionDer(OID.nameConstraints, true, tlv(TAG.sequence))

describe('openIssuer', () => {
  test('knows its chain', async () => {
    const upper = makeCa({ name: 'Upper', now, by: pki.root })
    const ca = makeCa({ name: 'Devices', now, by: upper, pathLength: 0 })
    await using issuer = await open(ca, { intermediatePem: ca.pem + upper.pem })
    expect(issuer.chainPem).toBe(ca.pem + upper.pem)
    expect(issuer.root.fingerprint).toBe(createHash('sha256').update(pki.root.der).digest('hex'))
    expect(issuer.ski).toBe(ca.ski)
    const leaf = readCertificate(await issuer.issueDevice(request()))
    expect(verifyChain({ leaf, pool: [ca.facts, upper.facts], roots: [issuer.root], now }).ok).toBe(true)
  })

  test('an encrypted key, with its passphrase', async () => {
    const keyPem = pki.devices.privateKey
      .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'sesame' })
      .toString()
    expect(await refusal(open(pki.devices, { keyPem, passphrase: 'sesame' }))).toBe('opened')
    expect(await refusal(open(pki.devices, { keyPem }))).toBe(
      'issuer_unusable: the intermediate key is encrypted, and there is no passphrase',
    )
    expect(await refusal(open(pki.devices, { keyPem, passphrase: 'sesame2' }))).toBe(
      'issuer_unusable: the passphrase does not open the intermediate key',
    )
  })

  test.each(['ab', 'ab'.repeat(32)])('one that names itself %s', async (subjectKeyId) => {
    const ca = makeCa({ name: 'Devices', now, by: pki.root, pathLength: 0, subjectKeyId })
    await using issuer = await open(ca)
    expect(issuer.ski).toBe(subjectKeyId)
  })

  test('a key in SEC 1, as openssl ecparam writes it', async () => {
    const keyPem = pki.devices.privateKey.export({ type: 'sec1', format: 'pem' }).toString()
    expect(await refusal(open(pki.devices, { keyPem }))).toBe('opened')
  })

  test.each<[string, Partial<CaOptions>, string]>([
    ['not a CA', { ca: false }, 'the intermediate is not a CA (basic constraints CA:TRUE)'],
    [
      'no path length',
      { pathLength: undefined },
      'the intermediate does not have path length 0: it could be used to make further CAs',
    ],
    [
      'path length 1',
      { pathLength: 1 },
      'the intermediate does not have path length 0: it could be used to make further CAs',
    ],
    [
      'no keyCertSign',
      { keyUsage: ['cRLSign', 'digitalSignature'] },
      'the intermediate may not sign certificates (key usage keyCertSign)',
    ],
    ['no cRLSign', { keyUsage: ['keyCertSign'] }, 'the intermediate may not sign CRLs (key usage cRLSign)'],
    [
      'for servers only',
      { extendedKeyUsage: [OID.serverAuth] },
      'the intermediate may not issue client certificates: its extended key usage does not name clientAuth',
    ],
    [
      'for anything, which OpenSSL does not take for clients',
      { extendedKeyUsage: [OID.anyExtendedKeyUsage] },
      'the intermediate may not issue client certificates: its extended key usage does not name clientAuth',
    ],
    [
      'for some names',
      { extraExtensions: [NAMES] },
      'the intermediate has name constraints, which are not understood here',
    ],
    [
      'for some names, critically',
      { extraExtensions: [CRITICAL_NAMES] },
      'the intermediate has name constraints, which are not understood here',
    ],
    [
      'named by 33 octets',
      { subjectKeyId: 'ab'.repeat(33) },
      'the intermediate has no subject key id, or one of more than 32 octets',
    ],
    [
      'named by none',
      { subjectKeyId: '' },
      'the intermediate has no subject key id, or one of more than 32 octets',
    ],
    [
      'expired',
      { notAfter: now - 1_000 },
      `the intermediate does not verify to the root: "Devices" expired at ${new Date(now - 1_000).toISOString()}`,
    ],
    [
      'not yet valid',
      { notBefore: now + HOUR },
      `the intermediate does not verify to the root: "Devices" is not valid before ${new Date(now + HOUR).toISOString()}`,
    ],
    [
      'of another root with the same name',
      { by: pki.other.root },
      'the intermediate does not verify to the root: "Devices" is not issued by a certificate that is known here',
    ],
    [
      'of RSA-1024',
      { key: generateKey('RSA', 1_024) },
      'the intermediate does not verify to the root: "Devices" has a weak key',
    ],
    [
      'signed with SHA-1',
      { sha1: true },
      'the intermediate does not verify to the root: "Devices" is signed with 1.2.840.10045.4.1',
    ],
  ])('an intermediate that is %s', async (_, options, expected) => {
    const ca = makeCa({ name: 'Devices', now, by: pki.root, pathLength: 0, ...options })
    expect(await refusal(open(ca))).toBe(`issuer_unusable: ${expected}`)
  })

  test.each<[string, Partial<CaOptions>, problem: string]>([
    [
      'for servers',
      { extendedKeyUsage: [OID.serverAuth] },
      'may not issue client certificates: its extended key usage does not name clientAuth',
    ],
    [
      'for anything',
      { extendedKeyUsage: [OID.anyExtendedKeyUsage] },
      'may not issue client certificates: its extended key usage does not name clientAuth',
    ],
    ['for some names', { extraExtensions: [NAMES] }, 'has name constraints, which are not understood here'],
    [
      'for some names, critically',
      { extraExtensions: [CRITICAL_NAMES] },
      'has a critical extension 2.5.29.30 that is not understood here',
    ],
  ])('under a CA that is %s: a root, or one between', async (_, odd, problem) => {
    const expected = (name: string) =>
      `issuer_unusable: the intermediate does not verify to the root: "${name}" ${problem}`
    const root = makeCa({ name: 'Narrow Root', now, ...odd })
    const direct = makeCa({ name: 'Devices', now, by: root, pathLength: 0 })
    expect(await refusal(open(direct, { rootPem: root.pem }))).toBe(expected('Narrow Root'))
    const upper = makeCa({ name: 'Upper', now, by: pki.root, ...odd })
    const ca = makeCa({ name: 'Devices', now, by: upper, pathLength: 0 })
    const pem = ca.pem + upper.pem
    expect(await refusal(open(ca, { intermediatePem: pem }))).toBe(expected('Upper'))
    // the same CA with a certificate that says nothing of the kind
    const plain = makeCa({ name: 'Upper', now, by: pki.root, key: upper })
    expect(await refusal(open(ca, { intermediatePem: pem + plain.pem }))).toBe('opened')
  })

  const short = makeCa({ name: 'Root', now, pathLength: 0 })
  const expired = makeCa({ name: 'Root', now, notAfter: now - HOUR })
  const leaf = makeCa({ name: 'Root', now, ca: false })
  test.each<[string, Partial<Parameters<typeof openIssuer>[0]>, string]>([
    ['a root that is not one', { rootPem: pki.devices.pem }, 'the root is not a self-signed CA certificate'],
    [
      'a self-signed root that is no CA',
      { rootPem: leaf.pem },
      'the root is not a self-signed CA certificate',
    ],
    [
      'two roots',
      { rootPem: pki.root.pem + pki.other.root.pem },
      'the root file holds more than one certificate',
    ],
    ['no root', { rootPem: '' }, 'the root cannot be read: PEM: no CERTIFICATE block'],
    [
      'no intermediate',
      { intermediatePem: 'x' },
      'the intermediate cannot be read: PEM: no CERTIFICATE block',
    ],
    [
      'a root that has expired',
      {
        rootPem: expired.pem,
        intermediatePem: makeCa({ name: 'D', now, by: expired, pathLength: 0, key: pki.devices }).pem,
      },
      `the intermediate does not verify to the root: "Root" expired at ${new Date(now - HOUR).toISOString()}`,
    ],
    [
      'a root that may have no CA below it',
      {
        rootPem: short.pem,
        intermediatePem: makeCa({ name: 'D', now, by: short, pathLength: 0, key: pki.devices }).pem,
      },
      'the intermediate does not verify to the root: "Root" allows 0 certificates below it, and there are 1',
    ],
    [
      'another key',
      { keyPem: keyPemOf(generateKey('P-256').privateKey) },
      'the intermediate key does not belong to the intermediate',
    ],
    [
      'a public key',
      { keyPem: pki.devices.publicKey.export({ type: 'spki', format: 'pem' }).toString() },
      'the intermediate key cannot be read',
    ],
    ['no key', { keyPem: '' }, 'the intermediate key cannot be read'],
    [
      'an https status URL: it would be circular',
      { statusUrl: 'https://status.test' },
      'the status URL is not an http:// URL',
    ],
    ['a status URL that is none', { statusUrl: 'http://a b' }, 'the status URL is not an http:// URL'],
  ])('%s', async (_, changes, expected) => {
    expect(await refusal(open(pki.devices, changes))).toBe(`issuer_unusable: ${expected}`)
  })

  test('a closed issuer signs nothing', async () => {
    const issuer = await pki.openIssuer()
    await issuer[Symbol.asyncDispose]()
    const closed = 'issuer_unusable: the issuer has been closed'
    expect(await refusal(issuer.issueDevice(request()))).toBe(closed)
    expect(
      await refusal(issuer.signCrl({ number: 1n, thisUpdate: now, nextUpdate: now + 1, entries: [] })),
    ).toBe(closed)
  })
})
