import { describe, expect, test } from 'vitest'
import type { AccessSnapshot, Application } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { DENIALS, type Denial } from '#fleet/denial.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Peer } from '#fleet/peer.ts'
import { compileAccess } from '#policy/access.ts'
import {
  admit,
  judgeTopics,
  LADDER,
  type DeviceRecord,
  type Facts,
  type Standing,
} from '#policy/admission.ts'
import type { Ask } from '#policy/decision.ts'
import { application, policy } from '../../support/registry.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const HOUR = 3_600_000

const leaf: CertificateFacts = {
  der: new Uint8Array(),
  fingerprint: 'f'.repeat(64),
  serial: '4f01',
  subjectDer: new Uint8Array(),
  issuerDer: new Uint8Array(),
  commonName: 'lamp-1',
  notBefore: NOW - HOUR,
  notAfter: NOW + HOUR,
  spkiSha256: 'a'.repeat(64),
  key: { kind: 'P-256', bits: 256 },
  isCa: false,
  pathLength: undefined,
  keyUsage: ['digitalSignature'],
  extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'],
  subjectKeyId: undefined,
  authorityKeyId: undefined,
  sanUris: [],
  sanDns: [],
  signatureAlgorithm: '1.2.840.10045.4.3.2',
}
const peer: Peer = {
  leaf,
  sentChain: [],
  trusted: true,
  resumed: false,
  serverName: 'a.test',
  address: '192.0.2.1',
}
const record: DeviceRecord = {
  deviceId: 'lamp-1' as DeviceId,
  certificateState: 'live',
  deviceState: 'active',
  group: '',
  tags: {},
  issuerState: 'active',
}
const above = { notBefore: NOW - 24 * HOUR, notAfter: NOW + 24 * HOUR }
const ours = (over: Partial<DeviceRecord> = {}): Standing => ({
  kind: 'ours',
  above,
  record: { ...record, ...over },
})
const foreign: Standing = { kind: 'foreign', above, anchor: 'partner' }

const snapshot: AccessSnapshot = {
  version: 1,
  anchors: [{ name: 'development', pem: '', hostnames: ['anchored.test'] }],
  applications: [
    application({
      name: 'app',
      hostnames: ['a.test'],
      https: { path: '/app/*', origin: 'http://127.0.0.1:1' },
    }),
    application({
      name: 'picky',
      hostnames: ['a.test'],
      https: { path: '/picky/*', origin: 'http://127.0.0.1:1' },
      mqtt: undefined,
      policies: ['picky'],
    }),
  ] satisfies Application[],
  policies: [policy(), policy({ name: 'picky', include: [{ common_name: { common_name: 'lamp-9' } }] })],
}
const access = compileAccess(snapshot)

const get = (target: string, host = 'a.test'): Ask => ({ door: 'https', host, method: 'GET', target })
const connect = (clientId: string, host = 'a.test'): Ask => ({ door: 'mqtt', host, act: 'connect', clientId })
const publish = (topic: string): Ask => ({ door: 'mqtt', host: 'a.test', act: 'publish', topic })

type Over = {
  readonly peer?: Partial<Peer>
  readonly leaf?: Partial<CertificateFacts>
  readonly ask?: Ask
  readonly standing?: Standing
  readonly registry?: 'down'
}
const factsOf = (over: Over): Facts => ({
  now: NOW,
  peer: { ...peer, leaf: { ...leaf, ...over.leaf }, ...over.peer },
  ask: over.ask ?? get('/app/x'),
  registry: over.registry === 'down' ? undefined : { access, standing: over.standing ?? ours() },
})

