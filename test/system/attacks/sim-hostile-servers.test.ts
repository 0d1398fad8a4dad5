/**
 * Servers that do not answer, answer half, answer for ever or answer poison: a run ends, stays small, and never says that such a server is
 * well. Foreign targets with given certificates; no stack of ours.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TlsOptions } from 'node:tls'
import { afterAll, describe, expect, test } from 'vitest'
import type { Enrolled, Scenario, SimulationOptions } from '#device-sim/index.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { makePki } from '../../support/pki.ts'
import { quick, simulated } from '../../support/simulation.ts'
import { claimTokenFor, hostileDesk } from './sim/hostile-desk.ts'
import { broker, good, httpsDoor, type BrokerFaults, type Request } from './sim/hostile-doors.ts'

const pki = makePki({ now: Date.now() })
const server = pki.server()
const tls: TlsOptions = { cert: server.fullPem, key: server.keyPem, ca: [pki.root.pem, pki.devices.pem] }
const home = mkdtempSync(join(tmpdir(), 'sallyport-test-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const given = ['pump-1', 'pump-2'].map((id): Enrolled => {
  const { keyPem, certPem, chainPem } = pki.device({ id })
  return {
    keyPem,
    certificatePem: certPem,
    chainPem,
    rootPem: pki.root.pem,
    deviceId: id,
    serial: '01',
    notAfter: Date.now() + 1e8,
    renewAfter: Date.now() + 1e8,
  }
})

type Bad = {
  readonly https?: (request: Request) => void
  readonly mqtt?: BrokerFaults
  readonly scenario?: Partial<Scenario>
  readonly options?: Partial<SimulationOptions>
}
const against = async ({ https, mqtt, scenario, options }: Bad): Promise<SimulationReport> => {
  await using door = https && (await httpsDoor(tls, https))
  await using front = mqtt && (await broker(tls, mqtt))
  const report = await simulated({
    targets: {
      ...(door && { https: `https://localhost:${door.port}` }),
      ...(front && { mqtts: `mqtts://localhost:${front.port}` }),
    },
    rootPem: pki.root.pem,
    given,
    foreign: true,
    scenario: quick({
      devices: 2,
      ramp: 0,
      duration: 600,
      load: { kind: 'closed', pace: 50, jitter: 0.5 },
      doors: { https: https === undefined ? 0 : 1, mqtt: mqtt === undefined ? 0 : 1 },
      bounds: { revokedWithin: 100, drain: 300 },
      assertions: ['errors==0', 'refused==0'],
      ...scenario,
    }),
    ...options,
  })
  // else it would be not ok for a reason of its own
  expect(report.run.trouble).toBeNull()
  return report
}
const refusal = (reason: string): string =>
  JSON.stringify({ type: 'x', reason, title: reason, detail: reason, request_id: 'x' })
const refuses =
  (reason: string | ((n: number) => string)) =>
  (request: Request): void => {
    if (request.nth > 1) return
    const text = typeof reason === 'string' ? reason : reason(Math.random())
    request.answer(403, refusal(text), ['content-type: application/problem+json'])
    request.socket.end()
  }
const octets = (n: number): Buffer => Buffer.from(Array.from({ length: n }, (_, i) => (i * 7_919) % 256))
/** writes this again and again, as fast as it is taken, for as long as it is taken */
const pours = (socket: Request['socket'], piece: Buffer): void => {
  const more = (): void => {
    while (socket.writable && socket.write(piece));
  }
  socket.on('drain', more)
  more()
}

test('the same with a good server, so that the others prove something', async () => {
  const report = await against({ https: good, mqtt: {} })
  expect(report.verdict).toEqual({ ok: true, reasons: [] })
})

