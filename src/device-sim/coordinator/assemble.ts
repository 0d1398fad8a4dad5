/** The report of a run from everything that is known of it. Not the judging of one promise (verdict.ts, invariants/) nor of one threshold (scenario/judge.ts). */

import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { mergeFindings } from '../invariants/finding.ts'
import { parseAssertion } from '../scenario/assertions.ts'
import { expectedRefusals } from '../scenario/expected.ts'
import { judgeAssertion } from '../scenario/judge.ts'
import { LASTING_FAULTS } from '../scenario/scenario.ts'
import type { Outcome, Planned } from './operator-faults.ts'
import type { SimulationOptions } from './options.ts'
import type { Result, RunRecord } from './record.ts'
import { judgeInvariants, judgeRun } from './verdict.ts'

const GIB = 2 ** 30

const machine = (): string =>
  `${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${availableParallelism()} cores, ${Math.round(totalmem() / GIB)} GiB, ${platform()} ${release()} ${arch()}`

const TOO_LATE = 'did not come about: the run ended before it'

/** @param load ms of it; what is due later does not come */
const cameAbout = ({ fault, index }: Planned, outcomes: Outcomes, load: number): boolean =>
  outcomes.has(index) || fault.at < load

type Outcomes = ReadonlyMap<number, Outcome>

const timelineOf = (
  planned: readonly Planned[],
  outcomes: Outcomes,
  load: number,
): SimulationReport['timeline'] =>
  planned.map((each) => {
    const { fault, index, devices } = each
    const came = cameAbout(each, outcomes, load)
    const toTheEnd = LASTING_FAULTS.includes(fault.kind) ? Math.max(0, load - fault.at) : null
    return {
      kind: fault.kind,
      at_ms: fault.at,
      lasts_ms: fault.lasts ?? toTheEnd,
      devices: fault.kind === 'rotate' || !came ? 0 : devices.length,
      detail: outcomes.get(index)?.detail ?? (came ? '' : TOO_LATE),
    }
  })

/** Of the faults that the scenario asked for, those that it did not get. */
const missedOf = (planned: readonly Planned[], outcomes: Outcomes, load: number): readonly string[] =>
  planned.flatMap((each) => {
    const { fault, index } = each
    const name = `timeline entry ${index + 1} (${fault.kind})`
    const outcome = outcomes.get(index)
    if (outcome?.failed === true) return [`${name} did not come about: ${outcome.detail}`]
    return cameAbout(each, outcomes, load) ? [] : [`${name} ${TOO_LATE}`]
  })

/** What nobody has looked at: devices of a process that died, copies that only the operator knows about. */
const unseenOf = (o: SimulationOptions, result: Result | undefined) => {
  if (result === undefined) return {}
  const { findings, unsettled } = result.ending
  const workers = Math.max(1, o.workers)
  const lost = workers - findings.length
  return {
    all: lost > 0 ? `${lost} of ${workers} workers did not tell what they had seen` : undefined,
    clones_noticed:
      unsettled.length > 0 && o.operator === undefined
        ? `${unsettled.length} copies got in, and whether they were noticed only the operator API knows`
        : undefined,
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
  const outcomes = new Map((result?.outcomes ?? []).map((outcome) => [outcome.index, outcome]))
  const invariants = judgeInvariants(mergeFindings(result?.findings ?? []), {
    foreign: o.foreign,
    unseen: unseenOf(o, result),
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
  const troubles = [...(broke === null ? [] : [broke]), ...undone, ...left]
  const trouble = troubles.length === 0 ? null : troubles.join('; ')
  const interrupted = o.signal.aborted || broke !== null
  // what was never tried has not passed
  const missed = startsAt === undefined ? ['it was ended before it began'] : missedOf(planned, outcomes, load)
  // without a duration somebody has to end it
  const cutShort = o.signal.aborted && startsAt !== undefined && load < (scenario.duration ?? 0)
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
      bottleneck: generator.bound ? generator.reasons[0] : undefined,
      cutShort,
      missed,
    }),
    generator,
    servers,
    ...figures,
    invariants,
    assertions,
    drills: [...drills],
    skipped: result?.drilled.skipped ?? {},
    timeline: timelineOf(planned, outcomes, startsAt === undefined ? -Infinity : load),
    series: [...points],
    histograms: totals.histograms(),
  }
}
