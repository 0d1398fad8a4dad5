import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  acknowledgedIsDelivered,
  type DeliveryRules,
} from '#device-sim/invariants/acknowledged-is-delivered.ts'
import {
  acknowledged,
  createOutstanding,
  delivered,
  forget,
  overdue,
} from '#device-sim/invariants/outstanding.ts'
import { found, type Step } from './events.ts'

const listening = (at: number, present = false): Step => [at, { kind: 'listening', present }]
const left = (at: number): Step => [at, { kind: 'left' }]
const cut = (at: number): Step => [at, { kind: 'cut' }]
const acked = (seq: number, at: number, is = true): Step => [
  at,
  { kind: 'published', topic: 't', seq, millis: 5, acknowledged: is },
]
const came = (seq: number, at: number): Step => [at, { kind: 'delivered', topic: 't', seq, millis: 1 }]
const say = (at: number, kind: 'revoked' | 'suspended' | 'resumed'): Step => [at, { kind }]
const cloned = (at: number): Step => [at, { kind: 'cloned', rival: 'connection', outcome: 'admitted' }]
const many = (count: number, each: (seq: number) => Step): Step[] =>
  Array.from({ length: count }, (_, at) => each(at + 1))

const CLEAN: DeliveryRules = { drain: 5_000, clean: true, deadLinks: false }
const KEPT: DeliveryRules = { ...CLEAN, clean: false }
/** the end of the run: a goodbye after the drain */
const END = 60_000

