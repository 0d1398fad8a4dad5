import { describe, expect, test } from 'vitest'
import type { CertificateFacts, KeyFacts } from '#fleet/certificate.ts'
import { gatewayIdOf, judgeClientLeaf, judgeGatewayLeaf, judgeKey } from '#policy/keys.ts'

const good: CertificateFacts = {
  der: new Uint8Array(),
  fingerprint: 'f'.repeat(64),
  serial: '4f0102030405060708090a0b0c0d0e0f',
  subjectDer: new Uint8Array(),
  issuerDer: new Uint8Array(),
  commonName: 'lamp-1',
  notBefore: 0,
  notAfter: 1,
  spkiSha256: 'a'.repeat(64),
  key: { kind: 'P-256', bits: 256 },
  isCa: false,
  pathLength: undefined,
  keyUsage: ['digitalSignature'],
  extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'],
  subjectKeyId: undefined,
  authorityKeyId: undefined,
  sanUris: [],
  sanDns: [],
  signatureAlgorithm: '1.2.840.10045.4.3.2',
}

describe('keys', () => {
  const rows: readonly (readonly [string, KeyFacts, 'weak_key' | undefined])[] = [
    ['P-256', { kind: 'P-256', bits: 256 }, undefined],
    ['P-384', { kind: 'P-384', bits: 384 }, undefined],
    ['P-521', { kind: 'P-521', bits: 521 }, undefined],
    ['Ed25519', { kind: 'Ed25519', bits: 255 }, undefined],
    ['RSA 2048', { kind: 'RSA', bits: 2_048 }, undefined],
    ['RSA 4096', { kind: 'RSA', bits: 4_096 }, undefined],
    ['RSA 2047', { kind: 'RSA', bits: 2_047 }, 'weak_key'],
    ['RSA 1024', { kind: 'RSA', bits: 1_024 }, 'weak_key'],
    ['RSA that is work for us', { kind: 'RSA', bits: 16_384 }, 'weak_key'],
    ['another kind', { kind: 'other', bits: 0 }, 'weak_key'],
    ['a kind that lies', { kind: 'P-256', bits: 255 }, 'weak_key'],
  ]
  test.each(rows)('%s', (_, key, verdict) => {
    expect(judgeKey(key)).toBe(verdict)
  })
})

describe('client leaves', () => {
  const rows: readonly (readonly [string, Partial<CertificateFacts>, ReturnType<typeof judgeClientLeaf>])[] =
    [
      ['a good one', {}, undefined],
      ['no key usage at all', { keyUsage: undefined }, undefined],
      ['client and server', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'] }, undefined],
      ['no extended key usage', { extendedKeyUsage: undefined }, 'certificate_wrong_purpose'],
      ['server only', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] }, 'certificate_wrong_purpose'],
      ['any extended key usage', { extendedKeyUsage: ['2.5.29.37.0'] }, 'certificate_wrong_purpose'],
      ['a CA', { isCa: true }, 'certificate_wrong_purpose'],
      ['a gateway', { sanUris: ['urn:sallyport:gateway:gw-1'] }, 'certificate_wrong_purpose'],
      [
        'a gateway, too',
        { sanUris: ['urn:sallyport:device:a', 'URN:Sallyport:GATEWAY:x'] },
        'certificate_wrong_purpose',
      ],
      [
        'it may sign certificates',
        { keyUsage: ['digitalSignature', 'keyCertSign'] },
        'certificate_wrong_purpose',
      ],
      ['it may not sign', { keyUsage: ['keyAgreement'] }, 'certificate_wrong_purpose'],
      ['a weak key', { key: { kind: 'RSA', bits: 1_024 } }, 'certificate_weak_key'],
      ['signed with SHA-1', { signatureAlgorithm: '1.2.840.113549.1.1.5' }, 'certificate_weak_key'],
      ['signed with MD5', { signatureAlgorithm: '1.2.840.113549.1.1.4' }, 'certificate_weak_key'],
      ['serial zero', { serial: '00' }, 'certificate_untrusted'],
      ['serial of zeros', { serial: '0000' }, 'certificate_untrusted'],
      ['negative serial', { serial: 'ff01' }, 'certificate_untrusted'],
      ['no serial', { serial: '' }, 'certificate_untrusted'],
      ['21 octets of serial', { serial: '01'.repeat(21) }, 'certificate_untrusted'],
    ]
  test.each(rows)('%s', (_, facts, verdict) => {
    expect(judgeClientLeaf({ ...good, ...facts })).toBe(verdict)
  })
})

describe('gateways', () => {
  const gateway = { ...good, sanUris: ['urn:sallyport:gateway:gw-1'] }
  test.each<[string, Partial<CertificateFacts>, ReturnType<typeof judgeGatewayLeaf>]>([
    ['a good one', {}, undefined],
    ['a device', { sanUris: ['urn:sallyport:device:gw-1'] }, 'certificate_wrong_purpose'],
    ['two names', { sanUris: [...gateway.sanUris, 'urn:x'] }, 'certificate_wrong_purpose'],
    [
      'a server, too',
      { extendedKeyUsage: ['1.3.6.1.5.5.7.3.2', '1.3.6.1.5.5.7.3.1'] },
      'certificate_wrong_purpose',
    ],
    ['a server', { extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] }, 'certificate_wrong_purpose'],
    ['no use', { extendedKeyUsage: undefined }, 'certificate_wrong_purpose'],
    ['a CA', { isCa: true }, 'certificate_wrong_purpose'],
    ['a weak key', { key: { kind: 'RSA', bits: 1_024 } }, 'certificate_weak_key'],
  ])('%s', (_, over, verdict) => {
    expect(judgeGatewayLeaf({ ...gateway, ...over })).toBe(verdict)
  })

  test.each([
    ['urn:sallyport:gateway:gw-1', 'gw-1'],
    [`urn:sallyport:gateway:${'a'.repeat(63)}`, 'a'.repeat(63)],
    [`urn:sallyport:gateway:${'a'.repeat(64)}`, undefined],
    ['urn:sallyport:gateway:', undefined],
    ['urn:sallyport:gateway:-a', undefined],
    ['urn:sallyport:gateway:A', undefined],
    ['urn:sallyport:gateway:a/b', undefined],
    ['URN:sallyport:gateway:a', undefined],
    ['urn:sallyport:device:a', undefined],
  ])('%s is %s', (uri, id) => {
    expect(gatewayIdOf({ sanUris: [uri] })).toBe(id)
  })
})
