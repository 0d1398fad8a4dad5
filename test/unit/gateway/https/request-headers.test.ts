import { describe, expect, test } from 'vitest'
import type { Forward } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { openEnvelope } from '#gateway/https/envelope.ts'
import { requestHeaders } from '#gateway/https/request-headers.ts'

const leafOf = (octets: number): CertificateFacts =>
  ({
    der: new Uint8Array(octets).fill(1),
    fingerprint: 'f'.repeat(64),
    subjectDer: Buffer.from('3000', 'hex'),
    sanUris: ['urn:sallyport:device:lamp-1'],
    sanDns: [],
  }) as unknown as CertificateFacts

const build = (
  raw: readonly string[],
  o: { leaf?: number; above?: readonly number[]; forms?: readonly Forward[]; nobody?: boolean } = {},
): Map<string, string[]> => {
  const opened = openEnvelope(['Host', 'a.test', ...raw], '1.1', [9443])
  if (!opened.ok) throw new Error(opened.problem)
  const flat = requestHeaders(['Host', 'a.test', ...raw], opened.envelope, {
    assertion: o.nobody === true ? undefined : 'minted',
    certificate:
      o.nobody === true
        ? undefined
        : {
            leaf: leafOf(o.leaf ?? 100),
            above: (o.above ?? []).map((octets) => new Uint8Array(octets)),
            host: 'a.test',
          },
    forms: o.forms ?? ['cloudflare', 'rfc9440'],
    address: '2001:db8::1',
  })
  const headers = new Map<string, string[]>()
  for (let at = 0; at < flat.length; at += 2) {
    const name = (flat[at] as string).toLowerCase()
    headers.set(name, [...(headers.get(name) ?? []), flat[at + 1] as string])
  }
  return headers
}

describe('what the gateway says', () => {
  test('of an ordinary certificate', () => {
    expect(Object.fromEntries(build([]))).toEqual({
      host: ['a.test'],
      'cf-access-jwt-assertion': ['minted'],
      'cf-client-cert-der-base64': [Buffer.alloc(100, 1).toString('base64')],
      'cf-client-cert-sha256': ['f'.repeat(64)],
      'client-cert': [`:${Buffer.alloc(100, 1).toString('base64')}:`],
      'x-forwarded-for': ['2001:db8::1'],
      'x-forwarded-proto': ['https'],
      'x-forwarded-host': ['a.test'],
    })
  })
  test('of its chain, in order (RFC 9440 §2.3)', () => {
    const chain = build([], { above: [3, 6] }).get('client-cert-chain')
    expect(chain).toEqual([':AAAA:, :AAAAAAAA:'])
  })
  test.each<[Forward[], string[]]>([
    [[], []],
    [['cloudflare'], ['cf-client-cert-der-base64', 'cf-client-cert-sha256']],
    [['rfc9440'], ['client-cert', 'client-cert-chain']],
    [['xfcc'], ['x-forwarded-client-cert']],
  ])('in the forms %j and no other', (forms, names) => {
    const told = [...build([], { above: [3], forms }).keys()].filter((name) => name.includes('cert'))
    expect(told).toEqual(names)
  })
  test('of nobody: no assertion, no certificate', () => {
    const names = [...build([], { nobody: true }).keys()]
    expect(names).toEqual(['host', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host'])
  })
  test.each<[string, { leaf: number; above?: number[]; forms?: Forward[] }, string[]]>([
    ['one of 7 KB', { leaf: 7_000 }, ['cf-client-cert-der-base64', 'cf-client-cert-sha256', 'client-cert']],
    [
      'said in all forms that have room',
      { leaf: 7_000, forms: ['cloudflare', 'rfc9440', 'xfcc'] },
      ['cf-client-cert-der-base64', 'cf-client-cert-sha256', 'client-cert', 'x-forwarded-client-cert'],
    ],
    ['one of more than 10 KiB is not', { leaf: 7_681 }, ['cf-client-cert-sha256']],
    ['nor twice without its chain', { leaf: 7_681, forms: ['rfc9440'] }, []],
    [
      'first its chain is left out',
      { leaf: 6_500, above: [8_000] },
      ['cf-client-cert-der-base64', 'cf-client-cert-sha256', 'client-cert'],
    ],
    [
      'a chain that fits is there',
      { leaf: 1_000, above: [2_000, 3_000] },
      ['cf-client-cert-der-base64', 'cf-client-cert-sha256', 'client-cert', 'client-cert-chain'],
    ],
    [
      'nor a chain of more than 16 KiB',
      { leaf: 1_000, above: [12_300], forms: ['rfc9440'] },
      ['client-cert'],
    ],
    [
      'one of less',
      { leaf: 1_000, above: [12_200], forms: ['rfc9440'] },
      ['client-cert', 'client-cert-chain'],
    ],
    [
      'in all three forms',
      { leaf: 7_000, above: [7_500], forms: ['cloudflare', 'rfc9440', 'xfcc'] },
      ['cf-client-cert-der-base64', 'cf-client-cert-sha256', 'client-cert', 'x-forwarded-client-cert'],
    ],
  ])('26 KiB of certificates at most, none above 10, no chain above 16: %s', (_, o, names) => {
    const told = [...build([], o)].filter(([name]) => name.includes('cert'))
    expect(told.map(([name]) => name)).toEqual(names)
    expect(told.flatMap(([, values]) => values).join('').length).toBeLessThanOrEqual(26 * 1_024)
  })
})

describe('what the client may say', () => {
  test.each([
    'accept',
    'authorization',
    'content-type',
    'cookie',
    'x-custom',
    'x-forward',
    'cfg',
    'client',
    'range',
    'user-agent',
    'x-real-ipv6',
    'origin',
    'sec-websocket-key',
  ])('%s goes on', (name) => {
    expect(build([name, 'v']).get(name)).toEqual(['v'])
  })
  test.each([
    'X-Original-Method',
    'X-Original-Anything',
    'WL-Proxy-Client-IP',
    'X-Auth-Request-User',
    'Fastly-Client-IP',
    'Proxy',
    'X-Host',
    'X-HTTP-Method',
    'X-HTTP-Method-Override',
    'X-Method-Override',
    'X-Client-DN',
    'Front-End-Https',
    'Forwarded-For',
    'Client-IP',
    'Remote-Addr',
    'X-Remote-IP',
    'X-Originating-IP',
    'Cookie2',
  ])('%s ends here, however it is spelt', (name) => {
    for (const spelt of [name, name.toLowerCase(), name.replaceAll('-', '_'), name.replace('-', '.')])
      expect([...build([spelt, 'v']).values()].flat()).not.toContain('v')
  })
  test.each(['Content_Length', 'CONTENT.LENGTH', 'content_length'])('%s is no length of its body', (name) => {
    expect([...build([name, '5']).keys()]).not.toContain(name.toLowerCase())
  })
  test.each(['x-originally', 'fast', 'proxy-status', 'x-hostname', 'x-http-methods', 'front-end'])(
    '%s goes on',
    (name) => {
      expect(build([name, 'v']).get(name)).toEqual(['v'])
    },
  )
  test('its body’s length, even when Connection names it', () => {
    expect(build(['Content-Length', '5', 'Connection', 'content-length']).get('content-length')).toEqual([
      '5',
    ])
  })
})
