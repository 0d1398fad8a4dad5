/**
 * The registry at 10,000, 100,000 and 1,000,000 devices: does anything that is asked all day grow with the fleet? Each figure is held against the smallest
 * fleet of the same run; the floor is a bare prepared statement of better-sqlite3 that reads the same row of the same file. In this process, on core 0,
 * through the registry's verbs, in files of their own; memory is of a process for each that opens the file and reads (registry-reader.ts).
 */

import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DAY } from '#fleet/clock.ts'
import { ISSUER, NOW } from '../test/support/registry.ts'
import { SERVER_CORE } from './support/desk.ts'
import { startHelper, talkTo } from './support/helpers.ts'
import { OURS } from './support/machine.ts'
import { pinSelf } from './support/pinned.ts'
import {
  enrol,
  fingerprintOf,
  idOf,
  LINES,
  linesFrom,
  makeFleet,
  serialOf,
  spread,
  type Fleet,
} from './support/registry-fleet.ts'
import type { Read, Reading } from './support/registry-reader.ts'
import { inOrderOf, ROUNDS, type Suite, type SuiteResult } from './support/suite.ts'

const SIZES = { '10k': 10_000, '100k': 100_000, '1M': 1_000_000 } as const
type Size = keyof typeof SIZES
/** What is asked once a round and size. */
const ASKED = 2_000

/** What each does for one round, and how many things that is. */
const ASKS: Readonly<Record<string, (fleet: Fleet) => Promise<number>>> = {
  'µs a look-up by fingerprint (a door asks for each handshake)': async ({ registry, size }) => {
    for (const n of spread(ASKED, size)) registry.status(fingerprintOf(n))
    return ASKED
  },
  'µs a look-up by serial (OCSP)': async ({ registry, size }) => {
    for (const n of spread(ASKED, size)) registry.serialStatus(ISSUER, serialOf(n))
    return ASKED
  },
  'µs a device by id': async ({ registry, size }) => {
    for (const n of spread(ASKED, size)) await registry.findDevice(idOf(n))
    return ASKED
  },
  'µs a page of 100 devices': async ({ registry, size }) => {
    for (const n of spread(40, size)) await registry.listDevices({ after: idOf(n), limit: 100, now: NOW })
    return 40
  },
  'µs a page of 100 devices that are due for renewal, of a group': async ({ registry }) => {
    for (let at = 0; at < 40; at += 1)
      await registry.listDevices({
        limit: 100,
        condition: 'renewal_due',
        group: 'default',
        now: NOW + 25 * DAY,
      })
    return 40
  },
  'µs a line of an import': async (fleet) => {
    await fleet.registry.registerDevices(linesFrom(fleet.size, LINES), NOW, 'system')
    fleet.size += LINES
    return LINES
  },
  'µs an enrolment (registry only, durable, 100 together)': async (fleet) => {
    const from = fleet.size - LINES
    await enrol(fleet.registry, from, from + LINES)
    return LINES
  },
}

/** The least that any program reads for the same answer. @returns how often */
const bareAsk =
  (statement: string, keyOf: (n: number) => string, times = ASKED) =>
  ({ bare, size }: Fleet): number => {
    const ask = bare.prepare(statement)
    for (const n of spread(times, size)) ask.all(keyOf(n))
    return times
  }

/** Of those asks that read. */
const FLOORS: Readonly<Partial<Record<string, (fleet: Fleet) => number>>> = {
  'µs a look-up by fingerprint (a door asks for each handshake)': bareAsk(
    'select serial, device_id, state, not_before, not_after from certificates where fingerprint = ?',
    fingerprintOf,
  ),
  'µs a look-up by serial (OCSP)': bareAsk(
    'select issuer_ski, state, revoked_at, revocation_reason from certificates where serial = ?',
    serialOf,
  ),
  'µs a device by id': bareAsk('select id, state, group_name, tags from devices where id = ?', idOf),
  'µs a page of 100 devices': bareAsk(
    'select id, state, group_name, tags from devices where id > ? order by id limit 100',
    idOf,
    40,
  ),
}

/** @returns bytes */
const memoryOf = async ({ path, size }: Fleet): Promise<number> => {
  await using reader = startHelper(SERVER_CORE, 'registry-reader.ts')
  return (await talkTo<Read, Reading>(reader, { path, size, count: 10 * ASKED })).resident
}

const cpuMicros = (): number => {
  const { user, system } = process.cpuUsage()
  return user + system
}

export const suite: Suite = async ({ rounds = ROUNDS, progress }) => {
  pinSelf(SERVER_CORE)
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  await using opened = new AsyncDisposableStack()
  opened.defer(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  const fleets = {} as Record<Size, Fleet>
  for (const [name, size] of Object.entries(SIZES) as [Size, number][]) {
    progress(`making ${name} devices with a certificate each`)
    const before = cpuMicros()
    fleets[name] = opened.use(await makeFleet(folder, size))
    progress(`${name}: ${((cpuMicros() - before) / size).toFixed(0)} µs CPU a device`)
  }
  const figures = Object.fromEntries(
    Object.keys(ASKS).map((ask) => [ask, { '10k': [], '100k': [], '1M': [] } as Record<Size, number[]>]),
  )
  const floors = Object.fromEntries(
    Object.keys(FLOORS).map((ask) => [ask, { '10k': [], '100k': [], '1M': [] } as Record<Size, number[]>]),
  )
  const cost = async (run: (fleet: Fleet) => number | Promise<number>, fleet: Fleet): Promise<number> => {
    const before = cpuMicros()
    const count = await run(fleet)
    return (cpuMicros() - before) / count
  }
  for (let round = 0; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`)
    for (const [ask, run] of Object.entries(ASKS))
      for (const [name, fleet] of inOrderOf(round, Object.entries(fleets) as [Size, Fleet][])) {
        const ours = await cost(run, fleet)
        const floor = FLOORS[ask]
        const bare = floor === undefined ? undefined : await cost(floor, fleet)
        // the first round warms up
        if (round === 0) continue
        figures[ask]?.[name].push(ours)
        if (bare !== undefined) floors[ask]?.[name].push(bare)
      }
  }
  const memory = {} as Record<Size, number>
  for (const [name, fleet] of Object.entries(fleets) as [Size, Fleet][]) memory[name] = await memoryOf(fleet)
  const bytes = Object.fromEntries(
    Object.entries(fleets).map(([name, { path }]) => [
      `MB of the file at ${name}`,
      Math.round(statSync(path).size / 1e6),
    ]),
  )
  return Object.entries(figures).map(([unit, variants], at): SuiteResult => ({
    unit: `CPU ${unit}`,
    base: '10k',
    variants,
    // the same for all of them
    ...(at === 0 ? { memory } : {}),
    ...(floors[unit] === undefined
      ? {}
      : {
          floor: {
            what: 'a bare prepared statement of better-sqlite3 on the same file',
            values: floors[unit],
          },
        }),
    facts: {
      rounds,
      memory: 'of a process that opens the registry and looks up 20,000 devices',
      ...bytes,
      ...OURS,
    },
  }))
}
