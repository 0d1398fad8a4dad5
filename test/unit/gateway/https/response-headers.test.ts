import { describe, expect, test } from 'vitest'
import { responseHeaders } from '#gateway/https/response-headers.ts'

const named = (
  status: number,
  headers: Readonly<Record<string, string | readonly string[]>>,
  cookie?: string,
): Record<string, string[]> => {
  const flat = responseHeaders(status, headers, 'open', cookie)
  const found: Record<string, string[]> = {}
  for (let at = 0; at < flat.length; at += 2)
    (found[(flat[at] as string).toLowerCase()] ??= []).push(flat[at + 1] as string)
  return found
}

describe('a length (RFC 9110 §8.6)', () => {
  test.each([
    [200, ['5']],
    [205, ['5']],
    [206, ['5']],
    [304, ['5']],
    [404, ['5']],
    [204, undefined],
    [101, undefined],
  ])('of %i', (status, length) => {
    expect(named(status, { 'content-length': '5' })['content-length']).toEqual(length)
  })
})

describe('the session cookie is not the origin’s to set', () => {
  test.each([
    'CF_Authorization=x',
    'cf_authorization=x; Path=/',
    '=CF_Authorization=x',
    'CF%5fAuthorization=x',
    'a=b, CF_Authorization=x',
    'a=b; Path=/, CF_Authorization=x; Secure',
    'a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT,CF_Authorization=x',
    'a="b, CF_Authorization"',
  ])('%s', (field) => {
    expect(named(200, { 'set-cookie': [field, 'mine=1'] })['set-cookie']).toEqual(['mine=1'])
    expect(named(200, { 'set-cookie': field }, 'CF_Authorization=ours')['set-cookie']).toEqual([
      'CF_Authorization=ours',
    ])
  })
  test.each([
    'a=b',
    'a=CF_Authorization',
    'a=CF_Authorization=x; Path=/',
    'authorization=1',
    'cf=1; Path=/authorization',
    'a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT',
  ])('but %s is', (field) => {
    expect(named(200, { 'set-cookie': field })['set-cookie']).toEqual([field])
  })
})
