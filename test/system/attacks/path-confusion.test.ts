/**
 * A corpus of request targets, generated, against two applications of which the stricter one has `/admin`: whatever the wide one lets through
 * reaches nothing under `/admin`, at an nginx and at a Node origin that reads paths in every way that origins do.
 * Hand-picked targets: doors/origin.ts.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join, posix, win32 } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import type { TestLeaf } from '../../support/pki.ts'
import { foreignProcess, type ForeignProcess } from '../../support/foreign-process.ts'
import { freePort } from '../../support/free-port.ts'
import { program } from '../../support/programs.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { each, get, openSites, say, textOf } from './door/target.ts'

const nginx = program('nginx')
const folder = temporaryFolder()
let door: DoorHarness
let lamp: TestLeaf
let served: ForeignProcess | undefined
let nginxUrl = ''

/** As its own documentation sets it up: a location of its own, an alias, files, a rewritten upstream. */
const nginxConf = (port: number, at: string): string => `
${process.getuid?.() === 0 ? 'user root; ' : ''}daemon off; master_process off; pid ${at}/nginx.pid; error_log ${at}/error.log;
events { worker_connections 256; }
http {
  access_log off; default_type text/plain; keepalive_requests 100000; large_client_header_buffers 4 32k;
  client_body_temp_path ${at}/b; proxy_temp_path ${at}/p; fastcgi_temp_path ${at}/f; uwsgi_temp_path ${at}/u; scgi_temp_path ${at}/s;
  server {
    listen 127.0.0.1:${port} default_server;
    location / { return 200 "public\\n"; }
    location = /admin { return 200 "ADMIN location\\n"; }
    location /admin/ { return 200 "ADMIN location\\n"; }
    location /files/ { alias ${at}/www/public/; }
    location = /exact { return 200 "public\\n"; }
  }
  server {
    listen 127.0.0.1:${port}; server_name static.test;
    root ${at}/www; error_page 404 =200 /public.txt;
  }
}
`
const startNginx = async (): Promise<void> => {
  const port = await freePort()
  for (const dir of ['www/admin', 'www/public', 'www/x'])
    mkdirSync(join(folder.path, dir), { recursive: true })
  for (const file of ['admin/secret', 'admin/index.html'])
    writeFileSync(join(folder.path, 'www', file), 'ADMIN file\n')
  writeFileSync(join(folder.path, 'www/public.txt'), 'public\n')
  writeFileSync(join(folder.path, 'nginx.conf'), nginxConf(port, folder.path))
  served = foreignProcess(nginx as string, ['-p', folder.path, '-c', join(folder.path, 'nginx.conf')])
  served.start()
  nginxUrl = `http://127.0.0.1:${port}`
  await vi.waitFor(async () => void (await fetch(nginxUrl)), { timeout: 5_000, interval: 20 })
}

