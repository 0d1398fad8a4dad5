/**
 * `sim run`: a simulated fleet against any Sallyport, through its public doors, or against any other mTLS target with certificates that are
 * given. Here: what was typed, to a run; and its report, to a screen and files. The engine is #device-sim's.
 */

import { Argument, type Command } from 'commander'
import { DAY } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import {
  csvReport,
  htmlReport,
  junitReport,
  openPrometheus,
  parseWeights,
  simulate,
  summaryLines,
  type Live,
} from '#device-sim/index.ts'
import { listenForStop } from '#runtime/stop.ts'
import type { SimulationReport } from '#wire/simulation-report.ts'
import { collect, command, show, wholeNumber } from '../command.ts'
import type { Io } from '../io.ts'
import { createLiveView } from '../sim/live-view.ts'
import { planRun, type SimRunOptions } from '../sim/plan-run.ts'
import { repeatCommand } from '../sim/repeat-command.ts'
import { checkResultFiles, writeResultFiles, type ResultFile } from '../sim/result-files.ts'
import {
  listenAt,
  rate,
  requestMethod,
  requestPath,
  seed,
  span,
  target,
  topicName,
} from '../sim/sim-options.ts'

const YEAR = 366 * DAY
const MIB = 1_048_576

/** The others are said once; the last counts. */
const REPEATABLE = new Set(['assert', 'target'])

type Writers = 'html' | 'junit' | 'csv' | 'out'

const WRITERS: Readonly<Record<Writers, (report: SimulationReport) => string>> = {
  html: htmlReport,
  junit: junitReport,
  csv: csvReport,
  out: (report) => `${JSON.stringify(report, null, 2)}\n`,
}

const filesOf = (options: SimRunOptions): readonly ResultFile<SimulationReport>[] =>
  (Object.keys(WRITERS) as Writers[]).flatMap((name) => {
    const path = options[name]
    return path === undefined ? [] : [{ option: `--${name}`, path, write: WRITERS[name] }]
  })

/** In words for whoever reads the last lines of a long log. @returns what to throw */
const failure = (
  io: Io,
  { json, state }: SimRunOptions,
  report: SimulationReport,
  unwritten: readonly string[],
): FleetError | undefined => {
  const { verdict, run } = report
  if (verdict.ok && unwritten.length === 0) return undefined
  const repeat = verdict.ok
    ? []
    : [
        ...(state === undefined
          ? []
          : [`${state} is as this run has left it, so a run that repeats it begins from there`]),
        `repeat it with: ${run.command}`,
      ]
  // a line of its own, to be copied; in JSON there is one document
  if (json !== true) io.err.write(repeat.map((line) => `${line}\n`).join(''))
  const lines = [...verdict.reasons, ...unwritten, ...(json === true ? repeat : [])]
  return new FleetError('expectation_broken', lines.join('\n'))
}

