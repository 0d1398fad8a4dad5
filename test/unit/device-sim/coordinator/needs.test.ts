/** What cannot come about is refused before anything is tried, and what cannot be had is said. */

import { describe, expect, test } from 'vitest'
import { checkFeasible, lifeNotHad, type Fleet } from '#device-sim/coordinator/needs.ts'
import type { SimulationOptions } from '#device-sim/coordinator/options.ts'
import { readScenario } from '#device-sim/scenario/read.ts'

const optionsOf = (yaml: string, o: Partial<SimulationOptions> = {}): SimulationOptions =>
  ({
    scenario: readScenario(`api_version: 1\nduration: 60s\n${yaml}\n`, 'mine.yaml'),
    credentials: {},
    operator: undefined,
    foreign: false,
    ...o,
  }) as SimulationOptions

describe('a fault that cannot come about', () => {
  const OPERATOR = { url: 'https://localhost:1', token: 'x', rootPem: undefined }
  const refusal = (yaml: string, o: Partial<SimulationOptions>): string | undefined => {
    try {
      checkFeasible(optionsOf(yaml, o))
      return undefined
    } catch (error) {
      return (error as { detail: string }).detail
    }
  }
  test.each<[string, boolean, RegExp | undefined]>([
    [
      'timeline: [{ at: 2s, offline: {} }, { at: 2s, reconnect: {} }, { at: 2s, link: { delay: 1s } }]',
      true,
      undefined,
    ],
    ['timeline: [{ at: 2s, clone: { rival: connection } }]', true, undefined],
    [
      'timeline: [{ at: 2s, offline: {} }, { at: 3s, renew: {} }]',
      true,
      /mine, timeline entry 2 \(renew at 3 s\) takes an enroll desk/,
    ],
    ['timeline: [{ at: 2s, clone: {} }]', true, /timeline entry 1 \(clone at 2 s\) takes an enroll desk/],
    [
      'timeline: [{ at: 2s, revoke: {} }]',
      true,
      /is done by the operator of a Sallyport, and --target is none/,
    ],
    ['certificate_ttl: 45s', true, /has certificate_ttl: nobody enrols or renews at a --target/],
    ['advice_every: 5s', true, /has advice_every: nobody enrols or renews/],
    ['drills: all', true, /has drills/],
    [
      'timeline: [{ at: 3s, renew: {} }, { at: 2s, clone: {} }]\ncertificate_ttl: 45s\nadvice_every: 5s',
      false,
      undefined,
    ],
    [
      'timeline: [{ at: 2s, revoke: {} }]',
      false,
      /timeline entry 1 \(revoke at 2 s\) needs an operator token/,
    ],
  ])('%s, at a foreign target: %s', (yaml, foreign, says) => {
    const said = refusal(yaml, { foreign })
    if (says === undefined) expect(said).toBeUndefined()
    else expect(said).toMatch(says)
  })

  test('an operator brings about what an operator can', () => {
    expect(refusal('timeline: [{ at: 2s, revoke: {} }]', { operator: OPERATOR })).toBeUndefined()
  })

  test('a copy beside a connection, where nobody has one', () => {
    expect(() =>
      optionsOf('doors: { https: 1 }\ntimeline: [{ at: 2s, clone: { rival: connection } }]'),
    ).toThrow(/timeline\[0\]\.clone\.rival: got connection, expected renewal: no device comes by MQTT/)
  })
})

describe('the life of certificates is asked of what the run makes', () => {
  const claim = { certificatePem: '', keyPem: '', chainPem: '' }
  const fleet: Fleet = { name: 'x', fresh: true, kept: 0, byToken: 3, byClaim: 1, rootPem: undefined }
  test.each<[string, SimulationOptions['credentials'], Partial<Fleet>, string | undefined]>([
    ['made for the run', {}, {}, undefined],
    ['a token that was given', { token: 'x' }, {}, '3 devices enrol with a token that was given'],
    ['a token, and nobody who uses it', { token: 'x' }, { byToken: 0 }, undefined],
    ['a claim certificate', { claim }, {}, '1 devices enrol with a claim certificate that was given'],
    ['a state', {}, { kept: 2 }, '2 devices had certificates before'],
    [
      'all of it',
      { token: 'x', claim },
      { kept: 2 },
      '2 devices had certificates before, 3 devices enrol with a token that was given, 1 devices enrol with a claim certificate that was given',
    ],
  ])('%s', (_, credentials, over, expected) => {
    const said = (yaml: string) => lifeNotHad(optionsOf(yaml, { credentials }), { ...fleet, ...over })
    expect(said('certificate_ttl: 45s')).toBe(
      expected === undefined ? undefined : `certificate_ttl 45s was not asked for: ${expected}`,
    )
    expect(said('')).toBeUndefined()
  })
})
