/**
 * The registry at 10,000, 100,000 and 1,000,000 devices: does anything that is asked all day grow with the fleet? No peer: each figure
 * is held against the smallest fleet of the same run. In one process, through the registry's verbs, in files of their own.
 */

import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DAY } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Registry } from '#registry/registry.ts'
import { openRegistry } from '#registry/sqlite.ts'
import { givenIssuer, ISSUER, NOW, reservation } from '../test/support/registry.ts'
import type { Suite, SuiteResult } from './support/suite.ts'

const SIZES = { '10k': 10_000, '100k': 100_000, '1M': 1_000_000 } as const
type Size = keyof typeof SIZES
const ROUNDS = 12
/** What is asked once a round and size. */
const ASKED = 2_000
const LINES = 1_000
/** Enrolments that wait for one commit together, as 64 connections make them. */
const TOGETHER = 100

const idOf = (n: number): DeviceId => `device-${String(n).padStart(7, '0')}` as DeviceId
const hexOf = (n: number, octets: number): string => n.toString(16).padStart(octets * 2, '0')
const fingerprintOf = (n: number): string => hexOf(n, 32)
const serialOf = (n: number): string => `40${hexOf(n, 15)}`

/** The same numbers in every run. */
const spread = (count: number, size: number): number[] =>
  Array.from({ length: count }, (_, at) => (at * 7_919_711 + 104_729) % size)

const enrol = async (registry: Registry, from: number, to: number): Promise<void> => {
  const one = async (n: number): Promise<void> => {
    const deviceId = idOf(n)
    const { certificate } = await registry.reserve(
      reservation({ kind: 'allow_list' }, { deviceId, serial: serialOf(n), spkiSha256: hexOf(n, 32) }),
    )
    await registry.recordCertificate(certificate.serial, fingerprintOf(n), Buffer.alloc(600), NOW, 'system')
  }
  for (let at = from; at < to; at += TOGETHER)
    await Promise.all(Array.from({ length: Math.min(TOGETHER, to - at) }, (_, n) => one(at + n)))
}

const linesFrom = (from: number, count: number) =>
  Array.from({ length: count }, (_, n) => ({
    id: idOf(from + n),
    group: 'default',
    tags: {},
    spkiSha256: undefined,
    state: undefined,
  }))

type Fleet = AsyncDisposable & { readonly registry: Registry; readonly path: string; size: number }

const makeFleet = async (folder: string, size: number): Promise<Fleet> => {
  const path = join(folder, `${size}.sqlite`)
  const registry = await openRegistry({ path, clock: () => NOW })
  await givenIssuer(registry)
  for (let at = 0; at < size; at += LINES) {
    await registry.registerDevices(linesFrom(at, LINES), NOW, 'system')
    await enrol(registry, at, at + LINES)
  }
  return { registry, path, size, [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose]() }
}

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

const cpuMicros = (): number => {
  const { user, system } = process.cpuUsage()
  return user + system
}

export const suite: Suite = async ({ rounds = ROUNDS, progress }) => {
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
  for (let round = 0; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`)
    for (const [ask, run] of Object.entries(ASKS))
      for (const [name, fleet] of Object.entries(fleets) as [Size, Fleet][]) {
        const before = cpuMicros()
        const count = await run(fleet)
        // the first round warms up
        if (round > 0) figures[ask]?.[name].push((cpuMicros() - before) / count)
      }
  }
  const bytes = Object.fromEntries(
    Object.entries(fleets).map(([name, { path }]) => [
      `MB at ${name}`,
      Math.round(statSync(path).size / 1e6),
    ]),
  )
  return Object.entries(figures).map(([unit, variants]): SuiteResult => ({
    unit,
    base: '10k',
    variants,
    facts: { rounds, node: process.version, ...bytes },
  }))
}
