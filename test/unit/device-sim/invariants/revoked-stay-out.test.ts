import { describe, expect, test } from 'vitest'
import type { Door } from '#device-sim/events.ts'
import { revokedStayOut } from '#device-sim/invariants/revoked-stay-out.ts'
import { found, type Step } from './events.ts'

const https = (at: number, device?: string): Step => [
  at,
  { kind: 'admitted', door: 'https', target: '/', millis: 5 },
  ...(device === undefined ? ([] as const) : ([device] as const)),
]
const mqtt = (at: number): Step => [at, { kind: 'admitted', door: 'mqtt', millis: 5 }]
const published = (at: number, acknowledged = true, millis = 3): Step => [
  at,
  { kind: 'published', topic: 't', seq: 1, millis, acknowledged },
]
const delivered = (at: number, millis: number): Step => [
  at,
  { kind: 'delivered', topic: 't', seq: 1, millis },
]
const burst = (at: number): Step => [at, { kind: 'burst', topic: 't', seq: 1, count: 4 }]
const refused = (at: number, reason = 'certificate_revoked', door: Door = 'https'): Step => [
  at,
  { kind: 'refused', door, reason, millis: 1 },
]
const revoked = (at: number): Step => [at, { kind: 'revoked' }]
const suspended = (at: number): Step => [at, { kind: 'suspended' }]
const resumed = (at: number): Step => [at, { kind: 'resumed' }]

