/** What is known of a run so far: the figures of all workers, of the servers beside them, and how far it has come. Not what it comes to: assemble.ts. */

import { now } from '../clock.ts'
import type { Finding, InvariantName } from '../invariants/invariant.ts'
import { createGenerator } from '../measure/generator.ts'
import { createOwnLoad } from '../measure/own-load.ts'
import type { Sample } from '../measure/measures.ts'
import type { SeriesPoint } from '../measure/series.ts'
import { createTotals, type Totals } from '../measure/totals.ts'
import type { ActiveFault, Live, Phase } from '../report/live.ts'
import { LASTING_FAULTS } from '../scenario/scenario.ts'
import type { Point, SimulationReport } from '#wire/simulation-report.ts'
import type { Ending } from './crew.ts'
import type { Drilled } from './drilling.ts'
import type { Outcome, Planned } from './operator-faults.ts'
import type { SimulationOptions } from './options.ts'
import { watchServers } from './servers.ts'

/** in words; undefined: nothing */
type ByPromise = Partial<Readonly<Record<InvariantName, string | undefined>>>

export type Result = {
  readonly ending: Ending
  readonly outcomes: readonly Outcome[]
  readonly drilled: Drilled
  readonly findings: readonly (readonly Finding[])[]
  /** of promises, what of them nobody could look at, so that they are not known to be kept */
  readonly unseen: ByPromise
  /** what nobody looked at of what is judged all the same */
  readonly unobserved: ByPromise
}

export type RunRecord = Disposable & {
  sample(part: number, sample: Sample): void
  /** at the servers, and at how this process fares itself; about once a second */
  look(at: number): void
  /** ms since the epoch: the zero of the scenario's times */
  started(at: number): void
  /** no more is begun */
  stopping(at: number): void
  ended(at: number): void
  result(result: Result): void
  live(at: number): Live
  /** as it is when everything has ended */
  facts(): {
    /** ms since the epoch: when the first worker was started, or would have been */
    readonly began: number
    readonly startsAt: number | undefined
    /** no more was begun from then on */
    readonly stoppedAt: number
    readonly endedAt: number
    readonly totals: Totals
    readonly generator: SimulationReport['generator']
    readonly servers: SimulationReport['servers']
    readonly points: readonly Point[]
    readonly result: Result | undefined
  }
}

type Look = { readonly at: number; readonly shares: Readonly<Record<string, number>> }

/** Of what was seen in the time that a point is about. */
const withServers = (points: readonly SeriesPoint[], looks: readonly Look[], startsAt: number): Point[] => {
  let next = 0
  return points.map((point) => {
    const ends = startsAt + point.at_ms
    const shares = new Map<string, number[]>()
    for (; next < looks.length && (looks[next] as Look).at <= ends; next++)
      for (const [name, share] of Object.entries((looks[next] as Look).shares))
        shares.set(name, [...(shares.get(name) ?? []), share])
    // of shares of equally long looks, which may be averaged
    const servers = Object.fromEntries(
      Array.from(shares, ([name, all]) => [name, all.reduce((sum, one) => sum + one, 0) / all.length]),
    )
    return { ...point, servers }
  })
}

const activeFaults = (planned: readonly Planned[], elapsed: number): readonly ActiveFault[] =>
  planned.flatMap(({ fault, devices }) => {
    const { at, lasts, kind } = fault
    if (elapsed < at || !LASTING_FAULTS.includes(kind) || (lasts !== undefined && elapsed >= at + lasts))
      return []
    return [{ kind, devices: devices.length, left: lasts === undefined ? undefined : at + lasts - elapsed }]
  })

/** Somewhat more than a day of them: what is looked at later is in the totals only. */
const MOST_LOOKS = 100_000

export const createRecord = (o: SimulationOptions, planned: readonly Planned[]): RunRecord => {
  const { scenario } = o
  const began = now()
  const totals = createTotals(scenario.load.kind)
  // what making keys does to a process says nothing of the requests after it
  const gathering = createGenerator()
  const loading = createGenerator()
  // without workers this process is the one that samples
  const own = o.workers === 0 ? undefined : createOwnLoad()
  const servers = watchServers(o.servers)
  const looks: Look[] = []
  let startsAt = scenario.duration === undefined ? began : undefined
  let stoppedAt: number | undefined
  let endedAt: number | undefined
  let result: Result | undefined

  const enrolled = (counts: Readonly<Record<string, number>>): number =>
    Object.entries(counts).reduce(
      (sum, [name, count]) => (name.startsWith('enrolled_') ? sum + count : sum),
      0,
    )

  const phaseAt = (at: number, counts: Readonly<Record<string, number>>): Phase => {
    if (startsAt === undefined) return { kind: 'gathering', done: enrolled(counts), of: scenario.devices }
    const elapsed = Math.max(0, at - startsAt)
    return stoppedAt !== undefined
      ? { kind: 'draining', elapsed }
      : { kind: 'running', elapsed, duration: scenario.duration }
  }
  /** Of the load, or of what came before as long as there is none. */
  const generator = (): Pick<SimulationReport['generator'], 'bound' | 'reasons'> =>
    (startsAt === undefined ? gathering : loading).verdict()
  const generators = (): SimulationReport['generator'] => {
    const before = gathering.figures()
    const since = loading.figures()
    return {
      ...generator(),
      gathering: gathering.verdict(),
      // without workers it makes the load itself
      coordinator: own === undefined ? generator() : loading.coordinator(),
      cpu_s: before.cpu + since.cpu,
      worst_lag_ms: Math.max(before.worstLag, since.worstLag),
      peak_rss: Math.max(before.peakRss, since.peakRss),
      late: since.late,
      dropped: since.dropped,
    }
  }
  const recent = (zero: number): Point | undefined => {
    const last = totals.last(zero)
    return last === undefined ? undefined : withServers([last], looks.slice(-2), zero)[0]
  }

  return {
    sample(part, sample) {
      const decoded = totals.add(part, sample)
      // a sample is of the second before it
      const judge = startsAt === undefined || sample.at <= startsAt ? gathering : loading
      judge.add(part, sample, decoded)
    },
    look(at) {
      if (own !== undefined) (startsAt === undefined ? gathering : loading).addCoordinator(own.read())
      const shares = servers.look(at)
      if (looks.length < MOST_LOOKS) looks.push({ at, shares })
    },
    started(at) {
      startsAt = at
      // without a duration each device begins by itself, and there is no gathering before
      if (scenario.duration !== undefined) totals.started(at)
    },
    stopping(at) {
      stoppedAt ??= at
    },
    ended(at) {
      endedAt = at
      if (own !== undefined) loading.addCoordinator(own.read())
      servers.look(at)
    },
    result(all) {
      result = all
    },
    live(at) {
      const figures = totals.totals()
      const { bound, reasons } = generator()
      const phase = phaseAt(at, figures.counts)
      return {
        scenario: scenario.name,
        devices: scenario.devices,
        workers: o.workers,
        phase,
        totals: figures,
        last: recent(startsAt ?? began),
        faults: phase.kind === 'running' ? activeFaults(planned, phase.elapsed) : [],
        generator: { bound, reasons },
      }
    },
    facts() {
      const until = endedAt ?? now()
      const zero = startsAt ?? until
      return {
        began,
        startsAt,
        stoppedAt: Math.min(stoppedAt ?? until, until),
        endedAt: until,
        totals,
        generator: generators(),
        servers: [...servers.totals()],
        points: withServers(totals.points(zero), looks, zero),
        result,
      }
    },
    [Symbol.dispose]: () => own?.[Symbol.dispose](),
  }
}
