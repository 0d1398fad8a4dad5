import { describe, expect, test } from 'vitest'
import { oidDer, TAG, tlv } from '#pki/der.ts'
import { nameDer, sameName, uriDer } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'

const attribute = (oid: string, text: string, tag: number = TAG.utf8String): Buffer =>
  tlv(TAG.sequence, oidDer(oid), tlv(tag, Buffer.from(text)))
const rdn = (...attributes: readonly Buffer[]): Buffer => tlv(TAG.set, ...attributes)
const name = (...rdns: readonly Buffer[]): Buffer => tlv(TAG.sequence, ...rdns)
const cn = (text: string, tag?: number): Buffer => attribute(OID.commonName, text, tag)
const o = attribute(OID.organization, 'Acme')

describe('sameName', () => {
  test.each<[string, Buffer, Buffer, boolean]>([
    ['itself', name(rdn(cn('a'))), name(rdn(cn('a'))), true],
    ['another string type', name(rdn(cn('a'))), name(rdn(cn('a', TAG.printableString))), true],
    ['nothing and nothing', name(), name(), true],
    ['another text', name(rdn(cn('a'))), name(rdn(cn('b'))), false],
    ['another case: ids are told apart by it', name(rdn(cn('a'))), name(rdn(cn('A'))), false],
    ['another attribute', name(rdn(cn('Acme'))), name(rdn(o)), false],
    ['one more', name(rdn(cn('a'))), name(rdn(cn('a')), rdn(o)), false],
    ['another order', name(rdn(o), rdn(cn('a'))), name(rdn(cn('a')), rdn(o)), false],
    ['two in one RDN, not two RDNs', name(rdn(cn('a'), o)), name(rdn(cn('a')), rdn(o)), false],
    ['nothing', name(rdn(cn('a'))), name(), false],
    ['T61String: only octet for octet', name(rdn(cn('a', 0x14))), name(rdn(cn('a'))), false],
    ['T61String itself', name(rdn(cn('a', 0x14))), name(rdn(cn('a', 0x14))), true],
  ])('%s', (_, a, b, expected) => {
    expect(sameName(a, b)).toBe(expected)
    expect(sameName(b, a)).toBe(expected)
  })
})

test('a name is written in UTF8String', () => {
  expect(nameDer([{ oid: OID.commonName, text: 'a_~' }])).toEqual(name(rdn(cn('a_~'))))
})

test.each(['http://ä.test', `http://${'a'.repeat(1_024)}`, 'http://a\n'])(
  'the URI %j is not written',
  (uri) => {
    expect(() => uriDer(uri)).toThrow(expect.objectContaining({ code: 'internal' }))
  },
)
