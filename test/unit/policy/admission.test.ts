import { describe, expect, test } from 'vitest'
import type { AccessSnapshot, Application, Policy } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { HOUR } from '#fleet/clock.ts'
import { DENIALS, type Denial } from '#fleet/denial.ts'
import type { Peer } from '#fleet/peer.ts'
import { compileAccess } from '#policy/access.ts'
import {
  admit,
  explainPolicies,
  judgeTopics,
  nameOf,
  type Facts,
  type ServiceTokenFacts,
  type SessionFacts,
  type Standing,
} from '#policy/admission.ts'
import type { Ask, Identity } from '#policy/decision.ts'
import { LADDER } from '#policy/ladder.ts'
import {
  ABOVE,
  deviceRecord,
  foreign,
  leafFacts,
  NOON as NOW,
  ours,
  peerFacts,
} from '../../support/admission.ts'
import { application, policy } from '../../support/registry.ts'

const leaf = leafFacts()

const at = (name: string, path: string, over: Partial<Application> = {}): Application =>
  application({
    name,
    hostnames: ['a.test'],
    https: { path, origin: 'http://127.0.0.1:1' },
    mqtt: undefined,
    ...over,
  })
const https = (path: string, over: Partial<Application['https']>): Application['https'] => ({
  path,
  origin: 'http://127.0.0.1:1',
  ...over,
})
const broker = (host: string, over: Partial<Application['mqtt']>): Application =>
  application({ name: host, hostnames: [host], https: undefined, mqtt: { topics: [], ...over } })
const DEVICE_ONLY: Policy = policy({ name: 'allow', decision: 'allow' })
const HERE = { ip: { ip: '192.0.2.0/24' } }

const snapshot: AccessSnapshot = {
  version: 1,
  anchors: [{ name: 'development', pem: '', hostnames: ['anchored.test'] }],
  applications: [
    at('app', '/app/*', { mqtt: { topics: [] } }),
    at('picky', '/picky/*', { policies: ['picky'] }),
    at('devices', '/devices/*', { policies: ['allow'] }),
    at('denying', '/denying/*', { policies: ['deny lamp-1', 'allow'] }),
    at('machines', '/machines/*', { policies: ['machines'] }),
    at('public', '/public/*', { policies: ['bypass', 'allow'] }),
    at('inside', '/inside/*', { policies: ['bypass here', 'allow'] }),
    at('mixed', '/mixed/*', { policies: ['valid', 'bypass'] }),
    at('slashes', '/slashes/*', { https: https('/slashes/*', { encodedSlashes: true }) }),
    at('strict', '/slashes/strict/*', { https: https('/slashes/strict/*', { encodedSlashes: true }) }),
    at('pages', '/pages/*', { https: https('/pages/*', { allowedOrigins: ['https://b.test'] }) }),
    at('day', '/day/*', { sessionDuration: 24 * HOUR, policies: ['valid', 'none', 'bypass here'] }),
    at('bearer', '/bearer/*', {
      sessionDuration: HOUR,
      tokenBinding: 'none',
      policies: ['at once', 'valid'],
    }),
    at('trial', '/trial/*', { policies: ['would deny', 'allow'] }),
    at('later', '/later/*', { policies: ['would bypass', 'would allow'] }),
    at('hours', '/hours/*', { policies: ['hours'] }),
    broker('suffixes.test', { clientId: 'prefix', connections: 5, allowedOrigins: ['https://b.test'] }),
    broker('forced.test', { clientId: 'forced' }),
    broker('sockets.test', { websocket: false }),
  ],
  policies: [
    policy(),
    policy({ name: 'picky', include: [{ common_name: { common_name: 'lamp-9' } }] }),
    DEVICE_ONLY,
    policy({ name: 'deny lamp-1', decision: 'deny', include: [{ common_name: { common_name: 'lamp-1' } }] }),
    policy({ name: 'machines', include: [{ service_token: { token_id: 't1' } }] }),
    policy({ name: 'bypass', decision: 'bypass', include: [{ everyone: {} }] }),
    policy({
      name: 'bypass here',
      decision: 'bypass',
      include: [HERE],
      exclude: [{ device_tag: { name: 'x', value: 'y' } }],
    }),
    policy({ name: 'none', sessionDuration: 0 }),
    policy({ name: 'at once', sessionDuration: 0, include: [{ common_name: { common_name: 'lamp-2' } }] }),
    policy({ name: 'would deny', decision: 'deny', reportOnly: true, include: [{ everyone: {} }] }),
    policy({ name: 'would allow', decision: 'allow', reportOnly: true, include: [{ everyone: {} }] }),
    policy({
      name: 'would bypass',
      decision: 'bypass',
      reportOnly: true,
      include: [{ ip: { ip: '203.0.113.1' } }],
    }),
    policy({ name: 'hours', include: [{ time_window: { from: '08:00', to: '12:30', time_zone: 'UTC' } }] }),
  ],
  ruleGroups: [],
}
const access = compileAccess(snapshot)

