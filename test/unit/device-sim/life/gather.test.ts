/** A disk that is full, or files that are broken: the device says so, the others go on, and no key that may be good is written over. */

import { createHash, X509Certificate } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { calm, type FleetEvent } from '#device-sim/index.ts'
import { createWorld, httpsServer, type World } from '../../../support/faulty-servers.ts'
import { keepState, ran, scenarioOf } from './fleet-of.ts'

let world: World
let dir: string
beforeAll(async () => {
  world = await createWorld()
})
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sim-gather-'))
  return () => rm(dir, { recursive: true })
})

const HTTPS = { https: 1, mqtt: 0 }
const errors = (events: readonly FleetEvent[]): string[] =>
  events.flatMap((event) =>
    event.kind === 'error' ? [`${event.device} ${event.door}: ${event.detail}`] : [],
  )

/** What is signed of a request: who, and which key. */
const askedFor = (body: string): string => {
  const { csr } = JSON.parse(body) as { csr: string }
  const der = Buffer.from(csr.replaceAll(/-----.*?-----|\s/g, ''), 'base64')
  const length = Number(der[1])
  return der.subarray(length > 0x7f ? 2 + (length & 0x7f) : 2, 150).toString('hex')
}

test('a key that cannot be written: said with the file, and asked with all the same, each time', async () => {
  await writeFile(join(dir, 'fleet.json'), '{"seed":"x"}')
  await mkdir(join(dir, 'sim-x-0001.json.tmp'))
  const bodies: string[] = []
  await using desk = await httpsServer(world.tls, (request, response) => {
    let body = ''
    request.on('data', (data: Buffer) => (body += data.toString()))
    request.once('end', () => {
      bodies.push(body)
      response.writeHead(503, { 'content-type': 'application/problem+json' })
      response.end('{"reason":"registry_unavailable"}')
    })
  })
  const root = new X509Certificate(world.ca.rootPem).raw
  const pin = createHash('sha256').update(root).digest('base64url')
  const { events } = await ran(world, {
    scenario: scenarioOf({ devices: 1, doors: HTTPS, keys: { ...calm().keys, 'P-256': 1, RSA: 0 } }),
    targets: { enroll: `https://localhost:${desk.port}`, https: 'https://localhost:1' },
    seed: 'x',
    stateDir: dir,
    credentials: { token: `spt1.${'a'.repeat(16)}.${'b'.repeat(43)}.${pin}` },
    rounds: 2,
  })
  expect(errors(events)).toEqual([
    `sim-x-0001 enroll: internal: ${join(dir, 'sim-x-0001.json')} cannot be written: EISDIR`,
  ])
  const keys = bodies.map(askedFor)
  expect(keys).toHaveLength(2)
  expect(keys[0]).toBe(keys[1])
})

test.each(['', '{', 'null', '{}', '{"keyPem":"x","enrolled":{}}'])(
  'a file that holds %j: its device takes no part, and the others do',
  async (text) => {
    await keepState(dir, 'x', await world.device('sim-x-0001'))
    const broken = join(dir, 'sim-x-0002.json')
    await writeFile(broken, text)
    await using https = await httpsServer(world.tls, (request, response) => {
      request.resume()
      response.end('ok')
    })
    const targets = { https: `https://localhost:${https.port}` }
    const common = { targets, seed: 'x', stateDir: dir, rounds: 1 } as const
    const { report, events } = await ran(world, {
      ...common,
      scenario: scenarioOf({ devices: 2, doors: HTTPS }),
    })
    expect(report).toMatchObject({ reused: 1, admitted: { https: 1 }, errors: 1 })
    expect(errors(events)[0]).toContain(`sim-x-0002 enroll: config_invalid: ${broken} cannot be read`)
    expect(await readFile(broken, 'utf8')).toBe(text)

    await writeFile(join(dir, 'sim-x-0001.json'), text)
    for (const duration of [undefined, 1_000])
      await expect(
        ran(world, { ...common, scenario: scenarioOf({ devices: 2, doors: HTTPS, duration }) }),
      ).rejects.toMatchObject({
        code: 'config_invalid',
        detail: expect.stringContaining('cannot be read') as string,
      })
  },
)

test('an empty root is no root', async () => {
  await expect(ran(world, { scenario: scenarioOf({}), targets: {}, rootPem: '' })).rejects.toMatchObject({
    code: 'config_invalid',
  })
})
