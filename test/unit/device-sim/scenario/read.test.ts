/** What a scenario file may say, and exactly what is answered to one that says it wrong: file, line, key, what was there, what was expected. */

import fc from 'fast-check'
import { Check } from 'typebox/value'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { calm } from '#device-sim/scenario/defaults.ts'
import { readScenario, readWhole } from '#device-sim/scenario/read.ts'
import { FleetError } from '#fleet/errors.ts'
import { ScenarioFileSchema } from '#wire/scenario.ts'

const HEAD = 'api_version: 1\n'

const detailOf = (text: string): string | undefined => {
  try {
    readScenario(text, 'mine.yaml')
    return undefined
  } catch (error) {
    if (!(error instanceof FleetError)) throw error
    expect(error.code).toBe('config_invalid')
    return error.detail
  }
}

test('nothing said is calm', () => {
  const { name, summary, ...rest } = readScenario(HEAD, '/somewhere/mine.yaml')
  const { name: _, summary: __, ...usual } = calm()
  expect(name).toBe('mine')
  expect(summary).toBe('')
  expect(rest).toEqual(usual)
})

test('all of it, in its own units', () => {
  const text = `${HEAD}summary: A fifth is revoked.
devices: 100
ramp: 5s
duration: 1m
load: { open: { rate: 0.5, arrivals: constant } }
payload: 0
doors: { mqtt: 3 }
enroll: { est: 1, rest: 2 }
keys: { Ed25519: 1, RSA: 0.5 }
key_agreement: X25519MLKEM768
certificate_ttl: 60s
advice_every: 10s
mqtt: { version: 5, qos: 0, clean: false, keepalive: 1m30s, subscribe: false }
clocks: { share: 0.5, from: -2h, to: 200ms }
timeline:
  - { at: 10s, for: 20s, share: 0.3, link: { delay: 200ms, jitter: 50ms, loss: 0.02 } }
  - { at: 10s, link: { half_open: true } }
  - { at: 15s, share: 0.2, revoke: { reason: keyCompromise } }
  - { at: 15s, for: 10s, suspend: {} }
  - { at: 20s, for: 40s, offline: {} }
  - { at: 20s, reconnect: {} }
  - { at: 30s, renew: { new_key: true } }
  - { at: 30s, clone: {} }
  - { at: 40s, rotate: { step: activate, force: true } }
drills: [no_certificate, no_certificate]
bounds: { revoked_within: 2s }
assert: ['https.p99<500ms']
`
  const at = (fault: object, share = 1, lasts?: number) => ({ share, lasts, ...fault })
  expect(readScenario(text, 'all.yaml')).toEqual({
    name: 'all',
    summary: 'A fifth is revoked.',
    devices: 100,
    ramp: 5_000,
    duration: 60_000,
    load: { kind: 'open', rate: 0.5, arrivals: 'constant' },
    payload: 0,
    doors: { https: 0, mqtt: 3 },
    enroll: { rest: 2, est: 1, mqtt: 0 },
    keys: { 'P-256': 0, 'P-384': 0, 'P-521': 0, Ed25519: 1, RSA: 0.5 },
    keyAgreement: 'X25519MLKEM768',
    certificateTtl: '60s',
    adviceEvery: 10_000,
    mqtt: { version: 5, qos: 0, clean: false, keepalive: 90, subscribe: false },
    clocks: { share: 0.5, from: -7_200_000, to: 200 },
    timeline: [
      at(
        { kind: 'link', at: 10_000, delay: 200, jitter: 50, loss: 0.02, halfOpen: false, slowHandshake: 0 },
        0.3,
        20_000,
      ),
      at({ kind: 'link', at: 10_000, delay: 0, jitter: 0, loss: 0, halfOpen: true, slowHandshake: 0 }),
      at({ kind: 'revoke', at: 15_000, reason: 'keyCompromise' }, 0.2),
      at({ kind: 'suspend', at: 15_000 }, 1, 10_000),
      at({ kind: 'offline', at: 20_000 }, 1, 40_000),
      at({ kind: 'reconnect', at: 20_000 }),
      at({ kind: 'renew', at: 30_000, newKey: true }),
      at({ kind: 'clone', at: 30_000, rival: 'renewal' }),
      at({ kind: 'rotate', at: 40_000, step: 'activate', force: true }),
    ],
    drills: ['no_certificate'],
    bounds: { revokedWithin: 2_000, drain: 5_000 },
    assertions: ['https.p99<500ms'],
  })
})

