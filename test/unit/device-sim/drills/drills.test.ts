/**
 * A drill is worth what it catches: each is set on a gateway with one fault, and must name it. Not `expired`, `late_renewal`, `renewal` and `clone`,
 * which need desks that answer: test/system/attacks/sim-drills.test.ts; nor `mqtt_enrolment`: that it holds on a real one is
 * test/system/sim-drills.test.ts.
 */

import type { IncomingMessage, RequestListener } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { KEY_KINDS } from '#fleet/certificate.ts'
import { systemClock } from '#fleet/clock.ts'
import { runDrills, type Drill } from '#device-sim/drills/drill.ts'
import { createExpectations, type Expectations } from '#device-sim/drills/expectations.ts'
import { createLedger, type Ledger } from '#device-sim/drills/ledger.ts'
import { createStage, type Sighting, type Stage, type StageOptions } from '#device-sim/drills/stage.ts'
import { DRILLS } from '#device-sim/drills/table.ts'
import type { Operator } from '#device-sim/client/operator.ts'
import type { Staging } from '#device-sim/client/staging.ts'
import { clientContext } from '#device-sim/client/connection.ts'
import { requestText, sayRaw } from '#device-sim/drills/raw.ts'
import { createMeter, type Meter } from '#device-sim/client/meter.ts'
import {
  connack,
  createWorld,
  httpsServer,
  mqttServer,
  openBroker,
  type World,
} from '../../../support/faulty-servers.ts'

const JWT = `${Buffer.from('{"alg":"ES256"}').toString('base64url')}.e30.sig`

let world: World
beforeAll(async () => {
  world = await createWorld()
})

let meter: Meter
let ledger: Ledger
let expectations: Expectations
let seen: Sighting[]
beforeEach(() => {
  meter = createMeter()
  ledger = createLedger()
  expectations = createExpectations()
  seen = []
})
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server[Symbol.asyncDispose]()))
})
const servers: AsyncDisposable[] = []

const see = (request: IncomingMessage, device = 'somebody'): void => {
  const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)] as const)
  seen.push({ target: request.url ?? '', headers, device, assertion: JWT })
}

/** The operator does what it is told; that nothing comes of it is the gateway's fault. */
const operator = new Proxy({} as Operator, {
  get: (_, verb) => () =>
    ['createToken', 'device'].includes(String(verb))
      ? Promise.reject(new Error('not in this test'))
      : Promise.resolve(),
})

type Doors = { readonly https?: number; readonly mqtt?: number; readonly enroll?: number }

const set = (doors: Doors, more: Partial<StageOptions> = {}) => {
  const url = (port: number | undefined): string => `https://localhost:${port ?? 1}`
  const stageFor = (_drill: Drill, signal: AbortSignal): Stage => ({
    ...createStage({
      targets: {
        enroll: url(doors.enroll),
        https: url(doors.https),
        mqtts: url(doors.mqtt).replace('https', 'mqtts'),
      },
      rootPem: world.ca.rootPem,
      token: 'unused',
      operator,
      seen: () => Promise.resolve(seen),
      run: 'test',
      meter,
      ledger,
      expectations,
      clock: systemClock,
      signal,
      ...more,
    }),
    enroll: (name) => world.device(`drill-test-${name}`),
  })
  return async (name: string, timeout?: number): Promise<readonly string[]> => {
    const drill = DRILLS.find((each) => each.name === name)
    if (drill === undefined) throw new Error(`no drill ${name}`)
    await runDrills([drill], stageFor, new AbortController().signal, timeout)
    return expectations.report().failed
  }
}

const serve = async (listener: RequestListener, options: object = {}): Promise<number> => {
  const server = await httpsServer({ ...world.tls, ...options }, listener)
  servers.push(server)
  return server.port
}

const broker = async (): Promise<number> => {
  const server = await openBroker(world.tls)
  servers.push(server)
  return server.port
}

/** 403 with whatever reason, to everybody. */
const refusing =
  (reason: string): RequestListener =>
  (_request, response) => {
    response.writeHead(403, { 'content-type': 'application/problem+json' })
    response.end(JSON.stringify({ reason }))
  }

