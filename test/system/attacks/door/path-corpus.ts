/**
 * Request targets, generated, that an origin may take for something below `/admin`, and the ways in which origins read a path. Not the verdict on
 * any: path-confusion.test.ts.
 */

import { posix, win32 } from 'node:path'

const DOTS = [
  '..',
  '%2e%2e',
  '%2E%2E',
  '.%2e',
  '%2E.',
  '..;',
  '..;x=y',
  '%2e%2e;',
  '..%3b',
  '%252e%252e',
  '.%252e',
  '..%20',
  '.. ',
  '..%09',
  '..%00',
  '%00..',
  '..%0a',
  '..%0d',
  '...',
  '....',
  '.',
  '%2e',
  '.;',
  '%c0%ae%c0%ae',
  '%c0%2e%c0%2e',
  '%e0%80%ae%e0%80%ae',
  '%f0%80%80%ae%f0%80%80%ae',
  '%ef%bc%8e%ef%bc%8e',
  '%u002e%u002e',
  '%%32%65%%32%65',
  '..%ff',
  '\u00c0\u00ae\u00c0\u00ae',
  '%e2%80%a5',
  '%e2%80%a4%e2%80%a4',
  '..?',
  '..#',
  '.+.',
  '%2e%2e%2e',
]
const SLASHES = [
  '/',
  '//',
  '///',
  '/./',
  '/;/',
  '/;x/',
  '/%20/',
  '%2f',
  '%2F',
  '%2f/',
  '/%2f',
  '%2f%2f',
  '\\',
  '/\\',
  '\\\\',
  '%5c',
  '%5C',
  '/%5c',
  '%252f',
  '%25%32%66',
  '%%32%66',
  '%255c',
  '%c0%af',
  '%e0%80%af',
  '%c1%9c',
  '%ef%bc%8f',
  '%ef%bc%bc',
  '%e2%88%95',
  '%e2%81%84',
  '%u002f',
  '%u2215',
  '\u00c0\u00af',
  '\u00ef\u00bc\u008f',
  '%0a',
  '%0d%0a',
  '%09',
  '%00',
  ':',
  '%3a',
]
const ADMINS = [
  'admin',
  '%61dmin',
  'adm%69n',
  'admi%6e',
  'admi%6E',
  '%61%64%6d%69%6e',
  '%2561dmin',
  '%25%36%31dmin',
  'admin;',
  'admin;x',
  'admin;x=y',
  'admin%3b',
  'admin%3bx',
  'admin%20',
  '%20admin',
  'admin%00',
  'admin%00x',
  '%00admin',
  'admin%0a',
  'admin%0d%0a',
  '%0aadmin',
  'admin%09',
  'admin%7f',
  'admin%ff',
  'admin%2e',
  'admin..',
  'admin.%00',
  'admin?',
  'admin#',
  'admin%3f',
  'admin%23',
  'admin%3fx',
  'admin\\',
  'admin%5c',
  'ad%min',
  'adm%6',
  'adm%ZZin',
  '%ef%bd%81dmin',
  '\u00ef\u00bd\u0081dmin',
  'a%cc%80dmin',
  'adm%c4%b1n',
  'admin%c2%ad',
  'ad%e2%80%8bmin',
  'ad%ef%bb%bfmin',
  'admin%c3',
  '%c1%a1dmin',
  '%u0061dmin',
  'admin"',
  'admin<',
  'admin|',
  'admin^',
  'admin`',
  'admin{',
  'admin*',
  'admin+',
  'admin~',
  'admin$',
  'admin&x',
  'admin=x',
  'admin,x',
  "admin'",
  'admin!',
  'admin(',
  'admin@',
]
const PREFIXES = [
  '',
  '/x',
  '/public',
  '/x/y',
  '/files',
  '/exact',
  '/cdn-cgi/access',
  '/x;y',
  '/x%20',
  '/.',
  '/%2e',
  '/~',
]
const corpus = new Set<string>()
for (const slash of SLASHES) {
  for (const admin of ['admin', '%61dmin', 'admin;x']) {
    corpus.add(`${slash}${admin}${slash}secret`)
    corpus.add(`/${admin}${slash}secret`)
    corpus.add(`/x${slash}..${slash}${admin}/secret`)
    corpus.add(`${slash}${admin}`)
  }
  for (const dots of DOTS) corpus.add(`/x${slash}${dots}${slash}admin/secret`)
  corpus.add(`/admin${slash}..${slash}admin${slash}secret`)
  corpus.add(`/files${slash}admin${slash}secret`)
}
for (const dots of DOTS)
  for (const prefix of PREFIXES) {
    corpus.add(`${prefix}/${dots}/admin/secret`)
    corpus.add(`${prefix}/y/${dots}/${dots}/admin`)
    corpus.add(`${prefix}${dots}/admin/`)
  }
for (const admin of ADMINS)
  for (const tail of ['', '/', '/secret', '/secret?x', '//secret', '/../admin/secret', '/.', '%2fsecret'])
    for (const prefix of ['/', '/x/../', '//', '/./']) corpus.add(`${prefix}${admin}${tail}`)
