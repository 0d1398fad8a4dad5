/** The webhook against a real TLS server: what is sent, what counts as an answer, and that nothing else ever does. */

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createWebhooks, readWebhookSecret, signatureOf, type Webhooks } from '#enroll/webhook.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { isGenuine } from '../../../examples/webhook/signature.ts'
import { createWorld, httpsServer, type World } from '../../support/faulty-servers.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const SECRET = 'a secret of thirty-two characters'

type Seen = { readonly url: string; readonly headers: IncomingMessage['headers']; readonly body: string }
type Answerer = (response: ServerResponse, request: IncomingMessage) => void

let world: World
let server: Awaited<ReturnType<typeof httpsServer>>
let seen: Seen[]
let answer: Answerer
beforeAll(async () => {
  world = await createWorld('webhook root')
  server = await httpsServer(world.tls, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      seen.push({
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      })
      answer(response, request)
    })
  })
})
afterAll(() => server[Symbol.asyncDispose]())
beforeEach(() => {
  seen = []
  answer = say('{"allow":true}')
})

const say =
  (body: string | Uint8Array, status = 200, headers: Record<string, string> = {}): Answerer =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
  }

const warnings: string[] = []
const create = (o: { secret?: string | undefined; timeout?: number } = {}): Webhooks =>
  createWebhooks({
    secret: 'secret' in o ? o.secret : SECRET,
    clock: () => NOW,
    log: { warn: (...said: unknown[]) => void warnings.push(String((said[0] as { err: unknown }).err)) },
    timeout: o.timeout ?? 2_000,
  })

const groupAt = (o: { url?: string; ca?: string | undefined; name?: string } = {}) => ({
  name: o.name ?? 'pumps',
  webhook: {
    url: o.url ?? `https://localhost:${server.port}/hook?site=north`,
    ca: 'ca' in o ? o.ca : world.ca.rootPem,
  },
})

const ask = {
  requestId: 'request-1',
  deviceId: 'pump-7' as DeviceId,
  claim: { kind: 'token', id: 'k3v9', variables: {} },
  csr: { spkiSha256: 'ab'.repeat(32), key: { kind: 'P-256', bits: 256 }, commonName: 'pump-7' },
  address: '192.0.2.7',
} as const

const asked = async (o: Parameters<typeof groupAt>[0] = {}, over: object = {}, made?: Webhooks) => {
  await using hooks = made ?? create()
  return await hooks.ask(groupAt(o), { ...ask, ...over })
}

describe('what is sent', () => {
  test('the whole event, signed, as the example receiver verifies it', async () => {
    await asked()
    expect(seen).toHaveLength(1)
    const [{ url, headers, body }] = seen as [Seen]
    expect(url).toBe('/hook?site=north')
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'content-length': String(body.length),
      'user-agent': 'sallyport',
    })
    expect(JSON.parse(body)).toEqual({
      type: 'enrollment',
      request_id: 'request-1',
      device_id: 'pump-7',
      group: 'pumps',
      address: '192.0.2.7',
      credential: { kind: 'token', id: 'k3v9' },
      csr: { spki_sha256: 'ab'.repeat(32), key_kind: 'P-256', common_name: 'pump-7' },
    })
    const signature = headers['sallyport-signature']
    expect(signature).toBe(signatureOf(SECRET, NOW / 1_000, body))
    const is = (o: { secret?: string; header?: unknown; body?: string; at?: number }) =>
      isGenuine(
        o.secret ?? SECRET,
        'header' in o ? o.header : signature,
        Buffer.from(o.body ?? body),
        o.at ?? NOW / 1_000,
      )
    expect(is({})).toBe(true)
    expect(is({ at: NOW / 1_000 + 300 })).toBe(true)
    expect(is({ at: NOW / 1_000 + 301 })).toBe(false)
    expect(is({ at: NOW / 1_000 - 301 })).toBe(false)
    expect(is({ body: `${body} ` })).toBe(false)
    expect(is({ secret: `${SECRET}x` })).toBe(false)
    const text = String(signature)
    // the time is signed too; no second v1, no capital letters, nothing around it
    for (const header of [
      undefined,
      '',
      text.replace(/^t=\d+/, `t=${NOW / 1_000 + 1}`),
      `${text},v1=${'0'.repeat(64)}`,
      text.toUpperCase(),
      ` ${text}`,
      text.slice(0, -2),
    ])
      expect(is({ header })).toBe(false)
  })

  test('what a bootstrap certificate says', async () => {
    const claim = {
      kind: 'bootstrap',
      id: 'cd'.repeat(32),
      variables: { 'cert.cn': 'Pump', 'cert.serial_number': 'SN-1' },
    }
    await asked({}, { claim, csr: { ...ask.csr, commonName: undefined } })
    expect(JSON.parse(seen[0]?.body ?? '')).toMatchObject({
      credential: { kind: 'bootstrap', id: 'cd'.repeat(32) },
      bootstrap_certificate: { sha256: 'cd'.repeat(32), common_name: 'Pump', serial_number: 'SN-1' },
      csr: { common_name: null },
    })
  })
})