const refusingBroker = async (code: number): Promise<number> => {
  const server = await mqttServer(world.tls, (packet, reply) => {
    if (packet.cmd === 'connect') reply(connack(code))
  })
  servers.push(server)
  return server.port
}

describe('a gateway that lets everybody in', () => {
  const everybody: RequestListener = (request, response) => {
    see(request)
    response.end('{}')
  }

  test.each([
    ['no_certificate', ['no_certificate.https', 'no_certificate.mqtt']],
    [
      'other_ca',
      [
        'other_ca.https.forged',
        'other_ca.mqtt.forged',
        'other_ca.https.forged_and_expired',
        'other_ca.mqtt.forged_and_expired',
      ],
    ],
    ['wrong_client_id', ['wrong_client_id.mqtt']],
    ['foreign_topic', ['foreign_topic.subscribe', 'foreign_topic.publish', 'foreign_topic.nothing_heard']],
  ])('is caught by %s', async (name, failed) => {
    const run = set({ https: await serve(everybody), mqtt: await broker() })
    expect(await run(name)).toEqual(failed)
  })

  test('is caught by revoked; what got in is counted, and none of it as refused', async () => {
    const run = set({ https: await serve(everybody), mqtt: await broker() })
    expect(await run('revoked')).toEqual([
      'revoked.mqtt.cut',
      'revoked.https.after',
      'revoked.mqtt.after',
      'revoked.renewal',
    ])
    expect(ledger.figures().revokedThenAdmitted).toBe(6)
    expect(ledger.figures()).toMatchObject({ https: { refused: {} }, mqtt: { refused: {} } })
  })
})

describe('a gateway that lets everybody in, whatever is asked', () => {
  const everything: RequestListener = (request, response) => {
    request.resume()
    response.setHeader('connection', 'close')
    response.end('{}')
  }
  const failedOf = async (name: string): Promise<readonly string[]> => {
    const https = await serve(everything)
    return set({ https, enroll: https, mqtt: await broker() })(name)
  }

  test('under any name is caught', async () => {
    expect(await failedOf('host_names')).toEqual([
      'host_names.another_host',
      'host_names.another_sni',
      'host_names.no_sni',
      'host_names.unknown.https',
      'host_names.unknown.mqtt',
    ])
  })

  test('at any target, with anything, without limits, is caught by each expectation', async () => {
    // what a stock server refuses, it refuses without a reason
    for (const name of ['bad_target', 'stray_credentials', 'http_limits']) {
      expectations = createExpectations()
      const failed = await failedOf(name)
      expect([failed.length, expectations.report().passed], name).toEqual([
        { bad_target: 18, stray_credentials: 6, http_limits: 12 }[name],
        // that it came to its end
        1,
      ])
    }
  })

  test('or says something where there is nothing to say, is caught', async () => {
    // not MQTT at all: each case gets an HTTP 400
    const failed = await set({ mqtt: await serve(everything) })('mqtt_frames')
    expect([failed.length, expectations.report().passed]).toEqual([14, 1])
  })

  test('in any state is caught', async () => {
    expect(await failedOf('suspended')).toEqual([
      'suspended.mqtt.cut',
      'suspended.https',
      'suspended.mqtt.after',
      'suspended.renewal',
      'suspended',
    ])
  })
})

