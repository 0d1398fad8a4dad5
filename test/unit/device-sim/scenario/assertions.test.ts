/** Thresholds: how they are written, what is said of those that are written wrong, and when they hold. */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { COUNTERS, MEASURES, type Measure } from '#device-sim/measure/measures.ts'
import {
  DOORS,
  OPERATORS,
  parseAssertion,
  RATES,
  STATISTICS,
  type Figure,
} from '#device-sim/scenario/assertions.ts'
import { expectedRefusals } from '#device-sim/scenario/expected.ts'
import { judgeAssertion, type Figures } from '#device-sim/scenario/judge.ts'
import { loadScenario } from '#device-sim/scenario/load.ts'
import { readScenario } from '#device-sim/scenario/read.ts'
import { FleetError } from '#fleet/errors.ts'

describe('written right', () => {
  test.each<[string, Figure, string, number]>([
    ['https.p99<500ms', { kind: 'latency', measure: 'https', statistic: 'p99' }, '<', 500],
    [' handshake.max <= 1.5 s ', { kind: 'latency', measure: 'handshake', statistic: 'max' }, '<=', 1_500],
    ['tcp.mean<250us', { kind: 'latency', measure: 'tcp', statistic: 'mean' }, '<', 0.25],
    ['renew.count>=100', { kind: 'samples', measure: 'renew' }, '>=', 100],
    ['rate.https>=200/s', { kind: 'rate', of: 'https' }, '>=', 200],
    ['rate.enroll>5', { kind: 'rate', of: 'enroll' }, '>', 5],
    ['acknowledged!=0', { kind: 'count', counter: 'acknowledged' }, '!=', 0],
    ['published>0', { kind: 'count', counter: 'published' }, '>', 0],
    ['lost==0', { kind: 'count', counter: 'lost' }, '==', 0],
    ['gaps==0', { kind: 'count', counter: 'gaps' }, '==', 0],
    ['resumed==0', { kind: 'count', counter: 'resumed' }, '==', 0],
    ['errors==0', { kind: 'errors', door: undefined, reason: undefined }, '==', 0],
    ['errors.mqtt<3', { kind: 'errors', door: 'mqtt', reason: undefined }, '<', 3],
    ['errors.https.http_503==0', { kind: 'errors', door: 'https', reason: 'http_503' }, '==', 0],
    ['refused.https.http_403==0', { kind: 'refused', door: 'https', reason: 'http_403' }, '==', 0],
    ['refused==0', { kind: 'refused', door: undefined, reason: undefined }, '==', 0],
    ['refused.enroll==0', { kind: 'refused', door: 'enroll', reason: undefined }, '==', 0],
    ['refused.mqtt.connack_5>0', { kind: 'refused', door: 'mqtt', reason: 'connack_5' }, '>', 0],
    [
      'refused.https.certificate_revoked>0',
      { kind: 'refused', door: 'https', reason: 'certificate_revoked' },
      '>',
      0,
    ],
    ['refused.unexpected==0', { kind: 'unexpected' }, '==', 0],
  ])('%j', (text, figure, operator, value) => {
    expect(parseAssertion(text)).toEqual({ text: text.trim(), figure, operator, value })
  })

  test('every measure, counter and rate has a figure', () => {
    for (const name of Object.keys(MEASURES))
      for (const statistic of STATISTICS) parseAssertion(`${name}.${statistic}<1ms`)
    for (const name of COUNTERS) parseAssertion(`${name}>=0`)
    for (const name of Object.keys(RATES)) parseAssertion(`rate.${name}>=0`)
    for (const door of DOORS) parseAssertion(`errors.${door}>=0`)
  })
})

