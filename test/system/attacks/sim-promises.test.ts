/**
 * Doors that break one promise each, in ways that a probe could overlook: the invariant of that name must be seen broken, beside
 * whatever else follows from it. The fleet enrols at a real desk; the doors are hostile. A simulator that finds a bad server good is worse than none.
 */

import type { TlsOptions } from 'node:tls'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Scenario } from '#device-sim/index.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { startFleet, type Fleet } from '../../support/fleet.ts'
import { quick, simulated } from '../../support/simulation.ts'
import { makePki, type LeafOptions } from '../../support/pki.ts'
import { claimTokenFor, hostileDesk, type DeskFaults } from './sim/hostile-desk.ts'
import {
  broker,
  good,
  httpsDoor,
  tlsOf,
  tlsOfFleet,
  type BrokerFaults,
  type Request,
} from './sim/hostile-doors.ts'
import { watchedOperator } from './sim/watched-operator.ts'

let fleet: Fleet
let tls: TlsOptions
beforeAll(async () => {
  fleet = await startFleet()
  tls = tlsOfFleet(fleet.home)
}, 30_000)
afterAll(() => fleet[Symbol.asyncDispose]())

type Bad = {
  readonly https?: (request: Request) => void
  readonly mqtt?: BrokerFaults
  readonly tls?: TlsOptions
  readonly scenario?: Partial<Scenario>
  /** a desk with a PKI of its own, in place of the real one */
  readonly desk?: DeskFaults
  /** the run is ended when its devices have come so often to the door after this; default: it has so many rounds, or a duration of its own */
  readonly ends?: { readonly turns: number; readonly after: 'revoked' | 'renewal' | 'both publish' }
}

/** s; only for a run that does not end by what is seen in it */
const PATIENCE = 40
/** turns of each device */
const ROUNDS = 3
/** for what needs both devices, or more messages than that */
const TOGETHER = { turns: 12, after: 'both publish' } as const satisfies Bad['ends']

const pki = makePki({ now: Date.now() })
const own = tlsOf(pki)

let runs = 0
const against = async (given: Bad): Promise<SimulationReport> => {
  const bad: Bad = given.desk === undefined ? given : { https: good, tls: own, ...given }
  // what does not come is waited for until the drain is over
  const waits = bad.mqtt?.loses !== undefined || bad.mqtt?.changes !== undefined
  const ends = bad.ends ?? (waits ? TOGETHER : undefined)
  const stop = new AbortController()
  let hasCome = false
  let turns = 0
  const publishing = new Set<string | undefined>()
  const turn = (): void => {
    if (ends !== undefined && hasCome && ++turns === ends.turns) stop.abort()
  }
  const comes = (): void => {
    hasCome = true
  }
  await using operator = await watchedOperator(fleet.urls.operator, comes)
  await using desk =
    bad.desk &&
    (await hostileDesk(pki, own, {
      ...bad.desk,
      first(request, path) {
        if (ends?.after === 'renewal' && path === '/v1/renew') comes()
        return bad.desk?.first?.(request, path) ?? false
      },
    }))
  const behave = bad.https ?? good
  await using door = await httpsDoor({ ...tls, ...bad.tls }, (request) => {
    if (request.cn?.startsWith('sim-bad') === true) turn()
    behave(request)
  })
  await using front = await broker(
    { ...tls, ...bad.tls },
    {
      ...bad.mqtt,
      loses(n, cn) {
        publishing.add(cn)
        if (ends?.after === 'both publish' && publishing.size === 2) comes()
        turn()
        return bad.mqtt?.loses?.(n, cn) ?? false
      },
    },
  )
  const doors =
    bad.mqtt === undefined
      ? { https: 1, mqtt: 0 }
      : bad.https === undefined
        ? { https: 0, mqtt: 1 }
        : { https: 1, mqtt: 1 }
  const hasTime = ends !== undefined || bad.scenario?.duration !== undefined
  const rounds = hasTime ? undefined : ROUNDS
  runs += 1
  const report = await simulated({
    targets: {
      enroll: desk === undefined ? fleet.urls.devices : `https://localhost:${desk.port}`,
      https: `https://localhost:${door.port}`,
      mqtts: `mqtts://localhost:${front.port}`,
    },
    ...(desk === undefined
      ? { operator: { url: operator.url, token: fleet.operatorToken, rootPem: undefined } }
      : { rootPem: pki.root.pem, credentials: { token: claimTokenFor(pki) } }),
    // one that does not end is given up, and then it is not ok for that
    signal: AbortSignal.any([stop.signal, AbortSignal.timeout(PATIENCE * 1_000)]),
    seed: `bad${runs}`,
    rounds,
    scenario: quick({
      devices: 2,
      ramp: 20,
      duration: rounds === undefined ? 2 * PATIENCE * 1_000 : undefined,
      keys: { 'P-256': 1, 'P-384': 0, 'P-521': 0, Ed25519: 0, RSA: 0 },
      load: { kind: 'closed', pace: 60, jitter: 0.5 },
      doors,
      bounds: { revokedWithin: 100, drain: waits ? 1_100 : 300 },
      assertions: [],
      ...bad.scenario,
    }),
  })
  // else it would be not ok for a reason of its own
  expect(report.run.trouble).toBeNull()
  return report
}
const broken = (report: SimulationReport): readonly string[] =>
  report.invariants.filter(({ held }) => held === false).map(({ name }) => name)