describe('what counts as an answer', () => {
  test.each<[string, string, object]>([
    ['yes', '{"allow":true}', { allow: true }],
    ['yes, with a charset', '{"allow":true, "reason":"fine"}', { allow: true }],
    [
      'yes, under another id and with tags',
      '{"allow":true,"device_id":"pump-8","tags":{"site":"north"}}',
      { allow: true, deviceId: 'pump-8', tags: { site: 'north' } },
    ],
    ['no', '{"allow":false}', { allow: false, detail: 'the enrolment webhook said no' }],
    ['no, with a reason', '{"allow":false,"reason":"stolen"}', { allow: false, detail: 'stolen' }],
    [
      'a reason that would move a cursor, or turn the text around',
      JSON.stringify({ allow: false, reason: 'a\u001b[2Jb\u202ec' }),
      { allow: false, detail: 'a [2Jb c' },
    ],
  ])('%s', async (_, body, expected) => {
    answer = say(body, 200, { 'content-type': 'application/json; charset=utf-8' })
    expect(await asked()).toEqual(expected)
  })
})

describe('fails closed', () => {
  const large = JSON.stringify({ allow: true, reason: 'x'.repeat(70_000) })
  const cases: [string, Answerer, RegExp][] = [
    ['another status', say('{"allow":true}', 201), /answered 201/],
    ['an error', say('{"allow":true}', 500), /answered 500/],
    ['no content', (response) => response.writeHead(204).end(), /answered 204/],
    ['text', say('{"allow":true}', 200, { 'content-type': 'text/plain' }), /answered 200 text/],
    ['packed', say('{"allow":true}', 200, { 'content-encoding': 'gzip' }), /answered 200/],
    ['nothing', say(''), /JSON/],
    ['half of it', say('{"allow":true'), /JSON/],
    ['two of them', say('{"allow":true}{"allow":true}'), /JSON/],
    ['a list', say('[{"allow":true}]'), /its answer is not/],
    ['a word', say('true'), /its answer is not/],
    ['allow as text', say('{"allow":"true"}'), /its answer is not/],
    ['allow as a number', say('{"allow":1}'), /its answer is not/],
    ['no allow', say('{}'), /its answer is not/],
    ['something else in it', say('{"allow":true,"ttl":"10y"}'), /its answer is not/],
    ['a prototype', say('{"allow":true,"__proto__":{"x":1}}'), /its answer is not/],
    ['an id that is none', say('{"allow":true,"device_id":"a/b"}'), /not a device id/],
    ['an empty id', say('{"allow":true,"device_id":""}'), /its answer is not/],
    ['tags that are none', say('{"allow":true,"tags":{"a b":"c"}}'), /tags/],
    ['a prototype among the tags', say('{"allow":true,"tags":{"__proto__":"x"}}'), /tags/],
    ['a tag that is no text', say('{"allow":true,"tags":{"a":1}}'), /its answer is not/],
    ['not UTF-8', say(Buffer.from([0x22, 0xff, 0x22])), /valid/],
    ['more than 64 KiB', say(large), /larger|size/i],
    [
      'more than 64 KiB without saying so',
      (response) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        for (let at = 0; at < large.length; at += 10_000) response.write(large.slice(at, at + 10_000))
        response.end()
      },
      /larger|size/i,
    ],
    ['it closes', (response) => response.socket?.destroy(), /./],
    [
      'it closes in the middle',
      (response) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '14' })
        response.write('{"allow":')
        setImmediate(() => response.socket?.destroy())
      },
      /./,
    ],
    ['it says nothing', () => undefined, /aborted|timeout/i],
    [
      'it never ends',
      (response) => {
        response.writeHead(200, { 'content-type': 'application/json' }).write('{"allow":true}')
      },
      /aborted|timeout/i,
    ],
    [
      'it goes on and on',
      (response) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        const drip = setInterval(() => response.write(' '), 20)
        response.once('close', () => clearInterval(drip))
      },
      /aborted|timeout/i,
    ],
  ]
  test.each(cases)('%s', async (_, answerer, why) => {
    answer = answerer
    warnings.length = 0
    await expect(asked({}, {}, create({ timeout: 300 }))).rejects.toMatchObject({
      code: 'webhook_unavailable',
      retryAfter: 10,
      // for the client: not a word of where the hook is and what it said
      detail: 'ask again later',
    })
    expect(warnings.join()).toMatch(why)
  })

  test('a redirect is not followed: neither there nor to an address inside', async () => {
    let inside = 0
    const victim = createTcpServer(() => (inside += 1)).listen(0, '127.0.0.1')
    await once(victim, 'listening')
    const { port } = victim.address() as AddressInfo
    for (const [status, location] of [
      [302, `http://127.0.0.1:${port}/latest/meta-data`],
      [307, `https://localhost:${port}/`],
      [308, `https://localhost:${server.port}/other`],
    ] as const) {
      answer = say('{"allow":true}', status, { location })
      await expect(asked()).rejects.toMatchObject({ code: 'webhook_unavailable' })
    }
    expect(seen.map(({ url }) => url)).toEqual(['/hook?site=north', '/hook?site=north', '/hook?site=north'])
    expect(inside).toBe(0)
    victim.close()
  })

  test.each<[string, (o: World) => Parameters<typeof groupAt>[0]]>([
    ['a server of another CA', () => ({ ca: other.ca.rootPem })],
    ['the public roots, when no CA is given', () => ({ ca: undefined })],
    ['another name', () => ({ url: `https://127.0.0.1:${server.port}/` })],
    ['a CA that is no PEM', () => ({ ca: 'x' })],
    ['an empty CA: it would mean every public root', () => ({ ca: '' })],
    ['plain HTTP', () => ({ url: `http://localhost:${server.port}/` })],
    ['no URL', () => ({ url: 'localhost' })],
    ['nobody there', () => ({ url: 'https://localhost:1/' })],
  ])('%s', async (_, o) => {
    await expect(asked(o(world))).rejects.toMatchObject({ code: 'webhook_unavailable' })
    expect(seen).toEqual([])
  })
  let other: World
  beforeAll(async () => {
    other = await createWorld('another root')
  })

  test('without a secret, and without a webhook', async () => {
    await expect(asked({}, {}, create({ secret: undefined }))).rejects.toMatchObject({
      code: 'webhook_unavailable',
    })
    await using hooks = create()
    await expect(hooks.ask({ name: 'pumps', webhook: undefined }, ask)).rejects.toMatchObject({
      code: 'webhook_unavailable',
    })
    expect(seen).toEqual([])
  })

  test('NODE_TLS_REJECT_UNAUTHORIZED does not open it', async () => {
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      await expect(asked({ ca: other.ca.rootPem })).rejects.toMatchObject({ code: 'webhook_unavailable' })
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    }
  })
})