export const HAND_MADE: readonly string[] = [
  '/?/../admin/secret',
  '/x?/../../admin/secret',
  '/x#/../admin/secret',
  '/x%3f/../admin/secret',
  '/x%23/../admin/secret',
  '?/admin/secret',
  '#/admin/secret',
  '/x?x=/admin/secret',
  'admin/secret',
  './admin/secret',
  '../admin/secret',
  'x/../admin/secret',
  '*',
  '*/admin/secret',
  'HOST/admin/secret',
  'https://HOST/admin/secret',
  'https://HOST//admin/secret',
  'https://HOST/x/../admin/secret',
  'https://HOST/%61dmin/secret',
  'https://HOST?/../admin/secret',
  'https://HOST#/../admin/secret',
  'https://HOST\\admin\\secret',
  'https://HOST:443/admin/secret',
  'https://x@HOST/admin/secret',
  'http://HOST/admin/secret',
  'HTTPS://HOST/admin/secret',
  'https:///admin/secret',
  'https:/admin/secret',
  'https:admin/secret',
  '//HOST/admin/secret',
  '///HOST/admin/secret',
  '/\\HOST/admin/secret',
  '/https://HOST/admin/secret',
  'https://HOST/x/%2e%2e/admin/secret',
  'ws://HOST/admin/secret',
  'unix:/admin/secret',
  'file:///admin/secret',
  `/${'a/'.repeat(2_000)}${'../'.repeat(2_000)}admin/secret`,
  `/${'x'.repeat(7_900)}/../admin/secret`,
  `/${'x'.repeat(20_000)}/../admin/secret`,
  `/${'./'.repeat(3_000)}admin/secret`,
  `${'/'.repeat(3_000)}admin/secret`,
  `/${'%2e%2e/'.repeat(500)}admin/secret`,
  `/admin${'/'.repeat(3_000)}secret`,
  `/admin/secret${'x'.repeat(9_000)}`,
  `/admin;${'x'.repeat(9_000)}/secret`,
]
for (const target of HAND_MADE) corpus.add(target)

/** All of them. `HOST` stands for the hostname that is asked. */
export const TARGETS: readonly string[] = [...corpus]

/** Every way in which an origin is known to read a path, from the one that was sent. */
const fold = (text: string): string => {
  let path = text
  for (let before = ''; before !== path;) {
    before = path
    path = posix.normalize(path)
  }
  return path.startsWith('/') ? path : `/${path}`
}
const withoutQuery = (target: string): string => target.replace(/[?#].*$/s, '')
const latin = (text: string): string => unescape(text)
const READINGS: Readonly<Record<string, (target: string) => string>> = {
  raw: (t) => withoutQuery(t),
  'dots folded': (t) => fold(withoutQuery(t)),
  WHATWG: (t) => new URL(t, 'http://h').pathname,
  'WHATWG, decoded': (t) => decodeURIComponent(new URL(t, 'http://h').pathname),
  'decoded, then folded': (t) => fold(decodeURIComponent(withoutQuery(t))),
  'decoded octets, then folded': (t) => fold(latin(withoutQuery(t))),
  'decoded twice': (t) => fold(decodeURIComponent(decodeURIComponent(withoutQuery(t)))),
  'folded, then decoded': (t) => latin(fold(withoutQuery(t))),
  'without parameters': (t) => fold(latin(withoutQuery(t).replaceAll(/;[^/]*/g, ''))),
  'decoded, without parameters': (t) => fold(latin(withoutQuery(t)).replaceAll(/;[^/]*/g, '')),
  'of Windows': (t) => fold(win32.normalize(latin(withoutQuery(t))).replaceAll('\\', '/')),
  'up to NUL': (t) => fold(latin(withoutQuery(t)).split('\0')[0] ?? ''),
  'without control characters': (t) =>
    fold(
      latin(withoutQuery(t))
        .split('')
        .filter((c) => c > '\x1f' && c !== '\x7f')
        .join(''),
    ),
  'overlong UTF-8': (t) =>
    fold(
      latin(withoutQuery(t))
        .replaceAll(/[\xc0\xc1]([\x80-\xbf])/g, (c) =>
          String.fromCharCode(((c.charCodeAt(0) & 3) << 6) | (c.charCodeAt(1) & 0x3f)),
        )
        .replaceAll(/\xe0\x80([\x80-\xbf])/g, (c) => String.fromCharCode(c.charCodeAt(2) & 0x3f))
        .replaceAll('\\', '/'),
    ),
  '%u escapes': (t) =>
    fold(
      withoutQuery(t).replaceAll(/%u00(..)/gi, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      ),
    ),
  'NFKC, of separators and dots': (t) =>
    fold(
      decodeURIComponent(withoutQuery(t))
        .replaceAll(/[^\p{L}\p{N}]/gu, (c) => c.normalize('NFKC'))
        .replaceAll('\\', '/'),
    ),
}
/** Of file systems that drop dots and spaces at the end of a name, and of rewriters that decode first and look for the query then. */
export const ODD_READINGS: typeof READINGS = {
  'Windows drops dots and spaces': (t) =>
    fold(
      latin(withoutQuery(t))
        .split(/[/\\]/)
        .map((name) => (/^\.\.?$/.test(name) ? name : name.replace(/[. ]+$/, '')))
        .join('/'),
    ),
  'decoded before the query is cut': (t) => fold(withoutQuery(latin(t))),
}
/** @returns the readings by which this target is below /admin */
export const findsAdmin = (target: string, readings = READINGS): string[] =>
  Object.entries(readings).flatMap(([name, read]) => {
    try {
      return /^\/admin(\/|$)/.test(read(target).replaceAll(/\/+/g, '/')) ? [name] : []
    } catch {
      return []
    }
  })
