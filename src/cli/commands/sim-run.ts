/** `sim run`: a simulated fleet against any Sallyport, through its public doors. The engine is #device-sim's. */

import { Argument, type Command } from 'commander'
import { resolve } from 'node:path'
import { parseDuration } from '#fleet/duration.ts'
import { FleetError } from '#fleet/errors.ts'
import { runFleet, SCENARIOS, type FleetReport, type ScenarioName } from '#device-sim/index.ts'
import { listenForStop } from '#runtime/stop.ts'
import { command, duration, show, wholeNumber, type Online } from '../command.ts'
import { withFleetToken } from '../fleet-token.ts'
import type { Io } from '../io.ts'
import { connect } from '../operator-api.ts'
import { pairs } from '../output.ts'
import { readGiven } from '../read-given.ts'
import { findUrl, hasOperatorToken, readConfig } from '../settings.ts'

type Options = Online & {
  readonly devices: number
  readonly token?: string
  readonly enrollUrl?: string
  readonly httpsUrl?: string
  readonly mqttsUrl?: string
  readonly ca?: string
  readonly seed?: string
  readonly rounds?: number
  readonly for?: string
  readonly state?: string
}

const counts = (refused: Readonly<Record<string, number>>): string =>
  Object.entries(refused)
    .map(([reason, n]) => `${reason} ${n}`)
    .join(', ') || 'none'

const lines = (report: FleetReport): readonly string[] =>
  pairs([
    ['enrolled', `${report.enrolled} new, ${report.reused} from before, ${report.renewed} renewed`],
    ['https', `${report.admitted.https} admitted, refused: ${counts(report.refused.https)}`],
    ['mqtt', `${report.admitted.mqtt} connections, refused: ${counts(report.refused.mqtt)}`],
    ['messages', `${report.published} published, ${report.delivered} delivered`],
    ['enrolment', `refused: ${counts(report.refused.enroll)}`],
    ['cut', String(report.cut)],
    ['errors', String(report.errors)],
  ])

const isClean = (report: FleetReport): boolean =>
  report.errors === 0 && Object.values(report.refused).every((door) => Object.keys(door).length === 0)

/** With the token given; or with one made for this run by whoever holds an operator token. A kept fleet may need neither. */
const withToken = <T>(io: Io, options: Options, work: (token?: string) => Promise<T>): Promise<T> => {
  if (options.token !== undefined) return work(options.token)
  const config = readConfig(io, options)
  if (options.state !== undefined && !hasOperatorToken(io, config, options)) return work()
  return withFleetToken(connect(io, options), options.devices, work)
}

export const simRun = (io: Io): Command =>
  command('run', 'simulate a fleet until Ctrl-C, or for a time', 'sim run calm --devices 100 --for 30s')
    .addArgument(
      new Argument('[scenario]', 'what the devices do').choices(Object.keys(SCENARIOS)).default('calm'),
    )
    .option('--devices <n>', 'how many', wholeNumber(1, 100_000), 25)
    .option('--token <token>', 'a claim token with as many uses (default: made with the operator token)')
    .option('--for <duration>', 'end after this time', duration)
    .option('--rounds <n>', 'end when each device has had so many turns', wholeNumber(1, 1_000_000))
    .option('--seed <seed>', 'the same seed: the same devices at the same pace')
    .option('--state <dir>', 'keep keys and certificates there, and go on with them')
    .option('--enroll-url <url>', 'the enroll desk (default: the running one)')
    .option('--https-url <url>', "the gateway's HTTPS door (default: the running one)")
    .option('--mqtts-url <url>', "the gateway's MQTT door (default: the running one)")
    .option('--ca <file>', 'the root to trust (default: asked for, and checked against the token)')
    .option('--operator-url <url>', 'the operator listener, for the token')
    .option('--operator-token-file <file>', 'an operator token, for the token')
    .action(async (scenario: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<Options>()
      const config = readConfig(io, options)
      const targets = {
        enroll: findUrl(io, config, 'devices', options.enrollUrl),
        https: findUrl(io, config, 'https', options.httpsUrl),
        mqtts: findUrl(io, config, 'mqtts', options.mqttsUrl),
      }
      const limit = options.for === undefined ? undefined : parseDuration(options.for)
      using stop = listenForStop()
      const signals = [stop.signal, ...(limit === undefined ? [] : [AbortSignal.timeout(limit)])]
      const signal = AbortSignal.any(signals)
      if (io.err.isTTY === true)
        io.err.write(`${options.devices} devices at ${targets.enroll}; Ctrl-C ends it\n`)
      const report = await withToken(io, options, (token) =>
        runFleet({
          targets,
          token,
          devices: options.devices,
          scenario: scenario as ScenarioName,
          rootPem: options.ca === undefined ? undefined : readGiven(io, options.ca).toString(),
          seed: options.seed,
          rounds: options.rounds,
          stateDir: options.state === undefined ? undefined : resolve(io.cwd, options.state),
          signal,
        }),
      )
      show(io, options, report, () => lines(report))
      if (!isClean(report))
        throw new FleetError('expectation_broken', 'not everything was admitted, see the report')
    })