describe('a gateway that refuses for the wrong reason', () => {
  test('where the right one is said with another status, is caught', async () => {
    const https = await serve((request, response) => {
      response.setHeader('connection', 'close')
      refusing('bad_target')(request, response)
    })
    expect(await set({ https })('bad_target')).toHaveLength(18)
  })

  test('and the right status and reason pass', async () => {
    const https = await serve((_request, response) => {
      response.writeHead(400, { 'content-type': 'application/problem+json', connection: 'close' })
      response.end(JSON.stringify({ reason: 'bad_target' }))
    })
    expect(await set({ https })('bad_target')).toEqual([])
  })

  test('is caught, and its reason counted as it came', async () => {
    const doors = { https: await serve(refusing('certificate_expired')), mqtt: await refusingBroker(2) }
    expect(await set(doors)('other_ca')).toEqual([
      'other_ca.https.forged',
      'other_ca.mqtt.forged',
      'other_ca.https.forged_and_expired',
      'other_ca.mqtt.forged_and_expired',
    ])
    expect(ledger.figures().https.refused).toEqual({ certificate_expired: 6 })
    expect(ledger.figures().mqtt.refused).toEqual({})
  })

  test('with the right words and the wrong status is caught', async () => {
    const https = await serve((_request, response) => {
      response.writeHead(401, { 'content-type': 'application/problem+json' })
      response.end(JSON.stringify({ reason: 'certificate_required' }))
    })
    const run = set({ https, mqtt: await refusingBroker(5) })
    expect(await run('no_certificate')).toEqual(['no_certificate.https'])
  })

  test('for the right one passes', async () => {
    const run = set({
      https: await serve(refusing('certificate_required')),
      mqtt: await refusingBroker(5),
    })
    expect(await run('no_certificate')).toEqual([])
    expect(ledger.figures()).toMatchObject({
      https: { refused: { certificate_required: 2 } },
      mqtt: { refused: { certificate_required: 2 } },
    })
  })
})

describe('a gateway that resumes sessions', () => {
  /** As stock Node does: authorized is true on a resumed connection that presents no certificate. */
  const stock: RequestListener = (request, response) => {
    const known = (request.socket as TLSSocket).authorized
    if (known) response.end('{}')
    else refusing('certificate_required')(request, response)
  }

  test('is caught on every listener, in both versions, with and without the certificate', async () => {
    const enroll: RequestListener = (request, response) => {
      response.statusCode = (request.socket as TLSSocket).authorized ? 400 : 403
      response.end()
    }
    const mqtt = await mqttServer(world.tls, (packet, reply, socket) => {
      if (packet.cmd === 'connect') reply(connack(socket.authorized ? 0 : 5))
      if (packet.cmd === 'disconnect') socket.end()
    })
    servers.push(mqtt)
    const run = set({ https: await serve(stock), enroll: await serve(enroll), mqtt: mqtt.port })
    const failed = await run('resumed_session')
    expect(failed).toEqual(
      ['TLSv1.2', 'TLSv1.3'].flatMap((version) =>
        ['https', 'enroll', 'mqtt'].flatMap((listener) => [
          `resumed_session.${listener}.${version}.with_certificate`,
          `resumed_session.${listener}.${version}.without_certificate`,
        ]),
      ),
    )
    expect(meter.figures()).toMatchObject({ handshakes: 6, resumed: 12 })
  })
})

describe('a gateway that answers two requests on one handshake', () => {
  test('is caught', async () => {
    const run = set({
      https: await serve((request, response) => {
        see(request)
        response.end('{}')
      }),
    })
    expect(await run('pipelined_requests')).toEqual([
      'pipelined_requests.answered_once',
      'pipelined_requests.served_once',
      'pipelined_requests.closed',
    ])
  }, 10_000)

  test('is caught also when it answers one and passes both on', async () => {
    const run = set({
      https: await serve((request, response) => {
        see(request)
        response.setHeader('connection', 'close')
        response.end('{}')
      }),
    })
    expect(await run('pipelined_requests')).toEqual(['pipelined_requests.served_once'])
  })
})

describe('a gateway that takes a token', () => {
  test('in place of a certificate is caught, place by place', async () => {
    const run = set({
      https: await serve((request, response) => {
        const { headers } = request
        const token =
          headers['cf-access-token'] ??
          headers['cf-access-jwt-assertion'] ??
          headers.cookie ??
          headers.authorization
        if (token === undefined && !(request.socket as TLSSocket).authorized)
          return refusing('certificate_required')(request, response)
        see(request, 'drill-test-replayed')
        response.end('{}')
      }),
      mqtt: await broker(),
    })
    const failed = await run('replayed_assertion')
    for (const place of ['header', 'cookie', 'assertion'])
      expect(failed).toEqual(
        expect.arrayContaining([
          `replayed_assertion.${place}`,
          `replayed_assertion.${place}.removed`,
          `replayed_assertion.${place}.identity`,
        ]),
      )
    expect(failed).toContain('replayed_assertion.bearer')
    expect(failed).toContain('replayed_assertion.mqtt')
  })
})

