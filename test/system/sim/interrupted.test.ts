/**
 * Ctrl-C at moments in which a run does something else than its load: while certificates are read, before a door has answered, in the drain, with drills
 * under way, while it asks for copies. A report comes each time, soon, and says nothing of a server that was not heard. The others: command.test.ts.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer as createHttp, request, type Server } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { createServer as createTcp, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadScenario, override } from '#device-sim/index.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { CHECKOUT, cleanEnvironment, startFleet, type Fleet } from '../../support/fleet.ts'
import { makePki } from '../../support/pki.ts'
import { invariant, quick, simulated, until } from '../../support/simulation.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let fleet: Fleet
beforeAll(async () => {
  fleet = await startFleet()
}, 30_000)
afterAll(() => fleet[Symbol.asyncDispose]())

const pki = makePki({ now: Date.now() })
const device = pki.device({ id: 'pump' })
const given = [
  {
    deviceId: 'pump',
    keyPem: device.keyPem,
    certificatePem: device.certPem,
    chainPem: device.chainPem,
    rootPem: pki.root.pem,
    notAfter: Date.now() + 86_400_000,
    renewAfter: Number.MAX_SAFE_INTEGER,
    serial: '01',
  },
]
const portOf = (server: { address(): AddressInfo | string | null }): number =>
  (server.address() as AddressInfo).port

/** ms; two for what is under way, two for the operator API, and a slow machine */
const SOON = 8_000

/** SIGHUP is among the signals that a process catches (proc(5)): only what listens for its end does. */
const listensForStop = (pid: number): boolean => {
  const [, caught = '0'] = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return (BigInt(`0x${caught}`) & 1n) === 1n
}

test.skipIf(!existsSync('/proc/self/status'))(
  'while many certificates are read: it is heard at once, and there is a report',
  async () => {
    using folder = temporaryFolder()
    const one = join(folder.path, 'one')
    mkdirSync(one)
    writeFileSync(join(one, 'cert.pem'), device.fullPem)
    writeFileSync(join(one, 'key.pem'), device.keyPem)
    // called after their directories
    mkdirSync(join(folder.path, 'certs'))
    for (let i = 0; i < 20_000; i++) symlinkSync(one, join(folder.path, 'certs', `d${i}`))
    const words = [
      'sim',
      'run',
      'calm',
      '--target',
      'https://localhost:1',
      '--certs',
      'certs',
      '--for',
      '30s',
      '--out',
      'r.json',
    ]
    const child = spawn(process.execPath, [join(CHECKOUT, 'src/cli/main.ts'), ...words], {
      cwd: folder.path,
      env: { ...cleanEnvironment(), SALLYPORT_HOME: folder.path },
      stdio: 'ignore',
    })
    const ended = once(child, 'close')
    while (!listensForStop(child.pid as number)) await new Promise((resolve) => setTimeout(resolve, 5))
    child.kill('SIGINT')
    expect(await ended).toEqual([1, null])
    const report = JSON.parse(readFileSync(join(folder.path, 'r.json'), 'utf8')) as SimulationReport
    expect(report.verdict.reasons).toContain('it was ended before it began')
    expect(report.run.devices).toBeLessThan(20_000)
  },
  30_000,
)

test('before a door has answered', async () => {
  const stop = new AbortController()
  const sockets: Socket[] = []
  const silent = createTcp((socket) => {
    sockets.push(socket)
    stop.abort()
  })
  await once(silent.listen(0, 'localhost'), 'listening')
  const began = Date.now()
  const report = await simulated({
    targets: { https: `https://localhost:${portOf(silent)}` },
    scenario: quick({ devices: 1, doors: { https: 1, mqtt: 0 }, duration: 5_000 }),
    given,
    foreign: true,
    signal: stop.signal,
  })
  for (const socket of sockets) socket.destroy()
  silent.close()
  expect(Date.now() - began).toBeLessThan(SOON)
  expect(report.verdict.reasons).toContain('it was ended before it began')
  expect(report.verdict.reasons.join()).not.toMatch(/unreachable|nobody listens/)
})