// T is 1,000 ms
const rows: readonly [string, readonly Step[], checked: number, broken: number, evidence?: RegExp][] = [
  ['nobody is revoked', [https(0), mqtt(10), published(20), delivered(30, 9)], 0, 0],
  [
    'revoked, and refused ever after',
    [https(0), revoked(100), refused(600), refused(1_200), refused(1_300)],
    2,
    0,
  ],
  [
    'an origin may say no to everybody: that shows nothing',
    [revoked(100), refused(2_000, 'http_401'), refused(2_100, 'http_403')],
    0,
    0,
  ],
  [
    'at the other doors each no is a door’s',
    [revoked(100), refused(2_000, 'connack_5', 'mqtt'), refused(2_100, 'device_revoked', 'enroll')],
    2,
    0,
  ],
  ['within T it may still get in', [revoked(100), https(1_100), refused(1_200)], 1, 0],
  [
    'after T it may not',
    [revoked(100), https(1_101)],
    1,
    1,
    /HTTPS request was answered 1\.001 s after it was revoked/,
  ],
  [
    'nor be told what only an origin says: it was asked, though it is down',
    [revoked(100), [2_000, { kind: 'error', door: 'https', detail: 'origin_unreachable', letIn: 4 }]],
    1,
    1,
    /HTTPS request reached the origin, whatever that made of it, 1\.900 s after it was revoked/,
  ],
  [
    'trouble is no admission',
    [revoked(100), [2_000, { kind: 'error', door: 'https', detail: 'http_503' }]],
    0,
    0,
  ],
  [
    'nor be heard by somebody else',
    [revoked(100), [2_000, { kind: 'heard', millis: 4 }]],
    1,
    1,
    /heard by somebody else 1\.900 s/,
  ],
  [
    'what was published in time may be heard later',
    [revoked(100), [900, { kind: 'heard', millis: 9_000 }]],
    0,
    0,
  ],
  ['nor connect', [revoked(100), mqtt(2_000)], 1, 1, /MQTT connection/],
  ['nor publish', [revoked(100), published(2_000)], 1, 1, /PUBLISH was acknowledged/],
  ['what nobody acknowledged is not in', [revoked(100), published(2_000, false)], 0, 0],
  ['nor is heard', [revoked(100), delivered(2_000, 10)], 1, 1, /PUBLISH was delivered/],
  [
    'nor is heard of what was published before',
    [revoked(100), delivered(9_000, 8_950)],
    1,
    1,
    /8\.900 s after/,
  ],
  ['what was delivered in time', [revoked(100), delivered(1_000, 990)], 0, 0],
  [
    'nor goes on over a connection that was not cut, at QoS 0',
    [mqtt(0), revoked(100), burst(900), burst(1_200), burst(1_400)],
    2,
    2,
    /PUBLISH of QoS 0 went over a connection that was not cut 1\.100 s after/,
  ],
  [
    'nor subscribes',
    [mqtt(0), revoked(100), [2_000, { kind: 'listening', present: false }]],
    1,
    1,
    /SUBSCRIBE/,
  ],
  [
    'nor enrols',
    [revoked(100), [2_000, { kind: 'enrolled', via: 'rest', millis: 1, notAfter: 9 }]],
    1,
    1,
    /a certificate was issued/,
  ],
  [
    'nor gets a certificate that no door would take',
    [revoked(100), [2_000, { kind: 'issued' }]],
    1,
    1,
    /issued/,
  ],
  [
    'what it had kept is no enrolment',
    [revoked(100), [2_000, { kind: 'enrolled', via: 'state', millis: 0, notAfter: 9 }]],
    0,
    0,
  ],
  [
    'nor renew',
    [revoked(100), [5_000, { kind: 'renewed', millis: 1, notAfter: 9, before: 8 }]],
    1,
    1,
    /renewed/,
  ],
  [
    'nor its copy',
    [revoked(100), [5_000, { kind: 'cloned', rival: 'connection', outcome: 'admitted' }]],
    1,
    1,
    /copy/,
  ],
  [
    'a copy that is refused',
    [revoked(100), [5_000, { kind: 'cloned', rival: 'connection', outcome: 'connack_5' }]],
    0,
    0,
  ],
  [
    'heard of late: what got in meanwhile is judged',
    [https(50), https(1_200), https(1_300), revoked(100)],
    2,
    2,
    /1\.100 s/,
  ],
  ['heard of late: what was in time is not', [https(50), https(1_000), revoked(100)], 0, 0],
  [
    'heard of twice: the first one counts, and nothing twice',
    [revoked(100), https(1_500), revoked(900)],
    1,
    1,
  ],
  ['another device is another', [revoked(100), https(5_000, 'other')], 0, 0],
  [
    'suspended: the same',
    [suspended(100), refused(2_000), https(2_100)],
    2,
    1,
    /2\.000 s after it was suspended/,
  ],
  ['resumed: it may come in again', [suspended(100), refused(2_000), resumed(5_000), https(5_001)], 1, 0],
  [
    'resumed: what came in before that stays broken',
    [suspended(100), https(3_000), resumed(5_000), https(6_000)],
    1,
    1,
  ],
  ['the resumption is heard of late', [suspended(100), https(5_050), https(6_000), resumed(5_000)], 0, 0],
  ['both are heard of late', [https(3_000), https(5_500), suspended(100), resumed(5_000)], 1, 1],
  ['a turn that was due just before the resumption', [suspended(100), https(4_500), resumed(5_000)], 0, 0],
  [
    'turns that waited for the resumption, and were heard of first',
    [suspended(100), mqtt(5_010), published(2_000, true, 3_020), published(4_900, true, 120), resumed(5_000)],
    0,
    0,
  ],
  [
    'the same, and the suspension is heard of late, too',
    [mqtt(5_010), published(2_000, true, 3_020), suspended(100), resumed(5_000)],
    0,
    0,
  ],
  [
    'a turn that waited, and not for the resumption',
    [suspended(100), published(2_000, true, 1_500), resumed(5_000)],
    1,
    1,
    /PUBLISH was acknowledged 1\.900 s after it was suspended/,
  ],
  ['suspended, then revoked', [suspended(100), https(3_000), revoked(1_000), resumed(9_000)], 1, 1],
  ['revoked and resumed stays revoked', [revoked(100), suspended(200), resumed(300), https(3_000)], 1, 1],
  [
    'heard of late: of many, the last ones are known',
    [...Array.from({ length: 100 }, (_, at) => https(2_000 + at)), revoked(100)],
    16,
    16,
    /only the last 16 are known: there were at least as many/,
  ],
]

test('at QoS 0 nobody acknowledges: that it was written shows that the connection was open', () => {
  const steps = [revoked(100), published(2_000, false)]
  expect(found(revokedStayOut(1_000, 0), steps, 60_000)).toMatchObject({ checked: 1, broken: 1 })
})

describe('who is revoked stays out', () => {
  test.each(rows)('%s', (_, steps, checked, broken, evidence) => {
    const finding = found(revokedStayOut(1_000), steps, 60_000)
    expect(finding).toMatchObject({ name: 'revoked_stay_out', checked, broken })
    if (evidence !== undefined) expect(finding.evidence.join('\n')).toMatch(evidence)
    expect(finding.evidence.length).toBe(Math.min(broken, 10))
  })
})