/** Puts nothing anywhere, and says that it did. */
const staging: Staging = {
  isAdmin: true,
  hostname: (name) => `${name}.staged.test`,
  token: () => Promise.resolve('unused'),
  claim: async () => ({ identity: await world.ca.issue({ commonName: 'claim' }), group: 'g' }),
  anchor: (name) => Promise.resolve(name),
  policy: (name) => Promise.resolve(name),
  application: (name) => Promise.resolve(name),
  anchorCrl: () => Promise.resolve(),
  [Symbol.asyncDispose]: () => Promise.resolve(),
}
/** Each look is ten seconds later: nothing is waited for twice. */
const hurried = () => {
  let at = Date.now()
  return () => (at += 10_000)
}

describe('where something is staged, whoever has nothing wrong must get in by both doors:', () => {
  const nobodyBehind: RequestListener = (_request, response) => {
    response.writeHead(502, { 'content-type': 'application/problem+json', connection: 'close' })
    response.end(JSON.stringify({ reason: 'origin_unreachable' }))
  }
  const controls = {
    bad_certificates: ['bad_certificates.good'],
    foreign_crl: ['foreign_crl.not_listed', 'foreign_crl.twin'],
    policies: ['policies.nobody.good', 'policies.denied.good'],
  }

  test.each(Object.entries(controls))(
    '%s catches an MQTT door that refuses everybody',
    async (name, good) => {
      const doors = { https: await serve(nobodyBehind), mqtt: await refusingBroker(5) }
      const failed = await set(doors, { staging, clock: hurried() })(name)
      expect(failed.filter((each) => each.endsWith('.mqtt'))).toEqual(good.map((each) => `${each}.mqtt`))
      // and whoever is let in who should not be
      expect(failed.filter((each) => each.endsWith('.https')).length).toBeGreaterThan(1)
    },
  )

  test.each(Object.entries(controls))(
    '%s catches an HTTPS door that refuses everybody',
    async (name, good) => {
      const doors = { https: await serve(refusing('policy_denied')), mqtt: await broker() }
      const failed = await set(doors, { staging, clock: hurried() })(name)
      expect(failed).toEqual(expect.arrayContaining(good.map((each) => `${each}.https`)))
    },
  )

  test('foreign_crl catches a desk that takes a list by anybody', async () => {
    const doors = { https: await serve(nobodyBehind), mqtt: await broker() }
    expect(await set(doors, { staging, clock: hurried() })('foreign_crl')).toContain('foreign_crl.forged')
  })
})

test('sessions catches a gateway to which one token is as good as another, for ever, and whose handshakes are all fresh', async () => {
  const https = await serve(({ url }, response) => {
    // a gateway that gives tokens where there is no session is caught elsewhere
    const cookie = url?.startsWith('/strict') ? 'a=b' : `CF_Authorization=${JWT}`
    response.writeHead(502, {
      'content-type': 'application/problem+json',
      'set-cookie': cookie,
      connection: 'close',
    })
    response.end(JSON.stringify({ reason: 'origin_unreachable' }))
  })
  expect(await set({ https }, { staging, clock: hurried() })('sessions')).toEqual(
    ['another_device', 'no_certificate', 'forged', 'not_fresh', 'ended'].map((name) => `sessions.${name}`),
  )
  // what it looked for is no leak
  expect(meter.figures().tokensReturned).toBe(0)
}, 10_000)

test('key_kinds catches a gateway that lets nobody in, kind by kind', async () => {
  const failed = await set({ https: await serve(refusing('certificate_weak_key')) })('key_kinds')
  expect(failed.toSorted()).toEqual(
    KEY_KINDS.flatMap((kind) => [`key_kinds.${kind}.TLSv1.2`, `key_kinds.${kind}.TLSv1.3`]).toSorted(),
  )
})