describe.concurrent('a server that does no work is not found well', () => {
  const silent: readonly (readonly [how: string, bad: Bad])[] = [
    ['HTTPS, never an answer', { https: () => {} }],
    [
      'HTTPS, half an answer',
      { https: ({ socket }) => void socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx') },
    ],
    ['MQTT, no CONNACK', { mqtt: { greets: () => {} } }],
    ['MQTT, garbage', { mqtt: { greets: (socket) => void socket.write(octets(5_000)) } }],
    ['MQTT, the end in place of a CONNACK', { mqtt: { greets: (socket) => void socket.end() } }],
    ['HTTPS, garbage', { https: ({ socket }) => void socket.end(octets(5_000)) }],
    ['HTTPS, the end', { https: ({ socket }) => void socket.destroy() }],
    [
      'HTTPS, a status that is none',
      { https: ({ socket }) => void socket.end('HTTP/1.1 099 x\r\ncontent-length: 0\r\n\r\n') },
    ],
    ['HTTPS, a reason called __proto__', { https: refuses('__proto__') }],
    ['HTTPS, a reason called constructor', { https: refuses('constructor') }],
    ['HTTPS, a reason called toString', { https: refuses('toString') }],
  ]
  test.each(silent)('%s', async (_how, bad) => {
    const report = await against(bad)
    expect(report.counts['admitted_https'] ?? 0).toBe(0)
    expect(report.counts['admitted_mqtt'] ?? 0).toBe(0)
    expect(report.verdict.ok).toBe(false)
    expect(report.verdict.reasons.join()).toMatch(/errors|refused|nothing was admitted/)
  })

  test('every second request is never answered, in an open loop: its latency is not that of the others', async () => {
    let n = 0
    const report = await against({
      https: (request) => (n++ % 2 === 0 ? good(request) : undefined),
      scenario: {
        duration: 1_500,
        load: { kind: 'open', rate: 20, arrivals: 'constant' },
        assertions: ['https.p99<500ms'],
      },
    })
    // on a machine that is busy it may be that nobody knows
    expect(report.assertions[0]?.held).not.toBe(true)
    expect(report.verdict.ok).toBe(false)
  })

  test('a fault that did not come about makes the run not ok, as the report says of its verdict', async () => {
    await using desk = await hostileDesk(pki, tls, {
      first: (request, path) => {
        if (path !== '/v1/enroll') return false
        request.answer(401, refusal('token_invalid'), ['content-type: application/problem+json'])
        request.socket.end()
        return true
      },
    })
    const report = await against({
      https: good,
      scenario: {
        assertions: [],
        timeline: [{ kind: 'renew', at: 100, lasts: undefined, share: 1, newKey: false }],
      },
      options: {
        foreign: false,
        given: undefined,
        credentials: { token: claimTokenFor(pki) },
        targets: { enroll: `https://localhost:${desk.port}`, https: `https://localhost:${desk.port}` },
      },
    })
    expect(report.timeline[0]?.detail).toMatch(/did not come about/)
    expect(report.verdict.ok).toBe(false)
  })
})

describe('a server that gives too much', () => {
  const MEGABYTE = 1_048_576
  const chunk = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65_536, 'a'), Buffer.from('\r\n')])
  const floods: readonly (readonly [how: string, bad: Bad])[] = [
    [
      'an endless body',
      {
        https: ({ socket }) => {
          socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
          pours(socket, chunk)
        },
      },
    ],
    [
      'endless headers',
      {
        https: ({ socket }) => {
          socket.write('HTTP/1.1 200 OK\r\n')
          pours(socket, Buffer.from(`x-a: ${'y'.repeat(50)}\r\n`.repeat(100)))
        },
      },
    ],
    [
      'an MQTT frame of 256 MB in place of CONNACK',
      {
        mqtt: {
          greets: (socket) => {
            socket.write(Buffer.of(0x30, 0xff, 0xff, 0xff, 0x7f))
            pours(socket, Buffer.alloc(65_536, 'a'))
          },
        },
      },
    ],
  ]
  test.each(floods)('%s: it is cut off early', async (_how, bad) => {
    const report = await against({ ...bad, scenario: { load: { kind: 'closed', pace: 200, jitter: 0 } } })
    const { bytes_received: received = 0, handshakes = 0 } = report.counts
    // of each connection, however many there were
    expect(handshakes).toBeGreaterThan(0)
    expect(received / handshakes).toBeLessThan(8 * MEGABYTE)
    expect(report.verdict.ok).toBe(false)
  })

  test('another reason with every answer: the report has not all of them', async () => {
    const report = await against({
      https: refuses((n) => `reason_${n.toString(36).slice(2)}`),
      scenario: { duration: 1_500, load: { kind: 'open', rate: 300, arrivals: 'constant' } },
    })
    const { refused, errors } = report
    const names = [...Object.values(refused), ...Object.values(errors)].flatMap((each) => Object.keys(each))
    expect(Math.max(...names.map(({ length }) => length))).toBeLessThan(200)
    expect(names.length).toBeLessThanOrEqual(201)
  })

  test('thousands of turns a second at a server that never answers: what is under way is bounded', async () => {
    let open = 0
    let most = 0
    const report = await against({
      https: ({ socket }) => {
        most = Math.max(most, ++open)
        socket.once('close', () => (open -= 1))
      },
      scenario: { duration: 1_500, load: { kind: 'open', rate: 10_000, arrivals: 'constant' } },
    })
    expect(most).toBeLessThanOrEqual(2_100)
    // each turn that was due has come to something
    const { due, absent, dropped, unanswered, admitted_https: admitted } = report.counts
    const sum = (all: Readonly<Record<string, number>> = {}): number =>
      Object.values(all).reduce((before, n) => before + n, 0)
    const said = sum(report.errors['https']) + sum(report.refused['https'])
    expect((absent ?? 0) + (dropped ?? 0) + (unanswered ?? 0) + (admitted ?? 0) + said).toBe(due)
    expect(dropped).toBeGreaterThan(0)
    expect(report.verdict.ok).toBe(false)
  })
})

test('a fault hits also who comes after it has begun', async () => {
  const seen: unknown[] = []
  await against({
    https: (request) => {
      seen.push(request.cn)
      good(request)
    },
    scenario: { ramp: 300, timeline: [{ kind: 'offline', at: 50, lasts: undefined, share: 1 }] },
  })
  // it is due after 150 ms
  expect(seen).not.toContain('pump-2')
})

test('the same seed: the same faults at the same times, on as many; another seed, other devices', async () => {
  const absent = async (seed: string): Promise<readonly [unknown, string]> => {
    const seen = { 'pump-1': 0, 'pump-2': 0 }
    const known = new AbortController()
    const fault = { kind: 'offline', at: 300, lasts: 60_000, share: 0.5 } as const
    const report = await against({
      https: (request) => {
        seen[request.cn as keyof typeof seen]++
        // however long that takes: more than chance makes of it
        if (Math.abs(seen['pump-1'] - seen['pump-2']) > 9) known.abort()
        good(request)
      },
      scenario: { timeline: [fault], duration: 60_000 },
      options: { seed, signal: known.signal },
    })
    const times = report.timeline.map(({ kind, at_ms, lasts_ms, devices }) => [
      kind,
      at_ms,
      lasts_ms,
      devices,
    ])
    return [times, seen['pump-1'] > seen['pump-2'] ? 'pump-2' : 'pump-1']
  }
  const [first, second, ...others] = await Promise.all(['a', 'a', 'b', 'h', 'k', 'm'].map(absent))
  expect(second).toEqual(first)
  expect(new Set(others.map(([, who]) => who)).size).toBeGreaterThan(1)
})
