/** Every command that asks the operator API: what it asks, and what it prints. The API is a stand-in; test/system has the real one. */

import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { groupToWire } from '#enroll/group-objects.ts'
import { GROUP_DEFAULTS } from '#fleet/enrollment-group.ts'
import { run } from '#cli/run.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { fakeIo, type FakeIo } from './fake-io.ts'

const OPERATOR = `spo1.${'a'.repeat(16)}.${'b'.repeat(43)}`

type Asked = { readonly method: string; readonly url: string; readonly body: unknown }

/** Runs the command against a server that answers everything with `answer`. */
const runWith = async (
  args: readonly string[],
  answer: unknown,
): Promise<{ code: number; io: FakeIo; asked: Asked[] }> => {
  using home = temporaryFolder()
  mkdirSync(join(home.path, 'certs/private'), { recursive: true })
  writeFileSync(join(home.path, 'certs/private/operator.token'), OPERATOR, { mode: 0o600 })
  writeFileSync(
    join(home.path, 'fleet.yaml'),
    'policies:\n  - {name: p, decision: non_identity, include: [{certificate: {}}]}\n',
  )
  writeFileSync(join(home.path, 'broken.yaml'), 'policies: [\n')
  writeFileSync(join(home.path, 'list.yaml'), '- a\n')
  const asked: Asked[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk) => (body += chunk))
    request.on('end', () => {
      asked.push({
        method: request.method ?? '',
        url: request.url ?? '',
        body: body === '' ? undefined : JSON.parse(body),
      })
      if (answer === undefined) response.writeHead(204).end()
      else response.end(JSON.stringify(answer))
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const io = fakeIo({
    env: { SALLYPORT_HOME: home.path, SALLYPORT_ENROLL_OPERATOR_URL: url },
    cwd: home.path,
  })
  try {
    return { code: await run(args, io), io, asked }
  } finally {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
}

const device = {
  id: 'pump-7',
  state: 'active',
  group: 'default',
  tags: { site: 'north' },
  created_at: '2026-01-01T00:00:00.000Z',
  last_seen_at: null,
  registered_spki: null,
  renew_at: '2026-01-20T00:00:00.000Z',
  expires_at: '2026-02-01T00:00:00.000Z',
  clone_suspected_at: null,
  revision: 3,
  certificates: [
    {
      serial: '4c',
      fingerprint: 'fd',
      state: 'pending',
      slot: 'pending',
      not_after: '2026-03-01T00:00:00.000Z',
      pending_until: '2026-01-27T00:00:00.000Z',
    },
    {
      serial: '4a',
      fingerprint: 'ff',
      state: 'revoked',
      not_after: '2026-03-01T00:00:00.000Z',
      revoked_at: '2026-01-05T00:00:00.000Z',
      revocation_reason: 'keyCompromise',
    },
    {
      serial: '4b',
      fingerprint: 'fe',
      state: 'live',
      slot: 'current',
      not_after: '2026-02-01T00:00:00.000Z',
    },
  ],
}
const token = {
  id: 'k3v9x2m1q8w7e6r5',
  device_id: null,
  group: 'pumps',
  uses: 2,
  used: 1,
  expires_at: '2026-01-01T01:00:00.000Z',
  created_at: '2026-01-01T00:00:00.000Z',
  cert_ttl_seconds: 60,
  state: 'usable',
}
const made = {
  token: 'spt1.x',
  id: 'k3',
  device_id: 'pump-7',
  group: 'default',
  uses: 1,
  expires_at: '2026-01-01T01:00:00.000Z',
  enroll_url: 'https://enroll.example.com:8443',
  root_sha256: 'aa',
}
const operator = {
  id: 'o1',
  name: 'alice',
  role: 'viewer',
  created_at: '2026-01-01T00:00:00.000Z',
  state: 'usable',
}
const page = (item: unknown) => ({ items: [item], next: 'more' })
const anchor = { name: 'development', pem: 'x', hostnames: ['localhost', 'a.example'] }
const application = {
  name: 'example',
  id: 'ab',
  hostnames: ['localhost'],
  https: { path: '/*', origin: 'http://127.0.0.1:1' },
  mqtt: {},
  policies: ['devices'],
}
const pumps = groupToWire({
  ...GROUP_DEFAULTS,
  name: 'pumps',
  credentials: ['token', 'bootstrap'],
  registeredOnly: true,
  approval: true,
  certificateTtl: 7 * 86_400_000,
  keyKinds: ['P-256', 'Ed25519'],
  idTemplate: 'pump-${csr.cn}',
})
const policy = { name: 'devices', decision: 'non_identity', include: [{ certificate: {} }] }

type Row = {
  readonly args: string
  readonly answer: unknown
  readonly asks: string
  readonly body?: unknown
  readonly prints: RegExp
}

const rows: readonly Row[] = [
  {
    args: 'token create',
    answer: { ...made, device_id: null },
    asks: 'POST /v1/tokens',
    body: {},
    prints: /enroll <device-id> --token spt1\.x --server https:\/\/enroll/,
  },
  {
    args: 'token create --device pump-7 --uses 3 --expires 2h --cert-ttl 1d',
    answer: made,
    asks: 'POST /v1/tokens',
    body: { device_id: 'pump-7', uses: 3, expires: '2h', cert_ttl: '1d' },
    prints: /npx sallyport device enroll pump-7 --token spt1\.x/,
  },
  {
    args: 'token create --group pumps',
    answer: { ...made, device_id: null, group: 'pumps' },
    asks: 'POST /v1/tokens',
    body: { group: 'pumps' },
    prints: /group +pumps/,
  },
  { args: 'token create --quiet', answer: made, asks: 'POST /v1/tokens', body: {}, prints: /^spt1\.x\n$/ },
  {
    args: 'token ls',
    answer: page(token),
    asks: 'GET /v1/tokens?limit=100',
    prints: /k3v9x2m1q8w7e6r5 +usable +pumps +- +1\/2/,
  },
  {
    args: 'token ls --limit 2 --after x',
    answer: { items: [], next: null },
    asks: 'GET /v1/tokens?limit=2&after=x',
    prints: /token create/,
  },
  {
    args: 'token revoke k3/..',
    answer: { ...token, state: 'revoked' },
    asks: 'POST /v1/tokens/k3%2F../revoke',
    prints: /is revoked/,
  },
  {
    args: 'device ls --state active',
    answer: page(device),
    asks: 'GET /v1/devices?limit=100&state=active',
    prints: /pump-7 +active +default +2026-02-01T00:00:00.000Z[^]*--after more/,
  },
  {
    args: 'device ls --state renewal_due --group pumps',
    answer: page({ ...device, state: 'renewal_due', clone_suspected_at: '2026-01-02T00:00:00.000Z' }),
    asks: 'GET /v1/devices?limit=100&state=renewal_due&group=pumps',
    prints: /pump-7 +renewal_due [^]*clone suspected/,
  },
  {
    args: 'device show pump-7',
    answer: device,
    asks: 'GET /v1/devices/pump-7',
    prints:
      /tag site +north[^]*4c +pending +pending [^]*confirmed by 2026-01-27[^]*4a +revoked[^]*keyCompromise[^]*4b +live +current/,
  },
  {
    args: 'device show pump-7',
    answer: { ...device, clone_suspected_at: '2026-01-02T00:00:00.000Z' },
    asks: 'GET /v1/devices/pump-7',
    prints: /Since 2026-01-02[^]*device clear-clone pump-7[^]*device revoke pump-7 --reason keyCompromise/,
  },
  {
    args: 'device clear-clone pump-7',
    answer: { ...device, state: 'suspended' },
    asks: 'POST /v1/devices/pump-7/clear-clone',
    prints: /pump-7 is no longer suspected[^]*it is suspended/,
  },
  {
    args: 'device suspend pump-7',
    answer: { ...device, state: 'suspended' },
    asks: 'POST /v1/devices/pump-7/suspend',
    prints: /pump-7 is suspended/,
  },
  {
    args: 'device resume pump-7',
    answer: device,
    asks: 'POST /v1/devices/pump-7/resume',
    prints: /pump-7 is active/,
  },
  {
    args: 'device retire pump-7',
    answer: { ...device, state: 'retired' },
    asks: 'POST /v1/devices/pump-7/retire',
    prints: /pump-7 is retired/,
  },
  {
    args: 'device revoke pump-7',
    answer: { ...device, state: 'revoked' },
    asks: 'POST /v1/devices/pump-7/revoke',
    body: { reason: 'unspecified' },
    prints: /pump-7 is revoked/,
  },
  {
    args: 'device revoke pump-7 --reason keyCompromise',
    answer: { ...device, state: 'revoked' },
    asks: 'POST /v1/devices/pump-7/revoke',
    body: { reason: 'keyCompromise' },
    prints: /new token/,
  },
  {
    args: 'apply -f fleet.yaml',
    answer: undefined,
    asks: 'POST /v1/apply',
    body: { policies: [policy].map((p) => ({ ...p, name: 'p' })) },
    prints: /policies: p is in place/,
  },
  {
    args: 'anchor ls',
    answer: page(anchor),
    asks: 'GET /v1/anchors?limit=100',
    prints: /development +localhost, a\.example/,
  },
  {
    args: 'app ls',
    answer: page(application),
    asks: 'GET /v1/applications?limit=100',
    prints: /example +localhost +\/\* -> http:\/\/127\.0\.0\.1:1 +default topics +devices/,
  },
  {
    args: 'policy ls',
    answer: page(policy),
    asks: 'GET /v1/policies?limit=100',
    prints: /devices +non_identity +certificate +- +-/,
  },
  {
    args: 'group ls',
    answer: page(pumps),
    asks: 'GET /v1/groups?limit=100',
    prints:
      /pumps +enabled +token, bootstrap \(registered devices only\) +by an operator +7d +P-256, Ed25519 +pump-\$\{csr\.cn\}/,
  },
  {
    args: 'group show default',
    answer: groupToWire({ ...GROUP_DEFAULTS, name: 'default' }),
    asks: 'GET /v1/groups/default',
    prints: /"cert_ttl": "30d"/,
  },
  {
    args: 'anchor show development',
    answer: anchor,
    asks: 'GET /v1/anchors/development',
    prints: /"pem": "x"/,
  },
  {
    args: 'app show example',
    answer: application,
    asks: 'GET /v1/applications/example',
    prints: /"id": "ab"/,
  },
  { args: 'policy show devices', answer: policy, asks: 'GET /v1/policies/devices', prints: /"non_identity"/ },
  {
    args: 'operator token create --name alice --role viewer',
    answer: { token: 'spo1.x', ...operator },
    asks: 'POST /v1/operators',
    body: { name: 'alice', role: 'viewer' },
    prints: /spo1\.x[^]*not shown again/,
  },
  {
    args: 'operator token ls',
    answer: page(operator),
    asks: 'GET /v1/operators?limit=100',
    prints: /o1 +usable +viewer +alice/,
  },
  {
    args: 'operator token revoke o1',
    answer: { ...operator, state: 'revoked' },
    asks: 'POST /v1/operators/o1/revoke',
    prints: /o1 \(alice\) is revoked/,
  },
]

test.each(rows)('$args', async ({ args, answer, asks, body, prints }) => {
  const words = args.split(' ')
  const human = await runWith(words, answer)
  expect(human.io.stderr()).toBe('')
  expect(human.code).toBe(0)
  expect(human.asked.map(({ method, url }) => `${method} ${url}`)).toEqual([asks])
  expect(human.asked[0]?.body).toEqual(body)
  expect(human.io.stdout()).toMatch(prints)

  const json = await runWith([...words, '--json'], answer)
  expect(json.code).toBe(0)
  expect(JSON.parse(json.io.stdout())).toEqual(answer ?? body)
})

test.each([
  ['', /another word|Usage/],
  ['device', /enroll/],
  ['devise ls', /unknown command/],
  ['device ls --colour', /unknown option/],
  ['device ls --state asleep', /asleep/],
  ['device ls --limit 0', /whole number/],
  ['device show', /missing required argument/],
  ['device show a b', /too many arguments/],
  ['device revoke x --reason removeFromCRL', /removeFromCRL/],
  ['device enroll pump-7', /--token/],
  ['device enroll a/b --token x', /device id/],
  ['device enroll pump-7 --token x --ca-sha256 zz', /SHA-256/],
  ['token create --uses x', /whole number/],
  ['token create --expires soon', /30d/],
  ['apply', /--file/],
  ['apply -f nothing.yaml', /nothing\.yaml/],
  ['apply -f broken.yaml', /broken\.yaml/],
  ['apply -f list.yaml', /expected some of/],
  ['operator token create --role king', /king/],
  ['sim run storm', /storm/],
  ['up --ports 80', /free ports/],
  ['up --fleet many', /whole number/],
  ['enroll', /npx sallyport enroll/],
  ['device ls --operator-url nowhere', /expected a URL/],
  ['device ls --config nothing.yaml', /nothing\.yaml/],
])('`%s` is a mistake: exit 2, nothing asked, and it says what', async (args, says) => {
  const words = args === '' ? [] : args.split(' ')
  const human = await runWith(words, {})
  expect(human.io.stderr()).toMatch(says)
  expect([human.code, human.asked, human.io.stdout()]).toEqual([2, [], ''])

  const json = await runWith([...words, '--json'], {})
  expect(JSON.parse(json.io.stderr())).toMatchObject({
    type: expect.stringMatching(/^urn:sallyport:problem:/),
    reason: expect.any(String),
  })
  expect(json.code).toBe(2)
})

test('every command has help with an example', async () => {
  const seen: string[] = []
  const visit = async (words: readonly string[]): Promise<void> => {
    const io = fakeIo()
    expect(await run([...words, '--help'], io)).toBe(0)
    const help = io.stdout()
    const example = /Example:\n {2}\$ npx sallyport ([a-z -]*)/.exec(help)?.[1]
    expect(example?.startsWith(words.join(' '))).toBe(true)
    seen.push(words.join(' '))
    const [, commands = ''] = help.split('Commands:\n')
    for (const [, name] of commands.matchAll(/^ {2}([a-z-]+)/gm)) await visit([...words, name ?? ''])
  }
  await visit([])
  expect(seen.toSorted()).toEqual(
    [
      '',
      'up',
      'enroll',
      'gateway',
      'ca',
      'ca init',
      'ca show',
      'ca rotate',
      'ca rotate prepare',
      'ca rotate distribute',
      'ca rotate activate',
      'ca rotate retire',
      'issuer',
      'issuer ls',
      'issuer show',
      'issuer scan',
      'issuer revoke',
      'trust',
      'trust ls',
      'trust prepare',
      'trust distribute',
      'trust activate',
      'trust retire',
      'token',
      'token create',
      'token ls',
      'token revoke',
      'device',
      'device enroll',
      'device ls',
      'device show',
      'device suspend',
      'device resume',
      'device retire',
      'device revoke',
      'device clear-clone',
      'device export',
      'device import',
      'key',
      'key block',
      'key ls',
      'key unblock',
      'request',
      'request ls',
      'request show',
      'request approve',
      'request deny',
      'cert',
      'cert ls',
      'cert show',
      'cert revoke',
      'ca crl',
      'group revoke',
      'signer',
      'signer verify',
      'apply',
      'anchor',
      'anchor ls',
      'anchor show',
      'app',
      'app ls',
      'app show',
      'policy',
      'policy ls',
      'policy show',
      'group',
      'group ls',
      'group show',
      'operator',
      'operator token',
      'operator token create',
      'operator token ls',
      'operator token revoke',
      'sim',
      'sim run',
    ].toSorted(),
  )
})
