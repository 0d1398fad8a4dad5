import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalTarget } from '#policy/target.ts'
import { cpuTime } from '../../support/cpu-time.ts'

const HOST = 'a.test:9443'

describe('targets that two parsers could read differently are refused', () => {
  const refused: readonly (readonly [why: string, target: string])[] = [
    // dot segments, raw and encoded, in every mixture
    ['dots', '/public/../admin'],
    ['dots at the end', '/public/..'],
    ['dots at the start', '/../admin'],
    ['one dot', '/public/./admin'],
    ['one dot at the end', '/public/.'],
    ['only dots', '/..'],
    ['encoded dots', '/public/%2e%2e/admin'],
    ['encoded dots, upper case', '/public/%2E%2E/admin'],
    ['half encoded dots', '/public/.%2e/admin'],
    ['half encoded dots, the other half', '/public/%2e./admin'],
    ['one encoded dot', '/public/%2e/admin'],
    ['dots before a query', '/public/..?x=1'],
    ['dots with a parameter (Tomcat)', '/public/..;/admin'],
    ['dots with a parameter and a value', '/public/..;jsessionid=1/admin'],
    ['dots with an encoded semicolon', '/public/..%3b/admin'],
    ['a dot with a parameter', '/public/.;x/admin'],
    ['three dots (Windows)', '/public/.../admin'],
    ['dots and a space (Windows)', '/public/..%20/admin'],
    ['a space and dots', '/public/%20../admin'],
    ['dots before an encoded query', '/public/..%3fx'],
    ['dots before an encoded fragment', '/public/.%23'],
    ['dots before an encoded query, behind an encoded slash', '/public%2f..%3fx'],
    // encoded separators
    ['encoded slash', '/public/..%2fadmin'],
    ['encoded slash, upper case', '/public/..%2Fadmin'],
    ['dots behind an encoded slash', '/public%2f..%2fadmin'],
    ['dots between an encoded slash and a parameter', '/public%2f..;x/admin'],
    ['a dot after an encoded slash at the end', '/public%2F.'],
    ['parameters only, behind an encoded slash', '/public%2f;x/admin'],
    ['a two-dot leader behind an encoded slash', '/public%2F%E2%80%A5/admin'],
    ['half a character before an encoded slash', '/a%e2%82%2f'],
    ['encoded backslash', '/public/..%5cadmin'],
    ['encoded backslash, upper case', '/public%5Cadmin'],
    ['backslash', '/public\\..\\admin'],
    ['backslash at the start', '\\admin'],
    ['backslash in the query', '/a?b=\\c'],
    // encoded twice, or so that decoding once makes an escape
    ['double-encoded dots', '/public/%252e%252e/admin'],
    ['double-encoded slash', '/public%252fadmin'],
    ['triple-encoded slash', '/public%25252fadmin'],
    ['percent sign whose digits are encoded', '/public/%25%32%65%25%32%65/admin'],
    ['percent sign before digits', '/public/%2541'],
    // empty segments
    ['two slashes', '//admin'],
    ['two slashes inside', '/public//admin'],
    ['two slashes at the end', '/public//'],
    ['a segment of parameters only', '/public/;x=1/admin'],
    ['the same, first', '/;/admin'],
    // characters
    ['NUL', '/public%00'],
    ['NUL after an extension', '/public.html%00.png'],
    ['encoded CR LF', '/a%0d%0aX-Injected:%20yes'],
    ['encoded LF, upper case', '/a%0A'],
    ['encoded tab', '/a%09b'],
    ['encoded DEL', '/a%7fb'],
    ['encoded C1 control', '/a%C2%85b'],
    ['raw control', '/a\u0001b'],
    ['raw space', '/a b'],
    ['raw DEL', '/a\u007f'],
    ['raw latin-1', '/caf\u00e9'],
    ['raw latin-1 in the query', '/a?b=caf\u00e9'],
    ['double quote', '/a"b'],
    ['angle bracket', '/<script>'],
    ['brace', '/{a}'],
    ['bar', '/a|b'],
    ['caret', '/a^b'],
    ['backtick', '/a`b'],
    ['square bracket', '/a[1]'],
    // percent-encoding
    ['lone percent', '/100%'],
    ['percent and one digit', '/a%4'],
    ['percent and letters', '/a%zz'],
    ['percent and one hex', '/a%2g'],
    ['IIS %u', '/public/%u002e%u002e/admin'],
    ['broken in the query', '/a?b=%zz'],
    ['lone percent in the query', '/a?b=100%'],
    // text
    ['overlong dot', '/public/%c0%ae%c0%ae/admin'],
    ['overlong slash', '/public%c0%afadmin'],
    ['overlong, three bytes', '/public%e0%80%afadmin'],
    ['half a character', '/a%e2%82'],
    ['lone surrogate', '/a%ed%a0%80'],
    ['full-width slash', '/public%EF%BC%8Fadmin'],
    ['full-width dots', '/public/%EF%BC%8E%EF%BC%8E/admin'],
    ['two-dot leader', '/public/%E2%80%A5/admin'],
    ['full-width percent', '/public%EF%BC%852f'],
    // forms
    ['fragment', '/a#b'],
    ['fragment in the query', '/a?b#c'],
    ['nothing', ''],
    ['asterisk', '*'],
    ['authority', 'a.test:443'],
    ['no slash', 'admin'],
    ['a query only', '?x'],
    ['another authority', 'https://b.test/a'],
    ['another port', 'https://a.test:1/a'],
    ['no port', 'https://a.test/a'],
    ['user information', 'https://user@a.test:9443/a'],
    ['plain http', 'http://a.test:9443/a'],
    ['another scheme', 'ftp://a.test:9443/a'],
    ['absolute with dots', 'https://a.test:9443/public/../admin'],
    ['absolute with two slashes', 'https://a.test:9443//admin'],
    ['too long', `/${'a'.repeat(8_192)}`],
    ['too long by its query', `/?${'a'.repeat(8_192)}`],
  ]
  test.each(refused)('%s', (_, target) => {
    expect(canonicalTarget(target, HOST)).toMatchObject({ ok: false, problem: expect.any(String) as string })
  })
  test('absolute-form without an authority to hold it against', () => {
    expect(canonicalTarget('https://a.test:9443/a').ok).toBe(false)
  })
})

