import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { now } from '#device-sim/clock.ts'
import type { FleetEvent } from '#device-sim/events.ts'
import { decodeHistogram, createHistogram } from '#device-sim/measure/histograms.ts'
import { createMeasures, type Measures } from '#device-sim/measure/measuring.ts'
import type { Sample } from '#device-sim/measure/measures.ts'

const GAUGES = { devices: 3, connected: 2, underWay: 1 }
type Bare = FleetEvent extends infer E ? (E extends FleetEvent ? Omit<E, 'device' | 'at'> : never) : never
const event = (bare: Bare): FleetEvent => ({ device: 'd', at: 1_000, ...bare }) as FleetEvent

/** how many, and the longest in ms */
const measured = (sample: Sample): Record<string, [number, number]> =>
  Object.fromEntries(
    Object.entries(sample.histograms).map(([name, encoded]) => {
      const histogram = createHistogram()
      histogram.add(decodeHistogram(encoded))
      const { count, max } = histogram.latency()
      return [name, [count, Math.round(max)]]
    }),
  )

const load = { due: 0, absent: 0, late: 0, dropped: 0 }
let measures: Measures
beforeEach(() => {
  Object.assign(load, { due: 0, absent: 0, late: 0, dropped: 0 })
  measures = createMeasures(() => load)
})
afterEach(() => measures[Symbol.dispose]())

const rows: readonly [string, readonly Bare[], Sample['counts'], Record<string, [number, number]>][] = [
  [
    'enrolled',
    [
      { kind: 'enrolled', via: 'rest', millis: 30, notAfter: 0 },
      { kind: 'enrolled', via: 'state', millis: 1, notAfter: 0 },
      { kind: 'enrolled', via: 'mqtt', millis: 50, notAfter: 0 },
    ],
    { enrolled_rest: 1, enrolled_state: 1, enrolled_mqtt: 1 },
    { enroll: [2, 50] },
  ],
  ['renewed', [{ kind: 'renewed', millis: 9, notAfter: 2, before: 1 }], { renewed: 1 }, { renew: [1, 9] }],
  [
    'admitted',
    [
      { kind: 'admitted', door: 'https', target: '/', millis: 5 },
      { kind: 'admitted', door: 'mqtt', millis: 6 },
    ],
    { admitted_https: 1, admitted_mqtt: 1 },
    { https: [1, 5], connect: [1, 6] },
  ],
  [
    'published: only what was acknowledged has a latency',
    [
      { kind: 'published', topic: 't', seq: 1, millis: 4, acknowledged: true },
      { kind: 'published', topic: 't', seq: 2, millis: 9_000, acknowledged: false },
      { kind: 'burst', topic: 't', seq: 3, count: 1_000 },
    ],
    { published: 1_002, acknowledged: 1 },
    { publish: [1, 4] },
  ],
  [
    'turns that nobody answered',
    [
      { kind: 'unanswered', door: 'https' },
      { kind: 'unanswered', door: 'mqtt' },
      { kind: 'unanswered', door: 'mqtt' },
    ],
    { unanswered: 3, unanswered_https: 1, unanswered_mqtt: 2 },
    {},
  ],
  [
    'delivered',
    [1, 3, 3, 2].map((seq) => ({ kind: 'delivered' as const, topic: 't', seq, millis: seq })),
    { delivered: 4, duplicates: 1, reordered: 1 },
    { delivery: [4, 3] },
  ],
  [
    'refused, strays, cuts',
    [
      { kind: 'refused', door: 'https', reason: 'certificate_revoked', millis: 2 },
      { kind: 'stray', topic: 'x' },
      { kind: 'cut' },
    ],
    { strays: 1, cut: 1 },
    { refusal: [1, 2] },
  ],
  [
    'the rest is for others',
    [
      { kind: 'listening', present: false },
      { kind: 'kept_out', topic: 'x' },
      { kind: 'left' },
      { kind: 'revoked' },
      { kind: 'away' },
      { kind: 'back' },
      { kind: 'unverified', detail: '' },
      { kind: 'cloned', rival: 'renewal', outcome: 'renewed' },
    ],
    {},
    {},
  ],
]

