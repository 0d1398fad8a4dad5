/**
 * A fleet that enrols from nothing, of 100, 1,000 and 10,000: keys and requests made, certificates had from our own desk over REST. Desks on core 0, the
 * simulator on core 1; each run with desks of its own. What the simulator costs to start is measured with one device, and taken off.
 */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '#fleet/clock.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { addClaimToken } from '../../test/support/enroll-desk.ts'
import { makePki } from '../../test/support/pki.ts'
import { cpuOfTree } from './cpu.ts'
import { startEnroll } from './desk.ts'
import { CLIENT_CORE, startHelper, talkTo } from './helpers.ts'
import { prepareHome, startGateway } from './home.ts'
import { OURS } from './machine.ts'
import type { OriginUp } from './ok-origin.ts'
import { countOf, simulate } from './simulator.ts'
import { median, type SuiteOptions, type SuiteResult } from './suite.ts'

const SIZES: readonly number[] = [100, 1_000, 10_000]
const ROUNDS = 3
/** of all processes of the simulator, MB */
const MEMORY = 4_000
/** The fleet gathers before this second begins, and is asked for one request in it. P-256 only: making an RSA key takes as long as many enrolments. */
const scenarioOf = (devices: number): string => `devices: ${devices}
ramp: 0s
duration: 1s
load: { open: { rate: 1, arrivals: constant } }
doors: { https: 1, mqtt: 0 }
enroll: { rest: 1, est: 0, mqtt: 0 }
keys: { P-256: 1, P-384: 0, P-521: 0, Ed25519: 0, RSA: 0 }`

/** `generator`, `server`: CPU µs of each enrolment. `peak`: bytes */
type Gathered = {
  readonly seconds: number
  readonly generator: number
  readonly server: number
  readonly peak: number
}

const gather = async (devices: number): Promise<Gathered> => {
  await using opened = new AsyncDisposableStack()
  const path = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  opened.defer(() => {
    rmSync(path, { recursive: true, force: true })
  })
  mkdirSync(join(path, 'run'))
  const pki = makePki({ now: systemClock() })
  const origin = opened.use(startHelper(CLIENT_CORE, 'ok-origin.ts'))
  const access = {
    https: { path: '/*', origin: `http://127.0.0.1:${(await talkTo<object, OriginUp>(origin)).port}` },
  }
  await prepareHome({ home: path, pki, leaves: [], host: 'localhost', access })
  const enroll = await startEnroll({ path })
  opened.use(enroll.program)
  // only now: a registry with a history that no desk has seen is taken for a restored one, whose tokens are void
  let token: string
  {
    await using registry = await openRegistry({ path: join(path, 'db/sallyport.sqlite'), clock: systemClock })
    token = (await addClaimToken(registry, pki.root.facts.fingerprint, { uses: devices + 10 })).text
  }
  const gateway = await startGateway(path)
  opened.use(gateway.program)
  // by its name: the door knows its application by it
  const door = `https://localhost:${new URL(gateway.urls['https'] ?? '').port}`
  const desks = ['--enroll-url', enroll.urls['devices'] ?? '', '--https-url', door]
  const args = [...desks, '--ca', join(path, 'certs/root.pem'), '--token', token]
  const run = (count: number) =>
    simulate({ folder: path, name: `fleet-${count}`, scenario: scenarioOf(count), args })
  const start = await run(1)
  const before = cpuOfTree(enroll.program.pid)
  const all = await run(devices)
  const enrolled = countOf(all, 'enrolled_')
  if (enrolled !== devices) throw new Error(`${enrolled} of ${devices} devices have enrolled`)
  return {
    seconds: all.report.run.gathering_ms / 1_000,
    generator: (all.cpu - start.cpu) / (devices - 1),
    server: (cpuOfTree(enroll.program.pid) - before) / devices,
    peak: all.peak,
  }
}

export const simFleet = async ({
  rounds,
  requests,
  progress,
}: SuiteOptions): Promise<readonly SuiteResult[]> => {
  const sizes = requests === undefined ? SIZES : [requests]
  const many = Math.min(ROUNDS, rounds ?? ROUNDS)
  const named = sizes.map((size) => [`${size.toLocaleString('en')} devices`, size] as const)
  const gathered = new Map<string, Gathered[]>(named.map(([name]) => [name, []]))
  for (let round = 0; round < many; round += 1)
    for (const [name, size] of named) {
      const one = await gather(size)
      gathered.get(name)?.push(one)
      progress(
        `${name}: round ${round + 1} of ${many}: ${one.seconds.toFixed(1)} s, ${one.generator.toFixed(0)} µs of the generator and ${one.server.toFixed(0)} of the desk each, ${(one.peak / 1e6).toFixed(0)} MB`,
      )
    }
  const of = (pick: (one: Gathered, size: number) => number): Record<string, number[]> =>
    Object.fromEntries(
      named.map(([name, size]) => [name, (gathered.get(name) ?? []).map((one) => pick(one, size))]),
    )
  const facts = { rounds: many, keys: 'P-256', enrol: 'REST', ...OURS }
  const perSecond = Object.entries(of(({ seconds }, size) => size / seconds)).map(
    ([name, rates]) => [`enrolments per second, ${name}`, median(rates).toFixed(0)] as const,
  )
  const base = named[0]?.[0]
  const grows = base === undefined ? {} : { base }
  return [
    {
      unit: 's until all have enrolled from nothing',
      variants: of(({ seconds }) => seconds),
      facts: { ...facts, ...Object.fromEntries(perSecond) },
    },
    {
      unit: 'CPU µs of the simulator per enrolment',
      ...grows,
      variants: of(({ generator }) => generator),
      facts,
    },
    {
      unit: 'CPU µs of the enroll desk per enrolment',
      ...grows,
      variants: of(({ server }) => server),
      facts,
    },
    {
      unit: 'MB of all processes of the simulator, at the highest',
      variants: of(({ peak }) => peak / 1e6),
      limits: Object.fromEntries(named.map(([name]) => [name, MEMORY])),
      facts,
    },
  ]
}
