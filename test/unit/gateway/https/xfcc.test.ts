import { describe, expect, test } from 'vitest'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { xfccOf } from '#gateway/https/xfcc.ts'
import { nameDer } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'
import { fromPem } from '#pki/pem.ts'

const leafOf = (over: Partial<CertificateFacts> = {}): CertificateFacts =>
  ({
    der: Uint8Array.of(1, 2, 3),
    fingerprint: 'f'.repeat(64),
    subjectDer: nameDer([{ oid: OID.commonName, text: 'lamp-1' }]),
    sanUris: ['urn:sallyport:device:lamp-1'],
    sanDns: [],
    ...over,
  }) as unknown as CertificateFacts

const of = (
  over: Partial<CertificateFacts> = {},
  above: readonly Uint8Array[] = [],
  room = 12 * 1_024,
): string => xfccOf({ by: 'https://a.test', leaf: leafOf(over), above, room })

/** As Envoy's own reader: a quote opens and closes, a backslash takes the next character along. */
const read = (header: string): [string, string][] => {
  const fields: [string, string][] = []
  let text = ''
  let quoted = false
  const put = (): void => {
    const equals = text.indexOf('=')
    fields.push([text.slice(0, equals), text.slice(equals + 1)])
    text = ''
  }
  for (let at = 0; at < header.length; at += 1) {
    const character = header[at] as string
    if (character === '\\') text += header[(at += 1)]
    else if (character === '"') quoted = !quoted
    else if (character === ';' && !quoted) put()
    else if (character === ',' && !quoted) throw new Error('a second element')
    else text += character
  }
  if (quoted) throw new Error('a quote is open')
  put()
  return fields
}

test('the whole of it', () => {
  const fields = read(of({ sanDns: ['lamp-1.test', '*.lamps.test'] }, [Uint8Array.of(4, 5)]))
  expect(fields.map(([name]) => name)).toEqual([
    'By',
    'Hash',
    'Cert',
    'Chain',
    'Subject',
    'URI',
    'DNS',
    'DNS',
  ])
  const value = (name: string) => fields.find(([key]) => key === name)?.[1] ?? ''
  expect(value('By')).toBe('https://a.test')
  expect(value('Hash')).toBe('f'.repeat(64))
  expect(value('Subject')).toBe('CN=lamp-1')
  expect(value('URI')).toBe('urn:sallyport:device:lamp-1')
  const ders = (name: string) =>
    fromPem(decodeURIComponent(value(name)), 'CERTIFICATE').map((der) => [...der])
  expect(ders('Cert')).toEqual([[1, 2, 3]])
  expect(ders('Chain')).toEqual([
    [1, 2, 3],
    [4, 5],
  ])
})

describe('no certificate writes a field of its own', () => {
  test.each([
    ['a quote', { sanUris: ['urn:x";URI=spiffe://admin;X="'] }],
    ['a backslash before the end', { sanUris: ['urn:x,\\'] }],
    ['a separator', { sanUris: ['urn:x;Hash=0000'] }],
    ['a comma', { sanUris: ['urn:x,By=evil'] }],
    ['a name that is none', { sanDns: ['a.test";URI=spiffe://admin', 'a;b', 'a,b', ''] }],
    [
      'a subject with quotes',
      { subjectDer: nameDer([{ oid: OID.commonName, text: 'x";URI=spiffe://admin;A="' }]) },
    ],
    ['a subject that ends in a backslash', { subjectDer: nameDer([{ oid: OID.commonName, text: 'x\\' }]) }],
  ])('%s', (_, over) => {
    const names = read(of(over)).map(([name]) => name)
    expect(names.filter((name) => name === 'URI').length).toBeLessThanOrEqual(1)
    expect(names.filter((name) => name === 'Hash' || name === 'By')).toEqual(['By', 'Hash'])
    expect(names).not.toContain('A')
    expect(names).not.toContain('X')
  })
  test('nor anything but ASCII', () => {
    expect(of({ subjectDer: nameDer([{ oid: OID.commonName, text: 'Größe' }]) })).toMatch(
      /^[\u0020-\u007e]+$/,
    )
  })
})

describe('bounded', () => {
  test('a certificate or chain that is too long is left out', () => {
    const names = (der: number, above: number) =>
      read(of({ der: new Uint8Array(der) }, [new Uint8Array(above)])).map(([name]) => name)
    expect(names(100, 100)).toContain('Chain')
    expect(names(100, 20_000)).not.toContain('Chain')
    expect(names(20_000, 0)).not.toContain('Cert')
  })
  test('a chain of more than 16 KiB too, where there is room for it', () => {
    const names = (above: number) => read(of({}, [new Uint8Array(above)], 26 * 1_024)).map(([name]) => name)
    expect(names(11_000)).toContain('Chain')
    expect(names(13_000)).not.toContain('Chain')
  })
  test('a subject that is too long, or that cannot be read, is empty; so many names and no more', () => {
    const long = nameDer(Array.from({ length: 30 }, () => ({ oid: OID.organization, text: 'x'.repeat(900) })))
    expect(of({ subjectDer: long })).toContain(';Subject="";')
    expect(of({ subjectDer: Uint8Array.of(9, 9) })).toContain(';Subject="";')
    expect(read(of({ sanUris: Array<string>(100).fill('urn:x') })).length).toBeLessThan(24)
  })
})

test.each([
  [12_288, ['By', 'Hash', 'Cert', 'Chain', 'Subject', 'URI']],
  [2_400, ['By', 'Hash', 'Cert', 'Subject', 'URI']],
  [800, ['By', 'Hash', 'Subject', 'URI']],
  [110, ['By', 'Hash', 'Subject']],
  [0, ['By', 'Hash']],
])('in %i octets', (room, names) => {
  const text = of({ der: new Uint8Array(700) }, [new Uint8Array(700)], room)
  expect(read(text).map(([name]) => name)).toEqual(names)
  expect(text.length).toBeLessThanOrEqual(Math.max(room, 88))
})
