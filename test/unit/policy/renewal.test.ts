import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { BACKDATE } from '#policy/enrollment.ts'
import { GROUP_DEFAULTS } from '#fleet/enrollment-group.ts'
import {
  adviseRenewal,
  judgeHolder,
  judgeRenewal,
  judgeSuccessorKey,
  renewalMoment,
  type RenewalRecord,
} from '#policy/renewal.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const [MINUTE, HOUR, DAY] = [60_000, 3_600_000, 86_400_000]

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
const GRACE = 30 * DAY
const group = { enabled: true, expiredGrace: GRACE }
const good = { resumed: false, leaf, trusted: true, record, group, now: NOW }

/** What nobody passes, whether they want a successor or something else. */
const REFUSED = [
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
    'revoked and expired, within the grace',
    { trusted: false, now: NOW + 2 * DAY, record: { ...record, certificateState: 'revoked' } },
    'certificate_revoked',
  ],
  ['not yet valid', { trusted: false, now: NOW - 2 * DAY }, 'certificate_not_yet_valid'],
  ['issuer retired', { record: { ...record, issuerState: 'retired' } }, 'issuer_revoked'],
  ['issuer revoked', { record: { ...record, issuerState: 'revoked' } }, 'issuer_revoked'],
  ['issuer offered, and never active', { record: { ...record, issuerState: 'offered' } }, 'issuer_revoked'],
  ['device suspended', { record: { ...record, deviceState: 'suspended' } }, 'device_suspended'],
  ['device only registered', { record: { ...record, deviceState: 'registered' } }, 'certificate_unknown'],
  [
    'device suspended, certificate expired within the grace',
    { trusted: false, now: NOW + 2 * DAY, record: { ...record, deviceState: 'suspended' } },
    'device_suspended',
  ],
  [
    'issuer revoked, certificate expired within the grace',
    { trusted: false, now: NOW + 2 * DAY, record: { ...record, issuerState: 'revoked' } },
    'issuer_revoked',
  ],
  [
    'expired for longer than the grace',
    { trusted: false, now: record.notAfter + GRACE + 1 },
    'certificate_expired',
  ],
  [
    'a server certificate',
    { leaf: { ...leaf, extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'] } },
    'certificate_wrong_purpose',
  ],
  ['a CA', { leaf: { ...leaf, isCa: true } }, 'certificate_wrong_purpose'],
  ['a weak key', { leaf: { ...leaf, key: { kind: 'RSA', bits: 1024 } } }, 'certificate_weak_key'],
  [
    'a weak key, expired within the grace',
    { now: NOW + 2 * DAY, leaf: { ...leaf, key: { kind: 'RSA', bits: 1024 } } },
    'certificate_weak_key',
  ],
] as const

describe('judgeRenewal', () => {
  it('lets the holder of a live certificate of an active device renew', () => {
    expect(judgeRenewal(good)).toEqual({ ok: true, late: false })
  })

  it.each([
    ...REFUSED,
    ['pending', { record: { ...record, certificateState: 'pending' } }, 'certificate_pending'],
    [
      'pending, and expired within the grace',
      { trusted: false, now: NOW + 2 * DAY, record: { ...record, certificateState: 'pending' } },
      'certificate_pending',
    ],
    ['a group that is disabled', { group: { ...group, enabled: false } }, 'group_disabled'],
    ['a group that is gone', { group: undefined }, 'group_disabled'],
    [
      'expired, in a group that is gone: there is nobody to give a grace',
      { group: undefined, trusted: false, now: NOW + DAY + 1 },
      'certificate_expired',
    ],
    [
      'expired, in a group without grace',
      { group: { ...group, expiredGrace: 0 }, trusted: false, now: NOW + DAY + 1 },
      'certificate_expired',
    ],
  ] as const)('refuses: %s', (_, change, reason) => {
    expect(judgeRenewal({ ...good, ...change })).toEqual({ ok: false, reason })
  })

  it.each([
    ['the last moment of the validity (RFC 5280 §4.1.2.5: inclusive)', record.notAfter, true, false],
    ['the moment after it, as OpenSSL says by not trusting it', record.notAfter + 1, false, true],
    ['the same on a connection that OpenSSL trusted when it was younger', record.notAfter + 1, true, true],
    ['the last moment of the grace', record.notAfter + GRACE, false, true],
  ])('takes %s', (_, now, trusted, late) => {
    expect(judgeRenewal({ ...good, now, trusted })).toEqual({ ok: true, late })
  })

  it('takes one of an issuer that is retiring', () => {
    const retiring = { ...record, issuerState: 'retiring' } as const
    expect(judgeRenewal({ ...good, record: retiring })).toEqual({ ok: true, late: false })
  })
})

describe('judgeHolder: everything but a renewal', () => {
  const holder = { ...good, grace: GRACE }
  it.each(REFUSED)('refuses: %s', (_, change, reason) => {
    expect(judgeHolder({ ...holder, ...change })).toEqual({ ok: false, reason })
  })
  it('takes a pending one: that is how it is confirmed', () => {
    const pending = { ...record, certificateState: 'pending' } as const
    expect(judgeHolder({ ...holder, grace: 0, record: pending })).toEqual({ ok: true, late: false })
  })
  it('knows no grace unless it is given one', () => {
    const expired = { ...holder, trusted: false, now: NOW + DAY + 1 }
    expect(judgeHolder({ ...expired, grace: 0 })).toEqual({ ok: false, reason: 'certificate_expired' })
    expect(judgeHolder(expired)).toEqual({ ok: true, late: true })
  })
})

describe('judgeSuccessorKey', () => {
  const [own, registered, other] = ['a1', 'b2', 'c3']
  const asked = {
    late: false,
    key: { kind: 'P-256', bits: 256 },
    spkiSha256: own,
    currentSpki: own,
    registeredSpki: registered,
    group: { keyKinds: ['P-256', 'P-384'] },
  } as const
  it.each([
    ['its own key', {}, undefined],
    ['another key', { spkiSha256: other }, undefined],
    ['expired, its own key', { late: true }, undefined],
    ['expired, the registered key', { late: true, spkiSha256: registered }, undefined],
    ['expired, another key', { late: true, spkiSha256: other }, 'certificate_expired'],
    [
      'expired, another key, none registered',
      { late: true, spkiSha256: other, registeredSpki: undefined },
      'certificate_expired',
    ],
    ['a kind that the group does not take', { key: { kind: 'RSA', bits: 2_048 } }, 'key_kind_not_allowed'],
    [
      'its own key, of a kind that the group takes no more',
      { key: { kind: 'Ed25519', bits: 255 } },
      'key_kind_not_allowed',
    ],
    ['a key without a name', { key: { kind: 'other', bits: 256 } }, 'key_kind_not_allowed'],
  ] as const)('%s', (_, change, refusal) => {
    expect(judgeSuccessorKey({ ...asked, ...change })).toBe(refusal)
  })
})

describe('renewalMoment', () => {
  const window = { from: 0.5, to: 0.75 }
  const made = { notBefore: NOW - BACKDATE, notAfter: NOW + 40 * DAY }
  const [first, half, last] = ['40'.padEnd(24, '1') + '00000000', 'f80000000', 'ffffffff']

  it.each([
    ['the window begins', made, window, first, NOW + 20 * DAY],
    ['half way', made, window, '80000000', NOW + 25 * DAY],
    ['a window without width', made, { from: 0.5, to: 0.5 }, last, NOW + 20 * DAY],
    ['4 seconds', { ...made, notAfter: NOW + 4_000 }, window, first, NOW + 2_000],
    [
      'shorter than the backdate: at once',
      { notBefore: NOW, notAfter: NOW + 1_000 },
      window,
      half,
      NOW + BACKDATE,
    ],
  ])('%s', (_, validity, shares, serial, at) => {
    expect(renewalMoment(validity, shares, serial)).toBe(at)
  })

  it('ends before the window does, and stays the same', () => {
    const at = renewalMoment(made, window, last)
    expect(at).toBeLessThan(NOW + 30 * DAY)
    expect(at).toBeGreaterThan(NOW + 30 * DAY - MINUTE)
    expect(renewalMoment(made, window, last)).toBe(at)
  })

  it('spreads a fleet over the default window: no tenth of it is empty or holds a fifth of all', () => {
    const shares = GROUP_DEFAULTS.renewalWindow
    const tenths = Array.from({ length: 10 }, () => 0)
    for (let at = 0; at < 1_000; at++) {
      const serial = createHash('sha256').update(String(at)).digest('hex').slice(0, 32)
      const moment = renewalMoment(made, shares, serial)
      const place = ((moment - NOW) / (40 * DAY) - shares.from) / (shares.to - shares.from)
      const tenth = Math.floor(place * 10)
      tenths[tenth] = (tenths[tenth] ?? 0) + 1
    }
    expect(tenths).toHaveLength(10)
    expect(Math.min(...tenths)).toBeGreaterThan(0)
    expect(Math.max(...tenths)).toBeLessThan(200)
  })
})

describe('adviseRenewal', () => {
  const asked = {
    validity: { notBefore: NOW - BACKDATE, notAfter: NOW + 40 * DAY },
    serial: '80000000',
    key: { kind: 'P-256', bits: 256 },
    keyCompromised: false,
    issuerState: 'active',
    late: false,
    group: { renewalWindow: { from: 0.5, to: 0.75 }, keyKinds: ['P-256'] },
    now: NOW,
  } as const

  it('suggests the window of the group, and its own moment in it', () => {
    expect(adviseRenewal(asked)).toEqual({
      start: NOW + 20 * DAY,
      end: NOW + 30 * DAY,
      renewAfter: NOW + 25 * DAY,
      retryAfter: 6 * 3_600,
      reason: undefined,
    })
  })
  it('follows a group that changes its mind', () => {
    const group = { ...asked.group, renewalWindow: { from: 0.25, to: 0.25 } }
    expect(adviseRenewal({ ...asked, group }).renewAfter).toBe(NOW + 10 * DAY)
  })
  it.each([
    ['far away', NOW, 6 * 3_600],
    ['two hours before', NOW + 25 * DAY - 2 * HOUR, 3_600],
    ['a second before', NOW + 25 * DAY - 1_000, 60],
    ['past it', NOW + 26 * DAY, 60],
  ])('asks to be asked again: %s', (_, now, retryAfter) => {
    expect(adviseRenewal({ ...asked, now }).retryAfter).toBe(retryAfter)
  })
  it.each([
    ['expired', { late: true, now: NOW + 41 * DAY }, 'certificate_expired'],
    ['a key that was blocked', { keyCompromised: true }, 'key_compromised'],
    ['a kind that the group takes no more', { key: { kind: 'RSA', bits: 2_048 } }, 'key_kind_not_allowed'],
    ['an issuer that is retiring', { issuerState: 'retiring' }, 'issuer_retiring'],
  ] as const)('moves the window to now: %s', (_, change, reason) => {
    const { now } = { ...asked, ...change }
    const advice = adviseRenewal({ ...asked, ...change })
    expect(advice).toMatchObject({ start: now, renewAfter: now, retryAfter: 60, reason })
    // RFC 9773 §4.2: the end comes after the start
    expect(advice.end).toBeGreaterThan(now)
  })
})