describe('written wrong', () => {
  test.each([
    ['', /: got no figure, expected one of: enroll, renew, /],
    ['<5', /: got no figure, expected one of: /],
    ['htps.p99<5ms', /: got the figure "htps", expected one of: .* \(did you mean https\?\)$/],
    ['constructor<5', /: got the figure "constructor", expected /],
    ['https<5ms', 'got https alone, expected https. and one of: p50, p90, p99, p999, max, min, mean, count'],
    ['https.p98<5ms', /: got the statistic "p98", expected https\. and one of: p50, /],
    ['https.p99.x<5ms', 'got "x" after it, expected nothing more'],
    ['https.p99', 'got no operator, expected one of: <= >= == != < >'],
    ['https.p99=5ms', 'got the operator "=", expected one of: <= >= == != < >'],
    ['https.p99 5ms', 'got the operator "5ms", expected one of: <= >= == != < >'],
    ['https.p99<', 'got no value, expected a number'],
    ['https.p99<fast', 'got the value "fast", expected a number'],
    ['https.p99<-5ms', 'got the value "-5ms", expected a number'],
    ['https.p99<<5ms', 'got the value "<5ms", expected a number'],
    ['https.p99<1e3ms', 'got the unit "e3ms", expected one of: us, ms, s'],
    ['https.p99<5', 'got no unit, expected one of: us, ms, s'],
    ['https.p99<5min', 'got the unit "min", expected one of: us, ms, s'],
    ['https.count>5ms', 'got the unit "ms", expected none: it is a number of times'],
    ['errors==0%', 'got the unit "%", expected none: it is a number of times'],
    ['rate.https>5ms', 'got the unit "ms", expected one of: /s'],
    ['rate>5', 'got rate alone, expected rate. and one of: https, mqtt, published, delivered, enroll'],
    ['rate.htps>5', /: got the rate "htps", expected rate\. and one of: .* \(did you mean https\?\)$/],
    ['errors.http==0', 'got the door "http", expected one of: enroll, https, mqtt (did you mean https?)'],
    ['refused.unexpcted==0', /: got the door "unexpcted", .* \(did you mean unexpected\?\)$/],
    [
      'refused.https.certificate_revokd==0',
      /: got the reason "certificate_revokd", which refused\.https never counts, expected a reason such as certificate_revoked, or http_401, http_403$/,
    ],
    [
      'refused.https.http_503==0',
      'got the reason "http_503", which refused.https never counts, expected errors.https.http_503',
    ],
    ['refused.https.certificate_revoked.x==0', 'got "x" after it, expected nothing more'],
    ['lost.x==0', 'got "x" after it, expected nothing more'],
  ])('%j', (text, expected) => {
    let detail = ''
    try {
      parseAssertion(text)
    } catch (error) {
      ;({ detail } = error as FleetError)
    }
    if (typeof expected === 'string') expect(detail).toBe(`assertion ${JSON.stringify(text)}: ${expected}`)
    else expect(detail).toMatch(expected)
  })

  test('whatever it is, it is config_invalid or an assertion', () => {
    const word = fc.constantFrom(
      'https',
      'refused',
      'rate',
      'p99',
      'count',
      '.',
      '<',
      '==',
      '1',
      'ms',
      ' ',
      '\n',
      '%',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(word).map((words) => words.join('')),
        ),
        (text) => {
          try {
            const { figure, operator, value } = parseAssertion(text)
            expect(figure.kind).toBeTypeOf('string')
            expect(OPERATORS).toContain(operator)
            expect(value).toBeGreaterThanOrEqual(0)
          } catch (error) {
            if (!(error instanceof FleetError)) throw error
            expect(error.code).toBe('config_invalid')
          }
        },
      ),
    )
  })
})

const latency = {
  count: 10,
  missing: 0,
  min: 1,
  mean: 20,
  p50: 10,
  p90: 50,
  p99: 100.0004,
  p999: 200,
  max: 300,
}
const RUN: Figures = {
  measures: { https: latency, tcp: { ...latency, count: 0 } } satisfies Partial<Record<Measure, unknown>>,
  counts: { admitted_https: 600, enrolled_rest: 30, enrolled_est: 10, gaps: 1, lost: 2, resumed: 0 },
  refused: { https: { certificate_revoked: 3, policy_denied: 1 }, mqtt: { connack_5: 4 } },
  errors: { https: { ECONNRESET: 1, 'http_503 their_own': 1 }, enroll: { 'no answer': 1 } },
  generator: { bound: false, gathering: { bound: false, reasons: [] } },
  load: 'closed',
  ranked: { https: latency },
  duration: 60_000,
}

