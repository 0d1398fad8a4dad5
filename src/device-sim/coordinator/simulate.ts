/**
 * One simulation from nothing to its report: what it needs, its workers, what is done to its devices and beside them, and what comes of it.
 * Each part has its file here; this is their order, and what of them happens whatever ends the run.
 */

import { randomBytes } from 'node:crypto'
import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { now } from '../clock.ts'
import type { Meter } from '../client/meter.ts'
import { meterFindings } from '../invariants/from-meter.ts'
import { chosen, deviceId } from '../life/plan.ts'
import { openState } from '../life/state.ts'
import { createMeasures } from '../measure/measuring.ts'
import { firstOf } from '../waiting.ts'
import { assemble } from './assemble.ts'
import { askForClones } from './clones.ts'
import { startCrew, type Crew } from './crew.ts'
import { runScenarioDrills, type Drilled } from './drilling.ts'
import { createLastCalls, type LastCalls } from './last-calls.ts'
import { refuse } from './needs.ts'
import { runOperatorFaults, type Outcome, type Planned } from './operator-faults.ts'
import type { SimulationOptions } from './options.ts'
import type { Probes } from './probes.ts'
import type { Observer } from './observer.ts'
import { observerOf, openProbes } from './probing.ts'
import { provide, type Provisions } from './provisions.ts'
import { createRecord, type RunRecord } from './record.ts'

const seedOf = async ({ seed, stateDir }: SimulationOptions): Promise<string> => {
  if (stateDir !== undefined) return (await openState(stateDir)).seed(seed)
  return seed ?? randomBytes(4).toString('hex')
}

const planOf = ({ scenario }: SimulationOptions, seed: string): readonly Planned[] =>
  scenario.timeline.map((fault, index) => ({
    fault,
    index,
    devices: [...chosen(scenario, seed, index)],
  }))

type Beside = {
  readonly outcomes: readonly Outcome[]
  readonly drilled: Drilled
}

/** What is done to the fleet and beside it, from its start to its end. Never rejects. */
const besides = async (
  o: SimulationOptions,
  run: {
    readonly crew: Crew
    readonly planned: readonly Planned[]
    readonly provisions: Provisions
    readonly probes: Promise<Probes> | undefined
    readonly observer: Observer | undefined
    readonly meter: Meter
  },
): Promise<Beside> => {
  const { crew, provisions, probes, meter } = run
  const startsAt = await crew.started
  if (startsAt === undefined) return { outcomes: [], drilled: { drills: [], skipped: {} } }
  const { operator } = provisions
  const faults =
    operator === undefined
      ? []
      : runOperatorFaults(run.planned, {
          operator,
          startsAt,
          clock: now,
          idOf: (number) => o.given?.[number]?.deviceId ?? deviceId(provisions.name, number),
          signal: crew.stopping,
          tell(number, event) {
            crew.tell(number, [event])
            run.observer?.told(event)
          },
        })
  const drills = runScenarioDrills(o.scenario.drills, {
    targets: o.foreign ? {} : o.targets,
    provisions,
    duration: o.scenario.duration,
    meter,
    signal: o.signal,
  })
  const [outcomes, drilled] = await Promise.all([faults, drills, probes?.then((opened) => opened.run())])
  return { outcomes, drilled }
}