describe('defaults that depend', () => {
  test.each([
    ['', ['refused==0', 'errors==0', 'unanswered==0']],
    ['clocks: { share: 0.1, to: 1h }', ['refused==0', 'unanswered==0']],
    ['timeline: [{ at: 1s, reconnect: {} }]', []],
    ['assert: []', []],
  ])('assertions of %j', (text, expected) => {
    expect(readScenario(HEAD + text, 'a.yaml').assertions).toEqual(expected)
  })

  test('a ramp that nobody gave does not outlast the run', () => {
    expect(readScenario(`${HEAD}duration: 2s`, 'a.yaml').ramp).toBe(2_000)
  })

  test('a pace alone keeps its jitter', () => {
    const { load } = readScenario(`${HEAD}load: { closed: { pace: 0s } }`, 'a.yaml')
    expect(load).toEqual({ kind: 'closed', pace: 0, jitter: 0.5 })
  })
})

const fault = (text: string): string => `${HEAD}duration: 60s\ntimeline:\n  - ${text}\n`
const FAULTS = 'link, offline, reconnect, renew, clone, revoke, suspend, rotate'

describe('what is wrong is named', () => {
  test.each([
    // not a scenario at all
    ['', 'mine.yaml:1: got nothing, expected a map of keys'],
    ['- a', 'mine.yaml:1: got a list, expected a map of keys'],
    ['calm', 'mine.yaml:1: got "calm", expected a map of keys'],
    ['devices: 1', 'mine.yaml:1: api_version: got nothing, expected 1'],
    ['api_version: 2', 'mine.yaml:1: api_version: got 2, expected 1'],
    [
      'a: [',
      'mine.yaml:1: not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
    ],
    [
      '%YAML 1.1\n---\napi_version: 1\ndevices: 1:30\n',
      'mine.yaml:1: got a directive, expected plain YAML 1.2',
    ],
    [
      `${HEAD}---\n${HEAD}`,
      'mine.yaml:2: not valid YAML: Source contains multiple documents; please use YAML.parseAllDocuments()',
    ],
    [
      `${HEAD}drills: [[[[[[[[[a]]]]]]]]]`,
      'mine.yaml:2: drills[0][0][0][0][0][0][0]: got something nested too deeply, expected what the format has',
    ],
    // YAML's own tricks
    [`${HEAD}devices: &n 3`, 'mine.yaml:2: devices: got an anchor, expected none: a scenario has no aliases'],
    [
      `${HEAD}ramp: *n`,
      'mine.yaml:2: ramp: got an alias, expected the thing itself: a scenario has no anchors',
    ],
    [
      `${HEAD}devices: !!int 3`,
      'mine.yaml:2: devices: got the tag tag:yaml.org,2002:int, expected plain YAML',
    ],
    [`${HEAD}<<: { devices: 3 }`, /^mine.yaml:2: "<<": got an unknown key, expected one of: /],
    [`${HEAD}? [a]\n: 1`, 'mine.yaml:2: got a key that is no text, expected a name'],
    [
      `${HEAD}devices: 1\nramp: 1s\ndevices: 2`,
      'mine.yaml:4: devices: got it twice, first in line 2, expected it once',
    ],
    [
      `${HEAD}devices: 1\n"devices": 1`,
      'mine.yaml:3: devices: got it twice, first in line 2, expected it once',
    ],
    // keys
    [
      `${HEAD}devcies: 3`,
      /^mine.yaml:2: devcies: got an unknown key, expected one of: api_version, .*\(did you mean devices\?\)$/,
    ],
    [`${HEAD}__proto__: 3`, /^mine.yaml:2: __proto__: got an unknown key, expected one of: /],
    [`${HEAD}constructor: 3`, /^mine.yaml:2: constructor: got an unknown key, expected one of: /],
    [
      `${HEAD}mqtt:\n  qoss: 1`,
      /^mine.yaml:3: mqtt.qoss: got an unknown key, expected one of: version, .*\(did you mean qos\?\)$/,
    ],
    // plain values
    [`${HEAD}devices:`, 'mine.yaml:2: devices: got nothing, expected a whole number from 1 to 100000'],
    [`${HEAD}devices: 0`, 'mine.yaml:2: devices: got 0, expected a whole number from 1 to 100000'],
    [`${HEAD}devices: 1.5`, 'mine.yaml:2: devices: got 1.5, expected a whole number from 1 to 100000'],
    [`${HEAD}devices: 100001`, 'mine.yaml:2: devices: got 100001, expected a whole number from 1 to 100000'],
    [`${HEAD}devices: many`, 'mine.yaml:2: devices: got "many", expected a whole number from 1 to 100000'],
    [`${HEAD}devices: .inf`, 'mine.yaml:2: devices: got Infinity, expected a whole number from 1 to 100000'],
    [`${HEAD}devices: { a: 1 }`, 'mine.yaml:2: devices: got a map, expected a whole number from 1 to 100000'],
    [
      `${HEAD}payload: 1048577`,
      'mine.yaml:2: payload: got 1048577, expected a whole number from 0 to 1048576',
    ],
    [`${HEAD}ramp: 10`, 'mine.yaml:2: ramp: got 10, expected a duration from 0s to 1d'],
    [`${HEAD}ramp: -1s`, 'mine.yaml:2: ramp: got "-1s", expected a duration from 0s to 1d'],
    [`${HEAD}ramp: 25h`, 'mine.yaml:2: ramp: got "25h", expected a duration from 0s to 1d'],
    [`${HEAD}duration: 0s`, 'mine.yaml:2: duration: got "0s", expected a duration from 100ms to 366d'],
    [
      `${HEAD}clocks: { from: 2 hours }`,
      'mine.yaml:2: clocks.from: got "2 hours", expected a duration from -3650d to 3650d',
    ],
    [`${HEAD}mqtt: { version: 4 }`, 'mine.yaml:2: mqtt.version: got 4, expected one of: 3.1.1, 5'],
    [`${HEAD}mqtt: { qos: 2 }`, 'mine.yaml:2: mqtt.qos: got 2, expected a whole number from 0 to 1'],
    [`${HEAD}mqtt: { clean: "no" }`, 'mine.yaml:2: mqtt.clean: got "no", expected true or false'],
    [
      `${HEAD}mqtt: { keepalive: 1500ms }`,
      'mine.yaml:2: mqtt.keepalive: got 1s500ms, expected whole seconds',
    ],
    [
      `${HEAD}mqtt: { keepalive: 19h }`,
      'mine.yaml:2: mqtt.keepalive: got "19h", expected a duration from 0s to 65535s',
    ],
    // load
    [`${HEAD}load: {}`, 'mine.yaml:2: load: got none of them, expected exactly one of: closed, open'],
    [
      `${HEAD}load:\n  open:\n    rate: fast`,
      'mine.yaml:4: load.open.rate: got "fast", expected a number above 0, at most 1000000',
    ],
    [
      `${HEAD}load: { open: { rate: 0 } }`,
      'mine.yaml:2: load.open.rate: got 0, expected a number above 0, at most 1000000',
    ],
    [
      `${HEAD}load: { open: {} }`,
      'mine.yaml:2: load.open.rate: got nothing, expected a number above 0, at most 1000000',
    ],
    [
      `${HEAD}load: { open: { rate: 1 }, closed: {} }`,
      'mine.yaml:2: load: got closed and open, expected exactly one of: closed, open',
    ],
    [
      `${HEAD}load: { closed: { jitter: 2 } }`,
      'mine.yaml:2: load.closed.jitter: got 2, expected a number from 0 to 1',
    ],
    // weights
    [
      `${HEAD}doors: {}`,
      'mine.yaml:2: doors: got nothing but 0, expected at least one above 0 of: https, mqtt',
    ],
    [
      `${HEAD}keys: { P-256: 0 }`,
      'mine.yaml:2: keys: got nothing but 0, expected at least one above 0 of: P-256, P-384, P-521, Ed25519, RSA',
    ],
    [`${HEAD}enroll: { rest: -1 }`, 'mine.yaml:2: enroll.rest: got -1, expected a number from 0 to 1000000'],
    [
      `${HEAD}enroll: { scep: 1 }`,
      'mine.yaml:2: enroll.scep: got an unknown key, expected one of: rest, est, mqtt',
    ],
    // what does not go together
    [`${HEAD}duration: 5s\nramp: 6s`, 'mine.yaml:3: ramp: got 6s, expected at most the duration, 5s'],
    [
      `${HEAD}clocks: { from: 2h, to: 1h }`,
      'mine.yaml:2: clocks: got from after to, expected from to be at most to, as in {share: 0.5, from: -2h, to: 2h}',
    ],
    // the timeline
    [
      fault('{ offline: {} }'),
      'mine.yaml:4: timeline[0].at: got nothing, expected a duration from 0s to 366d',
    ],
    [fault('{ at: 1s }'), `mine.yaml:4: timeline[0]: got none of them, expected exactly one of: ${FAULTS}`],
    [
      fault('{ at: 1s, offline: {}, revoke: {} }'),
      `mine.yaml:4: timeline[0]: got offline and revoke, expected exactly one of: ${FAULTS}`,
    ],
    [fault('{ at: 1s, offline: true }'), 'mine.yaml:4: timeline[0].offline: got true, expected a map'],
    [fault('{ at: 1s, offline: }'), 'mine.yaml:4: timeline[0].offline: got nothing, expected a map'],
    [
      fault('{ at: 1s, share: 0, offline: {} }'),
      'mine.yaml:4: timeline[0].share: got 0, expected a number above 0, at most 1',
    ],
    [
      fault('{ at: 1s, share: 20, offline: {} }'),
      'mine.yaml:4: timeline[0].share: got 20, expected a number above 0, at most 1',
    ],
    [
      fault('{ at: 60s, offline: {} }'),
      'mine.yaml:4: timeline[0].at: got 1m, expected less than the end of the run, 1m',
    ],
    [
      fault('at: 50s\n    for: 11s\n    offline: {}'),
      'mine.yaml:5: timeline[0].for: got 11s from 50s on, expected at most the end of the run, 1m; without it, it lasts until then',
    ],
    [
      fault('{ at: 1s, for: 1s, renew: {} }'),
      'mine.yaml:4: timeline[0].for: got 1s, expected none: renew is done once',
    ],
    [
      fault('{ at: 1s, for: 1s, revoke: {} }'),
      'mine.yaml:4: timeline[0].for: got 1s, expected none: revoke is done once',
    ],
    [
      fault('{ at: 1s, share: 0.5, rotate: { step: retire } }'),
      'mine.yaml:4: timeline[0].share: got 0.5, expected none: rotate is of no devices in particular',
    ],
    [
      fault('{ at: 1s, rotate: {} }'),
      'mine.yaml:4: timeline[0].rotate.step: got nothing, expected one of: distribute, activate, retire',
    ],
    [
      fault('{ at: 1s, revoke: { reason: theft } }'),
      'mine.yaml:4: timeline[0].revoke.reason: got "theft", expected one of: unspecified, keyCompromise, cACompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn, aACompromise',
    ],
    [
      fault('{ at: 1s, link: {} }'),
      'mine.yaml:4: timeline[0].link: got no effect, expected at least one of: delay, loss, half_open, slow_handshake',
    ],
    [
      fault('{ at: 1s, link: { half_open: true, loss: 0.1 } }'),
      'mine.yaml:4: timeline[0].link: got half_open and another effect, expected half_open alone: nothing passes',
    ],
    [
      fault('{ at: 1s, link: { delay: 5ms, jitter: 6ms } }'),
      'mine.yaml:4: timeline[0].link.jitter: got 6ms, expected at most the delay, 5ms',
    ],
    // drills and assertions
    [`${HEAD}drills: some`, 'mine.yaml:2: drills: got "some", expected all, or a list of at most 100'],
    [
      `${HEAD}drills:\n  - no_certificat`,
      /^mine.yaml:3: drills\[0\]: got "no_certificat", expected one of: .*\(did you mean no_certificate\?\)$/,
    ],
    [
      `${HEAD}assert:\n  - errors==0\n  - https.p98<5ms`,
      'mine.yaml:4: assert[1]: got the statistic "p98", expected https. and one of: p50, p90, p99, p999, max, min, mean, count (did you mean p90?)',
    ],
    [`${HEAD}assert: errors==0`, 'mine.yaml:2: assert: got "errors==0", expected a list of at most 100'],
  ])('%j', (text, expected) => {
    const detail = detailOf(text)
    if (typeof expected === 'string') expect(detail).toBe(expected)
    else expect(detail).toMatch(expected)
  })
})

