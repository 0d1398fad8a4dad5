import { describe, expect, test } from 'vitest'
import { fieldsOf, forgettingCookies, presentedTokens, sessionCookie } from '#gateway/sessions/cookies.ts'
import { application } from '../../../support/registry.ts'

const cookie = (...values: readonly string[]) => values.flatMap((value) => ['Cookie', value])
const field = (...values: readonly string[]) => values.flatMap((value) => ['cf-access-token', value])

describe('the tokens that come along', () => {
  const T = ['a.b.c']
  const NONE: readonly string[] = []
  test.each<[string, readonly string[], ReturnType<typeof presentedTokens>]>([
    ['nothing', [], NONE],
    ['a cookie', cookie('CF_Authorization=a.b.c'), T],
    ['a cookie among others', cookie('x=1; CF_Authorization=a.b.c;y=2'), T],
    ['a cookie of several fields', cookie('x=1', 'CF_Authorization=a.b.c'), T],
    ['the field', field('a.b.c'), T],
    ['the field in other letters', ['CF-Access-TOKEN', 'a.b.c'], T],
    ['both, the same', [...cookie('CF_Authorization=a.b.c'), ...field('a.b.c')], T],
    ['both, different', [...cookie('CF_Authorization=a.b.c'), ...field('a.b.d')], 'ambiguous'],
    ['two cookies', cookie('CF_Authorization=a.b.c; CF_Authorization=a.b.d'), ['a.b.c', 'a.b.d']],
    [
      'four cookies',
      cookie('1', '2', '3', '4').map((n) => (n === 'Cookie' ? n : `CF_Authorization=${n}`)),
      ['1', '2', '3', '4'],
    ],
    [
      'five cookies',
      cookie('1', '2', '3', '4', '5').map((n) => (n === 'Cookie' ? n : `CF_Authorization=${n}`)),
      'ambiguous',
    ],
    [
      'two cookies, and one of them as the field',
      [...cookie('CF_Authorization=a.b.c; CF_Authorization=a.b.d'), ...field('a.b.c')],
      'ambiguous',
    ],
    ['an empty cookie beside one', cookie('CF_Authorization=; CF_Authorization=a.b.c'), 'ambiguous'],
    ['two empty cookies', cookie('CF_Authorization=; CF_Authorization='), 'ambiguous'],
    ['an empty cookie beside the field', [...cookie('CF_Authorization='), ...field('a.b.c')], T],
    ['two cookies, the same', cookie('CF_Authorization=a.b.c; CF_Authorization=a.b.c'), 'ambiguous'],
    [
      'two cookies in two fields',
      cookie('CF_Authorization=a.b.c', 'CF_Authorization=a.b.d'),
      ['a.b.c', 'a.b.d'],
    ],
    ['two fields', field('a.b.c', 'a.b.c'), 'ambiguous'],
    ['an empty field beside a cookie', [...cookie('CF_Authorization=a.b.c'), ...field('')], 'ambiguous'],
    ['a cookie that is to be forgotten', cookie('CF_Authorization='), NONE],
    ['another letter', cookie('cf_authorization=a.b.c'), NONE],
    ['other signs', cookie('CF.Authorization=a.b.c; CF-Authorization=a.b.c; CF%5fAuthorization=a.b.c'), NONE],
    ['a longer name', cookie('CF_AuthorizationX=a.b.c; XCF_Authorization=a.b.c'), NONE],
    ['space before the sign', cookie('CF_Authorization =a.b.c'), NONE],
    ['a quoted name', cookie('"CF_Authorization"=a.b.c'), NONE],
    ['within another value', cookie('x="CF_Authorization=a.b.c"'), NONE],
    ['a field by underscores', ['cf_access_token', 'a.b.c'], NONE],
    ['a field that says cookie otherwise', ['Cookie2', 'CF_Authorization=a.b.c'], NONE],
  ])('%s', (_, rawHeaders, expected) => {
    expect(presentedTokens(rawHeaders)).toEqual(expected)
  })
  test.each([
    ['a=b; ', NONE],
    [' ', NONE],
    [';', NONE],
    ['CF_Authorization', NONE],
    ['CF_Authorization=; ', 'ambiguous'],
  ])('100 KB of %j', (filler, expected) => {
    expect(presentedTokens(cookie(filler.repeat(100_000 / filler.length)))).toEqual(expected)
  })
})

test('fields are found by name and nothing else', () => {
  expect(fieldsOf(['A', '1', 'b', 'A', 'a', '2'], 'a')).toEqual(['1', '2'])
})

const https = (path: string) => ({ https: { path, origin: 'http://127.0.0.1:1' } })
const chosen = (path: string) =>
  application({ ...https(path), cookie: { httpOnly: false, sameSite: 'none', path: true } })

describe('the cookie that is set', () => {
  test.each([
    [
      'an application that says nothing',
      application(),
      'CF_Authorization=a.b.c; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=60',
    ],
    [
      'one that chooses',
      chosen('/eng'),
      'CF_Authorization=a.b.c; Path=/eng; Secure; SameSite=None; Max-Age=60',
    ],
    [
      'strict',
      application({ cookie: { httpOnly: true, sameSite: 'strict', path: false } }),
      'CF_Authorization=a.b.c; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=60',
    ],
  ])('%s', (_, app, expected) => {
    expect(sessionCookie(app, 'a.b.c', 60)).toBe(expected)
  })
  test.each([
    ['/', '/'],
    ['/*', '/'],
    ['/eng', '/eng'],
    ['/eng/*', '/eng/'],
    ['/eng/exec*', '/eng/'],
    ['/foo*/bar', '/'],
    ['/a;Domain=evil.test', '/'],
    ['/a b', '/'],
    ['/caf\u00e9', '/'],
    ['/a\r\nSet-Cookie: x=y', '/'],
  ])('the path of %s is %s', (path, expected) => {
    expect(sessionCookie(chosen(path), 't', 1)).toContain(`; Path=${expected}; Secure`)
  })
  test('one that a client may not keep is not set', () => {
    expect(sessionCookie(application(), 'a'.repeat(4_096), 1)).toBeUndefined()
  })
})

test('it is forgotten where it may have been set', () => {
  const whole = 'CF_Authorization=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0'
  expect(forgettingCookies(undefined)).toEqual([whole])
  expect(forgettingCookies(application())).toEqual([whole])
  expect(forgettingCookies(chosen('/eng/*'))).toEqual([
    'CF_Authorization=; Path=/eng/; Secure; SameSite=None; Max-Age=0',
    'CF_Authorization=; Path=/; Secure; SameSite=None; Max-Age=0',
  ])
})