beforeAll(async () => {
  if (nginx !== undefined) await startNginx()
  door = await openDoorHarness()
  lamp = await door.device('lamp-1')
  const site = (name: string, origin: string, encodedSlashes: boolean) => [
    { name, hostnames: [`${name}.test`], https: { path: '/*', origin, encodedSlashes } },
    {
      name: `${name}-admin`,
      hostnames: [`${name}.test`],
      https: { path: '/admin', origin, encodedSlashes },
      policies: ['boss'],
    },
    // the same place by the other spelling of the pattern, for what is below it
    {
      name: `${name}-below`,
      hostnames: [`${name}.test`],
      https: { path: '/admin/*', origin, encodedSlashes },
      policies: ['boss'],
    },
  ]
  await openSites(door, {
    hostnames: ['node.test', 'slashes.test', 'nginx.test', 'static.test', 'nginx-slashes.test'],
    policies: [{ name: 'boss', include: [{ common_name: { common_name: 'boss-1' } }] }],
    sites: [
      ...site('node', door.origin.url, false),
      ...site('slashes', door.origin.url, true),
      ...(nginx === undefined
        ? ['nginx', 'static', 'nginx-slashes'].map((name) => ({ name, hostnames: [`${name}.test`] }))
        : [
            ...site('nginx', nginxUrl, false),
            ...site('static', nginxUrl, false),
            ...site('nginx-slashes', nginxUrl, true),
          ]),
    ],
  })
})
afterAll(async () => {
  await door[Symbol.asyncDispose]()
  await served?.[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})
beforeEach(() => {
  door.origin.seen.length = 0
})

// ---- the corpus

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
for (const target of [
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
])
  corpus.add(target)

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
const ODD_READINGS: typeof READINGS = {
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
const findsAdmin = (target: string, readings = READINGS): string[] =>
  Object.entries(readings).flatMap(([name, read]) => {
    try {
      return /^\/admin(\/|$)/.test(read(target).replaceAll(/\/+/g, '/')) ? [name] : []
    } catch {
      return []
    }
  })

const sendTo = async (host: string, template: string): Promise<{ status: number; body: string }> => {
  const target = template.replaceAll('HOST', host)
  const heard = await say(door, textOf(target, { host }), { host, who: lamp })
  return { status: heard.status, body: heard.body }
}

/** What the wide application of a host let through, by target. */
const admitted = async (host: string, targets: readonly string[]): Promise<Map<string, string>> => {
  const through = new Map<string, string>()
  const odd: Record<string, number> = {}
  await each(
    targets,
    async (target) => {
      const { status, body } = await sendTo(host, target)
      if (status === 200) through.set(target, body)
      else if (![301, 400, 403, 404, 414, 421, 431].includes(status)) odd[target.slice(0, 80)] = status
    },
    16,
  )
  expect(odd).toEqual({})
  return through
}

/** Half a minute for all of them, which found nothing more: every so many, and those that were made by hand. */
const all = [...corpus]
const slice = (of: number): string[] => all.filter((_, at) => at % of === 0 || at >= all.length - 46)
const EVERY = 9

test(`the corpus is ${all.length} targets, and most are refused`, () => {
  expect(all.length).toBeGreaterThan(1_500)
})

let through: Map<string, string>
test('a Node origin: no reading of what was let through is below /admin', async () => {
  through = await admitted('node.test', slice(EVERY))
  const found: Record<string, string[]> = {}
  for (const { target } of door.origin.seen) {
    const readings = findsAdmin(target)
    if (readings.length > 0) found[target] = readings
  }
  expect(found).toEqual({})
  expect(through.size).toBe(door.origin.seen.length)
  // not because it lets nothing through
  expect(through.size).toBeGreaterThan(20)
})

test('… nor with encoded slashes allowed', async () => {
  const sent = await admitted('slashes.test', [
    ...through.keys(),
    ...slice(EVERY).filter((target) => /%2f/i.test(target)),
  ])
  const found: Record<string, string[]> = {}
  for (const { target } of door.origin.seen) {
    const readings = findsAdmin(target)
    if (readings.length > 0) found[target] = readings
  }
  expect(found).toEqual({})
  expect(sent.size).toBeGreaterThan(0)
})

test('nor one by a reading that is odd, and yet some origin’s: /admin. and /admin%20 on Windows, /admin%3fx behind a rewriter', async () => {
  const targets = ['.', '%2e', '..', '%20', '.%20', '%20.', '%3f', '%3fx', '%23', '%23x'].flatMap((end) =>
    ['', '/', '/secret'].map((rest) => `/admin${end}${rest}`),
  )
  const sent = await admitted('node.test', [...targets, '/%20/admin', '/x%20/..%20/admin/secret'])
  expect([...sent.keys()].filter((target) => findsAdmin(target, ODD_READINGS).length > 0)).toEqual([])
})

describe.skipIf(nginx === undefined)('nginx', () => {
  test.each(['nginx.test', 'static.test', 'nginx-slashes.test'])(
    '%s: nothing that was let through is under /admin',
    async (host) => {
      // what the door refused at the Node origin it refuses here: the verdict does not know the origin
      const sent =
        host === 'nginx-slashes.test'
          ? [...through.keys(), ...slice(EVERY).filter((target) => /%2f/i.test(target))]
          : [...through.keys()]
      const answers = await admitted(host, sent)
      expect([...answers].filter(([, body]) => body.includes('ADMIN'))).toEqual([])
      expect([...answers.values()].filter((body) => body.includes('public')).length).toBeGreaterThan(10)
    },
  )
  test('and it has such content, at many of these spellings', async () => {
    const found = await Promise.all(
      [
        '/admin/secret',
        '/x/../admin/secret',
        '/%61dmin/secret',
        '/x/..%2fadmin/secret',
        '//admin/secret',
      ].map(async (path) => {
        const { promise, resolve } = Promise.withResolvers<string>()
        const { connect } = await import('node:net')
        let text = ''
        const socket = connect(Number(new URL(nginxUrl).port), '127.0.0.1', () =>
          socket.write(`GET ${path} HTTP/1.1\r\nHost: nginx.test\r\nConnection: close\r\n\r\n`),
        )
        socket.on('data', (chunk) => (text += String(chunk))).on('close', () => resolve(text))
        return promise
      }),
    )
    for (const text of found) expect(text).toContain('ADMIN')
  })
})

test('the boss, by the plain spelling, gets there: the corpus aims at something', async () => {
  const boss = await door.device('boss-1')
  for (const host of ['node.test', ...(nginx === undefined ? [] : ['nginx.test', 'static.test'])]) {
    const heard = await get(door, '/admin/secret', { host, who: boss })
    expect([host, heard.status]).toEqual([host, 200])
    if (host !== 'node.test') expect(heard.body).toContain('ADMIN')
  }
  expect((await get(door, '/admin/secret', { host: 'node.test', who: lamp })).reason).toBe('policy_denied')
})
