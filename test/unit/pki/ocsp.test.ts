/** What strangers send to the OCSP responder. What others make of its answers: test/interop/ocsp.test.ts. */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { constructedTag, implicitTag, integerDer, oidDer, readDer, TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { issuerKeysOf, MAX_OCSP_BYTES, ocspRefusal, readOcspRequest, responseData } from '#pki/ocsp.ts'
import { OID } from '#pki/oids.ts'
import { makePki } from '../../support/pki.ts'
import { ocspRequest, type OcspAsk } from '../../support/ocsp-request.ts'

const NOW = Date.UTC(2026, 10, 25, 12)
const { devices } = makePki({ now: NOW })
const issuer = devices.facts
const serial = `4a${'11'.repeat(15)}`
const ask = (over: Partial<OcspAsk> = {}): Buffer => ocspRequest({ issuer, serials: [serial], ...over })
const refused = (der: Uint8Array, detail: RegExp) =>
  expect(() => readOcspRequest(der)).toThrow(
    expect.objectContaining({
      name: 'FleetError',
      code: 'bad_request',
      detail: expect.stringMatching(detail) as string,
    }),
  )

describe('a request that is read', () => {
  test.each(['sha1', 'sha256'] as const)('names its issuer by %s, with or without parameters', (hash) => {
    for (const parameters of [true, false]) {
      const { certIds, nonce } = readOcspRequest(ask({ hash, parameters }))
      expect(certIds).toHaveLength(1)
      expect(certIds[0].serial).toBe(serial)
      expect(issuerKeysOf(issuer)).toContain(certIds[0].issuer)
      expect(nonce).toBeUndefined()
    }
  })

  test('gives the CertID and the nonce back as they came', () => {
    const der = ask({ nonce: Buffer.alloc(32, 7) })
    const { certIds, nonce } = readOcspRequest(der)
    expect(der.includes(certIds[0].der)).toBe(true)
    expect(nonce).toEqual(extensionDer(OID.ocspNonce, false, tlv(TAG.octetString, Buffer.alloc(32, 7))))
  })

  test.each([1, 16, 32, 128])('a nonce of %i octets (RFC 9654)', (length) => {
    expect(readOcspRequest(ask({ nonce: Buffer.alloc(length) })).nonce).toBeDefined()
  })

  test('a signature, a requestor, an explicit version 1 and extensions that are not critical are let pass', () => {
    const other = extensionDer('1.2.3.4', false, tlv(TAG.null))
    const critical = extensionDer(OID.ocspNonce, true, tlv(TAG.octetString, Buffer.alloc(16)))
    const request = readOcspRequest(
      ask({
        before: [
          tlv(constructedTag(0), integerDer(Buffer.of(0))),
          tlv(constructedTag(1), tlv(constructedTag(4), tlv(TAG.sequence))),
        ],
        extensions: [other, critical],
        singleExtensions: [other],
        after: [tlv(constructedTag(0), tlv(TAG.sequence, tlv(TAG.sequence)))],
      }),
    )
    expect(request.certIds).toHaveLength(1)
    expect(request.nonce).toEqual(critical)
  })

  test('an issuer by a hash that is not known, or of a wrong length, is nobody', () => {
    const md5 = ask({ algorithmDer: tlv(TAG.sequence, oidDer('1.2.840.113549.2.5')) })
    expect(readOcspRequest(md5).certIds[0].issuer).toBeUndefined()
    const short = ask({ nameHash: Buffer.alloc(19) })
    expect(readOcspRequest(short).certIds[0].issuer).toBeUndefined()
  })

  test('a negative serial is a serial', () => {
    expect(readOcspRequest(ask({ serials: ['ff01'] })).certIds[0].serial).toBe('ff01')
  })
})

const nested = (depth: number): Buffer => {
  let der: Buffer = Buffer.alloc(0)
  for (let n = 0; n < depth; n += 1) der = tlv(TAG.sequence, der)
  return der
}
const good = ask()

describe('refused', () => {
  const nonce = (...contents: Buffer[]) =>
    contents.map((content) => extensionDer(OID.ocspNonce, false, content))
  const cases: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ['nothing', Buffer.alloc(0), /missing/],
    ['one octet', Buffer.of(0x30), /ends in the middle/],
    ['text', Buffer.from('hello'), /of another type/],
    ['an empty sequence', tlv(TAG.sequence), /missing/],
    ['no certificates', ask({ serials: [] }), /asks for no certificate/],
    ['33 certificates', ask({ serials: Array.from({ length: 33 }, () => '01') }), /more than 32/],
    ['10,000 certificates', ask({ serials: Array.from({ length: 10_000 }, () => '01') }), /larger than/],
    ['more than 8 KiB', Buffer.concat([good, Buffer.alloc(MAX_OCSP_BYTES)]), /larger than/],
    ['4,000 levels', nested(4_000).subarray(0, MAX_OCSP_BYTES), /./],
    ['something behind it', Buffer.concat([good, Buffer.of(0)]), /more than belongs/],
    [
      'an indefinite length',
      Buffer.concat([Buffer.of(0x30, 0x80), good.subarray(2), Buffer.of(0, 0)]),
      /not DER/,
    ],
    ['a long form of a short length', Buffer.concat([Buffer.of(0x30, 0x81), good.subarray(1)]), /not DER/],
    ['a length of three octets', Buffer.concat([Buffer.of(0x30, 0x83, 0, 0), good.subarray(1)]), /not DER/],
    ['a serial of 200 octets', ask({ serials: ['11'.repeat(200)] }), /too long/],
    ['an empty serial', ask({ serials: [''] }), /empty/],
    ['a padded serial', ask({ serials: ['0011'] }), /not DER/],
    ['a padded negative serial', ask({ serials: ['ff81'] }), /not DER/],
    ['version 2', ask({ before: [tlv(constructedTag(0), integerDer(Buffer.of(1)))] }), /version/],
    ['a critical extension', ask({ extensions: [extensionDer('1.2.3.4', true, tlv(TAG.null))] }), /critical/],
    [
      'a critical one of a certificate',
      ask({ singleExtensions: [extensionDer('1.2.3', true, Buffer.alloc(0))] }),
      /critical/,
    ],
    ['a nonce of no octets', ask({ nonce: Buffer.alloc(0) }), /1 to 128/],
    ['a nonce of 129 octets', ask({ nonce: Buffer.alloc(129) }), /1 to 128/],
    ['a nonce that is not an OCTET STRING', ask({ extensions: nonce(Buffer.alloc(16, 9)) }), /another type/],
    [
      'two nonces',
      ask({ extensions: nonce(tlv(TAG.octetString, Buffer.of(1)), tlv(TAG.octetString, Buffer.of(2))) }),
      /two nonces/,
    ],
    [
      'seventeen extensions',
      ask({ extensions: Array.from({ length: 17 }, () => extensionDer('1.2.3', false, Buffer.alloc(0))) }),
      /too many/,
    ],
    ['a signature of another form', ask({ after: [tlv(implicitTag(0))] }), /more than belongs/],
  ]
  test.each(cases)('%s', (_, der, detail) => refused(der, detail))

  test('every truncation', () => {
    for (let length = 0; length < good.length; length += 1) refused(good.subarray(0, length), /./)
  })

  test('anything else, with nothing but a FleetError, at once', () => {
    const onlyFleetErrors = (der: Uint8Array): void => {
      try {
        readOcspRequest(der)
      } catch (error) {
        if (!(error instanceof FleetError) || error.code !== 'bad_request') throw error
      }
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), onlyFleetErrors), { numRuns: 2_000 })
    // a good one with some octets changed, cut out or put in
    const rich = ask({ nonce: Buffer.alloc(16, 1), hash: 'sha256', serials: [serial, '01'] })
    const spoilt = fc.tuple(fc.nat(rich.length - 1), fc.nat(4), fc.uint8Array({ maxLength: 4 }))
    fc.assert(
      fc.property(fc.array(spoilt, { minLength: 1, maxLength: 3 }), (changes) => {
        let der: Buffer = rich
        for (const [at, cut, put] of changes)
          der = Buffer.concat([der.subarray(0, at), put, der.subarray(at + cut)])
        onlyFleetErrors(der)
      }),
      { numRuns: 5_000 },
    )
  })
})

