/**
 * A run while it runs, for Prometheus: `/metrics` on a listener of its own, read from the same figures as the live view. It has no
 * authentication, so it is on loopback unless somebody says otherwise, and answers under no other name. What is named from outside is bounded in number and in letters.
 */

import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { isIP, type AddressInfo } from 'node:net'
import { Counter, Gauge, Registry } from 'prom-client'
import { FleetError } from '#fleet/errors.ts'
import { isLoopback } from '#runtime/config.ts'
import { total } from '#device-sim/measure/counts.ts'
import { byFrequency } from './format.ts'
import type { Live, Phase } from './live.ts'

export type Prometheus = AsyncDisposable & { readonly url: string }

type Value = readonly [labels: Readonly<Record<string, string>>, value: number]
type Family = {
  readonly name: string
  readonly help: string
  readonly labels: readonly string[]
  /** `counter`: never falls during a run */
  readonly type: 'counter' | 'gauge'
  /** @param reasons of a door that were shown before: a counter that is there once stays */
  read(live: Live, reasons: (door: string) => Set<string>): readonly Value[]
}

/** Different reasons of a door: what is beyond them is one, `others`. */
const MOST_REASONS = 50
const REASON = /^[\w.:-]{1,64}$/

/**
 * Each time series is kept by Prometheus for ever: what a server answers must not make more of them at will. The first that come are shown, and
 * go on; a reason that finds no place is among the others for good, so that nothing falls.
 */
const bounded = (
  counts: Readonly<Record<string, number>>,
  kept: Set<string>,
): (readonly [string, number])[] => {
  for (const [name] of byFrequency(counts))
    if (kept.size < MOST_REASONS && REASON.test(name) && name !== 'others') kept.add(name)
  const shown = Object.entries(counts).filter(([name]) => kept.has(name))
  const rest = total(counts) - shown.reduce((sum, [, n]) => sum + n, 0)
  return rest > 0 ? [...shown, ['others', rest]] : shown
}

const one = (value: number): readonly Value[] => [[{}, value]]
const SECOND = 1_000

const QUANTILES = [
  ['0.5', 'p50'],
  ['0.9', 'p90'],
  ['0.99', 'p99'],
  ['0.999', 'p999'],
  ['1', 'max'],
] as const

const LAST = [
  ['0.5', 'p50'],
  ['0.99', 'p99'],
  ['1', 'max'],
] as const

const latencies = ({ totals, last }: Live): readonly Value[] => [
  ...Object.entries(totals.measures).flatMap(([measure, figures]) =>
    QUANTILES.map(([quantile, key]): Value => [{ measure, window: 'run', quantile }, figures[key] / SECOND]),
  ),
  ...Object.entries(last?.measures ?? {}).flatMap(([measure, figures]) =>
    LAST.map(([quantile, key]): Value => [{ measure, window: 'second', quantile }, figures[key] / SECOND]),
  ),
]

const PHASES: readonly Phase['kind'][] = ['gathering', 'running', 'draining']

/** Their names begin with `sallyport_sim_`. */
export const FAMILIES: readonly Family[] = [
  {
    name: 'events_total',
    help: 'what happened, by name of the counters of the report',
    labels: ['event'],
    type: 'counter',
    read: ({ totals }) => Object.entries(totals.counts).map(([event, n]) => [{ event }, n]),
  },
  {
    name: 'measured_total',
    help: 'how often each latency was measured',
    labels: ['measure'],
    type: 'counter',
    read: ({ totals }) => Object.entries(totals.measures).map(([measure, { count }]) => [{ measure }, count]),
  },
  {
    name: 'refused_total',
    help: 'refusals; beyond 50 reasons of a door `others`',
    labels: ['door', 'reason'],
    type: 'counter',
    read: ({ totals }, reasons) =>
      Object.entries(totals.refused).flatMap(([door, counts]) =>
        bounded(counts, reasons(door)).map(([reason, n]): Value => [{ door, reason }, n]),
      ),
  },
  {
    name: 'errors_total',
    help: 'what ended without a verdict',
    labels: ['door'],
    type: 'counter',
    read: ({ totals }) => Object.entries(totals.errors).map(([door, what]) => [{ door }, total(what)]),
  },
  {
    name: 'latency_seconds',
    help: 'latency; window `run`: since the beginning, `second`: of the last second; quantile 1 is the highest',
    labels: ['measure', 'window', 'quantile'],
    type: 'gauge',
    read: latencies,
  },
  {
    name: 'devices_wanted',
    help: 'devices that were asked for',
    labels: [],
    type: 'gauge',
    read: ({ devices }) => one(devices),
  },
  {
    name: 'devices',
    help: 'devices with an identity',
    labels: [],
    type: 'gauge',
    read: ({ last }) => one(last?.devices ?? 0),
  },
  {
    name: 'connected',
    help: 'open MQTT connections',
    labels: [],
    type: 'gauge',
    read: ({ last }) => one(last?.connected ?? 0),
  },
  {
    name: 'under_way',
    help: 'requests and connections that wait for an answer',
    labels: [],
    type: 'gauge',
    read: ({ last }) => one(last?.under_way ?? 0),
  },
  {
    name: 'phase',
    help: '1 for the phase that the run is in',
    labels: ['phase'],
    type: 'gauge',
    read: ({ phase }) => PHASES.map((kind) => [{ phase: kind }, Number(kind === phase.kind)]),
  },
  {
    name: 'elapsed_seconds',
    help: 'since load and faults began',
    labels: [],
    type: 'gauge',
    read: ({ phase }) => one(phase.kind === 'gathering' ? 0 : phase.elapsed / SECOND),
  },
  {
    name: 'active_faults',
    help: 'injected faults that are on now',
    labels: ['kind'],
    type: 'gauge',
    read: ({ faults }) =>
      [...Map.groupBy(faults, ({ kind }) => kind)].map(([kind, all]) => [{ kind }, all.length]),
  },
  {
    name: 'generator_bound',
    help: '1: the load generator is the bottleneck, and latencies are not those of the server',
    labels: [],
    type: 'gauge',
    read: ({ generator }) => one(Number(generator.bound)),
  },
  {
    name: 'generator_utilisation',
    help: 'of the busiest event loop in the last second, 0 to 1',
    labels: [],
    type: 'gauge',
    read: ({ last }) => one(last?.generator.utilisation ?? 0),
  },
  {
    name: 'generator_lag_seconds',
    help: 'the longest that a timer was late in the last second',
    labels: [],
    type: 'gauge',
    read: ({ last }) => one((last?.generator.lag_ms ?? 0) / SECOND),
  },
  {
    name: 'server_cores',
    help: 'share of a core that a server of this machine used in the last second',
    labels: ['server'],
    type: 'gauge',
    read: ({ last }) => Object.entries(last?.servers ?? {}).map(([server, share]) => [{ server }, share]),
  },
]

