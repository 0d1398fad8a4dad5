/** `mqtt.upstream` as the door opens it, with a log and metrics at hand, and clients of it that remember what they heard. */

import { systemClock } from '#fleet/clock.ts'
import { openBrokers, type BrokersOptions } from '#gateway/mqtt/brokers/open-brokers.ts'
import type { Pace } from '#gateway/mqtt/brokers/standing.ts'
import type { Link, LinkAbout, Upstream } from '#gateway/mqtt/upstream.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'

/** Checks come quickly, so that tests need not wait. */
export const QUICK: Pace = { first: 10, most: 50, idle: 60_000, answer: 1_000, least: 10, exhausted: 50 }

export type TestBrokers = Upstream & { readonly log: Record<string, unknown>[]; metrics(): Promise<string> }

/** @param settings of `mqtt.`: name → text */
export const openTestBrokers = async (
  settings: Readonly<Record<string, string>>,
  over: Partial<BrokersOptions> = {},
): Promise<TestBrokers> => {
  const log: Record<string, unknown>[] = []
  const metrics = createMetrics('gateway')
  const { mqtt } = loadConfig({
    desk: 'gateway',
    env: { SALLYPORT_HOME: '/nowhere', SALLYPORT_ENVIRONMENT: 'development' },
    cwd: '/nowhere',
    overrides: Object.fromEntries(Object.entries(settings).map(([name, text]) => [`mqtt.${name}`, text])),
  })
  const upstream = await openBrokers({
    mqtt,
    log: createLog('gateway', 'debug', {
      write: (line) => void log.push(JSON.parse(line) as Record<string, unknown>),
    }),
    metrics,
    clock: systemClock,
    random: () => 0.5,
    pace: QUICK,
    ...over,
  })
  return Object.assign(upstream, { log, metrics: () => metrics.text() })
}

export type Heard = {
  readonly link: Link
  readonly heard: () => Buffer
  /** what happened: `data`, `drain`, `closed` */
  readonly events: string[]
  readonly closed: Promise<void>
}

const about = (identity: string, over: Partial<LinkAbout> = {}): LinkAbout => ({
  clientId: identity,
  identity,
  level: 4,
  address: '192.0.2.1',
  ...over,
})

/** A link that has said `first`. */
export const openLink = (upstream: Upstream, first: string, over?: Partial<LinkAbout>): Heard => {
  const pieces: Buffer[] = []
  const events: string[] = []
  const closed = Promise.withResolvers<void>()
  const link = upstream.open(
    {
      data: (bytes) => {
        pieces.push(bytes)
        events.push('data')
      },
      drain: () => void events.push('drain'),
      closed: () => {
        events.push('closed')
        closed.resolve()
      },
    },
    about(first, over),
  )
  if (events.length > 0) throw new Error('an event before open returned')
  if (first !== '') link.write(Buffer.from(first))
  return { link, heard: () => Buffer.concat(pieces), events, closed: closed.promise }
}