describe('judged', () => {
  test.each<[string, boolean, number | null, string]>([
    ['https.p99<100ms', false, 100, 'it was 100 ms'],
    ['https.p99<=0.101s', true, 100, 'it was 100 ms'],
    ['https.max==300ms', true, 300, 'it was 300 ms'],
    ['https.min!=1ms', false, 1, 'it was 1 ms'],
    ['https.count>9', true, 10, 'it was 10'],
    // nothing measured proves nothing, whichever way it is bounded
    ['connect.p99<1s', false, null, 'never measured, which proves nothing'],
    ['connect.p99>=0ms', false, null, 'never measured, which proves nothing'],
    ['tcp.p99<1s', false, null, 'never measured, which proves nothing'],
    ['connect.count==0', true, 0, 'it was 0'],
    ['rate.https>=10/s', true, 10, 'it was 10/s'],
    ['rate.enroll>0.7', false, 0.667, 'it was 0.667/s'],
    ['rate.delivered>0', false, 0, 'it was 0/s'],
    ['lost==0', false, 2, 'it was 2'],
    ['resumed==0', true, 0, 'it was 0'],
    ['tokens==0', true, 0, 'it was 0'],
    ['errors==3', true, 3, 'it was 3'],
    ['errors.https<2', false, 2, 'it was 2'],
    ['errors.mqtt==0', true, 0, 'it was 0'],
    ['refused==8', true, 8, 'it was 8'],
    ['refused.https==4', true, 4, 'it was 4'],
    ['refused.https.certificate_revoked==3', true, 3, 'it was 3'],
    ['refused.https.http_403==0', true, 0, 'it was 0'],
    ['errors.https.http_503==0', false, 1, 'it was 1'],
    ['errors.https.http_500==0', true, 0, 'it was 0'],
    ['refused.enroll.token_spent==0', true, 0, 'it was 0'],
    // nobody said which are expected: none are
    ['refused.unexpected==8', true, 8, 'it was 8'],
  ])('%s', (text, held, value, why) => {
    expect(judgeAssertion(parseAssertion(text), RUN)).toEqual({ held, value, why })
  })

  test('of what was not kept apart nobody knows how often', () => {
    const errors = { https: { http_503: 2, others: 9 }, mqtt: {} }
    const verdict = (text: string) => judgeAssertion(parseAssertion(text), { ...RUN, errors })
    expect(verdict('errors.https.http_500==0')).toMatchObject({
      held: null,
      why: expect.stringMatching(/^not judged: so many different things/),
    })
    expect(verdict('errors.mqtt.target_unreachable==0').held).toBe(true)
    expect(verdict('errors.https==11').held).toBe(true)
  })

  test('enrolments a second are of the time in which the fleet enrolled', () => {
    const run = { ...RUN, gathering: 4_000 }
    expect(judgeAssertion(parseAssertion('rate.enroll==10'), run).held).toBe(true)
    expect(judgeAssertion(parseAssertion('rate.https==10'), run).held).toBe(true)
  })

  test('a run of no time has no rate', () => {
    expect(judgeAssertion(parseAssertion('rate.https>=0'), { ...RUN, duration: 0 }).held).toBe(false)
  })

  test('refusals that the timeline explains are not unexpected', () => {
    const expected = expectedRefusals(loadScenario('revocation-drill', '/'))
    expect(judgeAssertion(parseAssertion('refused.unexpected==0'), { ...RUN, expected })).toEqual({
      held: false,
      value: 1,
      why: 'it was 1',
    })
  })

  describe('a generator that could not keep up', () => {
    const run = { ...RUN, generator: { ...RUN.generator, bound: true } }
    const why = (was: string): string => `not judged: the load generator was the bottleneck (it was ${was})`
    test.each<[string, boolean | null, number, string]>([
      ['https.p99<1s', null, 100, why('100 ms')],
      ['https.p99<1ms', null, 100, why('100 ms')],
      ['https.count>9', true, 10, 'it was 10'],
      ['rate.https>=10', true, 10, 'it was 10/s'],
      ['rate.https>=11', null, 10, why('10/s')],
      ['rate.https<=11', null, 10, why('10/s')],
      ['errors==0', false, 3, 'it was 3'],
    ])('%s', (text, held, value, said) => {
      expect(judgeAssertion(parseAssertion(text), run)).toEqual({ held, value, why: said })
    })
  })
})

