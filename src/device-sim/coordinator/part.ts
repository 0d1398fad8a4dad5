/**
 * One part of a simulated fleet, wherever it runs: its devices, what is measured of them and what is judged, behind the messages of
 * messages.ts. Not the process that it runs in: worker-main.ts, workers.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import { now } from '../clock.ts'
import type { Enrolled } from '../client/identity.ts'
import type { Sink } from '../events.ts'
import { meterFindings } from '../invariants/from-meter.ts'
import { createJudges } from '../invariants/judges.ts'
import { planFleet } from '../life/plan.ts'
import { runFleet } from '../life/run.ts'
import { createLoadCounts } from '../load/open.ts'
import { createMeasures, type Gauges } from '../measure/measuring.ts'
import { everySecond } from '../measure/seconds.ts'
import type { FromWorker, ToWorker, WorkerStart } from './messages.ts'

export type RunningPart = {
  hear(message: Told): void
  /** when `done` has been said; never rejects */
  readonly ended: Promise<void>
}

/** What a part hears once it has begun. */
export type Told = Exclude<ToWorker, { readonly kind: 'start' | 'given' }>

const IDLE = { devices: 0, connected: 0, underWay: 0 }

/**
 * @param given by number of the device: they are neither enrolled nor renewed
 * @param say never throws
 */
export const startPart = (
  start: WorkerStart,
  given: readonly Enrolled[] | undefined,
  say: (message: FromWorker) => void,
): RunningPart => {
  const { scenario } = start
  const load = createLoadCounts()
  const measures = createMeasures(() => load)
  const { clean, qos } = scenario.mqtt
  const deadLinks = scenario.timeline.some((fault) => fault.kind === 'link' && fault.halfOpen)
  const { meter } = measures
  const plans = new Map(planFleet(scenario, start.seed, start.part).map((plan) => [plan.id, plan]))
  const judges = createJudges({
    bounds: scenario.bounds,
    clean,
    qos,
    deadLinks,
    planned: (device) => plans.get(device),
  })
  const go = Promise.withResolvers<number>()
  const stop = new AbortController()
  const end = new AbortController()
  const listeners = new Set<Sink>()
  const struck = scenario.timeline.map(() => 0)
  let gauge: () => Gauges = () => IDLE

  // not one whose answer was lost: asked again with the same key, the desk gives the same certificate
  let taken = !start.fresh
  const lookForOthers: Sink = (event) => {
    if (taken || event.kind !== 'refused' || event.reason !== 'device_exists') return
    taken = true
    say({ kind: 'taken', device: event.device })
  }
  const see: Sink = (event) => {
    lookForOthers(event)
    measures.sink(event)
    judges.sink(event)
  }
  let gauges: Gauges = IDLE
  const sample = (at: number): void => {
    gauges = { ...gauge() }
    say({ kind: 'sample', sample: measures.sample(gauges, at) })
  }
  const seconds = everySecond(now, sample)

  const run = async (): Promise<void> => {
    let trouble: string | undefined
    let unwritten: string | undefined
    try {
      ;({ unwritten } = await runFleet({
        targets: start.targets,
        rootPem: start.rootPem,
        credentials: start.credentials,
        scenario,
        seed: start.seed,
        part: start.part,
        given,
        stateDir: start.stateDir,
        rounds: start.rounds,
        path: start.path,
        method: start.method,
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
        onStruck: (index) => {
          struck[index] = Number(struck[index]) + 1
        },
      }))
    } catch (error) {
      trouble = error instanceof FleetError ? error.detail : String(error)
    }
    seconds[Symbol.dispose]()
    // its devices have said goodbye: how many there were is what they were before
    say({ kind: 'sample', sample: measures.sample(gauges, now(), true) })
    measures[Symbol.dispose]()
    say({
      kind: 'done',
      findings: [...judges.findings(now()), ...meterFindings(meter.figures())],
      unsettled: judges.unsettled(),
      struck,
      trouble,
      unwritten,
    })
  }

  /** Nobody waits for a start that does not come. */
  const release = (): void => go.resolve(now())
  const begin = (startsAt: number): void => {
    seconds.startAt(startsAt)
    judges.started(startsAt)
    go.resolve(startsAt)
  }
  const answers: {
    readonly [K in Told['kind']]: (message: Extract<Told, { kind: K }>) => void
  } = {
    go: ({ startsAt }) => begin(startsAt),
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
    hear: (message) => (answers[message.kind] as (message: Told) => void)(message),
    ended: run(),
  }
}
