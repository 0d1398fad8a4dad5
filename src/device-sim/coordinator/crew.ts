/**
 * The workers of one run as one: told together, waited for together, each sample counted, and what ends the run found out, be it a Ctrl-C,
 * one that died or one that does not end. Not the processes: workers.ts; not what is done meanwhile: simulate.ts.
 */

import { SECOND } from '#fleet/clock.ts'
import { now } from '../clock.ts'
import type { FleetEvent } from '../events.ts'
import type { Finding } from '../invariants/invariant.ts'
import type { Enrolled } from '../client/identity.ts'
import type { Sample } from '../measure/measures.ts'
import type { Scenario } from '../scenario/scenario.ts'
import { firstOf, pause } from '../waiting.ts'
import type { FromWorker, Part, WorkerStart } from './messages.ts'
import { until } from './until.ts'
import { startWorkers } from './workers.ts'

export type Ending = {
  readonly findings: readonly (readonly Finding[])[]
  /** devices whose copies only the operator can say to have been noticed */
  readonly unsettled: readonly string[]
  /** by the index of the fault: how many devices it befell, of those that told */
  readonly struck: readonly number[]
  readonly trouble: string | undefined
  /** of the state, a sentence of each worker that could not keep all of it; it ends nothing */
  readonly unwritten?: readonly string[]
  /** a device that is enrolled already, by somebody whose keys are not here: the fleet's names are taken */
  readonly taken: string | undefined
  /** a Ctrl-C in the drain: what was under way then was not waited for */
  readonly drainCut: boolean
}

export type Crew = {
  /** ms since the epoch: when all are ready, the zero of the scenario's times. undefined: it was ended before */
  readonly started: Promise<number | undefined>
  /** to whoever has the device of that number */
  tell(number: number, events: readonly FleetEvent[]): void
  /** aborted when no new turns are to be had: the scenario is over, or something ended it */
  readonly stopping: AbortSignal
  readonly ended: Promise<Ending>
}

/** ms between `go` and the zero, for the message to be there */
const LEAD = 20
/** for what is under way, after a Ctrl-C */
const INTERRUPTED = 2 * SECOND
/** for workers to find the end by themselves, drain and all */
const GRACE = 10 * SECOND
/** after it was told to end at once */
const LAST = 5 * SECOND

/**
 * Seconds of ours without a word of a worker, which says something every second: it hangs, or was stopped. Seconds of ours, so that nothing is
 * made of the time in which we were stopped ourselves. Until its first word it has to be started, and may have many certificates to read.
 */
const SILENT = 10
const STARTING = 120