type HttpsAsk = Extract<Ask, { door: 'https' }>
const get = (target: string, host = 'a.test', over: Partial<HttpsAsk> = {}): Ask => ({
  door: 'https',
  host,
  method: 'GET',
  target,
  ...over,
})
type ConnectAsk = Extract<Ask, { act: 'connect' }>
const connect = (clientId: string, host = 'a.test', over: Partial<ConnectAsk> = {}): Ask => ({
  door: 'mqtt',
  host,
  act: 'connect',
  clientId,
  ...over,
})
/** At the MQTT door of another hostname. */
const connectAt = (host: string, clientId: string, over: Partial<ConnectAsk> = {}): Over => ({
  peer: { serverName: host },
  ask: connect(clientId, host, over),
})
const page = (origin: string, over: Partial<ConnectAsk> = {}): Partial<ConnectAsk> => ({
  websocket: true,
  origin,
  ...over,
})
const publish = (topic: string): Ask => ({ door: 'mqtt', host: 'a.test', act: 'publish', topic })

const NO_CERTIFICATE = { peer: { leaf: undefined }, standing: { kind: 'absent' } } as const
const GOOD_TOKEN: ServiceTokenFacts = { kind: 'good', id: 't1', name: 'ci' }
const SESSION = { id: 's1', issuedAt: NOW - 1, expiresAt: NOW + 1_000, fingerprint: 'ab'.repeat(32) }
const GOOD_SESSION: SessionFacts = { kind: 'good', session: SESSION, recorded: undefined }
const recorded = (standing: Standing, over: Partial<CertificateFacts> = {}): SessionFacts => ({
  kind: 'good',
  session: SESSION,
  recorded: { leaf: leafFacts(over), standing },
})
/** Without a certificate, in a session that another policy, or a setting of before, made for a day. */
const longSession = (issuedAt: number): Over => ({
  ...NO_CERTIFICATE,
  ask: get('/bearer/x', 'a.test', { handshakeAt: NOW }),
  session: {
    kind: 'good',
    session: { ...SESSION, issuedAt, expiresAt: NOW + 24 * HOUR },
    recorded: { leaf: leafFacts(), standing: ours() },
  },
})

