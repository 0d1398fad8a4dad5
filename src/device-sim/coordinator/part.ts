/**
 * One part of a simulated fleet, wherever it runs: its devices, what is measured of them and what is judged, behind the messages of
 * messages.ts. Not the process that it runs in: worker-main.ts, workers.ts.
 */

import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { now } from '../clock.ts'
import type { Sink } from '../events.ts'
import { meterFindings } from '../invariants/from-meter.ts'
import { createJudges } from '../invariants/judges.ts'
import { runFleet } from '../life/run.ts'
import { createLoadCounts } from '../load/open.ts'
import { createMeasures, type Gauges } from '../measure/measuring.ts'
import type { FromWorker, ToWorker, WorkerStart } from './messages.ts'

export type RunningPart = {
  hear(message: Exclude<ToWorker, WorkerStart>): void
  /** when `done` has been said; never rejects */
  readonly ended: Promise<void>
}

const IDLE = { devices: 0, connected: 0, underWay: 0 }

/** @param say never throws */
export const startPart = (start: WorkerStart, say: (message: FromWorker) => void): RunningPart => {
  const { scenario } = start
  const load = createLoadCounts()
  const measures = createMeasures(() => load)
  const { clean, qos } = scenario.mqtt
  const deadLinks = scenario.timeline.some((fault) => fault.kind === 'link' && fault.halfOpen)
  const { meter } = measures
  const judges = createJudges({ bounds: scenario.bounds, clean, qos, deadLinks })
  const go = Promise.withResolvers<number>()
  const stop = new AbortController()
  const end = new AbortController()
  const listeners = new Set<Sink>()
  let gauge: () => Gauges = () => IDLE

  const see: Sink = (event) => {
    measures.sink(event)
    judges.sink(event)
  }
  const sample = (last = false): void => say({ kind: 'sample', sample: measures.sample(gauge(), last) })

  const run = async (): Promise<void> => {
    const timer = setInterval(() => sample(), SECOND)
    let trouble: string | undefined
    try {
      await runFleet({
        targets: start.targets,
        rootPem: start.rootPem,
        credentials: start.credentials,
        scenario,
        seed: start.seed,
        part: start.part,
        given: start.given,
        stateDir: start.stateDir,
        rounds: start.rounds,
        path: start.path,
        topic: start.topic,
        // a broker that is not ours may well leave its topics to everybody
        triesOthers: !start.foreign,
        meter,
        signal: end.signal,
        stop: stop.signal,
        ready: () => {
          say({ kind: 'ready' })
          return go.promise
        },
        told: (listen) => listeners.add(listen),
        gauge: (read) => {
          gauge = read
        },
        load,
        onEvent: see,
      })
    } catch (error) {
      trouble = error instanceof FleetError ? error.detail : String(error)
    }
    clearInterval(timer)
    sample(true)
    measures[Symbol.dispose]()
    say({
      kind: 'done',
      findings: [...judges.findings(now()), ...meterFindings(meter.figures())],
      unsettled: judges.unsettled(),
      trouble,
    })
  }

  /** Nobody waits for a start that does not come. */
  const release = (): void => go.resolve(now())
  const answers: {
    readonly [K in Exclude<ToWorker['kind'], 'start'>]: (message: Extract<ToWorker, { kind: K }>) => void
  } = {
    go: ({ startsAt }) => go.resolve(startsAt),
    told: ({ events }) => {
      for (const event of events) for (const listen of listeners) listen(event)
    },
    stop: () => {
      stop.abort()
      release()
    },
    end: () => {
      stop.abort()
      end.abort()
      release()
    },
  }
  return {
    hear: (message) => (answers[message.kind] as (message: ToWorker) => void)(message),
    ended: run(),
  }
}