test('in the drain: what is under way is not waited for to its end', async () => {
  const { fullPem: cert, keyPem: key } = pki.server()
  const hangs = createHttps({ cert, key, ca: pki.root.pem, requestCert: true }, () => {})
  await once(hangs.listen(0, 'localhost'), 'listening')
  const stop = new AbortController()
  let drained = 0
  const report = await simulated({
    targets: { https: `https://localhost:${portOf(hangs)}` },
    scenario: quick({
      devices: 1,
      doors: { https: 1, mqtt: 0 },
      duration: 500,
      bounds: { revokedWithin: 1_000, drain: 60_000 },
      assertions: ['unanswered==0'],
    }),
    given,
    foreign: true,
    signal: stop.signal,
    onLive({ phase }) {
      if (phase.kind !== 'draining' || stop.signal.aborted) return
      drained = Date.now()
      stop.abort()
    },
  })
  hangs.closeAllConnections()
  hangs.close()
  expect(drained).toBeGreaterThan(0)
  expect(Date.now() - drained).toBeLessThan(SOON)
  expect(report.run.trouble).toBeNull()
  expect(report.counts).toMatchObject({ unanswered_https: 1 })
  // a server that was not waited for is not to blame
  expect(report.run.interrupted).toBe(true)
  expect(report.verdict.reasons).toContain('it was ended before its time')
}, 20_000)

const ours = () => ({
  targets: { enroll: fleet.urls.devices, https: fleet.urls.https, mqtts: fleet.urls.mqtts },
  operator: { url: fleet.urls.operator, token: fleet.operatorToken, rootPem: undefined },
})
const staged = async (): Promise<readonly string[]> => {
  const lists = await Promise.all(
    ['anchors', 'applications', 'policies', 'groups'].map((kind) =>
      fleet.operator.call<{ items: readonly { name: string }[] }>('GET', `/v1/${kind}`),
    ),
  )
  return lists
    .flatMap(({ items }) => items.map(({ name }) => name))
    .filter((name) => name.startsWith('sallyport-sim-'))
}

test('with drills under way: none of them has failed for it, and what they staged is gone', async () => {
  const stop = new AbortController()
  const running = until(({ phase }) => phase.kind === 'running')
  const run = simulated({
    ...ours(),
    // long enough for the one that waits for ten seconds
    scenario: override(loadScenario('hostile', '/'), { devices: 4, ramp: 0, pace: 200 }),
    signal: stop.signal,
    onLive: running.onLive,
  })
  await Promise.race([running.seen, run])
  const began = Date.now()
  stop.abort()
  const report = await run
  expect(Date.now() - began).toBeLessThan(SOON)
  expect(report.drills.filter(({ held }) => !held)).toEqual([])
  expect(report.verdict.reasons).toContain('it was ended before its time')
  expect(report.verdict.reasons.join()).not.toMatch(/failed|broken|does not hold/)
  expect((await staged()).filter((name) => !/claim/.test(name))).toEqual([])
}, 30_000)

/** The operator API, which says nothing of a device of a fleet. */
const hushed = async (onAsked: () => void): Promise<Server> => {
  const { port, hostname } = new URL(fleet.urls.operator)
  const server = createHttp((incoming, response) => {
    if (incoming.url?.startsWith('/v1/devices/sim-') === true) return onAsked()
    const { method, url, headers } = incoming
    const asking = request({ host: hostname, port, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
    })
    incoming.pipe(asking)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return server
}

test('while it asks whether copies were noticed: nobody says that they were not', async () => {
  const stop = new AbortController()
  let asked = 0
  const api = await hushed(() => {
    asked ||= Date.now()
    stop.abort()
  })
  const report = await simulated({
    ...ours(),
    operator: { ...ours().operator, url: `http://127.0.0.1:${portOf(api)}` },
    scenario: quick({
      duration: 2_000,
      devices: 1,
      doors: { https: 0, mqtt: 1 },
      timeline: [{ kind: 'clone', rival: 'connection', at: 300, lasts: undefined, share: 1 }],
      assertions: [],
    }),
    signal: stop.signal,
  })
  api.closeAllConnections()
  api.close()
  expect(asked).toBeGreaterThan(0)
  expect(Date.now() - asked).toBeLessThan(SOON)
  expect(invariant(report, 'clones_noticed')).toMatchObject({ broken: 0 })
}, 20_000)
