/** The policy test over a registry that is written down here: what is asked, and what is said to it. The verdicts themselves: test/unit/policy. */

import { describe, expect, it } from 'vitest'
import type { AccessSnapshot } from '#fleet/access.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { ServiceToken } from '#fleet/credentials.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { testPolicy, type PolicyTestDeps } from '#enroll/policy-test.ts'
import { caIdOf } from '#pki/chain.ts'
import type { CertificateSummary, LiveStatus } from '#registry/registry.ts'
import type { PolicyTest, PolicyTested } from '#wire/policy-test.ts'
import { makeCrl } from '../../support/crls.ts'
import { makePki, type TestLeaf } from '../../support/pki.ts'
import { anchor, anchorCrl, application, policy } from '../../support/registry.ts'
import { refusal } from './access/refusal.ts'
import { countTurns } from './turns.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const pki = makePki({ now: NOW })
const pump = pki.device({ id: 'pump-7' })
const older = pki.device({ id: 'pump-7', notAfter: NOW + HOUR })
const gone = pki.device({ id: 'gone-1' })
const unrecorded = pki.device({ id: 'pump-8' })
const partner = pki.device({ id: 'valve-3', by: pki.other.devices })
const stranger = pki.device({ id: 'pump-7', by: { ...pki.services } })

const snapshot: AccessSnapshot = {
  version: 1,
  anchors: [
    anchor({ name: 'fleet', hostnames: ['a.test'], pem: pki.devices.pem + pki.root.pem }),
    anchor({ name: 'partner', hostnames: ['a.test'], pem: pki.other.devices.pem + pki.other.root.pem }),
  ],
  ruleGroups: [
    {
      name: 'day',
      include: [{ time_window: { from: '08:00', to: '18:00', time_zone: 'UTC' } }],
      require: [],
      exclude: [],
    },
  ],
  policies: [
    policy({ name: 'health', decision: 'bypass', include: [{ everyone: {} }] }),
    policy({ name: 'ours', require: [{ group: { id: 'day' } }], exclude: [{ anchor: { name: 'partner' } }] }),
    policy({
      name: 'reports',
      include: [{ ip: { ip: '192.0.2.0/24' } }],
      require: [{ service_token: { token_id: 't1' } }],
    }),
    policy({
      name: 'partners',
      decision: 'allow',
      include: [{ anchor: { name: 'partner' } }],
      sessionDuration: HOUR,
    }),
    policy({ name: 'strict', decision: 'deny', include: [{ everyone: {} }], reportOnly: true }),
  ],
  applications: [
    application({
      name: 'health',
      hostnames: ['a.test'],
      https: { path: '/health', origin: 'http://127.0.0.1:1' },
      mqtt: undefined,
      policies: ['health'],
    }),
    application({ name: 'main', hostnames: ['a.test'], policies: ['strict', 'partners', 'ours', 'reports'] }),
  ],
}

const statusOf = (leaf: TestLeaf, over: Partial<LiveStatus> = {}): LiveStatus => ({
  serial: leaf.facts.serial,
  deviceId: leaf.id as DeviceId,
  certificateState: 'live',
  notBefore: leaf.facts.notBefore,
  notAfter: leaf.facts.notAfter,
  deviceState: 'active',
  group: 'pumps',
  tags: {},
  issuerSki: pki.devices.ski,
  issuerState: 'active',
  renewAt: NOW + 20 * DAY,
  cloneSuspected: false,
  ...over,
})
const recorded = new Map(
  [
    statusOf(pump),
    statusOf(older),
    statusOf(gone, { certificateState: 'revoked', deviceState: 'revoked' }),
  ].map((status, at) => [([pump, older, gone][at] as TestLeaf).facts.fingerprint, status]),
)
const leaves = [pump, older, gone]

const summaryOf = (leaf: TestLeaf, state: CertificateSummary['state']): CertificateSummary =>
  ({ ...statusOf(leaf), fingerprint: leaf.facts.fingerprint, state }) as unknown as CertificateSummary