/** A second's work of watching. @returns how to end it */
const watch = (record: RunRecord, o: SimulationOptions): Disposable => {
  const tick = (): void => {
    record.look(now())
    o.onLive?.(record.live(now()))
  }
  tick()
  const timer = setInterval(tick, SECOND)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

const TAKEN =
  'is enrolled already and its key is not here, so devices of this seed belong to another run. Take another --seed, or the --state of that fleet'

/** @throws `config_invalid`: the fleet is there already, and is somebody else's */
const conduct = async (
  o: SimulationOptions,
  seed: string,
  provisions: Provisions,
  record: RunRecord,
  planned: readonly Planned[],
  calls: LastCalls,
): Promise<void> => {
  const { scenario } = o
  const crew = startCrew({
    workers: o.workers,
    scenario,
    startOf: (part) => ({
      kind: 'start',
      part: { ...part, name: provisions.name },
      scenario,
      seed,
      targets: o.targets,
      rootPem: provisions.rootPem,
      credentials: provisions.credentials,
      foreign: o.foreign,
      stateDir: o.stateDir,
      fresh: provisions.fresh,
      rounds: o.rounds,
      path: o.path,
      method: o.method,
      topic: o.topic,
    }),
    given: o.given,
    onSample: record.sample,
    signal: o.signal,
  })
  void crew.started.then((at) => (at === undefined ? undefined : record.started(at)))
  void firstOf(crew.stopping).then(() => record.stopping(now()))
  using measures = createMeasures()
  const { meter } = measures
  const probes = o.foreign ? undefined : openProbes(o, provisions, meter, crew.stopping)
  await using observer = observerOf(o, provisions, meter)
  const [ending, { outcomes, drilled }] = await Promise.all([
    calls.during(
      crew.ended.then((end) => {
        record.ended(now())
        return end
      }),
    ),
    besides(o, { crew, planned, provisions, probes, observer, meter }),
  ])
  if (ending.taken !== undefined) refuse(`${ending.taken} ${TAKEN}`)
  const { operator } = provisions
  const clones =
    operator === undefined || ending.unsettled.length === 0
      ? undefined
      : await askForClones(operator, ending.unsettled, o.signal)
  record.result({
    ending,
    outcomes,
    drilled,
    unseen: {
      renewed_in_time: provisions.lifeNotHad,
      clones_noticed: unseenCopies(clones?.unknown ?? ending.unsettled.length),
    },
    unobserved: { revoked_stay_out: observer?.unseen() },
    findings: [
      ...ending.findings,
      observer === undefined ? [] : [observer.finding()],
      (await probes)?.findings() ?? [],
      meterFindings(meter.figures()),
      ...(clones === undefined ? [] : [[clones.finding]]),
    ],
  })
}

const unseenCopies = (count: number): string | undefined =>
  count === 0
    ? undefined
    : `${count} copies got in, and whether they were noticed only the operator API knows: it was not asked, or had no time to say so`

/** Given up while it was getting ready: that is no fault of the target, and no mistake of ours. */
const wasGivenUp = (error: unknown, { aborted, reason }: AbortSignal): boolean => {
  if (!aborted) return false
  if (error instanceof FleetError) return error.code !== 'config_invalid'
  return error === reason || (error instanceof Error && error.name === 'AbortError')
}

/** One that has no device is a process for nothing. */
const withoutIdleWorkers = (o: SimulationOptions): SimulationOptions => {
  const { devices } = o.scenario
  if (o.workers <= devices) return o
  o.onNote?.(`${devices} workers: there are no more devices than that`)
  return { ...o, workers: devices }
}

/**
 * The report is complete whatever ended the run: its time, Ctrl-C at any moment (`interrupted`), or trouble of ours (`trouble`).
 * @throws before there is a run: `config_invalid`, `target_unreachable`, or the server's reason why it gives no token
 */
export const simulate = async (options: SimulationOptions): Promise<SimulationReport> => {
  const o = withoutIdleWorkers(options)
  const seed = await seedOf(o)
  const planned = planOf(o, seed)
  using record = createRecord(o, planned)
  const left: string[] = []
  const run = async (): Promise<void> => {
    using calls = createLastCalls(o.signal)
    const { signal } = calls
    await using provisions = await provide(o, seed, { signal, onLeft: (what) => left.push(what) })
    using _ = watch(record, o)
    await conduct(o, seed, provisions, record, planned, calls)
  }
  try {
    await run()
  } catch (error) {
    if (!wasGivenUp(error, o.signal)) throw error
  }
  return assemble(o, seed, record, planned, left)
}
