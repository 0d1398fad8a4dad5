/** The report of a run from everything that is known of it. Not the judging of one promise (verdict.ts, invariants/) nor of one threshold (scenario/judge.ts). */

import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { mergeFindings } from '../invariants/finding.ts'
import { parseAssertion } from '../scenario/assertions.ts'
import { expectedRefusals } from '../scenario/expected.ts'
import { judgeAssertion } from '../scenario/judge.ts'
import type { Planned } from './operator-faults.ts'
import type { SimulationOptions } from './options.ts'
import type { RunRecord } from './record.ts'
import { judgeInvariants, judgeRun } from './verdict.ts'

const GIB = 2 ** 30

const machine = (): string =>
  `${cpus()[0]?.model.trim() ?? 'unknown processor'}, ${availableParallelism()} cores, ${Math.round(totalmem() / GIB)} GiB, ${platform()} ${release()} ${arch()}`

const timelineOf = (
  planned: readonly Planned[],
  outcomes: ReadonlyMap<number, { readonly detail: string }>,
  elapsed: number | undefined,
): SimulationReport['timeline'] =>
  planned.map(({ fault, index, devices }) => ({
    kind: fault.kind,
    at_ms: fault.at,
    lasts_ms: fault.lasts ?? null,
    devices: fault.kind === 'rotate' ? 0 : devices.length,
    detail:
      outcomes.get(index)?.detail ??
      (elapsed === undefined || elapsed < fault.at ? 'did not come about: the run ended before it' : ''),
  }))

/** @param record when everything has ended */
export const assemble = (
  o: SimulationOptions,
  seed: string,
  record: RunRecord,
  planned: readonly Planned[],
): SimulationReport => {
  const { scenario } = o
  const { began, startsAt, endedAt, totals, generator, servers, points, result } = record.facts()
  const figures = totals.totals()
  const duration = startsAt === undefined ? 0 : Math.max(0, Math.round(endedAt - startsAt))
  const gathered = Math.max(0, Math.round((startsAt ?? endedAt) - began))
  const outcomes = new Map((result?.outcomes ?? []).map((outcome) => [outcome.index, outcome]))
  const invariants = judgeInvariants(mergeFindings(result?.findings ?? []), { foreign: o.foreign })
  const expected = expectedRefusals(scenario)
  const assertions = scenario.assertions.map((text) => {
    const verdict = judgeAssertion(parseAssertion(text), {
      ...figures,
      generator,
      duration: Math.min(duration, scenario.duration ?? Infinity),
      ...(scenario.duration === undefined ? {} : { gathering: gathered }),
      expected,
    })
    return { text, ...verdict }
  })
  const drills = result?.drilled.drills ?? []
  const trouble = result?.ending.trouble ?? null
  const interrupted = o.signal.aborted || trouble !== null
  const failed = Array.from(outcomes.values())
    .filter((outcome) => outcome.failed)
    .map(
      ({ index, detail }) =>
        `timeline entry ${index + 1} (${planned[index]?.fault.kind}) did not come about: ${detail}`,
    )
  // what was never tried has not passed
  const missed = [...(startsAt === undefined ? ['it was ended before it began'] : []), ...failed]
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
    verdict: judgeRun({ invariants, assertions, drills, trouble, missed }),
    generator,
    servers,
    ...figures,
    invariants,
    assertions,
    drills: [...drills],
    skipped: result?.drilled.skipped ?? {},
    timeline: timelineOf(planned, outcomes, startsAt === undefined ? undefined : duration),
    series: [...points],
    histograms: totals.histograms(),
  }
}
