/**
 * 10,000 devices at work, in one run: they enrol from nothing over REST, half of them stay connected by MQTT, and each has something to say once a minute,
 * whatever the answers take. Memory and errors of the simulator on core 1, with our own desks on core 0. One run, no rounds: not what it costs.
 */

import { openFleetDesks } from './fleet-desks.ts'
import { OURS } from './machine.ts'
import { residentOf } from './resident.ts'
import { FLEET, MEMORY } from './sim-fleet.ts'
import { countOf, simulate } from './simulator.ts'
import type { SuiteOptions, SuiteResult } from './suite.ts'

const DEVICES = 10_000
/** s; all are there after RAMP, and work for one PACE then */
const RAMP = 20
const PACE = 60

const scenarioOf = (devices: number): string => `devices: ${devices}
ramp: ${RAMP}s
duration: ${RAMP + PACE}s
load: { open: { rate: ${devices / PACE}, arrivals: poisson } }
doors: { https: 1, mqtt: 1 }
mqtt: { version: 3.1.1, qos: 1, clean: true, keepalive: 60s, subscribe: true }
${FLEET}`

type ByDoor = Readonly<Record<string, Readonly<Record<string, number>>>>

const named = (what: string, byDoor: ByDoor): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Object.entries(byDoor).flatMap(([door, counts]) =>
      Object.entries(counts).map(([why, count]) => [`${what} ${door}, ${why}`, count]),
    ),
  )

const sumOf = (byDoor: ByDoor): number =>
  Object.values(byDoor)
    .flatMap((each) => Object.values(each))
    .reduce((sum, count) => sum + count, 0)

export const simAtWork = async ({
  requests: devices = DEVICES,
  progress,
}: SuiteOptions): Promise<readonly SuiteResult[]> => {
  await using desks = await openFleetDesks(devices)
  const { path, args, gateway } = desks
  const ran = await simulate({
    folder: path,
    name: 'at-work',
    scenario: scenarioOf(devices),
    args,
    isLenient: true,
  })
  const { report } = ran
  const { counts, errors, refused, measures, generator, run } = report
  const enrolled = countOf(ran, 'enrolled_')
  const went = `${enrolled} of ${devices} have enrolled`
  if (enrolled !== devices || counts['published'] === undefined || counts['admitted_https'] === undefined)
    throw new Error(`sim run: ${went}, ${JSON.stringify(counts)}`)
  const failed = sumOf(errors) + sumOf(refused) + (counts['unanswered'] ?? 0)
  const name = `${devices.toLocaleString('en')} devices`
  progress(`${name} at work: ${(ran.peak / 1e6).toFixed(0)} MB, ${failed} errors`)
  const p99 = Object.entries(measures).map(([what, { p99: value }]) => [`p99 of ${what}`, `${value} ms`])
  return [
    {
      unit: 'MB of all processes of the simulator, at the highest, half of the devices connected by MQTT',
      variants: { [name]: [ran.peak / 1e6] },
      limits: { [name]: MEMORY },
      errors: { what: 'refusals, errors and turns that nobody answered', counts: { [name]: failed } },
      facts: {
        runs: 1,
        seconds_to_enrol: Number((run.gathering_ms / 1_000).toFixed(1)),
        seconds_of_load: Number((run.load_ms / 1_000).toFixed(1)),
        due: counts['due'] ?? 0,
        absent: counts['absent'] ?? 0,
        late: generator.late,
        dropped: generator.dropped,
        requests: counts['admitted_https'],
        connections: counts['admitted_mqtt'] ?? 0,
        published: counts['published'],
        delivered: counts['delivered'] ?? 0,
        ...named('errors at', errors),
        ...named('refused at', refused),
        'the load generator was the bottleneck': generator.bound ? 'yes' : 'no',
        'CPU s of the simulator': Number((ran.cpu / 1e6).toFixed(1)),
        'MB of the gateway, afterwards': Math.round(residentOf(gateway.pid) / 1e6),
        ...Object.fromEntries(p99),
        ...OURS,
      },
    },
  ]
}