describe('a sample', () => {
  test.each(rows)('%s', (_, events, counts, histograms) => {
    for (const each of events) measures.sink(event(each))
    const sample = measures.sample(GAUGES)
    expect(sample.counts).toEqual(counts)
    expect(measured(sample)).toEqual(histograms)
    expect(sample).toMatchObject(GAUGES)
    // the next one begins anew
    expect(measures.sample(GAUGES)).toMatchObject({ counts: {}, refused: {}, errors: {}, histograms: {} })
  })

  test('refusals and errors by door and by what was said, not more than 50 of them', () => {
    for (let at = 0; at < 60; at++)
      measures.sink(event({ kind: 'error', door: 'mqtt', detail: `port ${at} ${'x'.repeat(1_000)}` }))
    measures.sink(event({ kind: 'error', door: 'mqtt', detail: `port 1 ${'x'.repeat(1_000)}` }))
    measures.sink(event({ kind: 'refused', door: 'https', reason: 'policy_denied', millis: 1 }))
    const { errors, refused } = measures.sample(GAUGES)
    expect(refused).toEqual({ 'https policy_denied': 1 })
    expect(Object.keys(errors)).toHaveLength(51)
    expect(errors['mqtt others']).toBe(10)
    expect(Math.max(...Object.values(errors).slice(0, 50))).toBe(2)
    expect(Math.max(...Object.keys(errors).map((key) => key.length))).toBeLessThan(220)
  })

  test('what is missing on a topic is a gap once nothing more comes', () => {
    for (const seq of [1, 2, 5]) measures.sink(event({ kind: 'delivered', topic: 't', seq, millis: 1 }))
    expect(measures.sample(GAUGES).counts.gaps).toBeUndefined()
    expect(measures.sample(GAUGES, now(), true).counts).toEqual({ gaps: 2 })
  })

  test('what was published by who listens, and never came, is lost once nothing more comes; the topic is named', () => {
    const published = { kind: 'published', topic: 't', millis: 1 } as const
    measures.sink(event({ ...published, seq: 1, acknowledged: true, awaited: true }))
    measures.sink(event({ ...published, seq: 2, acknowledged: true, awaited: true }))
    // not promised, and not there all the same
    measures.sink(event({ ...published, seq: 3, acknowledged: false, awaited: true }))
    measures.sink(event({ kind: 'burst', topic: 't', seq: 4, count: 10, awaited: true }))
    // it does not listen
    measures.sink(event({ ...published, seq: 14, acknowledged: true, awaited: false }))
    for (const seq of [1, 5]) measures.sink(event({ kind: 'delivered', topic: 't', seq, millis: 1 }))
    expect(measures.sample(GAUGES).counts.lost).toBeUndefined()
    const last = measures.sample(GAUGES, now(), true)
    // 2, 3, 4, 6 to 13
    expect(last.counts).toEqual({ lost: 11, gaps: 3 })
    expect(last.topics).toEqual([{ device: 'd', topic: 't', lost: 11, gaps: 3, duplicates: 0, reordered: 0 }])
  })

  test('what connections see', () => {
    const { meter } = measures
    meter.handshake(false, { tcp: 1, tls: 8 })
    meter.handshake(true, { tcp: 2, tls: 3 })
    meter.handshake(false)
    const octets = { sent: 60, received: 500 }
    const close = meter.opened(() => ({ ...octets }))
    meter.answer(
      'GET /',
      ['authorization', 'Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln'],
      Buffer.from(''),
    )
    const sample = measures.sample(GAUGES)
    expect(sample.counts).toMatchObject({ handshakes: 2, resumed: 1, bytes_sent: 60, bytes_received: 500 })
    expect(measured(sample)).toEqual({ tcp: [2, 2], handshake: [1, 8] })
    expect(meter.figures()).toMatchObject({ handshakes: 2, resumed: 1, answers: 1, tokensReturned: 1 })
    expect(sample.counts.tokens).toBe(1)
    // it is still open
    Object.assign(octets, { sent: 100, received: 900 })
    expect(measures.sample(GAUGES).counts).toEqual({ bytes_sent: 40, bytes_received: 400 })
    octets.sent = 101
    close()
    expect(measures.sample(GAUGES).counts).toEqual({ bytes_sent: 1 })
    expect(measures.sample(GAUGES).counts).toEqual({})
  })

  test('what an open loop has counted since the last one', () => {
    Object.assign(load, { due: 9, absent: 2, late: 3, dropped: 1 })
    expect(measures.sample(GAUGES).counts).toEqual({ due: 9, absent: 2, late: 3, dropped: 1 })
    load.late = 5
    expect(measures.sample(GAUGES).counts).toEqual({ late: 2 })
  })
})
