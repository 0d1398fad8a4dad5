/**
 * Counters of one process, and the small listener that shows them with its health. Never on a door: it has no authentication.
 * Counting the same name twice gives the same counter, so that both doors may count into one.
 */

import { createServer, type Server } from 'node:http'
import {
  AggregatorRegistry,
  collectDefaultMetrics,
  Counter,
  Gauge,
  Histogram,
  Registry,
  type MetricObject,
} from 'prom-client'

type Labels = Readonly<Record<string, string>>

export type Metrics = {
  /** `labels`: the names of its labels */
  counter(name: string, help: string, labels?: readonly string[]): { inc(labels?: Labels, by?: number): void }
  /** `buckets`: upper bounds, in the unit that the name ends with */
  histogram(
    name: string,
    help: string,
    labels?: readonly string[],
    buckets?: readonly number[],
  ): { observe(value: number, labels?: Labels): void }
  /** `read`: asked at each scrape, for what is counted elsewhere already; with labels, all there are at that moment */
  gauge(
    name: string,
    help: string,
    labels?: readonly string[],
    read?: () => number | readonly (readonly [labels: Labels, value: number])[],
  ): { set(value: number, labels?: Labels): void }
  /** Prometheus text format */
  text(): Promise<string>
  /** the same as data, for another process of this desk */
  values(): Promise<MetricValues>
  /** From now on `text` is the sum of what is counted here and of these, asked at each scrape; it must not reject. */
  include(others: () => Promise<readonly MetricValues[]>): void
}

/** What one process counted; plain data. */
export type MetricValues = readonly MetricObject[]

/** One process's worth of several: counts are added up, averages averaged. */
const together = (all: readonly MetricValues[]): Registry =>
  AggregatorRegistry.aggregate(all.map((values) => [...values]))

/** What goes on counting when its process is gone: sums over processes never fall, which a reader would take for a restart. */
export const countsOf = async (all: readonly MetricValues[]): Promise<MetricValues> =>
  (await together(all).getMetricsAsJSON()).filter(({ type }) => COUNTS.has(String(type)))

const COUNTS: ReadonlySet<string> = new Set(['counter', 'histogram'])

const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** @param desk a label on everything */
export const createMetrics = (desk: string): Metrics => {
  const registry = new Registry()
  registry.setDefaultLabels({ desk })
  collectDefaultMetrics({ register: registry })
  const made = new Map<string, unknown>()
  let others: (() => Promise<readonly MetricValues[]>) | undefined
  const once = <T>(name: string, make: () => T): T => {
    if (!made.has(name)) made.set(name, make())
    return made.get(name) as T
  }
  const common = (name: string, help: string, labels: readonly string[]) => ({
    name,
    help,
    labelNames: [...labels],
    registers: [registry],
  })
  return {
    counter: (name, help, labels = []) =>
      once(name, () => {
        const counter = new Counter(common(name, help, labels))
        return { inc: (values: Labels = {}, by = 1) => counter.inc(values, by) }
      }),
    histogram: (name, help, labels = [], buckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]) =>
      once(name, () => {
        const histogram = new Histogram({ ...common(name, help, labels), buckets: [...buckets] })
        return { observe: (value: number, values: Labels = {}) => histogram.observe(values, value) }
      }),
    gauge: (name, help, labels = [], read) =>
      once(name, () => {
        const gauge = new Gauge({
          ...common(name, help, labels),
          ...(read === undefined
            ? {}
            : {
                collect(this: Gauge) {
                  const values = read()
                  if (typeof values === 'number') return this.set(values)
                  // what is gone is gone from the page too
                  this.reset()
                  for (const [each, value] of values) this.set(each, value)
                },
              }),
        })
        return { set: (value: number, values: Labels = {}) => gauge.set(values, value) }
      }),
    text: async () =>
      others === undefined
        ? registry.metrics()
        : together([await registry.getMetricsAsJSON(), ...(await others())]).metrics(),
    values: () => registry.getMetricsAsJSON(),
    include: (those) => {
      others = those
    },
  }
}

/**
 * GET `/metrics`, `/healthz` (the process answers), `/readyz` (it serves; 503 while starting and stopping, and while it cannot). Not listening yet.
 * @param ready asked at each request; a rejection is a no
 */
export const createMetricsServer = (metrics: Metrics, ready: () => boolean | Promise<boolean>): Server => {
  const answers: Readonly<Record<string, () => Promise<[number, string]>>> = {
    '/metrics': async () => [200, await metrics.text()],
    '/healthz': () => Promise.resolve([200, 'ok\n']),
    '/readyz': async () => {
      const yes = await Promise.try(ready).catch(() => false)
      return yes ? [200, 'ready\n'] : [503, 'not ready\n']
    },
  }
  const server = createServer({ maxHeaderSize: 8_192, headersTimeout: 5_000, requestTimeout: 5_000 })
  server.on('request', (request, reply) => {
    const answer = request.method === 'GET' && request.url !== undefined ? answers[request.url] : undefined
    const respond = ([status, text]: [number, string]): void => {
      reply.writeHead(status, { 'content-type': CONTENT_TYPE, 'cache-control': 'no-store' }).end(text)
    }
    if (answer === undefined) respond([404, 'not found\n'])
    else
      answer().then(respond, () => {
        respond([500, 'broken\n'])
      })
  })
  server.maxConnections = 100
  return server
}