const rows: readonly (readonly [what: string, Over, Denial])[] = [
  ['a resumed session', { peer: { resumed: true } }, 'session_resumed'],
  [
    'a resumed session without a certificate',
    { peer: { resumed: true, leaf: undefined } },
    'session_resumed',
  ],
  ['no SNI', { peer: { serverName: undefined } }, 'host_mismatch'],
  ['SNI is another host', { peer: { serverName: 'b.test' } }, 'host_mismatch'],
  ['MQTT: SNI is another host', { ask: connect('lamp-1', 'b.test') }, 'host_mismatch'],
  [
    'MQTT: no SNI and no default',
    { peer: { serverName: undefined }, ask: connect('lamp-1', '') },
    'host_mismatch',
  ],
  ['an ambiguous target', { ask: get('/app/../picky/x') }, 'bad_target'],
  ['a target whose parameters lead elsewhere', { ask: get('/app;x/y') }, 'bad_target'],
  ['the registry is down', { registry: 'down' }, 'registry_unavailable'],
  [
    'the registry is down, no certificate',
    { registry: 'down', peer: { leaf: undefined } },
    'registry_unavailable',
  ],
  ['an unknown host', { peer: { serverName: 'c.test' }, ask: get('/', 'c.test') }, 'no_application'],
  [
    'an unknown host, no certificate',
    {
      peer: { serverName: 'c.test', leaf: undefined },
      ask: get('/', 'c.test'),
      standing: { kind: 'absent' },
    },
    'no_application',
  ],
  ['no certificate', { peer: { leaf: undefined }, standing: { kind: 'absent' } }, 'certificate_required'],
  [
    'no certificate, and a path of no application',
    { peer: { leaf: undefined }, ask: get('/nowhere'), standing: { kind: 'absent' } },
    'certificate_required',
  ],
  ...(
    [
      'certificate_untrusted',
      'certificate_expired',
      'certificate_not_yet_valid',
      'certificate_wrong_purpose',
      'certificate_weak_key',
    ] as const
  ).map(
    (reason) =>
      [
        `OpenSSL refused: ${reason}`,
        { peer: { trusted: false }, standing: { kind: 'rejected', reason } },
        reason,
      ] as const,
  ),
  ['trusted, but a CA', { leaf: { isCa: true } }, 'certificate_wrong_purpose'],
  ['trusted, but without EKU', { leaf: { extendedKeyUsage: undefined } }, 'certificate_wrong_purpose'],
  ['trusted, but a weak key', { leaf: { key: { kind: 'RSA', bits: 1_024 } } }, 'certificate_weak_key'],
  ['trusted, but an odd serial', { leaf: { serial: '00' } }, 'certificate_untrusted'],
  ['expired since the handshake', { leaf: { notAfter: NOW - 1 } }, 'certificate_expired'],
  ['not yet valid by our clock', { leaf: { notBefore: NOW + 1 } }, 'certificate_not_yet_valid'],
  [
    'an issuer that has expired',
    { standing: { kind: 'ours', record, above: { notBefore: 0, notAfter: NOW - 1 } } },
    'certificate_untrusted',
  ],
  [
    'an issuer that is not valid yet',
    { standing: { kind: 'foreign', anchor: 'partner', above: { notBefore: NOW + 1, notAfter: NOW + 2 } } },
    'certificate_untrusted',
  ],
  ['ours, not on record', { standing: { kind: 'ours', above, record: undefined } }, 'certificate_unknown'],
  ['a revoked issuer', { standing: ours({ issuerState: 'revoked' }) }, 'issuer_revoked'],
  ['a retired issuer', { standing: ours({ issuerState: 'retired' }) }, 'issuer_revoked'],
  ['a revoked certificate', { standing: ours({ certificateState: 'revoked' }) }, 'certificate_revoked'],
  [
    'a revoked device',
    { standing: ours({ deviceState: 'revoked', certificateState: 'revoked' }) },
    'certificate_revoked',
  ],
  [
    'a revoked device, its certificate forgotten',
    { standing: ours({ deviceState: 'revoked' }) },
    'certificate_revoked',
  ],
  [
    'a retired device',
    { standing: ours({ deviceState: 'retired', certificateState: 'revoked' }) },
    'device_retired',
  ],
  ['a suspended device', { standing: ours({ deviceState: 'suspended' }) }, 'device_suspended'],
  [
    'a suspended device with an old certificate',
    { standing: ours({ deviceState: 'suspended', certificateState: 'revoked' }) },
    'certificate_revoked',
  ],
  [
    'a pending certificate of a suspended device',
    { standing: ours({ deviceState: 'suspended', certificateState: 'pending' }) },
    'device_suspended',
  ],
  [
    'a pending certificate of a revoked issuer',
    { standing: ours({ certificateState: 'pending', issuerState: 'revoked' }) },
    'issuer_revoked',
  ],
  [
    'a pending certificate that has expired: no grace at a door',
    { leaf: { notAfter: NOW - 1 }, standing: ours({ certificateState: 'pending' }) },
    'certificate_expired',
  ],
  ['an issuer that was never active', { standing: ours({ issuerState: 'offered' }) }, 'issuer_revoked'],
  [
    'a certificate of a device that never enrolled',
    { standing: ours({ deviceState: 'registered' }) },
    'certificate_unknown',
  ],
  ['a path of no application', { ask: get('/nowhere') }, 'no_application'],
  [
    'a host without applications',
    { peer: { serverName: 'anchored.test' }, ask: get('/', 'anchored.test') },
    'no_application',
  ],
  [
    'a host without MQTT',
    { peer: { serverName: 'anchored.test' }, ask: connect('lamp-1', 'anchored.test') },
    'no_application',
  ],
  ['another device', { ask: get('/picky/x') }, 'policy_denied'],
  ['another ClientID', { ask: connect('lamp-2') }, 'client_id_mismatch'],
  ['no ClientID', { ask: connect('') }, 'client_id_mismatch'],
  ['a ClientID in other case', { ask: connect('LAMP-1') }, 'client_id_mismatch'],
  [
    'a foreign certificate under a name of ours',
    { ask: connect('lamp-1'), standing: foreign },
    'client_id_mismatch',
  ],
  ['a topic of another device', { ask: publish('devices/lamp-2/up') }, 'topic_denied'],
  ['the topic of a namesake', { ask: publish('devices/lamp-1/up'), standing: foreign }, 'topic_denied'],
]

