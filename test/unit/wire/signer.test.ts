import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { REVOCATION_REASONS, type RevocationReason } from '#fleet/revocation-reason.ts'
import {
  ENTRIES_PER_FRAME,
  MAX_SIGNER_FRAME,
  packEntries,
  parseSignerReply,
  parseSignerRequest,
  unpackEntries,
} from '#wire/signer.ts'

const SKI = 'ab'.repeat(20)
const subject = {
  id: 1,
  ski: SKI,
  spki: 'AAAA',
  serial: '4'.repeat(32),
  not_before: 1,
  not_after: 2,
}
const device = { ...subject, op: 'device', device_id: 'lamp-1' }
const crl = {
  id: 1,
  op: 'crl',
  ski: SKI,
  number: '7',
  this_update: 1,
  next_update: 2,
  status_urls_before: [],
  entries: 0,
}

describe('a request', () => {
  it.each<[string, object]>([
    ['hello', { id: 1, op: 'hello', protocol: 1 }],
    ['device', device],
    [
      'device with extras',
      { ...device, extras: { organization: 'x', organizational_unit: 'y', dns_names: ['a.b'] } },
    ],
    ['responder', { ...subject, op: 'responder' }],
    ['crl', crl],
    ['entries', { id: 1, op: 'entries', packed: 'AAAA' }],
  ])('%s is taken', (_, value) => {
    expect(parseSignerRequest(JSON.stringify(value))).toEqual(value)
  })

  it.each<[string, unknown]>([
    ['of no operation', subject],
    ['for a CA certificate', { ...device, op: 'ca' }],
    ['for whatever is to be signed', { id: 1, op: 'sign', tbs: 'AAAA' }],
    ['by a name that objects have', { ...device, op: 'constructor' }],
    ['with a field more: is_ca', { ...device, is_ca: true }],
    ['with a subject of its own', { ...device, subject: 'CN=admin' }],
    ['with an extension', { ...device, extensions: ['AAAA'] }],
    ['with an extra more', { ...device, extras: { email: 'a@b' } }],
    ['for a responder with a device id', { ...subject, op: 'responder', device_id: 'x' }],
    ['with a field less', { ...device, serial: undefined }],
    ['with id 0', { ...device, id: 0 }],
    ['with an id of more than 32 bits', { ...device, id: 2 ** 32 }],
    ['with half an id', { ...device, id: 1.5 }],
    ['with a date as text', { ...device, not_after: '2' }],
    ['with a date before 1970', { ...device, not_before: -1 }],
    ['with a date after 9999', { ...device, not_after: 253_402_300_800_000 }],
    ['with a date that is no number', '{"id":1,"op":"device","not_after":1e999}'],
    ['with a key in another alphabet', { ...device, spki: 'AA-_' }],
    ['with a key of 8 KB', { ...device, spki: 'A'.repeat(8_192) }],
    ['with an issuer that is a path', { ...device, ski: '../../etc' }],
    ['with 101 names', { ...device, extras: { dns_names: Array(101).fill('a') } }],
    ['with a negative CRL number', { ...crl, number: '-1' }],
    ['with a CRL number of 48 digits', { ...crl, number: '1'.repeat(48) }],
    ['with a million and one entries', { ...crl, entries: 1_000_001 }],
    ['as an array', [device]],
    ['as null', null],
    ['as a number', 7],
  ])('%s is refused', (_, value) => {
    expect(parseSignerRequest(typeof value === 'string' ? value : JSON.stringify(value))).toBeUndefined()
  })

  it('of nothing but brackets is refused', () => {
    expect(parseSignerRequest('['.repeat(MAX_SIGNER_FRAME))).toBeUndefined()
    expect(parseSignerRequest('{"a":'.repeat(10_000))).toBeUndefined()
  })

  it('never throws, whatever the text', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => parseSignerRequest(text) === undefined))
  })
})

describe('a reply', () => {
  const issuers = [{ ski: SKI, sha256: '0'.repeat(64), not_after: 1 }]
  it.each<[string, object]>([
    ['hello', { id: 1, ok: true, protocol: 1, version: '1', status_url: 'http://x', issuers }],
    ['signed', { id: 1, ok: true, der: 'AAAA' }],
    ['a part', { id: 1, ok: true, der: 'AAAA', more: true }],
    ['ready', { id: 1, ok: true, ready: true }],
    ['refused', { id: 1, ok: false, code: 'conflict', detail: 'x', retry_after: 3, crl_number: '7' }],
  ])('%s is taken', (_, value) => {
    expect(parseSignerReply(JSON.stringify(value))).toEqual(value)
  })

  it.each<[string, unknown]>([
    ['of nothing', { id: 1, ok: true }],
    ['both ways', { id: 1, ok: false, der: 'AAAA' }],
    ['with two things', { id: 1, ok: true, der: 'AAAA', ready: true }],
    ['without an id', { ok: true, der: 'AAAA' }],
    ['with Retry-After of a year', { id: 1, ok: false, code: 'x', detail: '', retry_after: 31_536_000 }],
    ['as text', 'der'],
  ])('%s is refused', (_, value) => {
    expect(parseSignerReply(JSON.stringify(value))).toBeUndefined()
  })
})

describe('revoked certificates', () => {
  const reasons = Object.keys(REVOCATION_REASONS) as RevocationReason[]
  const entry = fc.record({
    serial: fc.uint8Array({ minLength: 1, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex')),
    revokedAt: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
    reason: fc.constantFrom(...reasons),
  })

  it('come out as they went in', () => {
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 50 }), (entries) => {
        expect(unpackEntries(packEntries(entries))).toEqual(entries)
      }),
    )
  })

  it('fit a frame', () => {
    const entries = Array.from({ length: ENTRIES_PER_FRAME }, () => ({
      serial: 'f'.repeat(64),
      revokedAt: 2 ** 48 - 1,
      reason: 'aACompromise' as const,
    }))
    const frame = { id: 2 ** 32 - 1, op: 'entries', packed: packEntries(entries) }
    expect(JSON.stringify(frame).length).toBeLessThan(MAX_SIGNER_FRAME)
    expect(parseSignerRequest(JSON.stringify(frame))).toBeDefined()
  })

  it.each<[string, Buffer]>([
    ['none', Buffer.alloc(0)],
    ['one and a half', Buffer.from([16, 1, ...Buffer.alloc(22), 16, 1, 0])],
    ['one without a serial', Buffer.from([0, 1, ...Buffer.alloc(6)])],
    ['one with a serial of 33 octets', Buffer.from([33, 1, ...Buffer.alloc(39)])],
    ['one for a reason that there is not (7)', Buffer.from([16, 7, ...Buffer.alloc(22)])],
    ['one that is taken off the list (8)', Buffer.from([16, 8, ...Buffer.alloc(22)])],
  ])('%s are refused', (_, bytes) => {
    expect(unpackEntries(bytes.toString('base64'))).toBeUndefined()
  })
})