export const simRun = (io: Io): Command => {
  /** as it was typed, to be typed again */
  const typed: Record<string, string | string[]> = {}
  const kept =
    <T>(name: string, parse: (text: string, before: T) => T) =>
    (text: string, before: T): T => {
      const value = parse(text, before)
      const list = typed[name]
      typed[name] = REPEATABLE.has(name) ? [...(Array.isArray(list) ? list : []), text] : text
      return value
    }
  const word = (name: string) => kept<string>(name, (text) => text)

  return command(
    'run',
    'simulate a fleet, and judge what comes of it',
    'sim run calm --devices 100 --for 30s',
  )
    .addArgument(new Argument('[scenario]', 'a ready one (`sim ls`), or a YAML file').default('calm'))
    .option('--devices <n>', 'how many', kept('devices', wholeNumber(1, 100_000)))
    .option('--rate <n>', 'open loop: so many turns a second, whatever the answers take', kept('rate', rate))
    .option(
      '--pace <duration>',
      'closed loop: each device waits so long after an answer',
      kept('pace', span(0, DAY, '2s')),
    )
    .option('--for <duration>', 'so long, once the fleet is there', kept('for', span(100, YEAR, '30s')))
    .option('--ramp <duration>', 'the devices come over this time', kept('ramp', span(0, DAY, '5s')))
    .option(
      '--rounds <n>',
      'end when each device has had so many turns',
      kept('rounds', wholeNumber(1, 1_000_000)),
    )
    .option('--seed <seed>', 'the same seed: the same devices, the same times', kept('seed', seed))
    .option(
      '--mix <shares>',
      'of the doors: https=1,mqtt=3',
      kept('mix', (text) => parseWeights('--mix', text)),
    )
    .option(
      '--enroll <shares>',
      'of the ways to enrol: rest=1,est=1,mqtt=1',
      kept('enroll', (text) => parseWeights('--enroll', text)),
    )
    .option('--payload <bytes>', 'of a request and of a message', kept('payload', wholeNumber(0, MIB)))
    .option(
      '--workers <n>',
      'processes; 0: this one (default: one for each core that is needed)',
      kept('workers', wholeNumber(0, 256)),
    )
    .option('--state <dir>', 'keep keys and certificates there, and go on with them', word('state'))
    .option(
      '--token <token>',
      'a claim token with as many uses (default: made with the operator token)',
      word('token'),
    )
    .option('--claim-cert <file>', 'a claim certificate, to enrol by MQTT', word('claimCert'))
    .option('--claim-key <file>', 'its key', word('claimKey'))
    .option('--claim-group <name>', 'the enrolment group that it claims for', word('claimGroup'))
    .option('--enroll-url <url>', 'the enroll desk (default: the running one)', word('enrollUrl'))
    .option('--https-url <url>', "the gateway's HTTPS door (default: the running one)", word('httpsUrl'))
    .option('--mqtts-url <url>', "the gateway's MQTT door (default: the running one)", word('mqttsUrl'))
    .option(
      '--ca <file>',
      'the root to trust (default: asked for, and checked against the token)',
      word('ca'),
    )
    .option(
      '--operator-url <url>',
      "the operator listener (default: the running desk's)",
      word('operatorUrl'),
    )
    .option(
      '--operator-token-file <file>',
      'an operator token, for tokens, faults and drills',
      word('operatorTokenFile'),
    )
    .option(
      '--target <url>',
      'any other mTLS server: https://… or mqtts://…, one of each',
      kept('target', target),
    )
    .option('--certs <dir>', 'the identities to use there', word('certs'))
    .option(
      '--path <path>',
      'of requests; {id} is the device (default: /telemetry/{id}/<turn>; of a --target /)',
      kept('path', requestPath),
    )
    .option(
      '--method <method>',
      'of requests: GET or POST (default: POST; to a --target GET)',
      kept('method', requestMethod),
    )
    .option('--topic <topic>', 'of messages; {id} is the device', kept('topic', topicName))
    .option(
      '--assert <text>',
      'a threshold, such as https.p99<50ms; may be repeated',
      kept('assert', collect),
    )
    .option('--html <file>', 'the report as one page with plots')
    .option('--junit <file>', 'the report as JUnit XML')
    .option('--csv <file>', 'one line a second')
    .option('--out <file>', 'the report as JSON')
    .option(
      '--prometheus <[host:]port>',
      'metrics while it runs, on loopback unless a host is said',
      listenAt,
    )
    .action(async (scenario: string, _: unknown, self: Command) => {
      const options = self.optsWithGlobals<SimRunOptions>()
      // its exit code is what it is run for
      io.goOnUnread()
      const files = filesOf(options)
      checkResultFiles(files, io.cwd)
      // before anything that takes a while
      using stop = listenForStop(undefined, { hangup: true })
      using planned = await planRun(io, scenario, options, stop.signal)
      let live: Live | undefined
      await using prometheus =
        options.prometheus === undefined
          ? undefined
          : await openPrometheus({ listen: options.prometheus, read: () => live })
      using view = createLiveView(io, { json: options.json === true })
      if (prometheus !== undefined && options.json !== true) view.note(`metrics at ${prometheus.url}`)
      const notes = [...planned.notes]
      const { workers } = planned.run
      // the ramp of a large fleet, and what can be kept up with, hang on how many processes there are
      const said = {
        ...planned.fromEnvironment,
        ...(options.config === undefined ? {} : { config: options.config }),
        workers: String(workers),
        ...typed,
      }
      const home = options.target === undefined ? io.env['SALLYPORT_HOME'] : undefined
      const report = await simulate({
        ...planned.run,
        command: (used) => repeatCommand(scenario, said, used, home),
        signal: stop.signal,
        onLive(now) {
          live = now
          // not before it has begun: what is wrong with it is said alone
          for (const note of notes.splice(0)) view.note(note)
          view.draw(now)
        },
        onNote: (text) => view.note(text),
      })
      view[Symbol.dispose]()
      const unwritten = writeResultFiles(files, io.cwd, report)
      const unharmed = files.filter(({ option }) => !unwritten.some((line) => line.startsWith(`${option} `)))
      const places = Object.fromEntries(unharmed.map(({ option, path }) => [option.slice(2), path]))
      show(io, options, report, () => summaryLines(report, places))
      const failed = failure(io, options, report, unwritten)
      if (failed !== undefined) throw failed
    })
}