const tokens = new Map<string, ServiceToken>(
  [{}, { revokedAt: NOW - 1 }, { expiresAt: NOW }].map((over, at) => [
    `t${at + 1}`,
    {
      id: `t${at + 1}`,
      name: `token-${at + 1}`,
      clientId: 'x.access',
      hash: 'x',
      previous: undefined,
      revision: 1,
      createdAt: NOW - DAY,
      expiresAt: undefined,
      revokedAt: undefined,
      ...over,
    },
  ]),
)

const deps: PolicyTestDeps = {
  clock: () => NOW,
  sessionDuration: 0,
  registry: {
    access: () => snapshot,
    anchorCrls: () => Promise.resolve([]),
    issuers: () =>
      Promise.resolve([
        {
          ski: pki.devices.ski,
          der: pki.devices.der,
          state: 'active',
          offeredAt: undefined,
          offeredVersion: undefined,
        },
      ]),
    status: (fingerprint) => recorded.get(fingerprint),
    certificatesOf: (id) =>
      Promise.resolve(
        id === 'pump-7'
          ? [summaryOf(gone, 'revoked'), summaryOf(pump, 'pending'), summaryOf(older, 'live')]
          : id === 'gone-1'
            ? [summaryOf(gone, 'revoked')]
            : [],
      ),
    findCertificate: (serial) => {
      const leaf = leaves.find(({ facts }) => facts.serial === serial)
      return Promise.resolve(leaf && ({ ...summaryOf(leaf, 'live'), der: leaf.der } as never))
    },
    findServiceToken: (id) => Promise.resolve(tokens.get(id)),
  },
}

const ask = (it: Partial<PolicyTest>): Promise<PolicyTested> => testPolicy(deps, { host: 'a.test', ...it })

it('reads a large CRL in pieces: others have their turn meanwhile', async () => {
  const crl = { urls: [], onStale: 'fail_closed' } as const
  const revoked = Array.from({ length: 50_000 }, (_, at) => (0x40_00_00_00 + at).toString(16))
  const by = pki.other.devices
  const der = makeCrl({ by, now: NOW, revoked: [...revoked, partner.facts.serial] }).der
  const listed = { ...anchorCrl({ anchor: 'partner' }), issuer: caIdOf(by.facts), der }
  const { turns, stop } = countTurns()
  const said = await testPolicy(
    {
      ...deps,
      registry: {
        ...deps.registry,
        access: () => ({
          ...snapshot,
          anchors: snapshot.anchors.map((each) => (each.name === 'partner' ? { ...each, crl } : each)),
        }),
        anchorCrls: () => Promise.resolve([listed]),
      },
    },
    { host: 'a.test', certificate: partner.certPem },
  )
  stop()
  expect([said.reason, turns() > 10]).toEqual(['certificate_revoked', true])
})

const named = (it: PolicyTested, name: string) => it.policies.find((each) => each.name === name)

