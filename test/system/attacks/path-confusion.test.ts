/**
 * A corpus of request targets, generated, against two applications of which the stricter one has `/admin`: whatever the wide one lets through
 * reaches nothing under `/admin`, at an nginx and at a Node origin that reads paths in every way that origins do.
 * Hand-picked targets: doors/origin.ts.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { compileAccess } from '#policy/access.ts'
import { admit } from '#policy/admission.ts'
import { isOwnPath, ownPathOf } from '#policy/forwarded.ts'
import { canonicalTarget } from '#policy/target.ts'
import { NOON, ours, peerFacts } from '../../support/admission.ts'
import { openDoorHarness, type DoorHarness } from '../../support/https-door.ts'
import type { TestLeaf } from '../../support/pki.ts'
import { foreignProcess, type ForeignProcess } from '../../support/foreign-process.ts'
import { freePort } from '../../support/free-port.ts'
import { program } from '../../support/programs.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { speak } from './attacker.ts'
import { findsAdmin, HAND_MADE, ODD_READINGS, TARGETS } from './door/path-corpus.ts'
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

/**
 * What reaches an origin of a target, by the verdict alone and without a socket; undefined: nothing. Everything about the client is good, so
 * only the target decides.
 */
const createJudge = (host: string): ((template: string) => string | undefined) => {
  const access = compileAccess(door.registry.access())
  const peer = peerFacts({ serverName: host })
  return (template) => {
    const read = canonicalTarget(template.replaceAll('HOST', host), host)
    if (!read.ok || isOwnPath(ownPathOf(read))) return undefined
    const { allow } = admit({
      now: NOON,
      peer,
      ask: { door: 'https', host, method: 'GET', target: read.target },
      credentials: { serviceToken: () => ({ kind: 'absent' }), session: () => ({ kind: 'absent' }) },
      registry: { access, standing: ours() },
    })
    return allow ? read.target : undefined
  }
}

/** @returns by what reached an origin: the readings by which it is below /admin */
const foundIn = (targets: readonly string[]): Record<string, readonly string[]> =>
  Object.fromEntries(
    targets
      .map((target) => [target, [...findsAdmin(target), ...findsAdmin(target, ODD_READINGS)]] as const)
      .filter(([, readings]) => readings.length > 0),
  )

/** Through sockets, which take half a minute for all of them, goes every so many, and those that were made by hand. */
const EVERY = 9
const sample = TARGETS.filter((target, at) => at % EVERY === 0 || HAND_MADE.includes(target))
const slashed = (targets: readonly string[]): string[] => targets.filter((target) => /%2f/i.test(target))

test.each(['node.test', 'slashes.test'])(
  `%s: of all ${TARGETS.length} targets none that the verdict lets through is below /admin by any reading`,
  (host) => {
    const judge = createJudge(host)
    const through = TARGETS.flatMap((target) => judge(target) ?? [])
    expect(foundIn(through)).toEqual({})
    // most are refused, and not because nothing is let through
    expect(TARGETS.length).toBeGreaterThan(1_500)
    expect(through.length).toBeGreaterThan(100)
  },
)

let through: Map<string, string>
test(`a Node origin, and ${sample.length} of them through sockets: the door lets through what the verdict does`, async () => {
  through = await admitted('node.test', sample)
  const judge = createJudge('node.test')
  expect([...through.keys()].toSorted()).toEqual(
    sample.filter((target) => judge(target) !== undefined).toSorted(),
  )
  const seen = door.origin.seen.map(({ target }) => target)
  expect(foundIn(seen)).toEqual({})
  expect(seen.toSorted()).toEqual([...through.keys()].flatMap((target) => judge(target) ?? []).toSorted())
  expect(through.size).toBeGreaterThan(20)
})

test('… nor with encoded slashes allowed', async () => {
  const sent = await admitted('slashes.test', [...through.keys(), ...slashed(sample)])
  expect(foundIn(door.origin.seen.map(({ target }) => target))).toEqual({})
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
        host === 'nginx-slashes.test' ? [...through.keys(), ...slashed(sample)] : [...through.keys()]
      const answers = await admitted(host, sent)
      expect([...answers].filter(([, body]) => body.includes('ADMIN'))).toEqual([])
      expect([...answers.values()].filter((body) => body.includes('public')).length).toBeGreaterThan(10)
    },
  )
  /** As the door would forward it, over a connection of its own. */
  const served = async (host: string, targets: readonly string[]): Promise<Map<string, string>> => {
    const bodies = new Map<string, string>()
    await each(targets, async (target) => {
      bodies.set(target, (await speak(nginxUrl, textOf(target, { host }))).body)
    })
    return bodies
  }
  test.each(['nginx.test', 'static.test', 'nginx-slashes.test'])(
    '%s: nor is anything of the whole corpus that the verdict lets through',
    async (host) => {
      const judge = createJudge(host)
      const bodies = await served(host, [...new Set(TARGETS.flatMap((target) => judge(target) ?? []))])
      expect([...bodies].filter(([, body]) => body.includes('ADMIN'))).toEqual([])
      expect([...bodies.values()].filter((body) => body.includes('public')).length).toBeGreaterThan(100)
    },
  )
  test('and it has such content, at many of these spellings', async () => {
    const found = await served('nginx.test', [
      '/admin/secret',
      '/x/../admin/secret',
      '/%61dmin/secret',
      '/x/..%2fadmin/secret',
      '//admin/secret',
    ])
    for (const text of found.values()) expect(text).toContain('ADMIN')
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