type Over = {
  readonly peer?: Partial<Peer>
  readonly leaf?: Partial<CertificateFacts>
  readonly ask?: Ask
  readonly standing?: Standing
  readonly serviceToken?: ServiceTokenFacts
  readonly session?: SessionFacts
  readonly sessionDuration?: number
  readonly registry?: 'down'
}
const factsOf = (over: Over): Facts => ({
  now: NOW,
  peer: peerFacts({ leaf: leafFacts(over.leaf), ...over.peer }),
  ask: over.ask ?? get('/app/x'),
  credentials: {
    serviceToken: () => over.serviceToken ?? { kind: 'absent' },
    session: () => over.session ?? { kind: 'absent' },
  },
  sessionDuration: over.sessionDuration ?? 0,
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
    { standing: { ...ours(), above: { notBefore: 0, notAfter: NOW - 1 } } },
    'certificate_untrusted',
  ],
  [
    'an issuer that is not valid yet',
    { standing: foreign({ above: { notBefore: NOW + 1, notAfter: NOW + 2 } }) },
    'certificate_untrusted',
  ],
  ['ours, not on record', { standing: { ...ours(), record: undefined } }, 'certificate_unknown'],
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
  ['a ClientID with a suffix', { ask: connect('lamp-1@a') }, 'client_id_mismatch'],
  ['another device’s ClientID with a suffix', connectAt('suffixes.test', 'lamp-2@a'), 'client_id_mismatch'],
  [
    'a foreign certificate with a suffix',
    { ...connectAt('suffixes.test', 'partner/lamp-1@a'), standing: foreign() },
    'client_id_mismatch',
  ],
  ['a ClientID in other case', { ask: connect('LAMP-1') }, 'client_id_mismatch'],
  [
    'a foreign certificate under a name of ours',
    { ask: connect('lamp-1'), standing: foreign() },
    'client_id_mismatch',
  ],
  ['a topic of another device', { ask: publish('devices/lamp-2/up') }, 'topic_denied'],
  ['the topic of a namesake', { ask: publish('devices/lamp-1/up'), standing: foreign() }, 'topic_denied'],

  // ---- certificates of foreign anchors
  ['a foreign one that is revoked', { standing: foreign({ revocation: 'revoked' }) }, 'certificate_revoked'],
  ['a foreign CA that is revoked', { standing: foreign({ revocation: 'issuer_revoked' }) }, 'issuer_revoked'],
  ['no CRL where one is needed', { standing: foreign({ revocation: 'unknown' }) }, 'revocation_unknown'],
  ['a certificate whose standing nobody knows', { standing: { kind: 'absent' } }, 'certificate_untrusted'],

  // ---- policies
  ['denied by name', { ask: get('/denying/x') }, 'policy_denied'],
  [
    'no certificate, and only some are let in',
    { ...NO_CERTIFICATE, ask: get('/devices/x') },
    'certificate_required',
  ],
  [
    'a service token where devices are let in',
    { ...NO_CERTIFICATE, ask: get('/devices/x'), serviceToken: GOOD_TOKEN },
    'policy_denied',
  ],
  [
    'a service token of another name',
    { ...NO_CERTIFICATE, ask: get('/machines/x'), serviceToken: { ...GOOD_TOKEN, id: 't2' } },
    'policy_denied',
  ],
  ['one beside a certificate there', { ask: get('/devices/x'), serviceToken: GOOD_TOKEN }, 'policy_denied'],
  ['a device where service tokens are let in', { ask: get('/machines/x') }, 'policy_denied'],
  [
    'not one that is bypassed',
    { ...NO_CERTIFICATE, ask: get('/inside/x'), peer: { leaf: undefined, address: '203.0.113.9' } },
    'certificate_required',
  ],
  // an exclude of devices, and nobody says that this is not it
  [
    'bypassed but for some devices, without a certificate',
    { ...NO_CERTIFICATE, ask: get('/inside/x') },
    'certificate_required',
  ],
  [
    'the same with a bad one',
    { ask: get('/inside/x'), standing: ours({ deviceState: 'suspended' }) },
    'device_suspended',
  ],
  [
    'bypass, and the path can be read in two ways',
    { ...NO_CERTIFICATE, ask: get('/public;x/y') },
    'certificate_required',
  ],
  [
    'bypass, and the path leads elsewhere',
    { ...NO_CERTIFICATE, ask: get('/public/..%2fdevices') },
    'bad_target',
  ],
  ['bypass, and an encoded slash', { ...NO_CERTIFICATE, ask: get('/public/a%2fb') }, 'bad_target'],
  ['bypass, and a resumed session', { ask: get('/public/x'), peer: { resumed: true } }, 'session_resumed'],
  ['bypass, and another Host', { ask: get('/public/x', 'b.test') }, 'host_mismatch'],
  [
    'bypass, and not the first request',
    { ...NO_CERTIFICATE, ask: get('/public/x', 'a.test', { first: false }) },
    'handshake_not_fresh',
  ],

  // ---- service tokens
  ['a bad service token', { ...NO_CERTIFICATE, serviceToken: { kind: 'refused' } }, 'token_invalid'],
  ['with a good certificate', { serviceToken: { kind: 'refused' } }, 'token_invalid'],
  [
    'a bad certificate is told first',
    { serviceToken: { kind: 'refused' }, leaf: { isCa: true } },
    'certificate_wrong_purpose',
  ],
  [
    'a good service token does not mend it',
    { serviceToken: GOOD_TOKEN, ask: get('/machines/x'), standing: ours({ certificateState: 'revoked' }) },
    'certificate_revoked',
  ],

  // ---- encoded slashes
  ['an encoded slash', { ask: get('/app/a%2fb') }, 'bad_target'],
  ['one that leads elsewhere', { ask: get('/slashes/strict%2fx') }, 'bad_target'],
  ['one that leads elsewhere when slashes are merged', { ask: get('/slashes/%2fstrict/x') }, 'bad_target'],
  ['one in no application', { ask: get('/nowhere%2fx') }, 'bad_target'],

  // ---- Origin
  [
    'an unsafe method from another page',
    { ask: get('/app/x', 'a.test', { method: 'POST', origin: 'https://b.test' }) },
    'origin_denied',
  ],
  [
    'a method in other letters',
    { ask: get('/app/x', 'a.test', { method: 'get', origin: 'https://b.test' }) },
    'origin_denied',
  ],
  [
    'an Upgrade from another page',
    { ask: get('/app/x', 'a.test', { upgrade: true, origin: 'https://b.test' }) },
    'origin_denied',
  ],
  [
    'its own name without TLS',
    { ask: get('/app/x', 'a.test', { method: 'POST', origin: 'http://a.test' }) },
    'origin_denied',
  ],
  [
    'its own name on another port',
    { ask: get('/app/x', 'a.test', { method: 'POST', origin: 'https://a.test:8443' }) },
    'origin_denied',
  ],
  ['nowhere', { ask: get('/app/x', 'a.test', { method: 'POST', origin: 'null' }) }, 'origin_denied'],
  ['an empty one', { ask: get('/app/x', 'a.test', { method: 'POST', origin: '' }) }, 'origin_denied'],
  [
    'what only begins as one that is listed',
    { ask: get('/pages/x', 'a.test', { method: 'POST', origin: 'https://b.test.evil' }) },
    'origin_denied',
  ],
  [
    'bypass asks it too',
    { ...NO_CERTIFICATE, ask: get('/public/x', 'a.test', { method: 'POST', origin: 'https://b.test' }) },
    'origin_denied',
  ],
  ['MQTT from a page', { ask: connect('lamp-1', 'a.test', page('https://b.test')) }, 'origin_denied'],
  [
    'MQTT from its own name without TLS',
    { ask: connect('lamp-1', 'a.test', page('http://a.test')) },
    'origin_denied',
  ],
  [
    'MQTT from a page that another application lists',
    connectAt('forced.test', 'lamp-1', page('https://b.test')),
    'origin_denied',
  ],
  [
    'MQTT in a WebSocket where there is none',
    connectAt('sockets.test', 'lamp-1', { websocket: true }),
    'no_application',
  ],

  // ---- sessions
  [
    'a second request where there are none',
    { ask: get('/app/x', 'a.test', { first: false }) },
    'handshake_not_fresh',
  ],
  [
    'a second request, by a service token',
    { ...NO_CERTIFICATE, serviceToken: GOOD_TOKEN, ask: get('/machines/x', 'a.test', { first: false }) },
    'handshake_not_fresh',
  ],
  [
    'the same where sessions are had, beside a certificate or not',
    {
      ...NO_CERTIFICATE,
      sessionDuration: HOUR,
      serviceToken: GOOD_TOKEN,
      ask: get('/machines/x', 'a.test', { first: false, handshakeAt: NOW }),
    },
    'handshake_not_fresh',
  ],
  [
    'a service token in a session',
    {
      serviceToken: GOOD_TOKEN,
      session: GOOD_SESSION,
      ask: get('/day/x', 'a.test', { first: false, handshakeAt: NOW }),
    },
    'handshake_not_fresh',
  ],
  [
    'a forged session',
    { ask: get('/day/x'), session: { kind: 'refused', reason: 'token_invalid' } },
    'token_invalid',
  ],
  [
    "another certificate's session",
    { ask: get('/day/x'), session: { kind: 'refused', reason: 'token_binding_mismatch' } },
    'token_binding_mismatch',
  ],
  [
    'one that is over, on an old connection',
    { ask: get('/day/x', 'a.test', { first: false }), session: { kind: 'over' } },
    'session_expired',
  ],
  [
    'one that is over, and no certificate',
    { ...NO_CERTIFICATE, ask: get('/bearer/x'), session: { kind: 'over' } },
    'session_expired',
  ],
  [
    'a bound one without its certificate',
    { ...NO_CERTIFICATE, ask: get('/day/x'), session: GOOD_SESSION },
    'certificate_required',
  ],
  [
    'a bad certificate with a good session',
    { ask: get('/day/x'), session: GOOD_SESSION, standing: ours({ deviceState: 'suspended' }) },
    'device_suspended',
  ],
  [
    'a connection that is as old as a session',
    { ask: get('/day/x', 'a.test', { first: false, handshakeAt: NOW - 24 * HOUR }) },
    'session_expired',
  ],
  [
    'whatever token comes along',
    { ask: get('/day/x', 'a.test', { first: false, handshakeAt: NOW - 24 * HOUR }), session: GOOD_SESSION },
    'session_expired',
  ],
  [
    'one for a certificate that is revoked now',
    { ...NO_CERTIFICATE, ask: get('/bearer/x'), session: recorded(ours({ certificateState: 'revoked' })) },
    'certificate_revoked',
  ],
  [
    'one for a certificate that has expired',
    { ...NO_CERTIFICATE, ask: get('/bearer/x'), session: recorded(ours(), { notAfter: NOW - 1 }) },
    'certificate_expired',
  ],
  [
    'one where a handshake is needed',
    {
      ...NO_CERTIFICATE,
      ask: get('/bearer/x'),
      session: recorded({ ...ours(), record: deviceRecord({ deviceId: 'lamp-2' as never }) }),
    },
    'certificate_required',
  ],
  ['one that is as old as a session of the policy', longSession(NOW - HOUR), 'session_expired'],
]

