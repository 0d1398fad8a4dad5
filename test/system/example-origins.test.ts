/**
 * The origins that users copy, as their READMEs start them, behind a door: `examples/origin-jose`, which verifies the assertion, and
 * `examples/origin-nginx`, which believes headers. Every claim of an assertion: test/unit/examples/origin-jose.test.ts.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { request, type RequestOptions } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { createAssertionKeys } from '#enroll/assertion-keys.ts'
import { DAY, systemClock } from '#fleet/clock.ts'
import { createLog } from '#runtime/log.ts'
import { readSecretKey } from '#runtime/secrets.ts'
import { CHECKOUT, cleanEnvironment } from '../support/fleet.ts'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import type { TestLeaf } from '../support/pki.ts'
import { program } from '../support/programs.ts'
import { requestText } from '../support/raw-https.ts'
import { ACTOR, freshHex } from '../support/registry.ts'
import { temporaryFolder } from '../support/temporary.ts'

const HOST = 'localhost'
const nginx = program('nginx')

const opened = new AsyncDisposableStack()
let door: DoorHarness
let lamp: TestLeaf
/** where the jose origin listens */
let jose: string
let folder: string

type Starting = { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> }
/** Ends with the tests. */
const start = (file: string, args: readonly string[], { cwd = folder, env }: Starting = {}) => {
  const child = spawn(file, args, {
    cwd,
    env: { ...cleanEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const gone = once(child, 'exit')
  opened.defer(async () => {
    child.kill()
    await gone
  })
  return child
}

beforeAll(async () => {
  folder = opened.use(temporaryFolder()).path
  door = opened.use(await openDoorHarness())
  lamp = await door.device('lamp-1')
  await door.putAnchor({ hostnames: [HOST] })
  const certs = `https://${HOST}:${door.port}`
  writeFileSync(join(folder, 'root.pem'), door.pki.root.pem)
  const audience = door.registry.access().applications[0]?.id ?? ''
  const child = start(
    process.execPath,
    [join(CHECKOUT, 'examples/origin-jose/main.ts'), '--gateway', certs, '--audience', audience],
    { env: { NODE_EXTRA_CA_CERTS: join(folder, 'root.pem') } },
  )
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  jose = line.toString().trim()
  await putJose(jose)
  const other = { name: 'other', id: freshHex(32), hostnames: [HOST] }
  await door.putApplication({ ...other, https: { path: '/other/*', origin: door.origin.url } })
})
afterAll(() => opened.disposeAsync())

const putJose = (origin: string): Promise<void> =>
  door.putApplication({ hostnames: [HOST], https: { path: '/jose/*', origin } })

const authority = (): string => `${HOST}:${door.port}`
const through = (path: string, leaf?: TestLeaf, headers: readonly string[] = []) =>
  door.say(requestText(path, { host: authority(), headers }), leaf, { serverName: HOST })

/** Past the gateway. */
const direct = async (o: RequestOptions): Promise<{ status: number | undefined; body: unknown }> => {
  const asking = request({ ...o, headers: { host: authority(), ...(o.headers as Record<string, string>) } })
  asking.end()
  const [response] = (await once(asking, 'response')) as [NodeJS.ReadableStream & { statusCode?: number }]
  return { status: response.statusCode, body: JSON.parse(await text(response)) as unknown }
}
const caller = (leaf: TestLeaf) => ({
  caller: { kind: 'device', id: leaf.id, certificate: leaf.facts.fingerprint },
})

/** What a client may try to say in the gateway's name, in spellings that some program takes for it. */
const forged = (): string[] =>
  [
    'Cf-Client-Cert-Sha256',
    'Cf_Client_Cert_Sha256',
    'X-Forwarded-Client-Cert',
    'X_Forwarded_Client_Cert',
  ].map((name) => `${name}: ${'0'.repeat(64)}`)

describe('the origin that verifies', () => {
  /** An assertion that the gateway made for `path`, and that no origin of ours has seen. */
  const captured = async (path: string): Promise<string> => {
    door.origin.seen.length = 0
    await putJose(door.origin.url)
    expect((await through(path, lamp)).status).toBe(200)
    await putJose(jose)
    return door.origin.seen[0]?.headers['cf-access-jwt-assertion']?.[0] ?? ''
  }
  type Saying = { readonly path?: string; readonly method?: string; readonly certificate?: string }
  const say = (assertion: string | undefined, o: Saying = {}) => {
    const { path = '/jose/a', method = 'GET', certificate = lamp.facts.fingerprint } = o
    const { hostname, port } = new URL(jose)
    const headers = {
      'cf-client-cert-sha256': certificate,
      ...(assertion === undefined ? {} : { 'cf-access-jwt-assertion': assertion }),
    }
    return direct({ hostname, port, path, method, headers })
  }

  test('through the gateway: who called, whatever the client says', async () => {
    const plain = await through('/jose/a%20b?c=1', lamp)
    expect([plain.status, JSON.parse(plain.body)]).toEqual([200, caller(lamp)])
    const lines = [...forged(), 'Cf-Access-Jwt-Assertion: x.y.z']
    expect(JSON.parse((await through('/jose/a', lamp, lines)).body)).toEqual(caller(lamp))
    expect(await through('/jose/a')).toMatchObject({ status: 403 })
  })
  test('directly: nobody, without an assertion or with one for something else', async () => {
    const mine = await captured('/jose/a')
    const others = await captured('/other/a')
    const [head, , signature] = mine.split('.')
    const [, claims] = others.split('.')
    for (const [why, answer] of [
      ['headers only', say(undefined)],
      ['another audience', say(others, { path: '/other/a' })],
      ['another path', say(mine, { path: '/jose/b' })],
      ['another method', say(mine, { method: 'DELETE' })],
      ['another certificate', say(mine, { certificate: freshHex(32) })],
      ['other claims', say(`${head}.${claims}.${signature}`)],
    ] as const)
      expect([why, await answer]).toEqual([why, { status: 401, body: { problem: expect.any(String) } }])
  })
  test('an assertion is good once', async () => {
    const assertion = await captured('/jose/a')
    expect(await say(assertion)).toEqual({ status: 200, body: caller(lamp) })
    expect(await say(assertion)).toEqual({ status: 401, body: { problem: 'the assertion was used before' } })
  })
  test('a new key is fetched, and what a discarded one has signed is refused', async () => {
    const old = await captured('/jose/a')
    const before = door.core.keys.published()
    const keys = createAssertionKeys({
      registry: door.registry,
      clock: systemClock,
      sealingKey: readSecretKey(door.config.secrets.key_file),
      algorithm: 'EdDSA',
      life: 42 * DAY,
      overlap: 7 * DAY,
      log: createLog('enroll', 'silent'),
    })
    await keys.rotate({ discard: true }, ACTOR)
    await vi.waitFor(() => expect(door.core.keys.published()).not.toBe(before), { interval: 10 })
    // it looks again once a second
    await vi.waitFor(async () => expect((await through('/jose/a', lamp)).status).toBe(200), {
      timeout: 10_000,
      interval: 50,
    })
    expect(await say(old)).toEqual({ status: 401, body: { problem: 'ERR_JWKS_NO_MATCHING_KEY' } })
  })
})

describe.skipIf(nginx === undefined)('the origin that believes headers', () => {
  let home: string
  const say = (headers: Readonly<Record<string, string>> = {}) =>
    direct({ socketPath: join(home, 'origin.sock'), path: '/nginx/a', headers })
  const refused = {
    status: 403,
    body: { problem: 'this did not come through the gateway, or not from a device' },
  }

  beforeAll(async () => {
    home = join(folder, 'nginx')
    mkdirSync(home, { mode: 0o700 })
    const conf = join(CHECKOUT, 'examples/origin-nginx/nginx.conf')
    start(nginx as string, ['-e', 'stderr', '-p', `${home}/`, '-c', conf, '-g', 'daemon off;'], { cwd: home })
    await door.putPolicy({ name: 'own-devices', require: [{ anchor: { name: 'development' } }] })
    await door.putApplication({
      name: 'nginx',
      id: freshHex(32),
      hostnames: [HOST],
      https: {
        path: '/nginx/*',
        origin: `unix:${join(home, 'origin.sock')}`,
        forward: ['cloudflare', 'xfcc'],
      },
      policies: ['own-devices'],
    })
    await vi.waitFor(() => say(), { timeout: 10_000, interval: 10 })
  })

  test('through the gateway: which device, whatever the client says, and a line about it', async () => {
    const plain = await through('/nginx/a?secret=1', lamp)
    expect([plain.status, JSON.parse(plain.body)]).toEqual([200, caller(lamp)])
    expect(JSON.parse((await through('/nginx/a', lamp, forged())).body)).toEqual(caller(lamp))
    expect(await through('/nginx/a', undefined, forged())).toMatchObject({ status: 403 })
    await vi.waitFor(() => {
      const lines = readFileSync(join(home, 'callers.log'), 'utf8').trim().split('\n')
      expect(lines.map((line) => JSON.parse(line) as unknown)).toContainEqual({
        time: expect.any(String),
        device: 'lamp-1',
        certificate: lamp.facts.fingerprint,
        method: 'GET',
        path: '/nginx/a',
        status: 200,
      })
    })
  })
  test("another CA's certificate with a device's URI in it does not come this far, for the policy asks for our anchor", async () => {
    const { other } = door.pki
    await door.putAnchor({ name: 'partner', hostnames: [HOST], pem: other.devices.pem + other.root.pem })
    const guest = await door.device('lamp-1', { by: other.devices, registered: false })
    expect(JSON.parse((await through('/nginx/a', guest)).body)).toMatchObject({ reason: 'policy_denied' })
    // where the policy lets it in, the assertion says what it is
    expect(JSON.parse((await through('/jose/a', guest)).body)).toEqual({
      caller: { kind: 'foreign', id: 'partner/lamp-1', certificate: guest.facts.fingerprint },
    })
  })

  const hash = 'c1'.repeat(32)
  const uri = 'URI=urn:sallyport:device:lamp-1'
  const xfcc = (over: { hash?: string; subject?: string; rest?: string } = {}): string =>
    `By=https://localhost;Hash=${over.hash ?? hash};Subject="${over.subject ?? 'CN=lamp-1'}";${over.rest ?? uri}`
  test.each<[string, Record<string, string>]>([
    ['nothing', {}],
    ['an assertion', { 'cf-access-jwt-assertion': 'x.y.z' }],
    ['no fingerprint', { 'x-forwarded-client-cert': xfcc() }],
    ['nothing but a fingerprint', { 'cf-client-cert-sha256': hash }],
    ['underscores', { cf_client_cert_sha256: hash, x_forwarded_client_cert: xfcc() }],
    ['one field with underscores', { cf_client_cert_sha256: hash, 'x-forwarded-client-cert': xfcc() }],
    [
      'no fingerprint, only something like it',
      { 'cf-client-cert-sha256': 'x', 'x-forwarded-client-cert': xfcc({ hash: 'x' }) },
    ],
    [
      'two certificates',
      { 'cf-client-cert-sha256': hash, 'x-forwarded-client-cert': xfcc({ hash: 'd2'.repeat(32) }) },
    ],
    [
      'two URIs',
      { 'cf-client-cert-sha256': hash, 'x-forwarded-client-cert': xfcc({ rest: `${uri};${uri}` }) },
    ],
    [
      'two elements',
      {
        'cf-client-cert-sha256': hash,
        'x-forwarded-client-cert': `${xfcc({ rest: 'URI=urn:x' })},${xfcc()}`,
      },
    ],
    [
      'a URI within the subject',
      {
        'cf-client-cert-sha256': hash,
        'x-forwarded-client-cert': xfcc({ subject: `CN=";${uri}`, rest: 'DNS=x' }),
      },
    ],
  ])('directly, with %s: refused', async (_, headers) => {
    expect(await say(headers)).toEqual(refused)
  })
  test('what the gateway would say is believed of everybody: only the folder keeps them out', async () => {
    const headers = { 'cf-client-cert-sha256': hash, 'x-forwarded-client-cert': xfcc() }
    expect(await say(headers)).toMatchObject({ status: 200 })
    expect(statSync(join(home, 'origin.sock')).mode & 0o777).toBe(0o666)
  })
})