test.each([
  ['depth', '['.repeat(30_000), 'mine.yaml:1: not valid YAML: nested too deeply'],
  ['size', ' '.repeat(70_000), 'mine.yaml: larger than 64 KiB, which no scenario is'],
  [
    'a key',
    `${HEAD}${'k'.repeat(300)}: 1`,
    `mine.yaml:2: "${'k'.repeat(59)}…: got an unknown key, expected one of: ${Object.keys(ScenarioFileSchema.properties).join(', ')}`,
  ],
  [
    'a text',
    `${HEAD}summary: ${'s'.repeat(301)}`,
    `mine.yaml:2: summary: got "${'s'.repeat(59)}…, expected a text of at most 300 characters`,
  ],
  [
    'a timeline',
    `${HEAD}timeline:\n${'  - { at: 1s, reconnect: {} }\n'.repeat(101)}`,
    'mine.yaml:2: timeline: got 101 entries, expected at most 100',
  ],
])('too much of it: %s', (_, text, expected) => {
  expect(detailOf(text)).toBe(expected)
})

describe('whatever comes', () => {
  const names = ['api_version', ...Object.keys(ScenarioFileSchema.properties)]
  const leaf = fc.oneof(
    fc.constantFrom('1s', '-2h', 'all', 'poisson', '3.1.1', 'errors==0', null, true, 0, 1, 0.5, 1e9, NaN),
    fc.string({ maxLength: 12 }),
    fc.double(),
  )
  const inner = [
    'closed',
    'open',
    'pace',
    'rate',
    'at',
    'for',
    'share',
    'link',
    'revoke',
    'https',
    'P-256',
    'from',
  ]
  const node = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: 'small' },
      leaf,
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...inner), tie('tree'), { maxKeys: 3 }),
    ),
  })).tree

  test('the reader throws nothing but config_invalid, with a short line', () => {
    const yaml = fc.oneof(
      fc.string({ maxLength: 200 }),
      fc.string({ unit: fc.constantFrom(...'{}[]:-,&*!?|>#"\'\n a1%@`'.split('')), maxLength: 60 }),
      fc.dictionary(fc.constantFrom(...names), node, { maxKeys: 4 }).map((tree) => stringify(tree)),
    )
    fc.assert(
      fc.property(yaml, (text) => {
        const detail = detailOf(text) ?? detailOf(HEAD + text) ?? ''
        expect(detail.length).toBeLessThan(700)
      }),
      { numRuns: 400 },
    )
  })

  test('what it takes, the printed schema takes, and what that refuses, it refuses', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), node, { maxKeys: 2 }), (tree) => {
        const file = { ...tree, api_version: 1 }
        const text = stringify(file)
        if (detailOf(text) !== undefined) return
        expect(Check(ScenarioFileSchema, file)).toBe(true)
        const { whole, scenario } = readWhole(text, 'mine.yaml')
        expect(Check(ScenarioFileSchema, whole)).toBe(true)
        // said in full, it is the same
        expect(readScenario(stringify(whole), 'mine.yaml')).toEqual(scenario)
      }),
      { numRuns: 300 },
    )
  })
})