describe('the canonical form', () => {
  const same = (target: string) => ({ forwarded: target, decoded: target })
  const rows: readonly (readonly [string, { forwarded: string; decoded: string; readings?: string[] }])[] = [
    ['/', same('/')],
    ['/alpha', same('/alpha')],
    ['/alpha/', same('/alpha/')],
    ['/a/b.c/d-e_f~g', same('/a/b.c/d-e_f~g')],
    ['/.well-known/x', same('/.well-known/x')],
    ['/a..b/..c/d.e', same('/a..b/..c/d.e')],
    ["/!$&'()*+,=:@", same("/!$&'()*+,=:@")],
    ['/%61dmin', { forwarded: '/admin', decoded: '/admin' }],
    ['/%7euser', { forwarded: '/~user', decoded: '/~user' }],
    ['/a%20b', { forwarded: '/a%20b', decoded: '/a b' }],
    ['/a%3ab', { forwarded: '/a%3Ab', decoded: '/a:b' }],
    ['/caf%c3%a9', { forwarded: '/caf%C3%A9', decoded: '/café' }],
    ['/a%3fb', { forwarded: '/a%3Fb', decoded: '/a?b', readings: ['/a'] }],
    ['/a%23', { forwarded: '/a%23', decoded: '/a#', readings: ['/a'] }],
    ['/x%3f/a%23b', { forwarded: '/x%3F/a%23b', decoded: '/x?/a#b', readings: ['/x'] }],
    ['/admin.', { forwarded: '/admin.', decoded: '/admin.', readings: ['/admin'] }],
    ['/admin%2e', { forwarded: '/admin.', decoded: '/admin.', readings: ['/admin'] }],
    ['/admin../x', { forwarded: '/admin../x', decoded: '/admin../x', readings: ['/admin/x'] }],
    ['/admin%20', { forwarded: '/admin%20', decoded: '/admin ', readings: ['/admin'] }],
    ['/a%20./b', { forwarded: '/a%20./b', decoded: '/a ./b', readings: ['/a/b'] }],
    ['/%20/a', { forwarded: '/%20/a', decoded: '/ /a', readings: ['//a', '/a'] }],
    ['/%20a', { forwarded: '/%20a', decoded: '/ a' }],
    ['/a.?b=c.', { forwarded: '/a.', decoded: '/a.', readings: ['/a'] }],
    ['/a.%3fx', { forwarded: '/a.%3Fx', decoded: '/a.?x', readings: ['/a.', '/a'] }],
    ['/a.;x', { forwarded: '/a.;x', decoded: '/a.;x', readings: ['/a.', '/a'] }],
    ['/a;x.', { forwarded: '/a;x.', decoded: '/a;x.', readings: ['/a;x', '/a'] }],
    ['/100%25', { forwarded: '/100%25', decoded: '/100%' }],
    ['/50%25off', { forwarded: '/50%25off', decoded: '/50%off' }],
    ['/map;layer=1/x', { forwarded: '/map;layer=1/x', decoded: '/map;layer=1/x', readings: ['/map/x'] }],
    ['/admin%3bx', { forwarded: '/admin%3Bx', decoded: '/admin;x', readings: ['/admin'] }],
    ['https://a.test:9443/a', same('/a')],
    ['HTTPS://A.TEST:9443/a', same('/a')],
    ['https://a.test:9443', same('/')],
  ]
  test.each(rows)('%s', (target, { forwarded, decoded, readings = [] }) => {
    const mark = target.indexOf('?')
    const query = mark === -1 ? '' : target.slice(mark)
    const found = canonicalTarget(target, HOST)
    expect({ ...found, readings: found.ok ? found.readings.toSorted() : [] }).toEqual({
      ok: true,
      path: forwarded,
      query,
      target: forwarded + query,
      decoded,
      encodedSlash: false,
      readings: readings.toSorted(),
    })
  })

  test.each<[string, forwarded: string, decoded: string, readings: readonly string[]]>([
    ['/public%2fadmin', '/public%2Fadmin', '/public%2Fadmin', ['/public/admin']],
    ['/a%2F%c3%a9', '/a%2F%C3%A9', '/a%2Fé', ['/a/é']],
    ['/x/%2fadmin', '/x/%2Fadmin', '/x/%2Fadmin', ['/x//admin', '/x/admin']],
    ['/x%2F', '/x%2F', '/x%2F', ['/x/']],
    ['/get/s3:%2f%2fb', '/get/s3:%2F%2Fb', '/get/s3:%2F%2Fb', ['/get/s3://b', '/get/s3:/b']],
    ['/a%2Fb%3fc', '/a%2Fb%3Fc', '/a%2Fb?c', ['/a%2Fb', '/a/b?c', '/a/b']],
    ['/a.%2Fb', '/a.%2Fb', '/a.%2Fb', ['/a./b', '/a/b']],
    ['/a;x%2Fb/c', '/a;x%2Fb/c', '/a;x%2Fb/c', ['/a/c', '/a;x/b/c', '/a/b/c']],
  ])('an encoded slash stays one, and every reading is told: %s', (target, forwarded, decoded, readings) => {
    const found = canonicalTarget(target)
    expect({ ...found, readings: found.ok ? found.readings.toSorted() : [] }).toEqual({
      ok: true,
      path: forwarded,
      query: '',
      target: forwarded,
      decoded,
      encodedSlash: true,
      readings: readings.toSorted(),
    })
  })

  const queries = [
    '/a?',
    '/a?b=c',
    '/a?b=../..&c=//',
    '/a?next=%2Fhome',
    '/a?b=%00',
    '/a?{x}|y',
    '/a?b?c',
    '/a?x=%2e',
  ]
  test.each(queries)('a query goes as it came: %s', (target) => {
    expect(canonicalTarget(target)).toMatchObject({ ok: true, path: '/a', target })
  })

  test('absolute-form with a query and no path', () => {
    expect(canonicalTarget('https://a.test:9443?x=1', HOST)).toMatchObject({
      ok: true,
      path: '/',
      query: '?x=1',
    })
  })
  test('as long as may be', () => {
    expect(canonicalTarget(`/${'a'.repeat(8_191)}`).ok).toBe(true)
  })
})

