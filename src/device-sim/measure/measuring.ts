/**
 * Measures a fleet from what its devices say (a sink) and what their connections see (a meter): a sample of what was since the last one. One for each
 * process. Not the merging of many: totals.ts; not the judging: invariants/.
 */

import { now } from '../clock.ts'
import { createMeter, type Meter } from '../client/meter.ts'
import type { FleetEvent, FleetEventOf, Sink } from '../events.ts'
import type { LoadCounts } from '../load/open.ts'
import { createHistogram, type Histogram } from './histograms.ts'
import { COUNTERS, MEASURES, type Counter, type Measure, type Sample } from './measures.ts'
import { createOwnLoad } from './own-load.ts'
import { createTextCounts } from './texts.ts'
import { createTopicTracker } from './topics.ts'

export type Gauges = Pick<Sample, 'devices' | 'connected' | 'underWay'>

export type Measures = Disposable & {
  readonly sink: Sink
  readonly meter: Omit<Meter, 'figures'> & { figures(): MeterFigures }
  /**
   * Of what was since the one before.
   * @param at ms since the epoch: when that ends. @param last none comes after it, so that what is missing on a topic is a gap
   */
  sample(gauges: Gauges, at?: number, last?: boolean): Sample
}

export type MeterFigures = ReturnType<Meter['figures']> & {
  /** that were searched for tokens */
  readonly answers: number
}

/** different refusals, and errors, of one sample */
const MOST_TEXTS = 50

type Handlers = { readonly [K in FleetEvent['kind']]: (event: FleetEventOf<K>) => void }
const nothing = (): void => {}

/** @param load what an open loop of this process has counted since it began */
export const createMeasures = (load?: () => LoadCounts): Measures => {
  const counts = Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Record<Counter, number>
  const histograms = Object.fromEntries(
    Object.keys(MEASURES).map((name) => [name, createHistogram()]),
  ) as Record<Measure, Histogram>
  const refused = createTextCounts(MOST_TEXTS)
  const errors = createTextCounts(MOST_TEXTS)
  const topics = createTopicTracker()
  const inner = createMeter()
  const own = createOwnLoad()
  let from = now()

  const handlers: Handlers = {
    enrolled({ via, millis }) {
      counts[`enrolled_${via}`]++
      if (via !== 'state' && via !== 'given') histograms.enroll.record(millis)
    },
    renewed({ millis }) {
      counts.renewed++
      histograms.renew.record(millis)
    },
    admitted({ door, millis }) {
      counts[door === 'https' ? 'admitted_https' : 'admitted_mqtt']++
      histograms[door === 'https' ? 'https' : 'connect'].record(millis)
    },
    refused({ door, reason, millis }) {
      refused.add(door, reason)
      histograms.refusal.record(millis)
    },
    published({ device, topic, seq, acknowledged, awaited, millis }) {
      counts.published++
      if (awaited === true) topics.awaited(device, topic, seq, 1)
      if (!acknowledged) return
      counts.acknowledged++
      histograms.publish.record(millis)
    },
    burst({ device, topic, seq, count, awaited }) {
      counts.published += count
      if (awaited === true) topics.awaited(device, topic, seq, count)
    },
    delivered({ device, topic, seq, millis }) {
      counts.delivered++
      histograms.delivery.record(millis)
      topics.delivered(device, topic, seq)
    },
    stray: () => void counts.strays++,
    cut: () => void counts.cut++,
    error: ({ door, detail }) => errors.add(door, detail),
    unanswered({ door }) {
      counts.unanswered++
      if (door !== 'enroll') counts[`unanswered_${door}`]++
    },
    issued: nothing,
    heard: nothing,
    kept_out: nothing,
    listening: nothing,
    left: nothing,
    unverified: nothing,
    revoked: nothing,
    suspended: nothing,
    resumed: nothing,
    away: nothing,
    back: nothing,
    cloned: nothing,
  }

  let answers = 0
  const meter: Measures['meter'] = {
    answer(...answer) {
      answers++
      inner.answer(...answer)
    },
    figures: () => ({ ...inner.figures(), answers }),
    handshake(resumed, times) {
      inner.handshake(resumed, times)
      counts[resumed ? 'resumed' : 'handshakes']++
      if (times === undefined) return
      histograms.tcp.record(times.tcp)
      // an abbreviated one is none
      if (!resumed) histograms.handshake.record(times.tls)
    },
    opened: inner.opened,
  }

  /** of those that are counted elsewhere, how far they were at the last sample */
  const before = {
    lost: 0,
    duplicates: 0,
    reordered: 0,
    gaps: 0,
    due: 0,
    absent: 0,
    late: 0,
    dropped: 0,
    tokens: 0,
    bytes_sent: 0,
    bytes_received: 0,
  }
  const countElsewhere = (): void => {
    const { tokensReturned: tokens, bytesSent, bytesReceived } = inner.figures()
    const { due, absent, late, dropped } = load?.() ?? before
    const octets = { bytes_sent: bytesSent, bytes_received: bytesReceived }
    const here: typeof before = { ...topics.figures, due, absent, late, dropped, tokens, ...octets }
    for (const name of Object.keys(here) as (keyof typeof here)[]) counts[name] += here[name] - before[name]
    Object.assign(before, here)
  }

  return {
    sink: (event) => (handlers[event.kind] as (event: FleetEvent) => void)(event),
    meter,
    sample(gauges, end = now(), last = false) {
      // a second that was told a little early is over
      const at = Math.max(from, end)
      if (last) topics.end()
      countElsewhere()
      const taken: Partial<Record<Measure, string>> = {}
      for (const name of Object.keys(histograms) as Measure[]) {
        const encoded = histograms[name].take()
        if (encoded !== undefined) taken[name] = encoded
      }
      const { devices, connected, underWay } = gauges
      const sample: Sample = {
        from,
        at,
        last,
        counts: Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0)),
        refused: refused.counts(),
        errors: errors.counts(),
        histograms: taken,
        devices,
        connected,
        underWay,
        generator: own.read(),
        ...(last ? { topics: topics.worst() } : {}),
      }
      from = at
      for (const name of COUNTERS) counts[name] = 0
      refused.clear()
      errors.clear()
      return sample
    },
    [Symbol.dispose]: () => own[Symbol.dispose](),
  }
}
