import { describe, expect, it } from 'vitest'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { BACKDATE } from '#policy/enrollment.ts'
import { judgeRenewal, renewAfter, type RenewalRecord } from '#policy/renewal.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const DAY = 86_400_000

const leaf: CertificateFacts = {
  der: new Uint8Array(),
  fingerprint: 'ab'.repeat(32),
  serial: '40ff',
  subjectDer: new Uint8Array(),
  issuerDer: new Uint8Array(),
  commonName: 'lamp-1',
  notBefore: NOW - DAY,
  notAfter: NOW + DAY,
  spkiSha256: 'cd'.repeat(32),
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
const record: RenewalRecord = {
  certificateState: 'live',
  deviceState: 'active',
  issuerState: 'active',
  notBefore: NOW - DAY,
  notAfter: NOW + DAY,
}
const good = { resumed: false, leaf, trusted: true, record, now: NOW }

describe('judgeRenewal', () => {
  it('lets the holder of a live certificate of an active device renew', () => {
    expect(judgeRenewal(good)).toBeUndefined()
  })

  it.each([
    ['no certificate', { leaf: undefined, record: undefined, trusted: false }, 'certificate_required'],
    ['a resumed session that shows a certificate', { resumed: true }, 'session_resumed'],
    ['a resumed session that shows none', { resumed: true, leaf: undefined }, 'session_resumed'],
    ['ours by signature, not on record', { record: undefined }, 'certificate_unknown'],
    [
      'forged: untrusted and not on record, however it is dated',
      { record: undefined, trusted: false, leaf: { ...leaf, notAfter: NOW - DAY } },
      'certificate_untrusted',
    ],
    [
      'on record but not trusted by OpenSSL (another chain is configured)',
      { trusted: false },
      'certificate_untrusted',
    ],
    ['revoked', { record: { ...record, certificateState: 'revoked' } }, 'certificate_revoked'],
    [
      'revoked with its device',
      { record: { ...record, certificateState: 'revoked', deviceState: 'revoked' } },
      'device_revoked',
    ],
    [
      'retired with its device',
      { record: { ...record, certificateState: 'revoked', deviceState: 'retired' } },
      'device_retired',
    ],
    [
      'expired, as OpenSSL also says by not trusting it',
      { trusted: false, now: NOW + DAY + 1 },
      'certificate_expired',
    ],
    [
      'revoked and expired',
      { trusted: false, now: NOW + 2 * DAY, record: { ...record, certificateState: 'revoked' } },
      'certificate_revoked',
    ],
    ['not yet valid', { trusted: false, now: NOW - 2 * DAY }, 'certificate_not_yet_valid'],
    ['issuer retired', { record: { ...record, issuerState: 'retired' } }, 'issuer_revoked'],
    ['issuer revoked', { record: { ...record, issuerState: 'revoked' } }, 'issuer_revoked'],
    ['device suspended', { record: { ...record, deviceState: 'suspended' } }, 'device_suspended'],
    [
      'a server certificate',
      { leaf: { ...leaf, extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] } },
      'certificate_wrong_purpose',
    ],
    ['a CA', { leaf: { ...leaf, isCa: true } }, 'certificate_wrong_purpose'],
    ['a weak key', { leaf: { ...leaf, key: { kind: 'RSA', bits: 1024 } } }, 'certificate_weak_key'],
  ] as const)('refuses: %s', (_, change, refusal) => {
    expect(judgeRenewal({ ...good, ...change })).toBe(refusal)
  })

  it('takes the last moment of the validity (RFC 5280 §4.1.2.5: inclusive)', () => {
    expect(judgeRenewal({ ...good, now: record.notAfter })).toBeUndefined()
  })
})

describe('renewAfter', () => {
  const made = { notBefore: NOW - BACKDATE, notAfter: NOW + 30 * DAY }
  it.each([
    ['30 days', made, NOW + 20 * DAY],
    ['5 seconds', { notBefore: NOW - BACKDATE, notAfter: NOW + 5_000 }, NOW + 3_333],
    ['shorter than the backdate', { notBefore: NOW, notAfter: NOW + 1_000 }, NOW + BACKDATE],
  ])('%s: its successor is asked for at two thirds', (_, validity, renew) => {
    expect(renewAfter(validity)).toBe(renew)
  })
})
