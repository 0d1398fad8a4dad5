/** `--target`: servers that are not ours, with certificates that are given. A plain mTLS server of Node, and mosquitto. */

import { once } from 'node:events'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { mkdirSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Enrolled } from '#device-sim/index.ts'
import { run } from '#cli/run.ts'
import { readGivenCertificates } from '#cli/sim/given-certificates.ts'
import { nameDer } from '#pki/names.ts'
import { openForwarder } from '../../support/forwarder.ts'
import { freePort } from '../../support/free-port.ts'
import { MOSQUITTO, startMosquitto } from '../../support/mosquitto.ts'
import { makePki } from '../../support/pki.ts'
import { fakeIo } from '../../unit/cli/fake-io.ts'
import { invariant, quick, simulated, until } from '../../support/simulation.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const pki = makePki({ now: Date.now() })
const folder = temporaryFolder()
afterAll(() => folder[Symbol.dispose]())
let given: readonly Enrolled[]
beforeAll(async () => {
  for (const id of ['pump-1', 'pump-2', 'pump-3']) {
    const device = pki.device({ id })
    mkdirSync(join(folder.path, id))
    writeFileSync(join(folder.path, id, 'full.pem'), device.fullPem)
    writeFileSync(join(folder.path, id, 'key.pem'), device.keyPem)
  }
  given = await readGivenCertificates(folder.path, { rootPem: pki.root.pem })
})

/** @param answer seen by no test: what matters is who asked */
const mtlsServer = (callers: string[]): Server => {
  const { fullPem: cert, keyPem: key } = pki.server()
  const ca = [pki.root.pem, pki.devices.pem]
  return createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: true }, (request, response) => {
    const { socket } = request
    if ('getPeerCertificate' in socket && typeof socket.getPeerCertificate === 'function')
      callers.push(
        `${(socket.getPeerCertificate() as { subject: { CN: string } }).subject.CN} ${request.url}`,
      )
    request.resume()
    response.end('ok')
  })
}

test('a plain mTLS server: gone in the middle and back again, it is only errors; and it resumes sessions unjudged', async () => {
  const callers: string[] = []
  const server = mtlsServer(callers)
  await once(server.listen(0, 'localhost'), 'listening')
  await using door = await openForwarder(`https://localhost:${(server.address() as AddressInfo).port}`)
  const target = door.url
  const running = until(({ totals }) => (totals.counts['admitted_https'] ?? 0) > 3)
  const run = simulated({
    targets: { https: target },
    scenario: quick({
      devices: 3,
      duration: 3_000,
      doors: { https: 1, mqtt: 0 },
      assertions: ['errors>0', 'refused==0'],
    }),
    given,
    foreign: true,
    path: '/data/{id}',
    onLive: running.onLive,
  })
  await Promise.race([running.seen, run])
  await Promise.race([door.turnAway(3), run])
  const before = callers.length
  door.open()
  const report = await run
  server.close()
  expect(report.verdict).toEqual({ ok: true, reasons: [] })
  expect(report.run.targets).toEqual({ https: target })
  expect(callers.length).toBeGreaterThan(before)
  expect(new Set(callers)).toEqual(
    new Set(['pump-1 /data/pump-1', 'pump-2 /data/pump-2', 'pump-3 /data/pump-3']),
  )
  expect(invariant(report, 'full_handshakes')).toMatchObject({
    held: null,
    why: 'not asked of a foreign target',
  })
}, 20_000)

test('from the command line, with nothing said: GET / of each, by certificates that have no common name', async () => {
  const asked: string[] = []
  const server = mtlsServer([])
  server.on('request', ({ method, url, headers }) =>
    asked.push(`${method} ${url} ${headers['content-length']}`),
  )
  await once(server.listen(0, 'localhost'), 'listening')
  using certs = temporaryFolder()
  for (const name of ['a', 'b']) {
    const device = pki.device({ subjectDer: nameDer([]) })
    writeFileSync(join(certs.path, `${name}.pem`), device.fullPem)
    writeFileSync(join(certs.path, `${name}.key`), device.keyPem)
  }
  writeFileSync(join(certs.path, 'root.pem'), pki.root.pem)
  const io = fakeIo({ cwd: certs.path })
  const url = `https://localhost:${(server.address() as AddressInfo).port}`
  const words = ['--target', url, '--certs', '.', '--rounds', '2', '--pace', '10ms', '--ramp', '0s', '--json']
  const code = await run(['sim', 'run', 'calm', ...words], io)
  server.close()
  expect({ code, err: io.stderr() }).toEqual({ code: 0, err: '' })
  expect(JSON.parse(io.stdout())).toMatchObject({ counts: { enrolled_given: 2, admitted_https: 4 } })
  expect(asked).toEqual(Array(4).fill('GET / undefined'))
})

test('a server that wants another CA admits nobody: errors, and not a word of ours', async () => {
  const server = mtlsServer([])
  await once(server.listen(0, 'localhost'), 'listening')
  const strangers = (await readGivenCertificates(folder.path, { rootPem: pki.root.pem })).map((each) => {
    const other = pki.device({ id: each.deviceId, by: pki.other.devices })
    return { ...each, keyPem: other.keyPem, certificatePem: other.certPem, chainPem: '' }
  })
  const notes: string[] = []
  const report = await simulated({
    targets: { https: `https://localhost:${(server.address() as AddressInfo).port}` },
    scenario: quick({ devices: 3, doors: { https: 1, mqtt: 0 }, assertions: ['errors==0'] }),
    given: strangers,
    workers: 4,
    onNote: (text) => notes.push(text),
    foreign: true,
    rounds: 1,
  })
  server.close()
  expect(report.verdict.ok).toBe(false)
  expect(report.counts['admitted_https'] ?? 0).toBe(0)
  expect(Object.keys(report.errors)).toEqual(['https'])
  // one process each, and each has what it was given
  expect(report.run.workers).toBe(3)
  expect(report.counts['enrolled_given']).toBe(3)
  expect(notes).toEqual([expect.stringContaining('3 workers')])
})

test.skipIf(MOSQUITTO === undefined)(
  'mosquitto with client certificates: what it acknowledges it delivers',
  async () => {
    const server = pki.server()
    const put = (name: string, text: string): string => {
      const path = join(folder.path, name)
      writeFileSync(path, text)
      return path
    }
    const port = await freePort()
    await using broker = await startMosquitto({
      port,
      lines: [
        `listener ${port} 127.0.0.1`,
        `certfile ${put('server.crt.txt', server.fullPem)}`,
        `keyfile ${put('server.key.txt', server.keyPem)}`,
        `cafile ${put('ca.txt', pki.devices.pem + pki.root.pem)}`,
        'require_certificate true',
      ],
    })
    const report = await simulated({
      targets: { mqtts: `mqtts://localhost:${port}` },
      scenario: quick({ devices: 2, doors: { https: 0, mqtt: 1 } }),
      given,
      foreign: true,
      rounds: 5,
      topic: 'plant/{id}/data',
    })
    expect(report.verdict).toEqual({ ok: true, reasons: [] })
    expect(report.counts).toMatchObject({ admitted_mqtt: 2, published: 10, acknowledged: 10, delivered: 10 })
    expect(invariant(report, 'acknowledged_is_delivered')).toMatchObject({ held: true, broken: 0 })
    expect(report.refused).toEqual({})
    expect(broker.running()).toBe(true)
  },
)
