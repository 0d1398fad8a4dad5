/**
 * The whole life of a desk's process: configuration, log, metrics, the service, its run file, stopping, the exit code.
 * Not the service: the desk's main passes that in. The only library file that may end the process.
 */

import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { systemClock, type Clock } from '#fleet/clock.ts'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import { loadConfig, type Config } from './config.ts'
import { listen, urlFor } from './listen.ts'
import { createLog, type Log } from './log.ts'
import { createMetrics, createMetricsServer, type Metrics } from './metrics.ts'
import { removeRunFile, VERSION, writeRunFile } from './run-file.ts'
import { listenForStop } from './stop.ts'

export type Service = AsyncDisposable & {
  /** the keys of DESK_URLS, without `metrics` */
  readonly urls: Readonly<Record<string, string>>
  /** For /readyz, at each request: false, or a rejection, while it serves nobody. Without it, a service that has started is ready. */
  ready?(): boolean | Promise<boolean>
}

export type Scope = {
  readonly log: Log
  readonly metrics: Metrics
  readonly clock: Clock
  /** aborted when the process has been asked to stop */
  readonly signal: AbortSignal
}

const EXIT_CODES: Partial<Record<ErrorCode, number>> = { config_invalid: 2, target_unreachable: 3 }

/** 2: usage or configuration; 3: target unreachable; 1: anything else. */
const exitCodeOf = (error: unknown): number =>
  (error instanceof FleetError ? EXIT_CODES[error.code] : undefined) ?? 1

/** What was asked for has not happened by then: something hangs, and a supervisor must not have to wait for it. */
const STOP_WITHIN = 10_000

const configPathFrom = (args: readonly string[], desk: string): string | undefined => {
  try {
    return parseArgs({ args: [...args], options: { config: { type: 'string' } } }).values.config
  } catch (cause) {
    throw new FleetError(
      'config_invalid',
      `usage: sallyport ${desk} [--config FILE]: ${(cause as Error).message}`,
      {
        cause,
      },
    )
  }
}

/** Processes of ours. The signer listens on no network, so it has no page of metrics either: its desk says how it is. */
export type Program = 'enroll' | 'gateway' | 'signer'

const openMetrics = async (
  config: Config,
  desk: Program,
  metrics: Metrics,
  ready: () => boolean | Promise<boolean>,
): Promise<(AsyncDisposable & { readonly url: string }) | undefined> => {
  if (desk === 'signer') return undefined
  const server = createMetricsServer(metrics, ready)
  const { host, port } = await listen(server, config[desk].metrics_listen)
  return {
    url: urlFor('http', host, port),
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

type Start = (config: Config, scope: Scope) => Promise<Service>

/** Until the signal. */
type Serve = (desk: Program, config: Config, log: Log, signal: AbortSignal, start: Start) => Promise<void>

const serve: Serve = async (desk, config, log, signal, start) => {
  const metrics = createMetrics(desk)
  let ready: () => boolean | Promise<boolean> = () => false
  await using health = await openMetrics(config, desk, metrics, () => !signal.aborted && ready())
  await using service = await start(config, { log, metrics, clock: systemClock, signal })
  const urls = { ...service.urls, ...(health === undefined ? {} : { metrics: health.url }) }
  if (signal.aborted) return
  writeRunFile(config.home, desk, urls)
  try {
    ready = () => service.ready?.() ?? true
    log.info(
      {
        version: VERSION,
        pid: process.pid,
        environment: config.environment,
        config: config.configPath,
        urls,
      },
      'ready',
    )
    if (!signal.aborted) await once(signal, 'abort')
    log.info({ cause: (signal.reason as Error).message }, 'stopping')
  } finally {
    // first of all: nobody new shall be sent here
    removeRunFile(config.home, desk)
  }
}

/** One of several processes of a desk: whoever started it says for all of them where they listen and how they are. */
const servePart: Serve = async (desk, config, log, signal, start) => {
  await using service = await start(config, {
    log,
    metrics: createMetrics(desk),
    clock: systemClock,
    signal,
  })
  log.debug({ pid: process.pid, urls: service.urls }, 'serving')
  if (!signal.aborted) await once(signal, 'abort')
}

const report = (log: Log, error: unknown): number => {
  if (error instanceof FleetError) log.fatal({ code: error.code, cause: error.cause }, error.detail)
  else log.fatal({ code: 'internal', err: error }, 'broken')
  return exitCodeOf(error)
}

/**
 * A desk's main is this one call. Never returns before the process has been asked to stop, then ends it: 0 after a clean stop, 2 for
 * configuration (a taken port is one), 3 for an unreachable target, 1 otherwise, 130 when a second signal forced it.
 * @param part of one of several processes of a desk: what stands in its log lines. It has neither a run file nor a page of its own.
 */
export const runDesk = async (
  desk: Program,
  start: Start,
  part?: Readonly<Record<string, number>>,
): Promise<void> => {
  const stop = listenForStop()
  const openLog = (level: Config['log']['level']): Log =>
    part === undefined ? createLog(desk, level) : createLog(desk, level).child(part)
  let log = openLog('info')
  let home: string | undefined
  const crash = (error: unknown): void => {
    report(log, error)
    if (home !== undefined) removeRunFile(home, desk)
    process.exit(1)
  }
  process.on('uncaughtException', crash)
  stop.signal.addEventListener('abort', () => {
    setTimeout(() => {
      log.error({ after_ms: STOP_WITHIN }, 'stopping takes too long')
      process.exit(1)
    }, STOP_WITHIN).unref()
  })
  let code = 0
  try {
    const configPath = configPathFrom(process.argv.slice(2), desk)
    const config = loadConfig({ desk, env: process.env, cwd: process.cwd(), configPath })
    home = config.home
    log = openLog(config.log.level)
    await (part === undefined ? serve : servePart)(desk, config, log, stop.signal, start)
    log.info('stopped')
  } catch (error) {
    // a start that was broken off by the signal it was given is a clean stop
    code = stop.signal.aborted && (error as Error).name === 'AbortError' ? 0 : report(log, error)
  }
  process.exit(code)
}