type Row = readonly [
  what: string,
  rules: DeliveryRules,
  steps: readonly Step[],
  checked: number,
  broken: number,
  evidence?: RegExp,
]
const rows: readonly Row[] = [
  ['acknowledged, then delivered', CLEAN, [listening(0), acked(1, 10), came(1, 20), left(END)], 1, 0],
  ['delivered before it was acknowledged', CLEAN, [listening(0), came(1, 12), acked(1, 10), left(END)], 1, 0],
  [
    'acknowledged and never delivered',
    CLEAN,
    [listening(0), acked(1, 10), left(END)],
    1,
    1,
    /^d: 1 .* on t, the first of them number 1/,
  ],
  ['still connected at the end', CLEAN, [listening(0), acked(1, 10), acked(2, 11), came(2, 30)], 2, 1],
  ['late, but within the drain', CLEAN, [listening(0), acked(1, 50_000), came(1, 54_000), left(END)], 1, 0],
  ['it had no time: the run was ended at once', CLEAN, [listening(0), acked(1, 58_000), left(END)], 0, 0],
  ['never acknowledged', CLEAN, [listening(0), acked(1, 10, false), left(END)], 0, 0],
  ['nobody listens', CLEAN, [acked(1, 10), left(END)], 0, 0],
  ['acknowledged before it listened', CLEAN, [acked(1, 10), listening(20), left(END)], 0, 0],
  [
    'clean session: the connection ended before it had had its time',
    CLEAN,
    [listening(0), acked(1, 10), left(4_000), listening(4_100), left(END)],
    0,
    0,
  ],
  [
    'clean session: it had had its time, and then the connection ended',
    CLEAN,
    [listening(0), acked(1, 10), acked(2, 18_000), left(20_000), listening(20_100), left(END)],
    1,
    1,
    /1 acknowledged and not delivered on t, the first of them number 1, before its session ended/,
  ],
  [
    'clean session: fifty were lost, and the device reconnects again and again',
    CLEAN,
    [
      listening(0),
      ...many(50, (seq) => acked(seq, seq * 100)),
      left(20_000),
      listening(20_100),
      left(40_000),
      listening(40_100),
      left(END),
    ],
    50,
    50,
  ],
  [
    'lost, and then suspended',
    KEPT,
    [listening(0), acked(1, 10), acked(2, 54_000), say(55_000, 'suspended'), left(55_100)],
    1,
    1,
  ],
  ['lost, and then revoked', CLEAN, [listening(0), acked(1, 10), say(55_000, 'revoked'), left(55_100)], 1, 1],
  [
    'lost, and then revoked, which is heard of after its end',
    CLEAN,
    [listening(0), acked(1, 10), acked(2, 52_000), left(57_000), say(55_000, 'revoked')],
    1,
    1,
  ],
  [
    'sent when the session listened, though it was due before',
    CLEAN,
    [
      listening(5_000),
      [4_000, { kind: 'published', topic: 't', seq: 1, millis: 1_500, acknowledged: true }],
      left(END),
    ],
    1,
    1,
  ],
  [
    'clean session: and the next one is judged',
    CLEAN,
    [listening(0), acked(1, 10), left(20), listening(30), acked(2, 40), left(END)],
    1,
    1,
    /number 2/,
  ],
  [
    'clean session: acknowledged after the end was seen',
    CLEAN,
    [listening(0), left(20), acked(1, 10), listening(30), left(END)],
    0,
    0,
  ],
  [
    'clean session: cut for good by the server, which had had its time',
    CLEAN,
    [listening(0), acked(1, 10), acked(2, 29_000), cut(30_000), left(30_000)],
    1,
    1,
  ],
  [
    'kept session: it comes on the next connection',
    KEPT,
    [listening(0), acked(1, 10), left(20), listening(5_000, true), came(1, 5_100), left(END)],
    1,
    0,
  ],
  [
    'kept session: it does not come',
    KEPT,
    [listening(0), acked(1, 10), left(20), listening(5_000, true), left(END)],
    1,
    1,
  ],
  [
    'kept session: there is none any more',
    KEPT,
    [listening(0), acked(1, 10), acked(2, 11), came(1, 12), left(20), listening(5_000, false), left(END)],
    2,
    1,
    /its session was not kept/,
  ],
  [
    'kept session: there is none, and nothing was outstanding',
    KEPT,
    [listening(0), acked(1, 10), came(1, 12), left(20), listening(5_000, false), left(END)],
    1,
    0,
  ],
  ['kept session: never back', KEPT, [listening(0), acked(1, 10), left(20)], 0, 0],
  [
    'kept session: back for too short a time',
    KEPT,
    [listening(0), acked(1, 10), left(20), listening(58_000, true), left(END)],
    0,
    0,
  ],
  [
    'kept session: had its time on an earlier connection',
    KEPT,
    [listening(0), acked(1, 10), left(20_000), listening(58_000, true), left(END)],
    1,
    1,
  ],
  [
    'kept session: the server is gone for good, and had had its time',
    KEPT,
    [listening(0), acked(1, 10), acked(2, 29_000), cut(30_000), left(30_000), cut(31_000)],
    1,
    1,
  ],
  [
    'revoked: its session is gone',
    KEPT,
    [listening(0), acked(1, 10), say(15, 'revoked'), left(20), left(END)],
    0,
    0,
  ],
  ['revoked: heard of late', KEPT, [listening(0), acked(1, 10), left(20), say(15, 'revoked')], 0, 0],
  [
    'suspended and back: a new session is no loss',
    KEPT,
    [
      listening(0),
      acked(1, 10),
      say(15, 'suspended'),
      left(20),
      say(5_000, 'resumed'),
      listening(5_100, false),
      acked(2, 5_200),
      came(2, 5_201),
      left(END),
    ],
    1,
    0,
  ],
  [
    'suspended and back: what comes then is judged',
    KEPT,
    [
      listening(0),
      say(15, 'suspended'),
      left(20),
      say(5_000, 'resumed'),
      listening(5_100, false),
      acked(2, 5_200),
      left(END),
    ],
    1,
    1,
  ],
  [
    'suspended: both heard of after it was back',
    KEPT,
    [
      listening(0),
      acked(1, 10),
      left(20),
      listening(5_100, false),
      say(15, 'suspended'),
      say(5_000, 'resumed'),
      left(END),
    ],
    0,
    0,
  ],
  [
    'suspended: both heard of after it was back, and what comes then is judged',
    KEPT,
    [
      listening(0),
      left(20),
      listening(5_100, false),
      say(15, 'suspended'),
      say(5_000, 'resumed'),
      acked(2, 5_200),
      left(END),
    ],
    1,
    1,
  ],
  [
    "suspended: what is acknowledged within T is nobody's",
    KEPT,
    [listening(0), say(15, 'suspended'), acked(1, 50), left(60), left(END)],
    0,
    0,
  ],
  [
    'a copy took its session',
    KEPT,
    [listening(0), acked(1, 10), cloned(12), left(15), listening(100, false), left(END)],
    0,
    0,
  ],
  [
    'a copy took its session: heard of after it was back',
    KEPT,
    [listening(0), acked(1, 10), left(15), listening(100, false), cloned(12), left(END)],
    0,
    0,
  ],
  [
    'a copy takes it again and again',
    KEPT,
    [listening(0), cloned(12), left(15), listening(100), acked(1, 110), left(120), listening(200), left(END)],
    0,
    0,
  ],
  [
    'links that may be dead prove nothing by being open',
    { ...CLEAN, deadLinks: true },
    [listening(0), acked(1, 10), left(END)],
    0,
    0,
  ],
  [
    'but by being alive',
    { ...CLEAN, deadLinks: true },
    [listening(0), acked(1, 10), acked(2, 30_000), came(2, 30_010), left(END)],
    2,
    1,
  ],
  [
    'a short drain does not make a second too long',
    { ...CLEAN, drain: 0 },
    [listening(0), acked(1, END - 900), left(END)],
    0,
    0,
  ],
  [
    'very many, all delivered',
    CLEAN,
    [
      listening(0),
      ...many(5_000, (seq) => acked(seq, seq)),
      ...many(5_000, (seq) => came(seq, 5_000 + seq)),
      left(END),
    ],
    5_000,
    0,
  ],
  [
    'very many, none delivered',
    CLEAN,
    [listening(0), ...many(5_000, (seq) => acked(seq, seq)), left(END)],
    5_000,
    5_000,
  ],
  [
    'one lost of very many, and the others come twice',
    CLEAN,
    [
      listening(0),
      ...many(5_000, (seq) => acked(seq, seq)).flatMap((step, at) =>
        at === 6 ? [step] : [step, came(at + 1, 2_000 + at)],
      ),
      // among them some that came and have left the ring, as the lost one has
      came(5, 8_000),
      came(9, 8_001),
      came(4_999, 8_002),
      left(END),
    ],
    5_000,
    1,
    /number 7/,
  ],
  [
    'one lost of very many',
    CLEAN,
    [
      listening(0),
      ...many(5_000, (seq) => acked(seq, seq)).flatMap((step, at) =>
        at === 6 ? [step] : [step, came(at + 1, 2_000 + at)],
      ),
      left(END),
    ],
    5_000,
    1,
  ],
]