const judged = (report: SimulationReport): readonly string[] =>
  report.invariants.filter(({ held }) => held !== null).map(({ name }) => name)

test('doors that keep every promise break none', async () => {
  const report = await against({ https: good, mqtt: {} })
  expect(broken(report)).toEqual([])
  expect(judged(report)).toEqual([
    'certificate_required',
    'full_handshakes',
    'one_request_per_connection',
    'no_token_returned',
    'own_topics_only',
    'acknowledged_is_delivered',
    'certificates_verify',
  ])
  expect(report.verdict).toEqual({ ok: true, reasons: [] })
})

/** One request; who has no certificate gets 403. */
const answers =
  (answer: (request: Request) => void) =>
  (request: Request): void => {
    if (request.nth > 1) return
    if (request.cn === undefined) request.answer(403, '{}')
    else answer(request)
    request.socket.end()
  }
const JWT =
  'eyJhbGciOiJFUzI1NiIsImtpZCI6IngifQ.eyJzdWIiOiIiLCJhdWQiOiJ5In0.c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJl'
const raw = (text: string) => answers(({ socket }) => void socket.write(text))

const cases: readonly (readonly [promise: string, how: string, bad: Bad])[] = [
  [
    'certificate_required',
    'HTTPS',
    { https: (r) => void (r.nth === 1 && (r.answer(200, 'ok'), r.socket.end())) },
  ],
  [
    'certificate_required',
    'HTTPS, 204',
    { https: (r) => void (r.nth === 1 && (r.answer(204, ''), r.socket.end())) },
  ],
  [
    'certificate_required',
    'HTTPS, POST alone',
    {
      https: (r) =>
        void (
          r.nth === 1 &&
          (r.cn === undefined && r.head.startsWith('GET') ? r.answer(403, '{}') : r.answer(200, 'ok'),
          r.socket.end())
        ),
    },
  ],
  [
    'certificate_required',
    'HTTPS, TLS 1.2 alone',
    {
      https: (r) =>
        void (
          r.nth === 1 &&
          (r.cn === undefined && r.socket.getProtocol() !== 'TLSv1.2'
            ? r.answer(403, '{}')
            : r.answer(200, 'ok'),
          r.socket.end())
        ),
    },
  ],
  ['certificate_required', 'MQTT', { mqtt: { anybody: true } }],
  ['full_handshakes', 'tickets', { https: good, tls: { secureOptions: 0 } }],
  ['full_handshakes', 'MQTT, tickets', { mqtt: {}, tls: { secureOptions: 0 } }],
  ['full_handshakes', 'TLS 1.2 alone', { https: good, tls: { secureOptions: 0, maxVersion: 'TLSv1.2' } }],
  [
    'one_request_per_connection',
    'pipelined',
    { https: (r) => void (r.cn === undefined ? (r.answer(403, '{}'), r.socket.end()) : r.answer(200, 'ok')) },
  ],
  [
    'one_request_per_connection',
    'says close, and goes on',
    {
      https: (r) =>
        void (r.cn === undefined
          ? (r.answer(403, '{}'), r.socket.end())
          : r.answer(200, 'ok', ['connection: close'])),
    },
  ],
  [
    'one_request_per_connection',
    'the second answer is slow',
    {
      https: (r) =>
        void (r.cn === undefined
          ? (r.answer(403, '{}'), r.socket.end())
          : r.nth === 1
            ? r.answer(200, 'ok')
            : setTimeout(() => r.answer(200, 'ok'), 300)),
    },
  ],
  ['no_token_returned', 'body', { https: answers((r) => r.answer(200, `{"a":"${JWT}"}`)) }],
  [
    'no_token_returned',
    'cookie',
    { https: answers((r) => r.answer(200, 'ok', [`set-cookie: CF_Authorization=${JWT}; Path=/`])) },
  ],
  ['no_token_returned', 'header', { https: answers((r) => r.answer(200, 'ok', [`x-a: b, ${JWT}`])) }],
  ['no_token_returned', 'header name', { https: answers((r) => r.answer(200, 'ok', [`${JWT}: b`])) }],
  [
    'no_token_returned',
    'refusal',
    { https: answers((r) => r.answer(403, `{"reason":"policy_denied","x":"${JWT}"}`)) },
  ],
  [
    'no_token_returned',
    'redirect',
    { https: answers((r) => r.answer(302, '', [`location: https://x.test/?t=${JWT}`])) },
  ],
  [
    'no_token_returned',
    'reason phrase',
    { https: raw(`HTTP/1.1 200 ${JWT}\r\ncontent-length: 2\r\n\r\nok`) },
  ],
  [
    'no_token_returned',
    'trailer',
    {
      https: raw(
        `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-a\r\n\r\n2\r\nok\r\n0\r\nx-a: ${JWT}\r\n\r\n`,
      ),
    },
  ],
  [
    'no_token_returned',
    'between two chunks',
    {
      https: raw(
        `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1e\r\n${JWT.slice(0, 30)}\r\n${(JWT.length - 30).toString(16)}\r\n${JWT.slice(30)}\r\n0\r\n\r\n`,
      ),
    },
  ],
  [
    'no_token_returned',
    'early hints',
    {
      https: raw(
        `HTTP/1.1 103 Early Hints\r\nlink: <${JWT}>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok`,
      ),
    },
  ],
  [
    'no_token_returned',
    'after 200 kB',
    { https: answers((r) => r.answer(200, `${'x '.repeat(100_000)}${JWT}`)) },
  ],
  [
    'no_token_returned',
    'gzip',
    {
      https: answers((r) => {
        const body = gzipSync(JSON.stringify({ a: JWT }))
        r.socket.write(`HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${body.length}\r\n\r\n`)
        r.socket.write(body)
      }),
    },
  ],
  [
    'no_token_returned',
    'without a certificate',
    {
      https: (r) =>
        void (r.nth === 1 && (r.cn === undefined ? r.answer(403, JWT) : r.answer(200, 'ok'), r.socket.end())),
    },
  ],
  ['no_token_returned', 'a claim token', { https: answers((r) => r.answer(200, claimTokenFor(pki))) }],
  ['no_token_returned', 'MQTT, topic', { mqtt: { changes: (p) => ({ ...p, topic: `${p.topic}/${JWT}` }) } }],
  [
    'no_token_returned',
    'MQTT, payload',
    { mqtt: { changes: (p) => ({ ...p, payload: `${p.payload.toString()} ${JWT}` }) } },
  ],
  ['own_topics_only', 'any filter', { mqtt: { anyFilter: true } }],
  ['own_topics_only', 'a message on any topic', { mqtt: { anyTopic: true } }],
  ['own_topics_only', 'everything to everybody', { mqtt: { toAll: true }, ends: TOGETHER }],
  [
    'own_topics_only',
    'a topic of nobody',
    { mqtt: { changes: (p) => ({ ...p, topic: 'fleet/broadcast' }) } },
  ],
  [
    'own_topics_only',
    'its own, with one more letter',
    { mqtt: { changes: (p) => ({ ...p, topic: p.topic.replace('/telemetry', 'x/telemetry') }) } },
  ],
  [
    'own_topics_only',
    'in other letters',
    { mqtt: { changes: (p) => ({ ...p, topic: p.topic.toUpperCase() }) } },
  ],
  ['acknowledged_is_delivered', 'each third', { mqtt: { loses: (n) => n % 3 === 0 } }],
  ['acknowledged_is_delivered', 'all', { mqtt: { loses: () => true } }],
  ['acknowledged_is_delivered', 'all but the first', { mqtt: { loses: (n) => n > 2 } }],
  ['acknowledged_is_delivered', 'the first alone', { mqtt: { loses: (n) => n === 1 } }],
  [
    'acknowledged_is_delivered',
    'in an open loop',
    { mqtt: { loses: (n) => n === 5 }, scenario: { load: { kind: 'open', rate: 60, arrivals: 'constant' } } },
  ],
  [
    'acknowledged_is_delivered',
    'an empty message in its place',
    { mqtt: { changes: (p) => ({ ...p, payload: '' }) } },
  ],
  ['acknowledged_is_delivered', 'always the same message', { mqtt: { changes: same() } }],
]
function same(): NonNullable<BrokerFaults['changes']> {
  let first: string | undefined
  return (p) => ({ ...p, payload: (first ??= p.payload.toString()) })
}

