import { describe, expect, test } from 'vitest'
import { oidDer, TAG, tlv } from '#pki/der.ts'
import { distinguishedName } from '#pki/distinguished-name.ts'
import { nameDer } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'

const of = (...attributes: readonly (readonly [oid: string, text: string])[]): string =>
  distinguishedName(nameDer(attributes.map(([oid, text]) => ({ oid, text }))))

describe('RFC 4514', () => {
  test('the last comes first', () => {
    expect(of(['2.5.4.6', 'DE'], [OID.organization, 'Acme Lamps'], [OID.commonName, 'lamp-1'])).toBe(
      'CN=lamp-1,O=Acme Lamps,C=DE',
    )
  })
  test('none', () => {
    expect(of()).toBe('')
  })
  test('several in one RDN', () => {
    const attribute = (oid: string, text: string) =>
      tlv(TAG.sequence, oidDer(oid), tlv(TAG.printableString, Buffer.from(text)))
    const der = tlv(
      TAG.sequence,
      tlv(TAG.set, attribute(OID.commonName, 'a'), attribute(OID.organization, 'b')),
    )
    expect(distinguishedName(der)).toBe('CN=a+O=b')
  })
  test('attributes and string types without a word', () => {
    expect(of(['1.2.3.4', 'x'])).toBe('1.2.3.4=#0c0178')
    const bmp = tlv(TAG.sequence, oidDer(OID.commonName), tlv(0x1e, Buffer.from('0061', 'hex')))
    expect(distinguishedName(tlv(TAG.sequence, tlv(TAG.set, bmp)))).toBe('CN=#1e020061')
  })
})

describe('what is special anywhere is a hex pair', () => {
  test.each([
    ['a"b', 'a\\22b'],
    ['a\\', 'a\\5C'],
    ['a\\"', 'a\\5C\\22'],
    ['a;URI=x', 'a\\3BURI\\3Dx'],
    ['a,b+c', 'a\\2Cb\\2Bc'],
    ['#a', '\\23a'],
    [' a ', '\\20a\\20'],
    ['<a>', '\\3Ca\\3E'],
    ['100%', '100\\25'],
    ['café', 'caf\\C3\\A9'],
    ['a b:c/d@e', 'a b:c/d@e'],
  ])('%s', (text, written) => {
    expect(of([OID.commonName, text])).toBe(`CN=${written}`)
  })
})