describe('refused', () => {
  test.each(rows)('%s', (_, over, reason) => {
    expect(admit(factsOf(over))).toMatchObject({ allow: false, reason })
  })
})

describe('admitted', () => {
  const device = { kind: 'device', id: 'lamp-1', group: '', tags: {} }
  const stranger = { kind: 'foreign', anchor: 'partner', name: 'lamp-1' }
  test.each([
    ['HTTPS', {}, device],
    ['HTTPS, foreign', { standing: foreign }, stranger],
    [
      'foreign, without a name',
      { standing: foreign, leaf: { commonName: undefined } },
      { ...stranger, name: leaf.fingerprint },
    ],
    ['the last millisecond', { leaf: { notAfter: NOW } }, device],
    ['parameters that lead to the same application', { ask: get('/app/x;v=1/y') }, device],
    ['MQTT', { ask: connect('lamp-1') }, device],
    ['MQTT without SNI', { ask: connect('lamp-1'), peer: { serverName: undefined } }, device],
    ['MQTT, foreign', { ask: connect('partner/lamp-1'), standing: foreign }, stranger],
    ['its own topic', { ask: publish('devices/lamp-1/up') }, device],
    ['a pending certificate, as a live one', { standing: ours({ certificateState: 'pending' }) }, device],
    ['an issuer that is retiring', { standing: ours({ issuerState: 'retiring' }) }, device],
  ] satisfies readonly (readonly [string, Over, unknown])[])('%s', (_, over, identity) => {
    expect(admit(factsOf(over))).toMatchObject({ allow: true, identity, policy: 'valid' })
  })
})

describe('any number of topics, judged once', () => {
  const topics = [
    'devices/lamp-1/up',
    'devices/lamp-2/up',
    'foreign/partner/lamp-1/up',
    'fleet/broadcast/x',
    '',
  ]
  const everybody: readonly (readonly [string, Over])[] = [
    ['a device', {}],
    ['a stranger', { standing: foreign }],
    ...rows.map(([what, over]) => [what, over] as const),
  ]
  test.each(everybody)('as the whole ladder says of each: %s', (_, over) => {
    const { ask, ...facts } = factsOf(over)
    const judged = judgeTopics({ ...facts, host: ask.host })
    for (const act of ['publish', 'subscribe', 'receive'] as const)
      for (const topic of topics) {
        const whole = admit({ ...facts, ask: { door: 'mqtt', host: ask.host, act, topic } })
        expect(judged.judge(act, topic)).toEqual(whole)
        if (!judged.standing.allow) expect(whole).toEqual(judged.standing)
      }
  })
})

test.each<[string, Over, number]>([
  ['the leaf', {}, leaf.notAfter],
  [
    'what is above it',
    { standing: { kind: 'foreign', anchor: 'partner', above: { ...above, notAfter: NOW + 1 } } },
    NOW + 1,
  ],
])('a yes is good until the first end: %s', (_, over, notAfter) => {
  expect(admit(factsOf(over))).toMatchObject({ allow: true, notAfter })
})

test('the registry names the device, whatever the certificate says', () => {
  const decision = admit(factsOf({ leaf: { commonName: 'lamp-9' }, ask: get('/picky/x') }))
  expect(decision).toMatchObject({ allow: false, reason: 'policy_denied', identity: { id: 'lamp-1' } })
})

/** Not the ladder's: sessions with a duration and tokens are not built yet; attempts are limited by the enroll desk. */
const ELSEWHERE: readonly Denial[] = [
  'session_expired',
  'token_invalid',
  'token_binding_mismatch',
  'rate_limited',
]

test('every reason is reached by a row above, or belongs elsewhere', () => {
  const reached = new Set(rows.map(([, , reason]) => reason))
  expect(DENIALS.filter((reason) => !reached.has(reason))).toEqual(ELSEWHERE)
})

test('each rung gives no reason but its own', () => {
  const own = new Set(LADDER.flatMap(({ reasons }) => reasons))
  expect(new Set(rows.map(([, , reason]) => reason))).toEqual(own)
})
