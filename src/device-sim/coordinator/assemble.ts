/** The report of a run from everything that is known of it. Not the judging of one promise (verdict.ts, invariants/) nor of one threshold (scenario/judge.ts). */

import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { mergeFindings } from '../invariants/finding.ts'
import { parseAssertion } from '../scenario/assertions.ts'
import { expectedRefusals } from '../scenario/expected.ts'
import { judgeAssertion } from '../scenario/judge.ts'
import { LASTING_FAULTS } from '../scenario/scenario.ts'
import { isOperatorFault, type Outcome, type Planned } from './operator-faults.ts'
import type { SimulationOptions } from './options.ts'
import type { Result, RunRecord } from './record.ts'
import { judgeInvariants, judgeRun } from './verdict.ts'

const GIB = 2 ** 30

const machine = (): string =>
  `${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${availableParallelism()} cores, ${Math.round(totalmem() / GIB)} GiB, ${platform()} ${release()} ${arch()}`

const TOO_LATE = 'did not come about: the run ended before it'
const MISSED_ALL =
  'did not come about: none of its devices was there, or could have it (away, without a certificate, or at another door)'

/** ms; a worker that is starting, and one whose Ctrl-C comes as a fault is due, strikes nobody any more */
const BARELY = 2_000

type Outcomes = ReadonlyMap<number, Outcome>
type Told = {
  readonly outcomes: Outcomes
  /** of the devices' own faults: how many each befell, by its index; undefined: not all workers told */
  readonly struck: readonly number[] | undefined
  /** ms of it; what is due later does not come */
  readonly load: number
  /** somebody ended it */
  readonly aborted: boolean
}

/** @returns undefined: nobody told */
const struckBy = ({ fault, index }: Planned, { outcomes, struck }: Told): number | undefined =>
  isOperatorFault(fault) ? (outcomes.get(index)?.struck ?? 0) : struck?.[index]

/** Why the scenario did not get what it asked for; undefined: it did, as far as anybody told. */
const missedBy = (each: Planned, told: Told): string | undefined => {
  const { fault, index } = each
  const outcome = told.outcomes.get(index)
  if (outcome !== undefined) return outcome.failed ? `did not come about: ${outcome.detail}` : undefined
  // an operator's that has no outcome was not begun: the run was ended before its turn came
  if (fault.at >= told.load || isOperatorFault(fault)) return TOO_LATE
  if (struckBy(each, told) !== 0) return undefined
  return told.aborted && told.load - fault.at < BARELY ? TOO_LATE : MISSED_ALL
}

const timelineOf = (planned: readonly Planned[], told: Told): SimulationReport['timeline'] =>
  planned.map((each) => {
    const { fault, index, devices } = each
    const missed = missedBy(each, told)
    const came = told.outcomes.has(index) || missed === undefined
    const toTheEnd = LASTING_FAULTS.includes(fault.kind) ? Math.max(0, told.load - fault.at) : null
    const chosen = fault.kind === 'rotate' || !came ? 0 : devices.length
    const struck = came ? (struckBy(each, told) ?? chosen) : 0
    return {
      kind: fault.kind,
      at_ms: fault.at,
      lasts_ms: fault.lasts ?? toTheEnd,
      devices: chosen,
      struck,
      detail: told.outcomes.get(index)?.detail ?? missed ?? '',
    }
  })

/** Of the faults that the scenario asked for, those that it did not get. */
const missedOf = (planned: readonly Planned[], told: Told): readonly string[] =>
  planned.flatMap((each) => {
    const missed = missedBy(each, told)
    return missed === undefined ? [] : [`timeline entry ${each.index + 1} (${each.fault.kind}) ${missed}`]
  })

/** What nobody has looked at: devices of a process that died, and what the run could not see. */
const unseenOf = (o: SimulationOptions, result: Result | undefined) => {
  if (result === undefined) return {}
  const workers = Math.max(1, o.workers)
  const lost = workers - result.ending.findings.length
  return {
    ...result.unseen,
    all: lost > 0 ? `${lost} of ${workers} workers did not tell what they had seen` : undefined,
  }
}

