/** `apply`, `anchor put`, `rm` and `policy test` on a desk with real sockets, as an administrator types them: docs/access.md's examples, with a device that has enrolled. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run } from '#cli/run.ts'
import type { PolicyTested } from '#wire/policy-test.ts'
import { addOperatorToken, startDesk, type TestDesk } from '../support/enroll-desk.ts'
import { makeCsr } from '../support/pki.ts'
import { fakeIo } from '../unit/cli/fake-io.ts'

let desk: TestDesk
let token: string
beforeAll(async () => {
  desk = await startDesk()
  token = await addOperatorToken(desk.registry, 'admin')
  const { text } = await desk.claim({ uses: 2 })
  for (const device_id of ['pump-7', 'pump-8']) {
    const answer = await desk.device('/v1/enroll', { token: text, body: { csr: makeCsr().pem, device_id } })
    expect(answer.status, answer.text).toBe(201)
  }
})
afterAll(() => desk.stop())

const cli = async (...args: string[]) => {
  const io = fakeIo({
    cwd: desk.home.path,
    env: {
      SALLYPORT_HOME: desk.home.path,
      SALLYPORT_ENROLL_OPERATOR_URL: desk.urls['operator'] ?? '',
      SALLYPORT_OPERATOR_TOKEN: token,
    },
  })
  const code = await run(args, io)
  return { code, out: io.stdout(), err: io.stderr() }
}
const tested = async (...args: string[]): Promise<PolicyTested> => {
  const { code, out, err } = await cli('policy', 'test', '--host', 'api.example.com', ...args, '--json')
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out) as PolicyTested
}

const indented = (pem: string): string => pem.trimEnd().replaceAll('\n', '\n      ')

test('what a file says takes effect, and policy test says who gets in by it and why', async () => {
  const { pki } = desk.home
  writeFileSync(
    join(desk.home.path, 'fleet.yaml'),
    `anchors:
  - name: fleet
    hostnames: [api.example.com]
    pem: |
      ${indented(pki.root.pem)}
  - name: partner
    hostnames: [api.example.com]
    pem: |
      ${indented(pki.other.devices.pem + pki.other.root.pem)}
    crl: { on_stale: fail_closed }
rule_groups:
  - name: known
    include: [{ device_id: { device_id: pump-7 } }, { anchor: { name: partner } }]
policies:
  - { name: public, decision: bypass, include: [{ everyone: {} }] }
  - { name: devices, decision: allow, include: [{ certificate: {} }], require: [{ group: { id: known } }], session_duration: 15m }
applications:
  - name: health
    hostnames: [api.example.com]
    https: { path: /health, origin: 'http://127.0.0.1:3000' }
    policies: [public]
  - name: api
    hostnames: ['*.example.com']
    https: { path: '/*', origin: ['http://127.0.0.1:3000', 'http://127.0.0.1:3001'] }
    policies: [public, devices]
`,
  )
  // `public` is asked before `devices`, and lets everybody in
  const applied = await cli('apply', '-f', 'fleet.yaml')
  expect([applied.code, applied.err]).toEqual([0, ''])
  expect(applied.out).toMatch(
    /rule_groups: known is in place\n(?:note: .*\n)*note: anchor partner: crl has no urls/,
  )
  expect(await tested()).toMatchObject({ allowed: true, application: 'api', policy: 'public' })

  const { json: api } = await desk.operator('/v1/applications/api')
  const { id: _, name: __, ...body } = api ?? {}
  const put = await desk.operator('/v1/applications/api', {
    method: 'PUT',
    body: { ...body, policies: ['devices'] },
  })
  expect(put.status, put.text).toBe(200)

  expect(await tested('--device', 'pump-7')).toMatchObject({
    allowed: true,
    application: 'api',
    policy: 'devices',
    rule: '{"certificate":{}}',
    session_duration: '15m',
    identity: { kind: 'device', name: 'pump-7', group: 'default' },
  })
  expect(await tested('--device', 'pump-8')).toMatchObject({
    allowed: false,
    reason: 'policy_denied',
    policies: [{ name: 'devices', matched: false, require: { index: 0, rule: '{"group":{"id":"known"}}' } }],
  })
  expect(await tested('--target', '/health/live')).toMatchObject({ allowed: true, application: 'health' })
  expect(await tested()).toMatchObject({ allowed: false, reason: 'certificate_required' })

  // its anchor's lists count, and there are none yet
  writeFileSync(
    join(desk.home.path, 'partner.pem'),
    pki.device({ id: 'valve-3', by: pki.other.devices }).certPem,
  )
  expect(await tested('--certificate', 'partner.pem')).toMatchObject({
    allowed: false,
    reason: 'revocation_unknown',
    identity: { kind: 'foreign', name: 'partner/valve-3' },
  })

  const human = await cli('policy', 'test', '--host', 'api.example.com', '--device', 'pump-7')
  expect(human.out).toMatch(/^admitted by the policy devices of the application api\n/)
  await desk.operator('/v1/devices/pump-7/revoke', { body: { reason: 'keyCompromise' } })
  const revoked = await cli(
    ...'policy test --host api.example.com --device pump-7 --expect admitted'.split(' '),
  )
  expect([revoked.code, revoked.out.split('\n')[0]]).toEqual([
    1,
    'refused: certificate_revoked. The client certificate has been revoked',
  ])
})

test('a new root comes beside the old one, and the old one goes, without a file of YAML', async () => {
  const { pki } = desk.home
  const old = join(desk.home.path, 'old.pem')
  writeFileSync(old, pki.other.root.pem)
  writeFileSync(join(desk.home.path, 'leaf.pem'), pki.device({ id: 'v', by: pki.other.devices }).fullPem)
  const made = await cli('anchor', 'put', 'old', '--pem', 'old.pem', '--hostname', 'roll.example.com')
  expect([made.code, made.err, made.out]).toEqual([
    0,
    '',
    expect.stringMatching(/^anchor old is in place: roll\.example\.com\n/),
  ])
  const reason = async () =>
    JSON.parse(
      (await cli(...'policy test --host roll.example.com --certificate leaf.pem --json'.split(' '))).out,
    ).reason
  // vouched for, and no policy lets it in
  expect(await reason()).toBe('policy_denied')

  const more = await cli(
    'anchor',
    'put',
    'old',
    '--hostname',
    'roll.example.com',
    '--hostname',
    'b.example.com',
  )
  expect(more.out).toMatch(/^anchor old is in place: roll\.example\.com, b\.example\.com\n/)
  expect((await cli('anchor', 'put', 'new', '--pem', 'old.pem', '--hostname', 'b.example.com')).err).toMatch(
    /conflict|has already/,
  )

  expect((await cli('anchor', 'rm', 'old')).out).toBe('anchor old is removed\n')
  expect(await reason()).toBe('certificate_untrusted')
  // what somebody names is not removed
  expect((await cli('policy', 'rm', 'public')).err).toMatch(/health/)
  expect((await cli('app', 'rm', 'health')).out).toBe('application health is removed\n')
  expect((await cli('policy', 'rm', 'public')).out).toBe('policy public is removed\n')
})
