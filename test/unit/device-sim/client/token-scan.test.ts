import { describe, expect, test } from 'vitest'
import { hasToken, tokenIn } from '#device-sim/client/token-scan.ts'

const segment = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const header = segment({ alg: 'ES256', kid: 'k1', typ: 'JWT' })
const jwt = `${header}.${segment({ sub: '', device_id: 'pump-7' })}.${'x'.repeat(86)}`
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
    ['after another that only looks like one', `eyAAAA.b.c ${jwt}`],
  ])('%s', (_what, text) => {
    expect(hasToken(text)).toBe(true)
  })

  test.each([
    ['nothing', ''],
    ['a host name', 'eyre.example.com'],
    ['base64 of JSON without alg', `${segment({ a: 1 })}.${segment({})}.sig`],
    ['a claim token', `spt1.${'a'.repeat(16)}.${'B'.repeat(43)}.${'c'.repeat(43)}`],
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
    ['nowhere', ['Content-Type', 'text/plain', 'Set-Cookie', 'session=1'], 'hello', undefined],
  ])('%s', (_what, headers, text, expected) => {
    expect(tokenIn(headers, body(text))).toBe(expected)
  })

  test('the evidence never holds the token', () => {
    expect(tokenIn(['x', jwt], body(jwt))).not.toContain(header)
  })
})
