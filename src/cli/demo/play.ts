/**
 * The main job against any stack: a fleet enrols and works over both doors while every drill tries to get in some other way; then the
 * clients' figures are held against what the origin saw. Not the starting of a stack: that is run-demo.ts.
 */

import {
  calm,
  createExpectations,
  createLedger,
  createMeter,
  createOperator,
  createStage,
  DRILLS,
  runDrills,
  runFleet,
  totalOfDoors,
  type FleetReport,
  type Sighting,
  type Targets,
} from '#device-sim/index.ts'
import type { Clock } from '#fleet/clock.ts'
import { lineOf, type DemoLine } from './line.ts'

export type PlayOptions = {
  readonly targets: Targets
  readonly rootPem: string
  readonly operator: { readonly url: string; readonly token: string }
  /** what the origin saw, from its own loopback port */
  readonly seen: () => Promise<readonly Sighting[]>
  readonly seed: string
  readonly devices: number
  readonly clock: Clock
  /** the end, whether all is done or not: what is not done then has failed, by name */
  readonly signal: AbortSignal
  readonly onProgress: (text: string) => void
}

const ROUNDS = 3
/** Calm enough to be a fleet, quick enough to be a demo. */
const TEMPO = { ramp: 1_500, load: { kind: 'closed', pace: 600, jitter: 0.5 } } as const
/** uses of the token that the drills may need beside the fleet */
const DRILL_DEVICES = 50

type Check = (name: string, held: boolean, evidence: string) => void

const checkFleet = (check: Check, report: FleetReport, devices: number): void => {
  const mqtt = Math.floor(devices / 2)
  const { enrolled, admitted, published, delivered, cut, errors } = report
  const refused = totalOfDoors(report.refused)
  check('fleet.enrolled', enrolled === devices, `${enrolled} of ${devices}`)
  check('fleet.https', admitted.https === (devices - mqtt) * ROUNDS, `${admitted.https} requests admitted`)
  check('fleet.mqtt', admitted.mqtt === mqtt, `${admitted.mqtt} of ${mqtt} connected`)
  check('fleet.published', published === mqtt * ROUNDS, `${published} of ${mqtt * ROUNDS}`)
  check('fleet.delivered', delivered === published, `${delivered} of ${published} published`)
  check('fleet.undisturbed', refused + cut + errors === 0, JSON.stringify(report))
}

/** Both ways: nothing that a client was told was served is missing at the origin, and nothing else is there. */
const checkOrigin = (
  check: Check,
  served: ReadonlyMap<string, string>,
  sightings: readonly Sighting[],
): void => {
  const times = new Map<string, number>()
  for (const { target } of sightings) times.set(target, (times.get(target) ?? 0) + 1)
  const uninvited = sightings.filter(({ target }) => !served.has(target))
  const missing = [...served.keys()].filter((target) => !times.has(target))
  const twice = [...times].filter(([, count]) => count > 1)
  const masked = sightings.filter(({ target, device }) => device !== served.get(target))
  check('origin.saw_nothing_else', uninvited.length === 0, uninvited.map(({ target }) => target).join())
  check('origin.saw_all', missing.length === 0, missing.join())
  check('origin.saw_each_once', twice.length === 0, twice.join())
  check(
    'origin.knew_who_called',
    masked.length === 0,
    masked.map((item) => `${item.target}: ${item.device}`).join(),
  )
}

/** Never throws: what goes wrong is an expectation that failed. */
export const play = async (o: PlayOptions): Promise<DemoLine> => {
  const { targets, rootPem, signal, seen, clock, devices } = o
  const meter = createMeter()
  const ledger = createLedger()
  const expectations = createExpectations((name, held, evidence) => {
    if (!held) o.onProgress(`FAILED ${name}: ${evidence}`)
  })
  const { check } = expectations
  const attempt = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      check(name, false, signal.aborted ? 'it was not done when the run ended' : String(error))
    }
  }

  const drillAndRun = async (): Promise<void> => {
    const operator = createOperator({ ...o.operator, rootPem, signal })
    const { token } = await operator.createToken({ uses: devices + DRILL_DEVICES })
    const stage = { targets, rootPem, token, operator, seen, run: o.seed, meter, ledger, expectations, clock }

    await Promise.all([
      attempt('fleet', async () => {
        const { seed } = o
        const onEvent = ledger.fleet
        const scenario = { ...calm(), ...TEMPO, devices }
        const run = { scenario, seed, rounds: ROUNDS, rootPem, credentials: { token }, meter, clock }
        // what is refused here is the drills' business
        const report = await runFleet({ ...run, targets, triesOthers: false, signal, onEvent })
        checkFleet(check, report, devices)
        const { admitted, delivered } = report
        o.onProgress(
          `fleet done: ${report.enrolled} of ${devices} devices enrolled, ${admitted.https} requests admitted, ${delivered} messages delivered`,
        )
      }),
      runDrills(
        DRILLS.map((drill) => ({
          ...drill,
          run: async (at) => {
            await drill.run(at)
            o.onProgress(`drill done: ${drill.name}`)
          },
        })),
        (_drill, ends) => createStage({ ...stage, signal: ends }),
        signal,
      ),
    ])
    checkOrigin(check, ledger.targets(), await seen())
  }

  await attempt('main_job', drillAndRun)
  const { handshakes, resumed, tokensReturned, tokenEvidence } = meter.figures()
  check('no_resumed_handshake', resumed === 0, `${resumed} beside ${handshakes} full ones`)
  check('no_token_in_any_answer', tokensReturned === 0, tokenEvidence.join('; '))
  const late = ledger.figures().revokedThenAdmitted
  check('revoked_never_admitted', late === 0, `${late} times`)
  return lineOf(ledger, meter, expectations)
}