/** Nothing is kept between two scrapes but the names of reasons: what there is at that moment is what is shown. */
const registryOf = (read: () => Live | undefined): Registry => {
  const registry = new Registry()
  const kept = new Map<string, Set<string>>()
  const reasons = (door: string): Set<string> => {
    const known = kept.get(door) ?? new Set()
    kept.set(door, known)
    return known
  }
  const now = (values: Family['read']): readonly Value[] => {
    const live = read()
    return live === undefined ? [] : values(live, reasons)
  }
  for (const { name, help, labels, type, read: values } of FAMILIES) {
    const common = { name: `sallyport_sim_${name}`, help, labelNames: [...labels], registers: [registry] }
    if (type === 'counter')
      new Counter({
        ...common,
        collect() {
          this.reset()
          for (const [each, value] of now(values)) this.inc(each, value)
        },
      })
    else
      new Gauge({
        ...common,
        collect() {
          this.reset()
          for (const [each, value] of now(values)) this.set(each, value)
        },
      })
  }
  return registry
}

/** Every address of the machine. */
const ANY = ['0.0.0.0', '::']

/**
 * A page of the web may have its name point here, and then read what the browser fetches (DNS rebinding): asked for under a name of its own. An
 * address is nobody's name.
 */
const isOurs = (said: string | undefined, listensOn: string): boolean => {
  const name = URL.parse(`http://${said ?? ''}`)?.hostname.replace(/^\[|\]$/g, '') ?? ''
  if (isLoopback(name) || name === listensOn.toLowerCase()) return true
  return ANY.includes(listensOn) && isIP(name) !== 0
}

const serving = (registry: Registry, listensOn: string): Server => {
  const server = createServer({ maxHeaderSize: 8_192, headersTimeout: 5_000, requestTimeout: 5_000 })
  server.on('request', (request, reply) => {
    const respond = (status: number, text: string, type = 'text/plain; charset=utf-8'): void => {
      reply.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(text)
    }
    if (!isOurs(request.headers.host, listensOn)) return respond(421, 'not the host that this is\n')
    if (request.method !== 'GET' || request.url !== '/metrics') return respond(404, 'not found\n')
    registry.metrics().then(
      (text) => respond(200, text, registry.contentType),
      () => respond(500, 'broken\n'),
    )
  })
  server.maxConnections = 20
  return server
}

/**
 * @param o.listen port 0: a free one. @param o.read asked at each scrape; undefined: nothing yet
 * @throws `config_invalid` when it cannot be listened there
 */
export const openPrometheus = async (o: {
  readonly listen: { readonly host: string; readonly port: number }
  readonly read: () => Live | undefined
}): Promise<Prometheus> => {
  const { host, port } = o.listen
  const server = serving(registryOf(o.read), host)
  try {
    server.listen({ host, port })
    await once(server, 'listening')
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new FleetError('config_invalid', `--prometheus: cannot listen on ${host} port ${port} (${why})`, {
      cause: error,
    })
  }
  const at = server.address() as AddressInfo
  return {
    url: `http://${at.family === 'IPv6' ? `[${at.address}]` : at.address}:${at.port}/metrics`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