describe('refused', () => {
  test.each(rows)('%s', (_, over, reason) => {
    expect(admit(factsOf(over))).toMatchObject({ allow: false, reason })
  })
})

describe('admitted', () => {
  const device = { kind: 'device', id: 'lamp-1', group: 'default', tags: {} }
  const stranger = { kind: 'foreign', anchor: 'partner', name: 'lamp-1' }
  const machine = { kind: 'service', id: 't1', name: 'ci' }
  const anybody = { kind: 'none' }
  const post = (target: string, over: Partial<HttpsAsk>): Ask =>
    get(target, 'a.test', { method: 'POST', ...over })
  test.each([
    ['HTTPS', {}, device, 'valid'],
    ['HTTPS, foreign', { standing: foreign() }, stranger, 'valid'],
    ['foreign, and on no CRL', { standing: foreign({ revocation: 'good' }) }, stranger, 'valid'],
    [
      'foreign, without a name',
      { standing: foreign(), leaf: { commonName: undefined } },
      { ...stranger, name: leaf.fingerprint },
      'valid',
    ],
    ['the last millisecond', { leaf: { notAfter: NOW } }, device, 'valid'],
    ['parameters that lead to the same application', { ask: get('/app/x;v=1/y') }, device, 'valid'],
    ['MQTT', { ask: connect('lamp-1') }, device, 'valid'],
    ['MQTT without SNI', { ask: connect('lamp-1'), peer: { serverName: undefined } }, device, 'valid'],
    ['MQTT, foreign', { ask: connect('partner/lamp-1'), standing: foreign() }, stranger, 'valid'],
    ['MQTT, and the ClientID is the server’s to choose', { ask: connect('') }, device, 'valid'],
    ['MQTT, with a suffix', connectAt('suffixes.test', 'lamp-1@a'), device, 'valid'],
    ['MQTT, under whatever name', connectAt('forced.test', 'lamp-2'), device, 'valid'],
    [
      'MQTT, foreign, under whatever name',
      { ...connectAt('forced.test', 'lamp-1'), standing: foreign() },
      stranger,
      'valid',
    ],
    ['MQTT in a WebSocket', { ask: connect('lamp-1', 'a.test', { websocket: true }) }, device, 'valid'],
    [
      'MQTT from a page of its own',
      { ask: connect('lamp-1', 'a.test', page('https://a.test:9443', { authority: 'a.test:9443' })) },
      device,
      'valid',
    ],
    [
      'MQTT from a page that is listed',
      connectAt('suffixes.test', 'lamp-1', page('https://b.test')),
      device,
      'valid',
    ],
    [
      'MQTT where a WebSocket is none, and this is none',
      connectAt('sockets.test', 'lamp-1'),
      device,
      'valid',
    ],
    ['its own topic', { ask: publish('devices/lamp-1/up') }, device, 'valid'],
    [
      'a pending certificate, as a live one',
      { standing: ours({ certificateState: 'pending' }) },
      device,
      'valid',
    ],
    ['an issuer that is retiring', { standing: ours({ issuerState: 'retiring' }) }, device, 'valid'],

    ['an encoded slash where it is let through', { ask: get('/slashes/a%2fb') }, device, 'valid'],
    [
      'a service token',
      { ...NO_CERTIFICATE, ask: get('/machines/x'), serviceToken: GOOD_TOKEN },
      machine,
      'machines',
    ],
    [
      'a service token beside a certificate',
      { ask: get('/machines/x'), serviceToken: GOOD_TOKEN },
      device,
      'machines',
    ],
    ['whoever it is', { ...NO_CERTIFICATE, ask: get('/public/x') }, anybody, 'bypass'],
    [
      'with a bad certificate',
      { ask: get('/public/x'), standing: ours({ certificateState: 'revoked' }) },
      anybody,
      'bypass',
    ],
    [
      'with a bad service token',
      { ...NO_CERTIFICATE, ask: get('/public/x'), serviceToken: { kind: 'refused' } },
      anybody,
      'bypass',
    ],
    ['a device, where bypass comes first', { ask: get('/public/x') }, anybody, 'bypass'],
    ['a device that is not excluded', { ask: get('/inside/x') }, anybody, 'bypass here'],
    ['a device, where bypass comes second', { ask: get('/mixed/x') }, device, 'valid'],
    [
      'a bad one there',
      { ask: get('/mixed/x'), standing: ours({ certificateState: 'revoked' }) },
      anybody,
      'bypass',
    ],

    ['a page of its own', { ask: post('/app/x', { origin: 'https://a.test' }) }, device, 'valid'],
    [
      'its own port',
      { ask: post('/app/x', { origin: 'https://a.test:9443', authority: 'a.test:9443' }) },
      device,
      'valid',
    ],
    [
      'the port of https',
      { ask: post('/app/x', { origin: 'https://a.test', authority: 'a.test:443' }) },
      device,
      'valid',
    ],
    [
      'a page that is listed',
      { ask: post('/pages/x', { origin: 'https://b.test', upgrade: true }) },
      device,
      'valid',
    ],
    [
      'reading, from another page',
      { ask: get('/app/x', 'a.test', { origin: 'https://b.test' }) },
      device,
      'valid',
    ],
    ['no page', { ask: post('/app/x', {}) }, device, 'valid'],

    ['a second request in a session', { ask: get('/day/x', 'a.test', { first: false }) }, device, 'valid'],
    [
      'where the default says so',
      { sessionDuration: HOUR, ask: get('/app/x', 'a.test', { first: false }) },
      device,
      'valid',
    ],
    [
      'a new session after one that is over',
      { ask: get('/day/x'), session: { kind: 'over' } },
      device,
      'valid',
    ],
    [
      'a session alone',
      { ...NO_CERTIFICATE, ask: get('/bearer/x'), session: recorded(ours()) },
      device,
      'valid',
    ],
    ['a session alone, to its last moment', longSession(NOW - HOUR + 1), device, 'valid'],
    [
      'a service token beside a certificate, and a session that is forged',
      {
        serviceToken: GOOD_TOKEN,
        session: { kind: 'refused', reason: 'token_invalid' },
        ask: get('/day/x', 'a.test', { handshakeAt: NOW }),
      },
      device,
      'valid',
    ],
    [
      'a token that nobody asks for, as there are no sessions',
      { session: { kind: 'refused', reason: 'token_invalid' } },
      device,
      'valid',
    ],
  ] satisfies readonly (readonly [string, Over, unknown, string])[])('%s', (_, over, identity, by) => {
    expect(admit(factsOf(over))).toMatchObject({ allow: true, identity, policy: by })
  })
})