/**
 * @param record when everything has ended
 * @param left trouble that did not end it: what was staged and could not be taken away
 */
export const assemble = (
  o: SimulationOptions,
  seed: string,
  record: RunRecord,
  planned: readonly Planned[],
  left: readonly string[] = [],
): SimulationReport => {
  const { scenario } = o
  const { began, startsAt, stoppedAt, endedAt, totals, generator, servers, points, result } = record.facts()
  const figures = totals.totals()
  const ranked = totals.ranked()
  const duration = startsAt === undefined ? 0 : Math.max(0, Math.round(endedAt - startsAt))
  const load =
    startsAt === undefined
      ? 0
      : Math.max(0, Math.round(Math.min(stoppedAt - startsAt, scenario.duration ?? Infinity)))
  const gathered = Math.max(0, Math.round((startsAt ?? endedAt) - began))
  const told: Told = {
    outcomes: new Map((result?.outcomes ?? []).map((outcome) => [outcome.index, outcome])),
    struck: result?.ending.findings.length === Math.max(1, o.workers) ? result.ending.struck : undefined,
    load: startsAt === undefined ? -Infinity : load,
    aborted: o.signal.aborted,
  }
  const invariants = judgeInvariants(mergeFindings(result?.findings ?? []), {
    foreign: o.foreign,
    unseen: unseenOf(o, result),
    unobserved: result?.unobserved,
  })
  const expected = expectedRefusals(scenario)
  const assertions = scenario.assertions.map((text) => {
    const verdict = judgeAssertion(parseAssertion(text), {
      ...figures,
      ranked,
      generator,
      load: scenario.load.kind,
      duration: load,
      ...(scenario.duration === undefined ? {} : { gathering: gathered }),
      expected,
    })
    return { text, ...verdict }
  })
  const drills = result?.drilled.drills ?? []
  const broke = result?.ending.trouble ?? null
  const undone = (result?.outcomes ?? []).flatMap((outcome) => outcome.left ?? [])
  const troubles = [
    ...(broke === null ? [] : [broke]),
    ...(result?.ending.unwritten ?? []),
    ...undone,
    ...left,
  ]
  const trouble = troubles.length === 0 ? null : troubles.join('; ')
  // what was never tried has not passed
  const missed = startsAt === undefined ? ['it was ended before it began'] : missedOf(planned, told)
  // without a duration somebody has to end it
  const loadCut = o.signal.aborted && startsAt !== undefined && load < (scenario.duration ?? 0)
  const cutShort = loadCut || (result?.ending.drainCut ?? false)
  const neverBegan = o.signal.aborted && (startsAt === undefined || result === undefined)
  const interrupted = broke !== null || cutShort || neverBegan
  return {
    api_version: 1,
    run: {
      scenario: scenario.name,
      summary: scenario.summary,
      seed,
      command: o.command(seed),
      started: new Date(startsAt ?? began).toISOString(),
      gathering_ms: gathered,
      duration_ms: duration,
      load_ms: load,
      devices: scenario.devices,
      workers: o.workers,
      load: scenario.load.kind,
      rate: scenario.load.kind === 'open' ? scenario.load.rate : null,
      targets: Object.fromEntries(Object.entries(o.targets).filter(([, url]) => url !== undefined)),
      machine: machine(),
      node: process.versions.node,
      openssl: process.versions.openssl,
      interrupted,
      trouble,
    },
    verdict: judgeRun({
      ...figures,
      invariants,
      assertions,
      drills,
      drillsAsked: scenario.drills.length,
      trouble,
      generator,
      cutShort,
      missed,
    }),
    generator,
    servers,
    ...figures,
    topics: totals.topics(),
    invariants,
    assertions,
    drills: [...drills],
    skipped: result?.drilled.skipped ?? {},
    timeline: timelineOf(planned, told),
    series: [...points],
    histograms: totals.histograms(),
  }
}