const revoke = { kind: 'revoke', at: 200, lasts: undefined, share: 1, reason: 'unspecified' } as const
const revoking = { timeline: [revoke] } satisfies Partial<Scenario>
const afterwards = { turns: 20, after: 'revoked' } as const
const clone = { kind: 'clone', at: 150, lasts: undefined, share: 0.5, rival: 'connection' } as const
const operated: typeof cases = [
  ['revoked_stay_out', 'HTTPS', { https: good, scenario: revoking, ends: afterwards }],
  [
    'revoked_stay_out',
    'HTTPS, 201',
    { https: answers((r) => r.answer(201, '')), scenario: revoking, ends: afterwards },
  ],
  [
    'revoked_stay_out',
    'HTTPS, 299',
    { https: answers((r) => r.answer(299, '')), scenario: revoking, ends: afterwards },
  ],
  ['revoked_stay_out', 'MQTT', { mqtt: {}, scenario: revoking, ends: afterwards }],
  [
    'revoked_stay_out',
    'MQTT, delivered and not acknowledged',
    {
      mqtt: { silent: true },
      scenario: { ...revoking, load: { kind: 'open', rate: 60, arrivals: 'constant' } },
      ends: afterwards,
    },
  ],
  [
    'revoked_stay_out',
    'MQTT, acknowledged and not delivered',
    { mqtt: { loses: () => true }, scenario: revoking, ends: afterwards },
  ],
  [
    'revoked_stay_out',
    'MQTT, QoS 0',
    { mqtt: {}, scenario: { ...revoking, mqtt: { ...quick().mqtt, qos: 0 } }, ends: afterwards },
  ],
  [
    'clones_noticed',
    'two connections',
    // asked about at its end, which has to be one of its own
    { mqtt: {}, scenario: { duration: 4_000, timeline: [clone] } },
  ],
]

