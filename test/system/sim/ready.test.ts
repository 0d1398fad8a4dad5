/**
 * Ready scenarios as they are shipped, made smaller by options alone, against real desks: what they assert is so. Side by side, for a scenario mostly waits; the
 * drills beside the longest alone, for of all of them they would have the processor. Not those in NOT_HERE. A machine that is too busy to make the load proves nothing: a skip; but in CI,
 * where nobody reads of skips, each of those has the machine for itself, and that has to be enough.
 */

import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { scenarioNames } from '#device-sim/index.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { CHECKOUT, cleanEnvironment, startFleet, type Fleet } from '../../support/fleet.ts'
import { run } from '../../support/programs.ts'

/** `--for`: until a little after the last of what is done to the devices, and what they make of it. */
const BESIDE_EACH_OTHER: Readonly<Record<string, readonly string[]>> = {
  'boot-storm': ['--devices', '20', '--for', '23s'],
  calm: ['--devices', '10', '--for', '8s'],
  'clock-skew': ['--devices', '10', '--for', '8s'],
  mixed: ['--devices', '12', '--rate', '6', '--for', '8s'],
  // the window of renewal is from second 30 to 38
  'renewal-day': ['--devices', '9', '--for', '40s'],
  'revocation-drill': ['--devices', '10', '--for', '29s'],
  'stolen-key': ['--devices', '20', '--for', '38s'],
}
/** Begun first, or they would end last. */
const LONG = ['renewal-day', 'stolen-key', 'revocation-drill', 'boot-storm']
/** The drills that wait for a limit of ten seconds are tried in a run of 15. */
const HOSTILE = ['--devices', '5', '--for', '15s']
/** Steps at seconds 5 and 10, advice every 5; under desks of its own, for it replaces the CA of everybody. */
const ROTATION = ['--devices', '8', '--for', '20s']

/** Their timeline cannot be made shorter by an option, and everything else here is over before it. */
const NOT_HERE: Readonly<Record<string, string>> = {
  'flaky-link':
    'its last fault ends at second 55; each kind of bad network: test/unit/device-sim/client/link.test.ts',
  'offline-90-days': 'its fleet is back at second 60; renewing after the end: the drill late_renewal',
}

const sallyport = ({ home }: Fleet, ...words: readonly string[]) =>
  run(process.execPath, [join(CHECKOUT, 'src/cli/main.ts'), ...words], {
    cwd: home,
    env: { ...cleanEnvironment(), SALLYPORT_HOME: home },
    // on a machine that is busy with other tests
    timeout: 170_000,
  })

/** Where the root's key is, by hand. */
const prepare = async (at: Fleet): Promise<void> =>
  expect(await sallyport(at, 'ca', 'rotate', 'prepare')).toMatchObject({ code: 0 })

let fleet: Fleet
let rotated: Fleet
beforeAll(async () => {
  ;[fleet, rotated] = await Promise.all([startFleet(), startFleet()])
  await prepare(rotated)
}, 170_000)
afterAll(() => Promise.all([fleet, rotated].map((each) => each[Symbol.asyncDispose]())))

type Asked = readonly [at: Fleet, name: string, size: readonly string[]]

/** @param once more: with a fleet of its own */
const ran = async ([at, name, size]: Asked, more = ''): Promise<SimulationReport> => {
  const words = [...size, '--workers', '0', '--seed', `${name.replaceAll('-', '')}${more}`, '--json']
  const { stdout, stderr } = await sallyport(at, 'sim', 'run', name, ...words)
  if (stdout === '') throw new Error(`${name}: ${stderr}`)
  return JSON.parse(stdout) as SimulationReport
}

const isTold = ({ verdict, generator }: SimulationReport): boolean => verdict.ok || !generator.bound

const inCi = process.env['CI'] === 'true'
/** ms; each after the other takes three minutes */
const LONGEST = inCi ? 420_000 : 180_000

const begun = new Map<string, Promise<SimulationReport>>()
const first = (asked: Asked): Promise<SimulationReport> => {
  const [, name] = asked
  const report = begun.get(name) ?? ran(asked)
  // it may fail before anybody asks
  report.catch(() => {})
  begun.set(name, report)
  return report
}

const ranSideBySide = async (asked: readonly Asked[]): Promise<readonly SimulationReport[]> => {
  const reports = await Promise.all(asked.map(first))
  if (!inCi) return reports
  for (const [at, each] of asked.entries()) {
    if (isTold(reports[at] as SimulationReport)) continue
    const [own] = each
    // those that were begun beside the drills too
    await Promise.allSettled(begun.values())
    if (own === rotated) await prepare(own)
    reports[at] = await ran(each, 'alone')
  }
  return reports
}

/** What has not passed is a failure, on a machine that could tell. */
const judged = (reports: readonly SimulationReport[], skip: (why: string) => void): void => {
  for (const { run: about, verdict, assertions, timeline } of reports.filter(isTold)) {
    expect([about.scenario, verdict]).toEqual([about.scenario, { ok: true, reasons: [] }])
    expect(assertions.length).toBeGreaterThan(0)
    // what was to be done was done, and to somebody
    for (const { kind, devices } of timeline) expect([kind, devices > 0]).toEqual([kind, kind !== 'rotate'])
  }
  const busy = reports.filter((each) => !isTold(each)).map(({ run: { scenario } }) => scenario)
  if (busy.length === 0) return
  const why = `this machine was too busy for ${busy.join(', ')}`
  if (inCi) throw new Error(`CI must be able to make the load: ${why}`)
  skip(why)
}

test('each ready scenario is tried, or it is said why not', () => {
  const tried = [
    ...Object.keys(BESIDE_EACH_OTHER),
    'hostile',
    'intermediate-rotation',
    ...Object.keys(NOT_HERE),
  ]
  expect(tried.toSorted()).toEqual(scenarioNames())
})

test(
  'hostile: all drills that need nobody at the origin',
  async ({ skip }) => {
    for (const name of LONG) void first([fleet, name, BESIDE_EACH_OTHER[name] ?? []])
    const reports = await ranSideBySide([[fleet, 'hostile', HOSTILE]])
    judged(reports, skip)
    expect(Object.keys(reports[0]?.skipped ?? {}).toSorted()).toEqual([
      'pipelined_requests',
      'replayed_assertion',
    ])
  },
  LONGEST,
)

test(
  'the others, with the promise that each puts to the test',
  async ({ skip }) => {
    const reports = await ranSideBySide([
      [rotated, 'intermediate-rotation', ROTATION],
      ...Object.entries(BESIDE_EACH_OTHER).map(([name, size]): Asked => [fleet, name, size]),
    ])
    judged(reports, skip)
    const held = (scenario: string, promise: string) =>
      reports.find((each) => each.run.scenario === scenario)?.invariants.find(({ name }) => name === promise)
        ?.held
    expect(held('revocation-drill', 'revoked_stay_out')).toBe(true)
    expect(held('stolen-key', 'clones_noticed')).toBe(true)
    expect(held('renewal-day', 'renewed_in_time')).toBe(true)
  },
  LONGEST,
)
