import {
  brotliCompressSync,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
  constants,
} from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { formatClaimToken, formatOperatorToken } from '#wire/tokens.ts'
import { hasToken, headersOfPacket, tokenIn } from '#device-sim/client/token-scan.ts'

const segment = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const header = segment({ alg: 'ES256', kid: 'k1', typ: 'JWT' })
const jwt = `${header}.${segment({ sub: '', device_id: 'pump-7' })}.${'x'.repeat(86)}`
const secret = Buffer.alloc(32, 7).toString('base64url')
const claim = formatClaimToken('a1'.repeat(8), secret, Buffer.alloc(32, 8))
const spaced = Buffer.from('{ "alg": "none" }').toString('base64url')

describe('what is a token', () => {
  test.each([
    ['a JWS', jwt],
    ['in a page', `<p>Your token: ${jwt}</p>`],
    ['in JSON', JSON.stringify({ assertion: jwt })],
    ['unsigned', `${segment({ alg: 'none' })}.${segment({})}.`],
    ['a header with spaces', `${spaced}.${segment({})}.sig`],
    ['a JWE', `${segment({ alg: 'dir', enc: 'A256GCM' })}..iv.ciphertext.tag`],
    ['dots escaped for a URL', jwt.replaceAll('.', '%2E')],
    ['dots escaped for JSON', jwt.replaceAll('.', String.raw`\u002e`)],
    ['a claim token', claim],
    ['a claim token in JSON', JSON.stringify({ token: claim })],
    ['a claim token without its pin', claim.split('.').slice(0, 3).join('.')],
    ['an operator token', `Bearer ${formatOperatorToken('a1'.repeat(8), secret)}`],
    ['after another that only looks like one', `eyAAAA.b.c ${jwt}`],
  ])('%s', (_what, text) => {
    expect(hasToken(text)).toBe(true)
  })

  test.each([
    ['nothing', ''],
    ['a host name', 'eyre.example.com'],
    ['base64 of JSON without alg', `${segment({ a: 1 })}.${segment({})}.sig`],
    ['the id of a claim token', claim.split('.').slice(0, 2).join('.')],
    ['one with a secret that is too long', claim.split('.').slice(0, 3).join('.') + 'x'],
    ['PEM', '-----BEGIN CERTIFICATE-----\nMIIBeyJhbGciOiJFUzI1NiJ9\n-----END CERTIFICATE-----'],
    ['a header alone', header],
    ['a JWKS', JSON.stringify({ keys: [{ kty: 'EC', crv: 'P-256', x: 'eyJ', y: 'z', alg: 'ES256' }] })],
  ])('not: %s', (_what, text) => {
    expect(hasToken(text)).toBe(false)
  })

  test('hostile text is read in linear time', () => {
    expect(hasToken('ey'.repeat(500_000))).toBe(false)
    expect(hasToken(`${'ey.'.repeat(300_000)}`)).toBe(false)
    expect(hasToken('eyJ'.padEnd(1_000_000, '.'))).toBe(false)
  })
})

describe('where a token is in an answer', () => {
  const body = (text: string) => Buffer.from(text)
  test.each([
    ['a cookie whatever its value', ['Set-Cookie', 'CF_Authorization=1; Secure'], '', 'header set-cookie'],
    ['a cookie in lower case', ['set-cookie', 'cf_authorization=; Max-Age=0'], '', 'header set-cookie'],
    ['the assertion header', ['Cf-Access-Jwt-Assertion', 'x'], '', 'header cf-access-jwt-assertion'],
    ['any header', ['Location', `/?t=${jwt}`], '', 'header location'],
    ['the second of two cookies', ['Set-Cookie', 'a=b', 'Set-Cookie', `b=${jwt}`], '', 'header set-cookie'],
    ['the body', ['Content-Type', 'text/plain'], jwt, 'body'],
    ['the name of a header', [jwt, 'b'], '', 'the name of a header'],
    ['nowhere', ['Content-Type', 'text/plain', 'Set-Cookie', 'session=1'], 'hello', undefined],
  ])('%s', (_what, headers, text, expected) => {
    expect(tokenIn(headers, body(text))).toBe(expected)
  })

  test('the evidence never holds the token', () => {
    expect(tokenIn(['x', jwt], body(jwt))).not.toContain(header)
  })
})

describe('in a body that is encoded', () => {
  const text = JSON.stringify({ a: jwt })
  test.each([
    ['gzip', gzipSync(text)],
    ['x-gzip', gzipSync(text)],
    ['GZIP', gzipSync(text)],
    ['deflate', deflateSync(text)],
    ['deflate', deflateRawSync(text)],
    ['br', brotliCompressSync(text)],
    ['zstd', zstdCompressSync(text)],
    ['gzip, br', brotliCompressSync(gzipSync(text))],
    ['gzip', gzipSync(text).subarray(0, -12)],
    ['gzip', Buffer.concat([gzipSync(text), Buffer.from('and something else')])],
    ['gzip', Buffer.from(text)],
    ['whatever', Buffer.from(text)],
  ])('%s %#', (encoding, octets) => {
    expect(tokenIn(['Content-Encoding', encoding], octets)).toBe('body')
  })

  test.each([
    ['gzip', gzipSync(text + ' '.repeat(3 << 20))],
    ['deflate', deflateSync(text + ' '.repeat(3 << 20))],
    [
      'br',
      brotliCompressSync(text + ' '.repeat(3 << 20), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
    ],
  ])('%s of more than is looked at: its beginning', (encoding, octets) => {
    expect(tokenIn(['content-encoding', encoding], octets)).toBe('body')
  })

  test('what is not so encoded is nothing', () => {
    expect(tokenIn(['content-encoding', 'gzip, constructor, br'], Buffer.from('hello'))).toBeUndefined()
    expect(tokenIn(['content-encoding', 'gzip'], gzipSync('hello'))).toBeUndefined()
    expect(tokenIn(['content-encoding', 'gzip'], Buffer.alloc(0))).toBeUndefined()
  })
})

test.each([
  ['topic', headersOfPacket(`devices/a/${jwt}`, undefined), 'header topic'],
  ['reasonString', headersOfPacket(undefined, { reasonString: jwt }), 'header reasonstring'],
  ['userProperties', headersOfPacket('t', { userProperties: { a: ['b', jwt] } }), 'header userproperties'],
  ['correlationData', headersOfPacket('t', { correlationData: Buffer.from(jwt) }), 'header correlationdata'],
  ['none', headersOfPacket('t', { topicAlias: 3, userProperties: { a: 'b' } }), undefined],
])('of an MQTT packet: %s', (_where, headers, expected) => {
  expect(tokenIn(headers, Buffer.alloc(0))).toBe(expected)
})