test('a slow webhook holds up its own group, and no more than 64 of it', async () => {
  await using hooks = create()
  const waiting: ServerResponse[] = []
  let all = (): void => undefined
  const arrived = new Promise<void>((resolve) => (all = resolve))
  answer = (response) => {
    waiting.push(response)
    if (waiting.length === 64) all()
  }
  const slow = Array.from({ length: 100 }, () => hooks.ask(groupAt({ name: 'slow' }), ask))
  const settled = Promise.allSettled(slow)
  await arrived
  answer = say('{"allow":true}')
  await expect(hooks.ask(groupAt({ name: 'slow' }), ask)).rejects.toMatchObject({
    code: 'webhook_unavailable',
  })
  const quick = hooks.ask(groupAt({ name: 'quick', url: `https://localhost:${server.port}/quick` }), ask)
  expect(await quick).toEqual({ allow: true })
  for (const response of waiting) say('{"allow":true}')(response, response.req)
  const results = await settled
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(64)
  // and then there is room again
  expect(await hooks.ask(groupAt({ name: 'slow' }), ask)).toEqual({ allow: true })
})

test('the secret: a file of its own, and long enough', () => {
  using folder = temporaryFolder()
  const path = join(folder.path, 'secret')
  writeFileSync(path, `${SECRET}\n`, { mode: 0o600 })
  expect(readWebhookSecret(path)).toBe(SECRET)
  chmodSync(path, 0o640)
  expect(() => readWebhookSecret(path)).toThrow('chmod 600')
  writeFileSync(path, 'short')
  chmodSync(path, 0o600)
  expect(() => readWebhookSecret(path)).toThrow('at least 32')
})

test('docs/credentials.md shows the code that is tried here', () => {
  const read = (path: string) => readFileSync(join(import.meta.dirname, '../../..', path), 'utf8')
  const code = read('examples/webhook/signature.ts')
  expect(read('docs/credentials.md')).toContain(code.slice(code.indexOf('import')))
})