describe('what is not looked at', () => {
  const untouchable = (what: string) => (): never => {
    throw new Error(`${what} was looked at`)
  }
  test.each<[string, Over, 'serviceToken' | 'session']>([
    ['a session where there is none to have', {}, 'session'],
    ['a session over MQTT', { ask: connect('lamp-1'), sessionDuration: HOUR }, 'session'],
    ['a service token over MQTT', { ask: connect('lamp-1') }, 'serviceToken'],
    ['a service token for no application', { ask: get('/nowhere') }, 'serviceToken'],
    ['a service token on a resumed connection', { peer: { resumed: true } }, 'serviceToken'],
    ['a session with a bad certificate', { ask: get('/day/x'), leaf: { isCa: true } }, 'session'],
    ['a bound session without a certificate', { ...NO_CERTIFICATE, ask: get('/day/x') }, 'session'],
    [
      'a session beside a service token',
      { ...NO_CERTIFICATE, ask: get('/bearer/x'), serviceToken: GOOD_TOKEN },
      'session',
    ],
    [
      'a session beside a service token and its certificate',
      { ask: get('/day/x'), serviceToken: GOOD_TOKEN },
      'session',
    ],
    [
      'a session beside a service token that is none',
      { ask: get('/day/x'), serviceToken: { kind: 'refused' } },
      'session',
    ],
  ])('%s', (_, over, what) => {
    const facts = factsOf(over)
    const credentials = { ...facts.credentials, [what]: untouchable(what) } as Required<Facts>['credentials']
    expect(() => admit({ ...facts, credentials })).not.toThrow()
  })
})

