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
  writeFileSync(join(home.path, 'ca.der'), Buffer.of(0x30, 0))
  writeFileSync(join(home.path, 'ca.pem'), '-----BEGIN X509 CRL-----\n')
  writeFileSync(join(home.path, 'list.yaml'), '- a\n')
  writeFileSync(join(home.path, 'leaf.pem'), 'PEM')
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
const explained = { report_only: false, concerned: true, matched: false }
const tested = {
  allowed: true,
  application: 'example',
  policy: 'devices',
  rule: '{"certificate":{}}',
  session_duration: '0s',
  identity: { kind: 'device', name: 'pump-7', group: 'default' },
  would_deny: 'late',
  certificate: { fingerprint: 'fe', serial: '4b', not_after: '2026-02-01T00:00:00.000Z' },
  policies: [
    { ...explained, name: 'public', decision: 'bypass' },
    {
      ...explained,
      name: 'devices',
      decision: 'non_identity',
      matched: true,
      include: { index: 0, rule: '{"certificate":{}}' },
    },
    {
      ...explained,
      name: 'late',
      decision: 'deny',
      report_only: true,
      include: { index: 0, rule: '{"everyone":{}}' },
      exclude: { index: 1, rule: '{"everyone":{}}' },
    },
  ],
}

const serviceToken = {
  id: 'k3v9x2m1q8w7e6r5',
  name: 'report',
  client_id: `${'0a'.repeat(16)}.access`,
  created_at: '2026-01-01T00:00:00.000Z',
  expires_at: null,
  previous_until: '2026-01-02T00:00:00.000Z',
  state: 'usable',
}
const serviceTokenSecret = { ...serviceToken, client_secret: 'spst_x' }
const signingKey = {
  kid: 'thumbprint',
  algorithm: 'ES256',
  signs: true,
  created_at: '2026-01-01T00:00:00.000Z',
  rotates_at: '2026-02-12T00:00:00.000Z',
  retires_at: null,
}
const ended = (scope: string, subject: string | null) => ({
  scope,
  subject,
  before: '2026-01-01T00:00:00.000Z',
  expires_at: '2026-02-01T00:00:00.000Z',
})
const anchorCrls = {
  anchor: 'partner',
  on_stale: 'fail_closed',
  authorities: [
    {
      common_name: 'Partner CA',
      spki_sha256: 'ab',
      state: 'current',
      number: '7',
      this_update: '2026-01-01T00:00:00.000Z',
      next_update: '2026-01-08T00:00:00.000Z',
      entries: 2,
      source: 'http://crl.test/ca.crl',
      kept_at: '2026-01-01T00:00:00.000Z',
    },
    {
      common_name: null,
      spki_sha256: 'cd',
      state: 'missing',
      number: null,
      this_update: null,
      next_update: null,
      entries: null,
      source: null,
      kept_at: null,
    },
  ],
  sources: [
    {
      url: 'http://crl.test/ca.crl',
      fetched_at: null,
      failing_since: '2026-01-01T00:00:00.000Z',
      problem: 'it answered 404',
    },
  ],
}

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
    answer: { notes: ['policy p: it is said twice'] },
    asks: 'POST /v1/apply',
    body: { policies: [policy].map((p) => ({ ...p, name: 'p' })) },
    prints: /policies: p is in place\nnote: policy p: it is said twice\n$/,
  },
  {
    args: 'anchor ls',
    answer: page(anchor),
    asks: 'GET /v1/anchors?limit=100',
    prints: /development +localhost, a\.example +-/,
  },
  {
    args: 'anchor ls',
    answer: page({ ...anchor, crl: { urls: [], on_stale: 'fail_open' } }),
    asks: 'GET /v1/anchors?limit=100',
    prints: /development +localhost, a\.example +uploaded \(fail_open\)/,
  },
  {
    args: 'app ls',
    answer: page(application),
    asks: 'GET /v1/applications?limit=100',
    prints: /example +localhost +\/\* -> http:\/\/127\.0\.0\.1:1 +default topics +- +devices/,
  },
  {
    args: 'app ls',
    answer: page({
      ...application,
      https: { path: '/a/*', origin: ['unix:/a', 'unix:/b'] },
      mqtt: { topics: [] },
      session_duration: '0s',
      policies: [],
    }),
    asks: 'GET /v1/applications?limit=100',
    prints: /example +localhost +\/a\/\* -> unix:\/a, unix:\/b +default topics +No Duration +\(nobody\)/,
  },
  {
    args: 'app ls',
    answer: page({ ...application, https: { kind: 'mqtt-publish', path: '/publish/*' } }),
    asks: 'GET /v1/applications?limit=100',
    prints: /example +localhost +\/publish\/\* -> MQTT +/,
  },
  {
    args: 'policy ls',
    answer: page(policy),
    asks: 'GET /v1/policies?limit=100',
    prints: /devices +non_identity +certificate +- +- +-/,
  },
  {
    args: 'policy ls',
    answer: page({ ...policy, decision: 'deny', report_only: true, session_duration: '15m' }),
    asks: 'GET /v1/policies?limit=100',
    prints: /devices +deny \(report only\) +certificate +- +- +15m/,
  },
  {
    args: 'rule-group ls',
    answer: page({ name: 'plant', include: policy.include, require: [{ ip: { ip: '::1' } }] }),
    asks: 'GET /v1/rule-groups?limit=100',
    prints: /plant +certificate +ip +-/,
  },
  {
    args: 'rule-group show plant',
    answer: { name: 'plant', include: policy.include },
    asks: 'GET /v1/rule-groups/plant',
    prints: /"plant"/,
  },
  {
    args: 'policy test --device pump-7 --host api.example.com',
    answer: tested,
    asks: 'POST /v1/policy-test',
    body: { host: 'api.example.com', device_id: 'pump-7' },
    prints: new RegExp(
      [
        /^admitted by the policy devices of the application example\n/,
        /.*application +example\n.*rule +\{"certificate":\{\}\}\n.*identity +device pump-7\n/,
        /.*certificate +4b, until 2026-02-01T00:00:00.000Z\n.*session +No Duration\n.*report only +late would refuse\n\n/,
        /POLICY +DECISION +WHY\npublic +bypass +no include holds\n/,
        /devices +non_identity +matches: include\[0\] \{"certificate":\{\}\}\n/,
        /late +deny \(report only\) +exclude\[1\] holds: \{"everyone":\{\}\}\n$/,
      ]
        .map(({ source }) => source)
        .join(''),
    ),
  },
  {
    args: 'policy test --host a --service-token t --method POST --target /x?y --origin https://b --address ::1 --at 2026-12-24T20:00Z',
    answer: {
      allowed: false,
      reason: 'policy_denied',
      application: 'example',
      policy: 'no',
      policies: [{ ...tested.policies[0], name: 'no', decision: 'deny', concerned: false }],
    },
    asks: 'POST /v1/policy-test',
    body: {
      host: 'a',
      service_token_id: 't',
      method: 'POST',
      target: '/x?y',
      origin: 'https://b',
      address: '::1',
      at: '2026-12-24T20:00:00.000Z',
    },
    prints:
      /^refused by the policy no of the application example: policy_denied. No policy allows this\n[^]*no +deny +no credential that it is about/,
  },
  {
    args: 'policy test --host a --device pump-7 --publish b/c --expect refused',
    answer: { allowed: false, reason: 'no_application', policies: [] },
    asks: 'POST /v1/policy-test',
    body: { host: 'a', device_id: 'pump-7', mqtt: { act: 'publish', topic: 'b/c' } },
    prints: /^refused: no_application\. No application is configured for this host and path\n$/,
  },
  {
    args: 'policy test --host a --certificate leaf.pem --subscribe #',
    answer: { allowed: false, reason: 'topic_denied', application: 'example', policies: [] },
    asks: 'POST /v1/policy-test',
    body: { host: 'a', certificate: 'PEM', mqtt: { act: 'subscribe', topic: '#' } },
    prints: /^refused: topic_denied\. The topic is not allowed\n +application +example\n$/,
  },
  {
    args: 'policy test --host a --device pump-7 --receive b/c',
    answer: { allowed: false, reason: 'topic_denied', policies: [] },
    asks: 'POST /v1/policy-test',
    body: { host: 'a', device_id: 'pump-7', mqtt: { act: 'receive', topic: 'b/c' } },
    prints: /^refused: topic_denied/,
  },
  {
    args: 'policy test --host a --device pump-7 --client-id x --websocket --origin https://b',
    answer: { allowed: true, client_id: 'pump-7@x', application: 'example', policies: [] },
    asks: 'POST /v1/policy-test',
    body: {
      host: 'a',
      device_id: 'pump-7',
      origin: 'https://b',
      mqtt: { act: 'connect', client_id: 'x', websocket: true },
    },
    prints: /^admitted of the application example\n[^]*ClientID +pump-7@x\n/,
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
  {
    args: 'service-token create report --duration forever',
    answer: serviceTokenSecret,
    asks: 'POST /v1/service-tokens',
    body: { name: 'report', duration: 'forever' },
    prints: /expires +never[^]*CF-Access-Client-Id: 0a.*\.access\n +CF-Access-Client-Secret: spst_x/,
  },
  {
    args: 'service-token create report --quiet',
    answer: serviceTokenSecret,
    asks: 'POST /v1/service-tokens',
    body: { name: 'report' },
    prints: /^spst_x\n$/,
  },
  {
    args: 'service-token ls',
    answer: page(serviceToken),
    asks: 'GET /v1/service-tokens?limit=100',
    prints: /k3v9x2m1q8w7e6r5 +usable +report +0a.*\.access +never/,
  },
  {
    args: 'service-token show k3',
    answer: serviceToken,
    asks: 'GET /v1/service-tokens/k3',
    prints: /good until +2026-01-02/,
  },
  {
    args: 'service-token rotate k3 --grace 1d',
    answer: serviceTokenSecret,
    asks: 'POST /v1/service-tokens/k3/rotate',
    body: { grace: '1d' },
    prints: /good until +2026-01-02[^]*spst_x/,
  },
  {
    args: 'service-token revoke k3',
    answer: { ...serviceToken, state: 'revoked' },
    asks: 'POST /v1/service-tokens/k3/revoke',
    prints: /k3v9x2m1q8w7e6r5 \(report\) is revoked/,
  },
  {
    args: 'session revoke --device partner/pump-7',
    answer: ended('device', 'partner/pump-7'),
    asks: 'POST /v1/sessions/revoke',
    body: { scope: 'device', subject: 'partner/pump-7' },
    prints: /every session of the device partner\/pump-7 that began by 2026/,
  },
  {
    args: 'session revoke --token 2f1c9c1e-8a4f',
    answer: ended('token', '2f1c9c1e-8a4f'),
    asks: 'POST /v1/sessions/revoke',
    body: { scope: 'token', subject: '2f1c9c1e-8a4f' },
    prints: /the session 2f1c9c1e-8a4f has ended/,
  },
  {
    args: 'session revoke --everything',
    answer: ended('everything', null),
    asks: 'POST /v1/sessions/revoke',
    body: { scope: 'everything' },
    prints: /every session that began by 2026/,
  },
  {
    args: 'signing-key ls',
    answer: page(signingKey),
    asks: 'GET /v1/signing-keys?limit=100',
    prints: /thumbprint +ES256 +2026-01-01\S+ +2026-02-12\S+ +-/,
  },
  {
    args: 'signing-key rotate --discard',
    answer: signingKey,
    asks: 'POST /v1/signing-keys/rotate',
    body: { discard: true },
    prints: /ES256 key thumbprint signs from now on\n.*every session has ended/,
  },
  {
    args: 'anchor crl partner',
    answer: anchorCrls,
    asks: 'GET /v1/anchors/partner/crl',
    prints: /is refused\.[^]*Partner CA +current +7 +2 [^]*cd +missing[^]*never +it answered 404/,
  },
  {
    args: 'anchor crl partner ca.der',
    answer: { ...anchorCrls, on_stale: null },
    asks: 'PUT /v1/anchors/partner/crl',
    body: { crl: 'MAA=' },
    prints: /asks for no CRLs/,
  },
  {
    args: 'anchor crl partner ca.pem',
    answer: anchorCrls,
    asks: 'PUT /v1/anchors/partner/crl',
    body: { crl: '-----BEGIN X509 CRL-----\n' },
    prints: /Partner CA/,
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
  [
    'device enroll pump-7 --server https://127.0.0.1:1 --ca nothing.pem',
    /nothing\.pem cannot be read \(ENOENT\)/,
  ],
  [
    'device enroll pump-7 --server https://127.0.0.1:1 --token x --bootstrap nothing.pem --bootstrap-key k.pem',
    /nothing\.pem cannot be read \(ENOENT\)/,
  ],
  ['key block --file nothing.txt', /nothing\.txt cannot be read \(ENOENT\)/],
  ['token create --uses x', /whole number/],
  ['token create --expires soon', /30d/],
  ['apply', /--file/],
  ['apply -f nothing.yaml', /nothing\.yaml cannot be read \(ENOENT\)/],
  ['apply -f broken.yaml', /broken\.yaml/],
  ['apply -f list.yaml', /expected some of/],
  ['policy test --device a', /--host/],
  ['policy test --host a --device a --certificate b', /--certificate/],
  ['policy test --host a --certificate nothing.pem', /nothing\.pem cannot be read \(ENOENT\)/],
  ['policy test --host a --at noon', /Give an instant/],
  ['policy test --host a --publish t --target /', /--target/],
  ['policy test --host a --publish t --receive t', /--receive/],
  ['policy test --host a --client-id x --subscribe t', /--subscribe/],
  ['policy test --host a --client-id x --target /', /--target/],
  ['policy test --host a --websocket --publish t', /--publish/],
  ['policy test --host a --expect maybe', /maybe/],
  ['operator token create --role king', /king/],
  ['service-token create', /missing required argument/],
  ['service-token create x --duration soon', /30d\. Or forever/],
  ['service-token rotate k3 --grace soon', /30d/],
  ['session revoke', /say which: one of --token/],
  ['session revoke --device a --everything', /say which: one of/],
  ['anchor put fleet', /give --pem or --hostname/],
  ['anchor put fleet --pem nothing.pem', /nothing\.pem cannot be read \(ENOENT\)/],
  ['anchor rm', /missing required argument/],
  ['anchor crl partner nothing.crl', /nothing\.crl cannot be read \(ENOENT\)/],
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

test('a verdict that was not expected is exit 1, after it was told', async () => {
  const { code, io } = await runWith('policy test --host a --expect refused'.split(' '), tested)
  expect([code, io.stdout().split(' ')[0]]).toEqual([1, 'admitted'])
  expect(io.stderr()).toMatch(/expected refused, and it is admitted/)
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
      'ca gateway',
      'group revoke',
      'signer',
      'signer verify',
      'apply',
      'anchor',
      'anchor ls',
      'anchor show',
      'anchor put',
      'anchor rm',
      'anchor crl',
      'service-token',
      'service-token create',
      'service-token ls',
      'service-token show',
      'service-token rotate',
      'service-token revoke',
      'session',
      'session revoke',
      'signing-key',
      'signing-key ls',
      'signing-key rotate',
      'app',
      'app ls',
      'app show',
      'app rm',
      'policy',
      'policy ls',
      'policy show',
      'policy rm',
      'policy test',
      'rule-group',
      'rule-group ls',
      'rule-group show',
      'rule-group rm',
      'group',
      'group ls',
      'group show',
      'group rm',
      'operator',
      'operator token',
      'operator token create',
      'operator token ls',
      'operator token revoke',
      'sim',
      'sim ls',
      'sim run',
      'sim schema',
      'sim show',
    ].toSorted(),
  )
})
