/** The example origin by itself: whom it believes, what it keeps, how it ends. Through the gateway it is in the other tests. */

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readRunFile } from '#runtime/run-file.ts'
import { CHECKOUT, cleanEnvironment, type Seen } from '../support/fleet.ts'
import { temporaryFolder } from '../support/temporary.ts'

const home = temporaryFolder()
const keys = await generateKeyPair('ES256')
const others = await generateKeyPair('ES256')
const rsa = await generateKeyPair('RS256')
const ed = await generateKeyPair('EdDSA')

const start = (args: readonly string[], ipc = false): ChildProcess =>
  spawn(process.execPath, [join(CHECKOUT, 'examples/origin/main.ts'), ...args], {
    env: { ...cleanEnvironment(), SALLYPORT_HOME: home.path },
    stdio: ['ignore', 'pipe', 'inherit', ...(ipc ? ['ipc' as const] : [])],
  })

type Urls = { readonly origin: string; readonly seen: string }

const urlsOf = async (child: ChildProcess): Promise<Urls> => {
  const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer]
  return JSON.parse(line.toString()) as Urls
}

const jwks = createServer((_, response) => {
  const published = [
    [keys, 'k', 'ES256'],
    [rsa, 'rsa', 'RS256'],
    [ed, 'ed', 'EdDSA'],
  ] as const
  void Promise.all(
    published.map(async ([pair, kid, alg]) => ({
      ...(await exportJWK(pair.publicKey)),
      kid,
      alg,
      use: 'sig',
    })),
  ).then((all) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ keys: all }))
  })
})
let origin: ChildProcess
let urls: Urls