describe('the verdict', () => {
  it.each<readonly [string, Partial<PolicyTest>, Partial<PolicyTested>]>([
    [
      'a device, by its newest usable certificate',
      { device_id: 'pump-7' },
      {
        allowed: true,
        application: 'main',
        policy: 'ours',
        rule: '{"certificate":{}}',
        session_duration: '0s',
        identity: { kind: 'device', name: 'pump-7', group: 'pumps' },
        certificate: {
          fingerprint: pump.facts.fingerprint,
          serial: pump.facts.serial,
          not_after: new Date(pump.facts.notAfter).toISOString(),
        },
      },
    ],
    [
      'a device that has none any more',
      { device_id: 'gone-1' },
      {
        allowed: false,
        reason: 'certificate_revoked',
        application: 'main',
        identity: { kind: 'device', name: 'gone-1', group: 'pumps' },
      },
    ],
    [
      'at another time',
      { device_id: 'pump-7', at: '2026-11-24T19:00:00Z' },
      { allowed: false, reason: 'policy_denied' },
    ],
    [
      'when it has expired',
      { device_id: 'pump-7', at: '2027-11-24T12:00:00Z' },
      { allowed: false, reason: 'certificate_expired' },
    ],
    [
      'a certificate of a partner, leaf only',
      { certificate: partner.certPem },
      {
        allowed: true,
        policy: 'partners',
        rule: '{"anchor":{"name":"partner"}}',
        session_duration: '1h',
        identity: { kind: 'foreign', name: 'partner/valve-3' },
        would_deny: 'strict',
      },
    ],
    [
      'one that is not on record',
      { certificate: unrecorded.fullPem },
      { allowed: false, reason: 'certificate_unknown' },
    ],
    [
      'one that no anchor vouches for',
      { certificate: stranger.certPem },
      { allowed: false, reason: 'certificate_untrusted' },
    ],
    ['nobody', {}, { allowed: false, reason: 'certificate_required', application: 'main' }],
    [
      'nobody, where everybody may',
      { target: '/health/live?x' },
      { allowed: true, application: 'health', policy: 'health', identity: { kind: 'none' } },
    ],
    [
      'nobody, at a target that could be read in two ways',
      { target: '/health/../x' },
      { allowed: false, reason: 'bad_target' },
    ],
    ['another host', { device_id: 'pump-7', host: 'b.test' }, { allowed: false, reason: 'no_application' }],
    ['the same host as clients write it', { device_id: 'pump-7', host: 'A.test.:443' }, { allowed: true }],
    [
      'a service token from its address',
      { service_token_id: 't1', address: '192.0.2.7' },
      { allowed: true, policy: 'reports', identity: { kind: 'service', name: 'token-1' } },
    ],
    [
      'a service token from elsewhere',
      { service_token_id: 't1' },
      { allowed: false, reason: 'policy_denied' },
    ],
    [
      'a service token that was revoked',
      { service_token_id: 't2' },
      { allowed: false, reason: 'token_invalid' },
    ],
    [
      'a service token that has ended',
      { service_token_id: 't3' },
      { allowed: false, reason: 'token_invalid' },
    ],
    [
      'a page of another site',
      { device_id: 'pump-7', method: 'POST', origin: 'https://evil.example' },
      { allowed: false, reason: 'origin_denied' },
    ],
    [
      'a page of its own, at another port than 443',
      {
        device_id: 'pump-7',
        host: 'A.test.:09443',
        method: 'POST',
        target: 'https://a.test:9443/x',
        origin: 'https://a.test:9443',
      },
      { allowed: true },
    ],
    [
      'a page of its own',
      { device_id: 'pump-7', host: 'a.test:443', method: 'POST', origin: 'https://a.test' },
      { allowed: true },
    ],
    [
      'a page of another port',
      { device_id: 'pump-7', host: 'a.test:9443', method: 'POST', origin: 'https://a.test' },
      { allowed: false, reason: 'origin_denied' },
    ],
    [
      'the MQTT door',
      { device_id: 'pump-7', mqtt: { act: 'publish', topic: 'devices/pump-7/t' } },
      { allowed: true, policy: 'ours' },
    ],
    [
      'the MQTT door, a topic of somebody else',
      { device_id: 'pump-7', mqtt: { act: 'subscribe', topic: 'devices/#' } },
      { allowed: false, reason: 'topic_denied' },
    ],
    [
      'the MQTT door, what it is sent',
      { device_id: 'pump-7', mqtt: { act: 'receive', topic: 'fleet/broadcast/x' } },
      { allowed: true },
    ],
    [
      'the MQTT door, a shared subscription',
      { device_id: 'pump-7', mqtt: { act: 'subscribe', topic: '$share/pumps/devices/pump-7/#' } },
      { allowed: true },
    ],
    [
      'the MQTT door, its own topics',
      { device_id: 'pump-7', mqtt: { act: 'publish', topic: '$sallyport/certificates/renew' } },
      { allowed: false, reason: 'topic_denied' },
    ],
    [
      'the MQTT door, a ClientID',
      { device_id: 'pump-7', mqtt: { act: 'connect', client_id: 'pump-8' } },
      { allowed: false, reason: 'client_id_mismatch' },
    ],
    [
      'the MQTT door, whichever ClientID',
      { device_id: 'pump-7', mqtt: { act: 'connect', client_id: '' } },
      { allowed: true, client_id: 'pump-7' },
    ],
    [
      'MQTT from a page',
      {
        device_id: 'pump-7',
        origin: 'https://b.test',
        mqtt: { act: 'connect', client_id: 'pump-7', websocket: true },
      },
      { allowed: false, reason: 'origin_denied' },
    ],
    [
      'MQTT from a page of its own, at another port than 443',
      {
        device_id: 'pump-7',
        host: 'a.test:9443',
        origin: 'https://a.test:9443',
        mqtt: { act: 'connect', client_id: 'pump-7', websocket: true },
      },
      { allowed: true },
    ],
  ])('%s', async (_, asked, said) => {
    const answer = await ask(asked)
    expect(answer).toMatchObject(said)
    if (answer.identity?.kind === 'service' || answer.identity?.kind === 'none')
      expect(answer.session_duration).toBeUndefined()
  })
})