test.each<[string, number, RequestListener]>([
  ['gives to whoever asks', 201, (_request, response) => void response.writeHead(201).end('{}')],
  ['refuses whoever asks, for one reason', 403, refusing('forbidden')],
])('enroll_refusals catches a desk that %s (%i), case by case', async (_what, _status, listener) => {
  let made = 0
  const { token } = world
  const giving = {
    createToken: () => Promise.resolve({ id: `t${++made}`, token }),
    revokeToken: () => Promise.resolve(),
  } as unknown as Operator
  const failed = await set(
    { enroll: await serve(listener) },
    { operator: giving, clock: hurried() },
  )('enroll_refusals')
  expect(failed).toHaveLength(15)
  expect(failed).not.toContain('enroll_refusals')
})

describe('an MQTT door', () => {
  const AFTER = ['second_connect', 'reserved_type', 'qos_3', 'wildcard_in_topic', 'packet_too_large']
  /** `onPacket`: any after CONNECT. The parser ends what it cannot read, as a broker behind a door would. */
  const door = async (version: 4 | 5, onSecond: () => void = () => {}): Promise<number> => {
    const server = await mqttServer(world.tls, (packet, reply, socket) => {
      if (packet.cmd === 'disconnect') return void socket.end()
      if (packet.cmd !== 'connect') return void socket.destroy()
      if (packet.protocolVersion === 5 && version === 4)
        return void socket.end(Buffer.from('2003008400', 'hex'))
      if (known.has(socket)) onSecond()
      known.add(socket)
      sockets.push(socket)
      reply(connack(0))
    })
    servers.push(server)
    return server.port
  }
  const known = new Set<TLSSocket>()
  const sockets: TLSSocket[] = []
  const failedOf = async (mqtt: number): Promise<readonly string[]> =>
    (await set({ mqtt })('mqtt_frames')).filter((name) => AFTER.some((each) => name.endsWith(each)))

  test('that says why, and goes on speaking, is caught', async () => {
    const server = await mqttServer(world.tls, (packet, reply, socket) => {
      if (packet.cmd === 'disconnect') return void socket.end()
      if (packet.cmd !== 'connect' || socket.writableEnded) return
      reply(connack(0))
      // DISCONNECT, protocol error, and an answer to a ping that nobody has sent
      if (packet.clientId.endsWith('-frames')) socket.end(Buffer.from('e00182d000', 'hex'))
    })
    servers.push(server)
    expect(await failedOf(server.port)).toContain('mqtt_frames.second_connect')
  }, 20_000)

  test('that hands on what it should refuse, so that the broker ends the connection, is caught in MQTT 5', async () => {
    expect(await failedOf(await door(5))).toEqual(AFTER.map((name) => `mqtt_frames.${name}`))
  }, 20_000)

  test('that waits for what is too large, and by which one device throws out another, is caught in MQTT 3.1.1', async () => {
    const mqtt = await door(4, () => sockets.forEach((socket) => socket.destroy()))
    expect(await failedOf(mqtt)).toEqual(['mqtt_frames.second_connect', 'mqtt_frames.packet_too_large'])
  }, 20_000)
})

test('a door whose limit on headers is no time at all is caught by slow_request', async () => {
  const at408 = await serve((_request, response) => response.end(), {
    headersTimeout: 300,
    connectionsCheckingInterval: 50,
  })
  const failed = await set({ https: at408, enroll: at408 }, { patience: true })('slow_request')
  expect(failed).toEqual(
    expect.arrayContaining(['slow_request.https.unhurried', 'slow_request.enroll.unhurried']),
  )
}, 10_000)