describe('what is written', () => {
  test('a refusal is five octets', () => {
    expect(ocspRefusal('malformedRequest').toString('hex')).toBe('30030a0101')
    expect(ocspRefusal('unauthorized').toString('hex')).toBe('30030a0106')
  })

  test('times are GeneralizedTime without fractions, and `unspecified` is not said', () => {
    const data = (reason: 'unspecified' | 'certificateHold') =>
      responseData({
        responderId: tlv(constructedTag(2), tlv(TAG.octetString, Buffer.alloc(20))),
        producedAt: NOW + 999,
        thisUpdate: NOW - 1,
        nextUpdate: NOW + 1_500,
        answers: [
          { certIdDer: tlv(TAG.sequence), status: { status: 'revoked', revokedAt: NOW + 1, reason } },
        ],
        nonce: undefined,
      })
    const text = data('unspecified').toString('latin1')
    expect(text.match(/\d{14}Z/g)).toEqual([
      '20261125120000Z',
      '20261125120000Z',
      '20261125115959Z',
      '20261125120001Z',
    ])
    expect(text.includes('\u000a\u0001')).toBe(false)
    expect(data('certificateHold').includes(Buffer.of(0xa0, 3, 0x0a, 1, 6))).toBe(true)
    expect(() => readDer(data('unspecified'), 'response data')).not.toThrow()
  })
})