beforeAll(async () => {
  await once(jwks.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(jwks.address() as AddressInfo).port}/certs`
  origin = start([
    '--jwks',
    url,
    '--audience',
    AUDIENCE,
    '--hostname',
    'gate.example',
    '--hostname',
    'b.example',
  ])
  urls = await urlsOf(origin)
})
afterAll(() => {
  origin.kill('SIGKILL')
  jwks.close()
  home[Symbol.dispose]()
})

type Claims = Readonly<Record<string, unknown>>

const AUDIENCE = 'a0'.repeat(32)

const good: Claims = {
  iss: 'https://gate.example',
  aud: [AUDIENCE],
  device_id: 'pump-7',
  common_name: 'pump-7',
  htm: 'GET',
  htu: 'https://gate.example:9443/a%20b',
}

type Signing = { key?: CryptoKey; alg?: string; kid?: string; typ?: string; life?: string }
const sign = (claims: Claims, o: Signing = {}): Promise<string> =>
  new SignJWT({ ...claims })
    .setProtectedHeader({ alg: o.alg ?? 'ES256', kid: o.kid ?? 'k', typ: o.typ ?? 'JWT' })
    .setIssuedAt()
    .setExpirationTime(o.life ?? '30s')
    .sign(o.key ?? keys.privateKey)

/** fetch would not let us say which host. */
const ask = async (
  base: string,
  assertion: string | undefined,
  o: { path?: string; method?: string; host?: string; body?: string } = {},
): Promise<{ status: number | undefined; text: string; body: Record<string, unknown> }> => {
  const asked = request(new URL(o.path ?? '/a%20b?c=1', base), {
    method: o.method ?? 'GET',
    headers: {
      host: o.host ?? 'GATE.example:9443',
      ...(assertion === undefined ? {} : { 'cf-access-jwt-assertion': assertion }),
    },
  })
  asked.end(o.body)
  const [response] = (await once(asked, 'response')) as [NodeJS.ReadableStream & { statusCode?: number }]
  const answer = await text(response)
  return { status: response.statusCode, text: answer, body: JSON.parse(answer) as Record<string, unknown> }
}

const seen = async (method = 'GET', path = '/_seen'): Promise<Seen> =>
  (await (await fetch(`${urls.seen}${path}`, { method })).json()) as Seen

test('believes an assertion for this request, and does not give it away', async () => {
  const assertion = await sign(good)
  const { status, text: said, body } = await ask(urls.origin, assertion)
  expect(status).toBe(200)
  expect(body).toEqual({
    method: 'GET',
    path: '/a%20b?c=1',
    body_bytes: 0,
    caller: { device: 'pump-7', name: 'pump-7', verified: true },
  })
  expect(said).not.toContain(assertion)
})

test.each([
  ['RS256', 'rsa', rsa],
  ['EdDSA', 'ed', ed],
] as const)('believes one by %s, where its key is for that', async (alg, kid, { privateKey }) => {
  const assertion = await sign(good, { alg, kid, key: privateKey })
  expect((await ask(urls.origin, assertion)).status).toBe(200)
})

test.each<[string, () => Promise<string> | undefined, Parameters<typeof ask>[2]?]>([
  ['none at all', () => undefined],
  ['something else', () => Promise.resolve('x.y.z')],
  ['signed by somebody else', () => sign(good, { key: others.privateKey })],
  ['by another algorithm than its key’s', () => sign(good, { alg: 'EdDSA', key: ed.privateKey })],
  ['expired', () => sign(good, { life: '-1s' })],
  ['of another type', () => sign(good, { typ: 'dpop+jwt' })],
  ['for another method', () => sign(good), { method: 'DELETE' }],
  ['for another path', () => sign(good), { path: '/other' }],
  ['for another host', () => sign(good), { host: 'other.example' }],
  ['for no request', () => sign({ iss: good['iss'], aud: good['aud'], device_id: 'pump-7' })],
  ['for another application', () => sign({ ...good, aud: ['b1'.repeat(32)] })],
  ['for no application', () => sign({ ...good, aud: undefined })],
  ['from another hostname', () => sign({ ...good, iss: 'https://evil.example' })],
])('an assertion that is %s is refused', async (_, make, o) => {
  const { status, body } = await ask(urls.origin, await make(), o)
  expect(status).toBe(401)
  expect(body).toEqual({ problem: expect.any(String) })
})

test('what it saw is kept, bounded, apart from the service, and forgotten on request', async () => {
  expect(await seen('POST', '/_seen/reset')).toEqual({ total: 0, by_caller: {}, items: [] })
  const assertion = await sign({ ...good, htm: 'POST' })
  await ask(urls.origin, assertion, { method: 'POST', body: 'hello' })
  expect((await seen()).items[0]).toMatchObject({
    method: 'POST',
    target: '/a%20b?c=1',
    body_bytes: 5,
    device: 'pump-7',
    verified: true,
    assertion,
    headers: expect.arrayContaining([['cf-access-jwt-assertion', assertion]]),
  })
  for (let at = 0; at < 1_010; at += 1) await ask(urls.origin, undefined)
  const after = await seen()
  expect([after.total, after.items.length]).toEqual([1_011, 1_000])
  expect(after.by_caller).toEqual({ 'pump-7': 1, '(nobody)': 1_010 })
  // through the gateway there is only the service
  const there = await sign({ ...good, htu: 'https://gate.example:9443/_seen' })
  const { status, body } = await ask(urls.origin, there, { path: '/_seen' })
  expect([status, body['path'], body['items']]).toEqual([200, '/_seen', undefined])
})

test('without keys it only decodes, and says so; ends with its parent, and takes its run file away', async () => {
  const child = start([], true)
  const own = await urlsOf(child)
  expect(readRunFile(home.path, 'origin')).toMatchObject({ pid: child.pid, urls: own })
  const { status, body } = await ask(own.origin, await sign(good, { key: others.privateKey }))
  expect([status, body['caller']]).toEqual([200, { device: 'pump-7', name: 'pump-7', verified: false }])
  child.disconnect()
  expect(await once(child, 'exit')).toEqual([0, null])
  expect(existsSync(join(home.path, 'run/origin.json'))).toBe(false)
})

test('keys without an audience are a mistake, and said to be one', async () => {
  expect(await once(start(['--jwks', 'https://gate.example/cdn-cgi/access/certs']), 'exit')).toEqual([
    2,
    null,
  ])
})

test('a signal ends it cleanly', async () => {
  const child = start([])
  await urlsOf(child)
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([0, null])
})
