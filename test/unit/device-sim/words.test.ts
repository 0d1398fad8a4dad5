/** Whatever a door may say is counted under a word that can be asked for, and what can be asked for is counted. */

import { describe, expect, test } from 'vitest'
import { parseAssertion } from '#device-sim/scenario/assertions.ts'
import { insteadOf, isCounted, isLetIn, isRefusal, wordOfAnswer, type Outcome } from '#device-sim/words.ts'
import { DENIALS } from '#fleet/denial.ts'
import { ERROR_CODES } from '#fleet/errors.ts'

const STATUSES = Array.from({ length: 200 }, (_, at) => 400 + at)

test('every answer over HTTPS has one word, under one of the two, and each can be asserted', () => {
  for (const reason of [undefined, 'their_own', ...ERROR_CODES])
    for (const status of reason === undefined ? STATUSES : [400, 403, 503]) {
      const word = wordOfAnswer(status, reason)
      const [is, isNot]: readonly Outcome[] = isRefusal(word) ? ['refused', 'errors'] : ['errors', 'refused']
      expect(parseAssertion(`${is}.https.${word}==0`).figure).toEqual({
        kind: is,
        door: 'https',
        reason: word,
      })
      expect(() => parseAssertion(`${isNot}.https.${word}==0`)).toThrow(
        `never counts, expected ${is}.https.${word}`,
      )
    }
})

test.each<[number, string | undefined, string, boolean]>([
  [403, 'certificate_revoked', 'certificate_revoked', true],
  [429, 'rate_limited', 'rate_limited', true],
  [502, 'origin_unreachable', 'origin_unreachable', false],
  [401, undefined, 'http_401', true],
  [403, undefined, 'http_403', true],
  [403, 'constructor', 'http_403', true],
  [404, undefined, 'http_404', false],
  [503, 'their_own', 'http_503', false],
])('%d %s is %s, a refusal: %s', (status, reason, word, refusal) => {
  expect(wordOfAnswer(status, reason)).toBe(word)
  expect(isRefusal(word)).toBe(refusal)
})

describe('what is never counted is refused, with what counts it', () => {
  test.each<[Outcome, Parameters<typeof insteadOf>[1], string, string | undefined]>([
    ['refused', 'https', 'http_503', 'errors.https.http_503'],
    ['refused', 'https', 'internal', 'errors.https.internal'],
    ['refused', 'https', 'connack_5', 'refused.mqtt.connack_5'],
    ['refused', 'https', 'http_200', undefined],
    ['refused', 'https', 'http_4031', undefined],
    ['refused', 'https', 'constructor', undefined],
    ['refused', 'enroll', 'expectation_broken', 'the promise certificates_verify'],
    ['errors', 'https', 'http_403', 'refused.https.http_403'],
    [
      'refused',
      'mqtt',
      'certificate_revoked',
      'refused.mqtt.connack_5 or refused.mqtt.connack_135 or refused.mqtt.suback_135 or refused.mqtt.puback_135',
    ],
    ['refused', 'mqtt', 'connack_0', undefined],
    ['refused', 'mqtt', 'connack_256', undefined],
    ['refused', 'mqtt', 'suback_1', undefined],
    ['errors', 'mqtt', 'connack_3', 'refused.mqtt.connack_3'],
    ['refused', 'enroll', 'http_403', 'errors.enroll.internal'],
    ['refused', 'enroll', 'internal', 'errors.enroll.internal'],
  ])('%s.%s.%s: %s', (outcome, door, word, instead) => {
    expect(isCounted(outcome, door, word)).toBe(false)
    expect(insteadOf(outcome, door, word)).toBe(instead)
  })

  test.each(['connack_1', 'connack_5', 'connack_135', 'suback_128', 'puback_255'])('%s is', (word) => {
    expect(isCounted('refused', 'mqtt', word)).toBe(true)
  })

  test('every word of a refusal at the desk is', () => {
    for (const word of DENIALS) expect(isCounted('refused', 'enroll', word)).toBe(true)
  })
})

test.each<[number, string | undefined, boolean]>([
  [200, undefined, true],
  [302, undefined, true],
  [404, undefined, true],
  [405, undefined, true],
  [502, 'origin_unreachable', true],
  [504, 'origin_timeout', true],
  // a balancer or a parser in front of the door may have said it
  [400, undefined, false],
  [408, undefined, false],
  [503, undefined, false],
  [403, undefined, false],
  [404, 'no_application', false],
  // a reason that is none of ours is an origin's own, and says no more than none
  [404, 'no_such_pump', true],
  [409, 'version_conflict', true],
  [403, 'wants_a_login', false],
  [503, 'origin_is_full', false],
])('who is told %d %s was let in: %s', (status, reason, letIn) => {
  expect(isLetIn(status, reason)).toBe(letIn)
})
