import { describe, expect, it } from 'vitest'
import { DAY, HOUR, MINUTE, SECOND } from '#fleet/clock.ts'
import { checkClock, checkCrl, checkDevice, checkResponder } from '#enroll/signer/checks.ts'
import type { SignerRequestOf } from '#wire/signer.ts'

const NOW = Date.UTC(2027, 0, 1)
const SECONDS = BigInt(NOW / 1_000)
const subject = {
  id: 1,
  ski: 'ab'.repeat(20),
  spki: 'AAAA',
  serial: '4'.repeat(32),
  not_before: NOW - 5 * MINUTE,
  not_after: NOW + 30 * DAY,
}
const device: SignerRequestOf<'device'> = { ...subject, op: 'device', device_id: 'lamp-1' }
const check = (changes: Partial<SignerRequestOf<'device'>>, maxTtl = 30 * DAY) =>
  checkDevice({ ...device, ...changes }, NOW, maxTtl)
const code = (act: () => unknown): string => {
  try {
    act()
    return 'ok'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('a device certificate', () => {
  it('of more than signer.max_ttl is refused by the name of the setting', () => {
    expect(() => check({ not_after: NOW + 365 * DAY })).toThrow(
      expect.objectContaining({
        detail: 'the signer signs for 30d at most (signer.max_ttl), and was asked for 365d',
      }) as Error,
    )
  })

  it.each<[string, Partial<SignerRequestOf<'device'>>, string]>([
    ['as the desk asks for it', {}, 'ok'],
    [
      'meant three weeks ago, asked for again now',
      { not_before: NOW - 21 * DAY, not_after: NOW + DAY },
      'ok',
    ],
    ['of exactly signer.max_ttl', { not_after: NOW + 30 * DAY }, 'ok'],
    ['of a second more', { not_after: NOW + 30 * DAY + SECOND }, 'issuer_unusable'],
    ['of a century', { not_after: NOW + 36_500 * DAY }, 'issuer_unusable'],
    ['backdated by two months', { not_before: NOW - 60 * DAY }, 'issuer_unusable'],
    ['that begins tomorrow', { not_before: NOW + DAY }, 'issuer_unusable'],
    ['that ends before it begins', { not_after: NOW - HOUR }, 'bad_request'],
    ['with serial 0', { serial: '0'.repeat(32) }, 'bad_request'],
    ['with a negative serial', { serial: 'f'.repeat(32) }, 'bad_request'],
    ['with a serial of 15 octets', { serial: '4'.repeat(30) }, 'bad_request'],
    ['with a serial of 17 octets', { serial: '4'.repeat(34) }, 'bad_request'],
    ['with a serial in capitals', { serial: 'A'.repeat(32) }, 'bad_request'],
    ['with a serial that goes on in another line', { serial: `${'4'.repeat(32)}\n` }, 'bad_request'],
    ['for another subject', { device_id: 'lamp-1,CN=admin' }, 'device_id_invalid'],
    ['for nobody', { device_id: '' }, 'device_id_invalid'],
    ['for a topic', { device_id: 'a/b' }, 'device_id_invalid'],
    ['for a name with NUL', { device_id: 'lamp\0' }, 'device_id_invalid'],
    ['for a name of 65 characters', { device_id: 'x'.repeat(65) }, 'device_id_invalid'],
    ['with an organization', { extras: { organization: 'Acme', dns_names: ['a.example'] } }, 'ok'],
    ['with an organization of 65 characters', { extras: { organization: 'x'.repeat(65) } }, 'bad_request'],
    [
      'with a unit that turns the text around',
      { extras: { organizational_unit: 'a\u202eb' } },
      'bad_request',
    ],
    ['with a wildcard', { extras: { dns_names: ['*.example'] } }, 'bad_request'],
    ['with an address as a name', { extras: { dns_names: ['10.0.0.1'] } }, 'bad_request'],
    ['with a name that holds a NUL', { extras: { dns_names: ['a\0.example'] } }, 'bad_request'],
    ['with a template', { extras: { organization: '${device.id}' } }, 'bad_request'],
  ])('%s', (_, changes, expected) => {
    expect(code(() => check(changes))).toBe(expected)
  })

  it('has the extras that were asked for', () => {
    const extras = { organization: 'Acme', organizational_unit: 'Pumps', dns_names: ['a.example'] }
    expect(check({ extras })).toEqual({
      organization: 'Acme',
      organizationalUnit: 'Pumps',
      dnsNames: ['a.example'],
    })
    expect(check({ extras: {} })).toBeUndefined()
    expect(check({})).toBeUndefined()
  })
})

it.each<[string, object, string]>([
  ['a week', {}, 'ok'],
  ['a week, asked for by a clock that is a little ahead', { not_after: NOW + 7 * DAY + SECOND }, 'ok'],
  ['eight days, whatever signer.max_ttl is', { not_after: NOW + 8 * DAY }, 'issuer_unusable'],
  ['a week, that begins a day ago', { not_before: NOW - DAY }, 'issuer_unusable'],
])('an OCSP responder of %s', (_, changes, expected) => {
  const request = { ...subject, op: 'responder' as const, not_after: NOW + 7 * DAY, ...changes }
  expect(code(() => checkResponder(request, NOW))).toBe(expected)
})

describe('a CRL', () => {
  const crl: SignerRequestOf<'crl'> = {
    id: 1,
    op: 'crl',
    ski: 'ab',
    number: String(SECONDS),
    this_update: NOW - 5 * MINUTE,
    next_update: NOW + DAY,
    status_urls_before: ['http://old.example'],
    entries: 0,
  }
  it.each<[string, Partial<SignerRequestOf<'crl'>>, bigint, string]>([
    ['as the desk asks for it', {}, SECONDS - 1n, 'ok'],
    ['the first', {}, 0n, 'ok'],
    ['of the longest life of a setting', { next_update: NOW + 30 * DAY }, 0n, 'ok'],
    ['that hides what is revoked for years', { next_update: NOW + 365 * DAY }, 0n, 'issuer_unusable'],
    ['of yesterday', { this_update: NOW - DAY }, 0n, 'issuer_unusable'],
    ['of tomorrow', { this_update: NOW + HOUR }, 0n, 'issuer_unusable'],
    ['that ends before it begins', { next_update: NOW - DAY }, 0n, 'bad_request'],
    ['with the last number again', {}, SECONDS, 'issuer_unusable'],
    ['with a number before the last', {}, SECONDS + 1n, 'issuer_unusable'],
    ['that goes on from a clock that was ahead', { number: String(SECONDS * 2n + 1n) }, SECONDS * 2n, 'ok'],
    ['with a number that leaves none', { number: '9'.repeat(47) }, 0n, 'issuer_unusable'],
    ['an hour ahead of the clock', { number: String(SECONDS + 3_600n) }, 0n, 'ok'],
    ['a second more', { number: String(SECONDS + 3_601n) }, 0n, 'issuer_unusable'],
    // the last one is no place to leap from: twenty empty CRLs would be months ahead
    ['a leap from there', { number: String(SECONDS + 3_602n) }, SECONDS + 3_600n, 'issuer_unusable'],
    ['the next after it', { number: String(SECONDS + 3_601n) }, SECONDS + 3_600n, 'ok'],
    ['with a distribution point in another scheme', { status_urls_before: ['ldap://x'] }, 0n, 'bad_request'],
    ['with a distribution point in two lines', { status_urls_before: ['http://x\n'] }, 0n, 'bad_request'],
  ])('%s', (_, changes, last, expected) => {
    expect(code(() => checkCrl({ ...crl, ...changes }, NOW, last))).toBe(expected)
  })
})

it.each<[string, number, string]>([
  ['ahead of the log', -DAY, 'ok'],
  ['behind it by five minutes', 5 * MINUTE, 'ok'],
  ['behind it by more', 5 * MINUTE + 1, 'clock_behind'],
])('a clock %s', (_, behind, expected) => {
  expect(code(() => checkClock(NOW, NOW + behind))).toBe(expected)
})