describe('what was acknowledged is delivered', () => {
  test.for(rows)('%s', ([, rules, steps, checked, broken, evidence]) => {
    const finding = found(acknowledgedIsDelivered(rules), steps, END)
    expect(finding).toMatchObject({ name: 'acknowledged_is_delivered', checked, broken })
    if (evidence !== undefined) expect(finding.evidence.join('\n')).toMatch(evidence)
  })
})

test('what is outstanding agrees with a set, whatever the order', () => {
  const step = fc.record({ seq: fc.integer({ min: 1, max: 60 }), ack: fc.boolean() })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const one = createOutstanding()
      const acks = new Set<number>()
      const came = new Set<number>()
      // numbers go on, as a device gives them, and what has been said of one is not said again
      for (const { seq, ack } of steps) {
        if (seq < one.lowest || (ack ? acks : came).has(seq)) continue
        if (ack) acknowledged(one, seq, seq)
        else delivered(one, seq)
        ;(ack ? acks : came).add(seq)
      }
      const open = [...acks].filter((seq) => !came.has(seq) && seq >= one.lowest)
      // what fell out of the ring before it was acknowledged is not held against anybody
      const { count, first } = overdue(one, Infinity)
      expect(count).toBe(open.length)
      expect(first).toBe(open.length === 0 ? undefined : Math.min(...open))
      expect(forget(one)).toBe(open.length)
      expect(overdue(one, Infinity).count).toBe(0)
    }),
  )
})