describe('why', () => {
  it('is told of each policy, in the order in which they are asked', async () => {
    const { policies } = await ask({ certificate: partner.certPem })
    expect(policies).toEqual([
      {
        name: 'ours',
        decision: 'non_identity',
        report_only: false,
        concerned: true,
        matched: false,
        include: { index: 0, rule: '{"certificate":{}}' },
        exclude: { index: 0, rule: '{"anchor":{"name":"partner"}}' },
      },
      {
        name: 'reports',
        decision: 'non_identity',
        report_only: false,
        concerned: true,
        matched: false,
        require: { index: 0, rule: '{"service_token":{"token_id":"t1"}}' },
      },
      {
        name: 'strict',
        decision: 'deny',
        report_only: true,
        concerned: true,
        matched: true,
        include: { index: 0, rule: '{"everyone":{}}' },
      },
      {
        name: 'partners',
        decision: 'allow',
        report_only: false,
        concerned: true,
        matched: true,
        include: { index: 0, rule: '{"anchor":{"name":"partner"}}' },
      },
    ])
  })

  it('names what was required, and whom a policy is not about', async () => {
    const late = await ask({ device_id: 'pump-7', at: '2026-11-24T19:00:00Z' })
    expect(named(late, 'ours')?.require).toEqual({ index: 0, rule: '{"group":{"id":"day"}}' })
    expect(named(await ask({}), 'ours')).toMatchObject({ concerned: false, matched: false })
    expect((await ask({ host: 'b.test' })).policies).toEqual([])
  })
})

describe('what cannot be asked', () => {
  it.each([
    ['both', { device_id: 'pump-7', certificate: pump.certPem }, /not both/, 'bad_request'],
    ['no PEM', { certificate: 'x' }, /^certificate: PEM/, 'bad_request'],
    ['a chain without end', { certificate: pump.certPem.repeat(11) }, /more than 10/, 'bad_request'],
    [
      'a device that is not here',
      { device_id: 'pump-9' },
      /no certificate of the device pump-9/,
      'not_found',
    ],
    ['a device that cannot be', { device_id: 'a/b' }, /no device a\/b/, 'not_found'],
    [
      'a method that no door passes on',
      { method: 'TRACE' },
      /^method: TRACE is passed on to no/,
      'bad_request',
    ],
    [
      'what the gateway itself answers',
      { target: '/cdn-cgi/access/get-identity?x' },
      /^target: below \/cdn-cgi\/access\/ the gateway itself answers/,
      'bad_request',
    ],
    ['the same to a servlet', { target: '/cdn-cgi;a/access/x' }, /^target: below/, 'bad_request'],
    ['a service token that is not here', { service_token_id: 'x' }, /no service token x/, 'not_found'],
  ] as const)('%s', async (_, asked, detail, code) => {
    await expect(ask(asked)).rejects.toThrow(refusal(detail, code))
  })
})