describe('what a target says', () => {
  test('is bounded before it is evidence, or is counted under', async () => {
    const https = await serve((request, response) => {
      refusing(`x${String(request.url)}${'x'.repeat(900_000)}`)(request, response)
    })
    await set({ https, mqtt: await refusingBroker(5) })('no_certificate')
    expect(expectations.report().evidence['no_certificate.https']?.length).toBeLessThan(1_100)
    expect(ledger.figures().https.refused).toEqual({ http_403: 2 })
  })

  test('in ever other words makes no ever longer list', () => {
    for (let n = 0; n < 1_000; n++) ledger.refused('https', `word_${n}`)
    expect(Object.keys(ledger.figures().https.refused)).toHaveLength(101)
    expect(ledger.figures().https.refused['others']).toBe(900)
  })

  test('moves no cursor', () => {
    expectations.check('a', false, 'red \u001b[31m\nnext')
    expect(expectations.report().evidence).toEqual({ a: 'red ?[31m?next' })
  })

  test('before its one answer, is none', async () => {
    const https = await serve((_request, response) => {
      response.writeProcessing()
      response.setHeader('connection', 'close')
      response.end()
    })
    const context = clientContext({ rootPem: world.ca.rootPem })
    const asking = { url: `https://localhost:${https}`, context, alpn: ['http/1.1'], what: 'interim' }
    const { signal } = new AbortController()
    const answer = await sayRaw({ signal, meter }, asking, requestText('/', 'localhost'))
    expect(answer.text).toContain('HTTP/1.1 102 ')
    expect(answer).toMatchObject({ statuses: [200], closed: true })
  })

  test('and does not stop saying, is no end of the connection', async () => {
    const https = await serve((_request, response) => {
      const timer = setInterval(() => response.write(Buffer.alloc(400_000)), 5)
      response.on('close', () => clearInterval(timer))
    })
    const context = clientContext({ rootPem: world.ca.rootPem })
    const asking = { url: `https://localhost:${https}`, context, alpn: ['http/1.1'], what: 'flood' }
    const said = requestText('/', 'localhost')
    expect(await sayRaw({ signal: new AbortController().signal, meter }, asking, said)).toMatchObject({
      statuses: [200],
      closed: false,
    })
  })
})

describe('a gateway that hands a token out', () => {
  test.each([
    ['in a cookie', { 'set-cookie': `CF_Authorization=${JWT}` }, ''],
    ['in a page', {}, JWT],
  ])('%s is counted', async (_where, headers, body) => {
    const https = await serve((_request, response) => {
      response.writeHead(403, { 'content-type': 'text/html', ...headers })
      response.end(body)
    })
    await set({ https, mqtt: await refusingBroker(5) })('no_certificate')
    expect(meter.figures().tokensReturned).toBe(2)
  })
})

describe('a drill', () => {
  const stage = (): Stage => ({ expectations }) as Stage

  test('that cannot reach anything has failed by its name', async () => {
    expect(await set({})('no_certificate')).toEqual(['no_certificate'])
  })

  test('that hangs is ended, and has failed by its name', async () => {
    const mqtt = await mqttServer(world.tls, () => {})
    servers.push(mqtt)
    const run = set({ https: await serve(refusing('certificate_required')), mqtt: mqtt.port })
    expect(await run('no_certificate', 500)).toContain('no_certificate')
  })

  test('that ignores its signal does not hold the others up', async () => {
    const stuck: Drill = { name: 'stuck', needs: [], run: () => new Promise(() => {}) }
    const fine: Drill = { name: 'fine', needs: [], run: () => Promise.resolve() }
    await runDrills([stuck, fine], stage, new AbortController().signal, 100)
    expect(expectations.report()).toMatchObject({ passed: 1, failed: ['stuck'] })
  })

  test('whose needs nobody can meet is skipped, and says so', async () => {
    const run = (): Promise<void> => Promise.reject(new Error('should not run'))
    const needy: Drill = { name: 'needy', needs: ['operator'], run }
    expect(await runDrills([needy], stage, new AbortController().signal)).toEqual(['needy'])
    expect(expectations.report().failed).toEqual([])
  })

  test('ends when the run does', async () => {
    const stuck: Drill = { name: 'stuck', needs: [], run: () => new Promise(() => {}) }
    await runDrills([stuck], stage, AbortSignal.timeout(50))
    expect(expectations.report().evidence).toEqual({ stuck: 'it did not end in time' })
  })
})

test('every drill has its own name', () => {
  expect(new Set(DRILLS.map(({ name }) => name)).size).toBe(DRILLS.length)
})

test('an expectation that fails once has failed, with its first evidence', () => {
  for (const held of [true, false, true]) expectations.check('a', held, `held: ${held}`)
  expectations.check('b', true, '')
  expect(expectations.report()).toEqual({ passed: 1, failed: ['a'], evidence: { a: 'held: false' } })
})