export const startCrew = (o: {
  /** 0: in this process */
  readonly workers: number
  readonly scenario: Scenario
  readonly startOf: (part: Part) => WorkerStart
  /** by number of the device */
  readonly given: readonly Enrolled[] | undefined
  readonly onSample: (part: number, sample: Sample) => void
  /** seconds; for tests */
  readonly silent?: number | undefined
  readonly signal: AbortSignal
}): Crew => {
  const { scenario, signal } = o
  const findings: (readonly Finding[])[] = []
  const unsettled: string[] = []
  const unwritten: string[] = []
  const struck = scenario.timeline.map(() => 0)
  const started = Promise.withResolvers<number | undefined>()
  const stopping = new AbortController()
  const over = new AbortController()
  const everybody = Array.from({ length: Math.max(1, o.workers) }, (_, index) => index)
  let trouble: string | undefined
  let taken: string | undefined
  let drainCut = false
  let waitsFor = new Set(everybody)
  /** of those that have not ended: seconds without a word */
  const quiet = new Map(everybody.map((index) => [index, 0]))
  const begun = new Set<number>()

  const fails = (what: string): void => {
    trouble ??= what
    stopping.abort()
  }
  /** ready, or with nothing to be ready for */
  const there = (index: number): void => {
    if (!waitsFor.delete(index) || waitsFor.size > 0 || stopping.signal.aborted) return
    const startsAt = now() + LEAD
    workers.say({ kind: 'go', startsAt })
    started.resolve(startsAt)
  }
  const answers: {
    readonly [K in FromWorker['kind']]: (index: number, m: Extract<FromWorker, { kind: K }>) => void
  } = {
    ready: there,
    taken: (_, { device }) => {
      taken ??= device
      stopping.abort()
    },
    sample: (index, { sample }) => o.onSample(index, sample),
    done: (index, end) => {
      quiet.delete(index)
      findings.push(end.findings)
      unsettled.push(...end.unsettled)
      if (end.unwritten !== undefined) unwritten.push(end.unwritten)
      for (const [at, count] of end.struck.entries()) struck[at] = Number(struck[at]) + count
      if (end.trouble !== undefined) fails(end.trouble)
      there(index)
    },
  }
  const name = (index: number): string => `worker ${index + 1} of ${workers.count}`
  const { startOf, given } = o
  const workers = startWorkers(
    { count: o.workers, startOf, given },
    {
      heard(index, message) {
        begun.add(index)
        if (quiet.has(index)) quiet.set(index, 0)
        const answer = answers[message.kind] as (index: number, message: FromWorker) => void
        answer(index, message)
      },
      lost(index, why) {
        quiet.delete(index)
        fails(`${name(index)} died (${why})`)
        there(index)
      },
    },
  )
  const listen = (): void => {
    for (const [index, seconds] of quiet) {
      quiet.set(index, seconds + 1)
      const most = begun.has(index) ? (o.silent ?? SILENT) : STARTING
      if (seconds < most) continue
      fails(`${name(index)} hangs, or was stopped: it said nothing for ${most} s, and was ended`)
      workers.kill(index)
    }
  }
  const listening = setInterval(listen, SECOND)
  // without a duration each device begins by itself, and nobody says that it is ready
  if (scenario.duration === undefined) {
    waitsFor = new Set()
    started.resolve(now())
  }

  const interrupt = (): void => stopping.abort()
  signal.addEventListener('abort', interrupt)
  if (signal.aborted) interrupt()

  /** Asked, then told, then made to. */
  const endWithin = async (ms: number): Promise<void> => {
    workers.say({ kind: 'stop' })
    started.resolve(undefined)
    await pause(ms, over.signal)
    if (over.signal.aborted) return
    workers.say({ kind: 'end' })
    await pause(LAST, over.signal)
    if (over.signal.aborted) return
    trouble ??= `${[...quiet.keys()].map(name).join(', ')} did not end when told to`
    workers[Symbol.dispose]()
  }
  const watch = async (): Promise<void> => {
    const { duration, bounds } = scenario
    const startsAt = await Promise.race([started.promise, firstOf(stopping.signal, over.signal)])
    if (startsAt === undefined || duration === undefined) await firstOf(stopping.signal, over.signal)
    else await until(startsAt + duration, now, stopping.signal, over.signal)
    if (over.signal.aborted) return
    const early = stopping.signal.aborted
    stopping.abort()
    // a run that has come to its end is ended by its workers: asked late, for none of them may be early
    // a Ctrl-C is heard in the drain too
    if (!early) {
      await pause(bounds.drain + GRACE, over.signal, signal)
      drainCut = signal.aborted && !over.signal.aborted
    }
    if (!over.signal.aborted) await endWithin(Math.min(INTERRUPTED, bounds.drain))
  }
  const watching = watch()

  const ended = async (): Promise<Ending> => {
    await workers.ended
    clearInterval(listening)
    over.abort()
    stopping.abort()
    started.resolve(undefined)
    await watching
    signal.removeEventListener('abort', interrupt)
    return { findings, unsettled, struck, trouble, unwritten, taken, drainCut }
  }
  return {
    started: started.promise,
    tell: (number, events) => workers.say({ kind: 'told', events }, number % workers.count),
    stopping: stopping.signal,
    ended: ended(),
  }
}