describe('any number of topics, judged once', () => {
  const topics = [
    'devices/lamp-1/up',
    'devices/lamp-2/up',
    'foreign/partner/lamp-1/up',
    'fleet/broadcast/x',
    '$sallyport/certificates/create-from-csr',
    '',
  ]
  const everybody: readonly (readonly [string, Over])[] = [
    ['a device', {}],
    ['a stranger', { standing: foreign() }],
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

test('a topic is judged without a CONNECT, whatever ClientIDs and WebSockets there are, and however long sessions last', () => {
  const host = 'sockets.test'
  const { ask: _, ...facts } = factsOf({ peer: { serverName: host }, sessionDuration: HOUR })
  const { standing, judge } = judgeTopics({ ...facts, host })
  expect(standing).toMatchObject({ allow: true, notAfter: leaf.notAfter, plan: { duration: HOUR } })
  expect(judge('publish', 'devices/lamp-1/up')).toBe(standing)
  expect(judge('publish', 'devices/lamp-2/up')).toMatchObject({ allow: false, reason: 'topic_denied' })
})

describe('what runs already may outlast its session', () => {
  const running = (target: string): Ask =>
    get(target, 'a.test', { first: false, handshakeAt: NOW - 25 * HOUR, running: true })
  const ended: SessionFacts = {
    kind: 'good',
    session: { ...SESSION, expiresAt: NOW - HOUR },
    recorded: undefined,
  }
  const alone: Over = { ...longSession(NOW - 2 * HOUR), ask: running('/bearer/x') }
  test.each<[string, Over, number]>([
    ['of its handshake', { ask: running('/day/x') }, leaf.notAfter],
    ['of its token', { ask: running('/day/x'), session: ended }, leaf.notAfter],
    ['without a certificate', alone, leaf.notAfter],
  ])('%s', (_, over, notAfter) => {
    expect(admit(factsOf(over))).toMatchObject({ allow: true, notAfter })
  })
  test.each<[string, Over, Denial]>([
    ['its certificate', { ask: running('/day/x'), leaf: { notAfter: NOW - 1 } }, 'certificate_expired'],
    [
      'its device',
      { ask: running('/day/x'), standing: ours({ deviceState: 'suspended' }) },
      'device_suspended',
    ],
    ['its policy', { ask: running('/picky/x') }, 'policy_denied'],
    ['a session that was revoked', { ...alone, session: { kind: 'over' } }, 'session_expired'],
  ])('but not %s', (_, over, reason) => {
    expect(admit(factsOf(over))).toMatchObject({ allow: false, reason })
  })
})

test.each<[string, Over, number]>([
  ['the leaf', {}, leaf.notAfter],
  ['what is above it', { standing: foreign({ above: { ...ABOVE, notAfter: NOW + 1 } }) }, NOW + 1],
  ['the session', { ask: get('/day/x'), session: GOOD_SESSION }, SESSION.expiresAt],
  [
    'a session that begins with the handshake',
    { ask: get('/day/x', 'a.test', { handshakeAt: NOW - 24 * HOUR + 5 }) },
    NOW + 5,
  ],
  ['a session of the policy that lets it in', longSession(NOW - HOUR + 5), NOW + 5],
  [
    'the service token',
    { ...NO_CERTIFICATE, ask: get('/machines/x'), serviceToken: { ...GOOD_TOKEN, expiresAt: NOW + 7 } },
    NOW + 7,
  ],
  ['the window', { ask: get('/hours/x') }, NOW + HOUR / 2 - 1],
  ['nothing', { ...NO_CERTIFICATE, ask: get('/public/x') }, Infinity],
])('a yes is good until the first end: %s', (_, over, notAfter) => {
  expect(admit(factsOf(over))).toMatchObject({ allow: true, notAfter })
})

test.each<[string, Over, duration: number, binding: string]>([
  ['no duration', {}, 0, 'certificate'],
  ['the default', { sessionDuration: HOUR }, HOUR, 'certificate'],
  ["the application's", { sessionDuration: 1, ask: get('/bearer/x') }, HOUR, 'none'],
  ["the policy's", { ask: get('/bearer/x'), standing: ours({ deviceId: 'lamp-2' as never }) }, 0, 'none'],
  ['over MQTT too', { sessionDuration: HOUR, ask: connect('lamp-1') }, HOUR, 'certificate'],
])('how long a session lasts: %s', (_, over, duration, binding) => {
  expect(admit(factsOf(over))).toMatchObject({ allow: true, plan: { duration, binding } })
})

test('the session that came along is told, and no bypass has one', () => {
  expect(admit(factsOf({ ask: get('/day/x'), session: GOOD_SESSION }))).toMatchObject({ session: SESSION })
  expect(admit(factsOf({ ask: get('/day/x') }))).not.toHaveProperty('session')
})

test.each<[string, Over, unknown]>([
  ['would be refused', { ask: get('/trial/x') }, { allow: true, policy: 'allow', wouldDeny: 'would deny' }],
  [
    'would be let in',
    { ask: get('/later/x') },
    { allow: false, reason: 'policy_denied', wouldAllow: 'would allow' },
  ],
  [
    'would be let in without a certificate',
    { ...NO_CERTIFICATE, ask: get('/later/x'), peer: { leaf: undefined, address: '203.0.113.1' } },
    { allow: false, reason: 'certificate_required', wouldAllow: 'would bypass' },
  ],
])('a report-only policy has no effect, and is told: %s', (_, over, decision) => {
  expect(admit(factsOf(over))).toMatchObject(decision as object)
})
test.each<[string, Over]>([
  ['it changes nothing', { ask: get('/app/x') }],
  ['a later rung refuses all the same', { ask: get('/later/x', 'a.test', { first: false }) }],
  ['a bad certificate is refused by its own reason', { ask: get('/later/x'), leaf: { isCa: true } }],
  ['the connection is refused', { ask: get('/later/x'), peer: { resumed: true } }],
])('and is not told where %s', (_, over) => {
  const decision = admit(factsOf(over))
  expect(decision).not.toHaveProperty('wouldDeny')
  expect(decision).not.toHaveProperty('wouldAllow')
})

test('the registry names the device, whatever the certificate says', () => {
  const decision = admit(factsOf({ leaf: { commonName: 'lamp-9' }, ask: get('/picky/x') }))
  expect(decision).toMatchObject({ allow: false, reason: 'policy_denied', identity: { id: 'lamp-1' } })
})

test('a refusal tells the log of the application, and of the policy that said no', () => {
  const denied = { allow: false, reason: 'policy_denied', application: 'denying', policy: 'deny lamp-1' }
  expect(admit(factsOf({ ask: get('/denying/x') }))).toMatchObject(denied)
  expect(admit(factsOf({ ask: get('/picky/x') }))).not.toHaveProperty('policy')
})

describe('explained, in the order of judging', () => {
  const explained = (over: Over) =>
    explainPolicies(factsOf(over)).map(({ name, matched, concerned }) => [name, matched, concerned])
  test.each<[string, Over, unknown]>([
    [
      'a device',
      { ask: get('/denying/x') },
      [
        ['deny lamp-1', true, true],
        ['allow', true, true],
      ],
    ],
    [
      'bypass first',
      { ask: get('/day/x') },
      [
        ['valid', true, true],
        ['none', true, true],
        ['bypass here', true, true],
      ],
    ],
    [
      'nobody',
      { ...NO_CERTIFICATE, ask: get('/mixed/x') },
      [
        ['valid', false, false],
        ['bypass', true, true],
      ],
    ],
    [
      'report-only too',
      { ask: get('/later/x') },
      [
        ['would bypass', false, true],
        ['would allow', true, true],
      ],
    ],
    ['no application', { ask: get('/nowhere') }, []],
  ])('%s', (_, over, rows) => {
    expect(explained(over)).toEqual(rows)
  })
  test('with the rules', () => {
    const [first, second] = explainPolicies(factsOf({ ask: get('/denying/x'), standing: foreign() }))
    expect(first).toEqual({
      name: 'deny lamp-1',
      decision: 'deny',
      reportOnly: false,
      matched: true,
      concerned: true,
      include: { index: 0, text: '{"common_name":{"common_name":"lamp-1"}}' },
      require: undefined,
      exclude: undefined,
    })
    expect(second?.include).toEqual({ index: 0, text: '{"certificate":{}}' })
  })
})

test('no two identities have one name', () => {
  const all: readonly Identity[] = [
    { kind: 'device', id: 'ci' as never, group: '', tags: {} },
    { kind: 'foreign', anchor: 'partner', name: 'ci' },
    { kind: 'service', id: 't1', name: 'ci' },
    { kind: 'none' },
  ]
  expect(all.map(nameOf)).toEqual(['ci', 'partner/ci', 'service token ci', '-'])
})

/** Not the ladder's: attempts are limited by the desks. */
const ELSEWHERE: readonly Denial[] = ['rate_limited']

test('every reason is reached by a row above, or belongs elsewhere', () => {
  const reached = new Set(rows.map(([, , reason]) => reason))
  expect(DENIALS.filter((reason) => !reached.has(reason))).toEqual(ELSEWHERE)
})

test('each rung gives no reason but its own', () => {
  const own = new Set(LADDER.flatMap(({ reasons }) => reasons))
  expect(new Set(rows.map(([, , reason]) => reason))).toEqual(own)
})