describe('whatever comes', () => {
  const piece = fc.constantFrom(
    '/',
    '.',
    '..',
    '%2e',
    '%2E',
    '%25',
    '%2f',
    '%5c',
    '%00',
    ';',
    '%3b',
    '%3f',
    '%23',
    '%20',
    'a',
    'admin',
    '?',
    '#',
    '\\',
    '%41',
    '%',
  )
  const anything = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((parts) => `/${parts.join('')}`),
    fc.string({ maxLength: 40 }).map((text) => `/${text}`),
  )
  test('what passes is canonical already, and has no reading with a dot segment, an empty one or a separator in it', () => {
    fc.assert(
      fc.property(anything, (target) => {
        const once = canonicalTarget(target)
        if (!once.ok) return
        expect(canonicalTarget(once.target)).toEqual(once)
        // nothing may be left of a segment but spaces, and then the merged slashes are a reading too
        const mayBeEmpty = once.encodedSlash || /\/ +(?:[;/]|$)/.test(once.decoded)
        for (const reading of [once.path, once.decoded, ...once.readings, decodeURIComponent(once.path)]) {
          expect(reading).not.toMatch(mayBeEmpty ? /\\|\/\.{1,2}(?:\/|$)/ : /\/\/|\\|\/\.{1,2}(?:\/|$)/)
          // eslint-disable-next-line no-control-regex
          expect(reading).not.toMatch(/[\u0000-\u001f\u007f]/)
        }
        for (const reading of once.readings)
          expect([once.decoded, ...once.readings]).toContain(reading.replace(/\/{2,}/g, '/'))
        expect(new URL(`http://x${once.target}`).pathname).toBe(once.path)
      }),
      { numRuns: 2_000 },
    )
  })
  test('it takes no longer for a hostile one', () => {
    for (const hostile of [
      `/${'a/'.repeat(4_000)}%`,
      `/${'%2e'.repeat(2_700)}`,
      `/${';'.repeat(8_000)}`,
      `/${'a.'.repeat(4_000)}!"`,
      `/${'.'.repeat(8_000)}a!`,
      `/a%2fb;x.%3fc/${'%e3%81%82./'.repeat(700)}`,
    ])
      expect(cpuTime(() => canonicalTarget(hostile))).toBeLessThan(200)
  })
})
