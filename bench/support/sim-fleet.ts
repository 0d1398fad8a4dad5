/**
 * A fleet that enrols from nothing, of 100, 1,000 and 10,000: keys and requests made, certificates had from our own desk over REST. Desks on core 0, the
 * simulator on core 1; each run with desks of its own. What the simulator costs to start is measured with one device, and taken off.
 */

import { cpuOfTree } from './cpu.ts'
import { SERVER_CORE } from './desk.ts'
import { openFleetDesks } from './fleet-desks.ts'
import { DEVICE_ENROLMENT, ENROLMENT_CONNECTED, startFloor } from './floor.ts'
import { CLIENT_CORE } from './helpers.ts'
import { OURS } from './machine.ts'
import { countOf, simulate } from './simulator.ts'
import { inOrderOf, median, type SuiteOptions, type SuiteResult } from './suite.ts'

const SIZES: readonly number[] = [100, 1_000, 10_000]
/** Fewer than elsewhere: one takes the better part of a minute. The tables say so. */
const MOST_ROUNDS = 6
/** of all processes of the simulator, MB */
export const MEMORY = 4_000
/** P-256 only: making an RSA key takes as long as many enrolments. */
export const FLEET = `enroll: { rest: 1, est: 0, mqtt: 0 }
keys: { P-256: 1, P-384: 0, P-521: 0, Ed25519: 0, RSA: 0 }`
/** The fleet gathers before this second begins, and is asked for one request in it. */
const scenarioOf = (devices: number): string => `devices: ${devices}
ramp: 0s
duration: 1s
load: { open: { rate: 1, arrivals: constant } }
doors: { https: 1, mqtt: 0 }
${FLEET}`

/** `generator`, `server`: CPU µs of each enrolment. `peak`: bytes */
type Gathered = {
  readonly seconds: number
  readonly generator: number
  readonly server: number
  readonly peak: number
}

const gather = async (devices: number): Promise<Gathered> => {
  await using desks = await openFleetDesks(devices + 1)
  const { path, args, enroll } = desks
  const run = (count: number) =>
    simulate({ folder: path, name: `fleet-${count}`, scenario: scenarioOf(count), args })
  const start = await run(1)
  const before = cpuOfTree(enroll.pid)
  const all = await run(devices)
  const enrolled = countOf(all, 'enrolled_')
  if (enrolled !== devices) throw new Error(`${enrolled} of ${devices} devices have enrolled`)
  return {
    seconds: all.report.run.gathering_ms / 1_000,
    generator: (all.cpu - start.cpu) / (devices - 1),
    server: (cpuOfTree(enroll.pid) - before) / devices,
    peak: all.peak,
  }
}

export const simFleet = async ({
  rounds,
  requests,
  progress,
}: SuiteOptions & { readonly rounds: number }): Promise<readonly SuiteResult[]> => {
  const sizes = requests === undefined ? SIZES : [requests]
  const many = Math.min(MOST_ROUNDS, rounds)
  const named = sizes.map((size) => [`${size.toLocaleString('en')} devices`, size] as const)
  const gathered = new Map<string, Gathered[]>(named.map(([name]) => [name, []]))
  await using device = startFloor(CLIENT_CORE, DEVICE_ENROLMENT)
  await using desk = startFloor(SERVER_CORE, ENROLMENT_CONNECTED)
  const floors = { device: [] as number[], desk: [] as number[] }
  for (let round = 0; round < many; round += 1) {
    for (const [name, size] of inOrderOf(round, named)) {
      const one = await gather(size)
      gathered.get(name)?.push(one)
      progress(
        `${name}: round ${round + 1} of ${many}: ${one.seconds.toFixed(1)} s, ${one.generator.toFixed(0)} µs of the generator and ${one.server.toFixed(0)} of the desk each, ${(one.peak / 1e6).toFixed(0)} MB`,
      )
    }
    floors.device.push(await device.measure())
    floors.desk.push(await desk.measure())
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
      floor: { what: device.what, values: floors.device },
      facts,
    },
    {
      unit: 'CPU µs of the enroll desk per enrolment',
      ...grows,
      variants: of(({ server }) => server),
      floor: { what: desk.what, values: floors.desk },
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