describe('turns that are missing', () => {
  const measures = { https: { ...latency, missing: 5 } }
  const slow = { ...latency, mean: Infinity, p90: Infinity, p99: Infinity, p999: Infinity, max: Infinity }
  const open: Figures = { ...RUN, load: 'open', measures, ranked: { https: slow } }
  const bound: Figures = { ...open, generator: { ...RUN.generator, bound: true } }
  const beyond = 'it was more than 300 ms: 5 of 15 were never answered, or failed, or were never begun'
  test.each<[string, Figures, boolean | null, number | null, string]>([
    ['https.p99<500ms', open, false, null, beyond],
    ['https.mean<500ms', open, false, null, beyond],
    // nor does a figure that nobody knows prove that something was slow
    ['https.p99>1ms', open, false, null, beyond],
    ['https.p50<500ms', open, true, 10, 'it was 10 ms'],
    // late only makes it longer
    ['https.p50<500ms', bound, true, 10, 'it was 10 ms'],
    ['https.p50<5ms', bound, null, 10, 'not judged: the load generator was the bottleneck (it was 10 ms)'],
    ['https.p50>5ms', bound, null, 10, 'not judged: the load generator was the bottleneck (it was 10 ms)'],
    ['https.p99<500ms', bound, null, null, `not judged: the load generator was the bottleneck (${beyond})`],
    // a closed loop that is late asks for less
    [
      'https.p50<500ms',
      { ...bound, load: 'closed' },
      null,
      10,
      'not judged: the load generator was the bottleneck (it was 10 ms)',
    ],
  ])('%s', (text, run, held, value, why) => {
    expect(judgeAssertion(parseAssertion(text), run)).toEqual({ held, value, why })
  })

  test.each(['enroll.p99<1s', 'rate.enroll<=9'])(
    '%s is judged by how the generator fared while it gathered',
    (text) => {
      const enroll = { enroll: latency }
      const run: Figures = { ...RUN, measures: enroll, ranked: enroll, gathering: 9_000 }
      const held = (generator: Figures['generator'], gathering?: number) =>
        judgeAssertion(parseAssertion(text), { ...run, generator, gathering }).held
      const bad = { bound: true, reasons: ['x'] }
      expect(held({ bound: false, gathering: bad }, 9_000)).toBeNull()
      expect(held({ bound: true, gathering: { bound: false, reasons: [] } }, 9_000)).toBe(true)
      // enrolled during the load
      expect(held({ bound: true, gathering: { bound: false, reasons: [] } })).toBeNull()
    },
  )
})

describe('expected refusals', () => {
  const of = (text: string): readonly string[] => [
    ...expectedRefusals(readScenario(`api_version: 1\nduration: 60s\n${text}`, 'a.yaml')),
  ]
  test.each([
    ['', []],
    [
      'timeline: [{ at: 1s, link: { half_open: true } }, { at: 1s, renew: {} }, { at: 1s, reconnect: {} }]',
      [],
    ],
    [
      'timeline: [{ at: 1s, suspend: {} }]',
      ['https device_suspended', 'mqtt connack_5', 'enroll device_suspended'],
    ],
    [
      'mqtt: { version: 5 }\ntimeline: [{ at: 1s, suspend: {} }]',
      [
        'https device_suspended',
        'mqtt connack_135',
        'mqtt puback_135',
        'mqtt suback_135',
        'enroll device_suspended',
      ],
    ],
    ['timeline: [{ at: 1s, for: 30s, offline: {} }]', []],
    ['certificate_ttl: 1h\ntimeline: [{ at: 1s, for: 30s, offline: {} }]', []],
    [
      'certificate_ttl: 30s\ntimeline: [{ at: 1s, for: 30s, offline: {} }]',
      ['https certificate_expired', 'mqtt connack_5'],
    ],
    ['timeline: [{ at: 1s, rotate: { step: retire } }]', []],
    ['timeline: [{ at: 1s, rotate: { step: activate, force: true } }]', []],
    [
      'timeline: [{ at: 1s, rotate: { step: retire, force: true } }]',
      ['https issuer_revoked', 'mqtt connack_5', 'enroll issuer_revoked', 'enroll certificate_revoked'],
    ],
  ])('%j', (text, expected) => {
    expect(of(text)).toEqual(expected)
  })
})
