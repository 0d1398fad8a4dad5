/** A fleet in this process, with certificates that were given or kept, against servers of the test's own. */

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { calm, runFleet, type Enrolled, type FleetEvent, type Scenario } from '#device-sim/index.ts'
import type { FleetOptions, FleetReport } from '#device-sim/index.ts'
import { createLoadCounts, type LoadCounts } from '#device-sim/load/open.ts'
import type { World } from '../../../support/faulty-servers.ts'

export type Ran = {
  readonly report: FleetReport
  readonly events: readonly FleetEvent[]
  readonly load: LoadCounts
  /** ms since the epoch */
  readonly startsAt: number
}

/** Quick, and without a ramp. */
export const scenarioOf = (o: Partial<Scenario>): Scenario => ({
  ...calm(),
  devices: 2,
  ramp: 0,
  bounds: { revokedWithin: 1_000, drain: 300 },
  ...o,
})

/** @param o.given default: certificates of the world for all devices */
export const ran = async (
  world: World,
  o: Partial<FleetOptions> & Pick<FleetOptions, 'scenario' | 'targets'>,
): Promise<Ran> => {
  const events: FleetEvent[] = []
  const load = createLoadCounts()
  let startsAt = 0
  const given =
    o.given ??
    (await Promise.all(Array.from({ length: o.scenario.devices }, (_, at) => world.device(`d${at}`))))
  const report = await runFleet({
    rootPem: world.ca.rootPem,
    credentials: {},
    given: o.stateDir === undefined ? given : undefined,
    signal: new AbortController().signal,
    triesOthers: false,
    load,
    ready: async () => (startsAt = performance.timeOrigin + performance.now()),
    ...o,
    onEvent(event) {
      events.push(event)
      o.onEvent?.(event)
    },
  })
  return { report, events, load, startsAt }
}

/** Turns of which an event tells: what was admitted to a door, or refused by it, without connections. */
export const outcomes = (events: readonly FleetEvent[]): number =>
  events.reduce((sum, event) => {
    if (event.kind === 'burst') return sum + event.count
    if (event.kind === 'published' || event.kind === 'unanswered') return sum + 1
    if (event.kind === 'refused')
      return sum + Number(event.door === 'https' || event.reason.startsWith('puback_'))
    return sum + Number((event.kind === 'admitted' || event.kind === 'error') && event.door === 'https')
  }, 0)

/** A state of one device, as an earlier run has left it. */
export const keepState = async (dir: string, seed: string, enrolled: Enrolled): Promise<void> => {
  await writeFile(join(dir, 'fleet.json'), JSON.stringify({ seed }))
  await writeFile(
    join(dir, `${enrolled.deviceId}.json`),
    JSON.stringify({ keyPem: enrolled.keyPem, enrolled }),
  )
}