const renewal = { kind: 'renew', at: 50, lasts: undefined, share: 1, newKey: false } as const
const renewing = {
  scenario: { timeline: [renewal] },
  ends: { turns: 8, after: 'renewal' },
} as const satisfies Bad
/** a certificate of the desk's own CA, with this wrong */
const certifies = (leaf: NonNullable<DeskFaults['leaf']>): Bad => ({ desk: { leaf } })
const shape = (name: NonNullable<LeafOptions['shape']>): Bad => certifies(() => ({ shape: name }))
const desks: typeof cases = [
  ['certificates_verify', 'another key', certifies(() => ({ key: pki.devices }))],
  ['certificates_verify', 'another name', certifies(() => ({ id: 'other' }))],
  ['certificates_verify', 'another CA', certifies(() => ({ by: pki.other.devices }))],
  [
    'certificates_verify',
    'another device in the SAN',
    certifies(() => ({ names: ['urn:sallyport:device:other'] })),
  ],
  ['certificates_verify', 'expired', shape('expired')],
  ['certificates_verify', 'not yet valid', shape('notYetValid')],
  ['certificates_verify', 'for servers', shape('serverAuthOnly')],
  ['certificates_verify', 'a CA', shape('caTrue')],
  [
    'certificates_verify',
    'renewed for another name',
    { desk: { leaf: ({ renewal }) => (renewal ? { id: 'other' } : {}) }, ...renewing },
  ],
  [
    'certificates_verify',
    'renewed, expired',
    { desk: { leaf: ({ renewal }) => (renewal ? { shape: 'expired' } : {}) }, ...renewing },
  ],
  [
    'renewed_in_time',
    'renewal is refused',
    {
      desk: {
        life: 2_000,
        renewAfter: 300,
        first: (r, path) => {
          if (path !== '/v1/renew') return false
          r.answer(403, '{"reason":"internal"}', ['content-type: application/problem+json'])
          r.socket.end()
          return true
        },
      },
      scenario: { duration: 2_500 },
    },
  ],
  ['no_token_returned', 'enrolment', { desk: { extra: { assertion: JWT } } }],
]

test('a copy and its original both renew, and there is no operator to ask: not judged, and it says for want of what', async () => {
  const common = { lasts: undefined, share: 1 } as const
  const timeline = [
    { ...common, kind: 'clone', at: 200, rival: 'renewal' } as const,
    { ...common, kind: 'renew', at: 500, newKey: false } as const,
  ]
  const report = await against({ desk: {}, scenario: { duration: 1_500, timeline } })
  const found = report.invariants.find(({ name }) => name === 'clones_noticed')
  expect(found).toMatchObject({ held: null, why: expect.stringContaining('operator') as string })
})

test('an informational answer before the one answer breaks nothing', async () => {
  const hints = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'
  const report = await against({ https: raw(`${hints}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok`) })
  expect(broken(report)).toEqual([])
})

describe.concurrent('a bad door', () => {
  test.each([...cases, ...operated, ...desks])('%s: %s', async (promise, _how, bad) => {
    const report = await against(bad)
    expect(broken(report)).toContain(promise)
    // whatever else is said of it
    expect(report.verdict.reasons.filter((reason) => reason.startsWith(promise))).toHaveLength(1)
    expect(report.verdict.ok).toBe(false)
    const found = report.invariants.find(({ name }) => name === promise)
    expect(found?.evidence.length).toBeGreaterThan(0)
    expect(JSON.stringify(report)).not.toContain(JWT.slice(40))
  })
})
