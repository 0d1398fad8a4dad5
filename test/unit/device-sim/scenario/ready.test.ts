/** The ready scenarios, and how one is found: by its name, or by a path. */

import { execFileSync } from 'node:child_process'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseDocument } from 'yaml'
import { calm } from '#device-sim/scenario/defaults.ts'
import { loadScenario, scenarioNames, scenarioText } from '#device-sim/scenario/load.ts'
import { parseAssertion } from '#device-sim/scenario/assertions.ts'
import { withoutContradicted } from '#device-sim/scenario/contradicted.ts'
import { expectedRefusals } from '#device-sim/scenario/expected.ts'
import { judgeAssertion, type Figures } from '#device-sim/scenario/judge.ts'
import { override, type Overrides } from '#device-sim/scenario/override.ts'
import { readWhole } from '#device-sim/scenario/read.ts'
import type { Scenario } from '#device-sim/scenario/scenario.ts'
import { planFleet } from '#device-sim/life/plan.ts'
import { ScenarioFileSchema } from '#wire/scenario.ts'
import { temporaryFolder } from '../../../support/temporary.ts'

const NAMES = [
  'boot-storm',
  'calm',
  'clock-skew',
  'flaky-link',
  'hostile',
  'intermediate-rotation',
  'mixed',
  'offline-90-days',
  'renewal-day',
  'revocation-drill',
  'stolen-key',
]

test('those that were promised are there', () => {
  expect(scenarioNames()).toEqual(NAMES)
})

describe.each(NAMES)('%s', (name) => {
  const scenario = loadScenario(name, '/nowhere')

  test('says what it is for, in one sentence and in its head', () => {
    expect(scenario.name).toBe(name)
    expect(scenario.summary).toMatch(/^[A-Z].{20,110}\.$/)
    expect(scenarioText(name, '/').text).toMatch(/^# .{60,}\n/)
  })

  test('asserts something', () => {
    expect(scenario.assertions).not.toEqual([])
  })

  test.skipIf(name === 'calm')('is over in 20 to 90 seconds, with a fleet worth it', () => {
    expect(scenario.duration).toBeGreaterThanOrEqual(20_000)
    expect(scenario.duration).toBeLessThanOrEqual(90_000)
    expect(scenario.devices).toBeGreaterThanOrEqual(50)
    expect(scenario.devices).toBeLessThanOrEqual(200)
  })

  test('nothing of it is done to a device that is revoked: the operator API would refuse it', () => {
    const revoked = scenario.timeline.find(({ kind }) => kind === 'revoke')?.at ?? Infinity
    for (const { kind, at, lasts = Infinity } of scenario.timeline)
      if (kind === 'suspend') expect(at + lasts).toBeLessThan(revoked)
  })
})

/** A run in which everything goes well, and as little of it happens as may. */
const least = (scenario: Scenario): Figures => {
  const doors = new Set(planFleet(scenario, 's').map(({ door }) => door))
  const refused: Record<string, Record<string, number>> = {}
  for (const each of expectedRefusals(scenario)) {
    const [door = '', reason = ''] = each.split(' ')
    refused[door] = { ...refused[door], [reason]: 1 }
  }
  const renews =
    scenario.certificateTtl !== undefined || scenario.timeline.some(({ kind }) => kind === 'renew')
  return {
    measures: {},
    ranked: {},
    counts: {
      ...(doors.has('https') ? { admitted_https: 1 } : {}),
      ...(doors.has('mqtt') ? { admitted_mqtt: 1, published: 1 } : {}),
      ...(renews ? { renewed: 1 } : {}),
    },
    refused,
    errors: {},
    generator: { bound: false, gathering: { bound: false, reasons: [] } },
    load: scenario.load.kind,
    duration: scenario.duration ?? 60_000,
    expected: expectedRefusals(scenario),
  }
}

const OVERRIDES: readonly Overrides[] = [
  {},
  { devices: 1 },
  { devices: 2 },
  { devices: 2_000 },
  { rate: 0.1 },
  { rate: 5_000 },
  { pace: 60_000 },
  { duration: 90_000 },
  { ramp: 1_000 },
  { mix: { https: 1 } },
  { mix: { mqtt: 1 } },
  { mix: { https: 1, mqtt: 999 }, devices: 3 },
  { enroll: { est: 1 } },
  { enroll: { mqtt: 1 } },
  { payload: 0 },
]

/** What cannot be meant is refused in a sentence. */
const REFUSED = ['stolen-key {"mix":{"https":1}}']

test.each(REFUSED)('%s is refused', (each) => {
  const [name = '', given = ''] = each.split(' ')
  expect(() => override(loadScenario(name, '/'), JSON.parse(given) as Overrides)).toThrow(/got .*, expected /)
})

describe.each(OVERRIDES)('with %j', (given) => {
  test.each(NAMES.filter((name) => !REFUSED.includes(`${name} ${JSON.stringify(given)}`)))(
    '%s can be kept',
    (name) => {
      const named = loadScenario(name, '/')
      const { scenario } = withoutContradicted(override(named, given), named.assertions)
      expect(scenario.assertions.length).toBeGreaterThan(0)
      const run = least(scenario)
      for (const text of scenario.assertions)
        expect([text, judgeAssertion(parseAssertion(text), run)]).toEqual([
          text,
          expect.objectContaining({ held: true }),
        ])
    },
  )
})

test.each<[Overrides, readonly string[]]>([
  [{}, []],
  [{ devices: 1 }, ['admitted_mqtt>0', 'delivery.p99<5s', 'errors.mqtt>0']],
  [{ mix: { https: 1 } }, ['admitted_mqtt>0', 'delivery.p99<5s', 'errors.mqtt>0']],
  [{ mix: { mqtt: 1 } }, ['https.p99<5s', 'rate.https>=1/s', 'https.count>0', 'refused.https>0']],
  // a share of which a hundred devices are too few for one
  [
    { devices: 100, mix: { https: 1, mqtt: 1_000 } },
    ['https.p99<5s', 'rate.https>=1/s', 'https.count>0', 'refused.https>0'],
  ],
])('what options %j leave nobody to keep is dropped, and nothing else', (given, expected) => {
  const own = [
    'refused.unexpected==0',
    'errors==0',
    'errors.https==0',
    'lost==0',
    'admitted_mqtt>0',
    'https.p99<5s',
    'delivery.p99<5s',
    'rate.https>=1/s',
    'rate.enroll>=1/s',
    'https.count>0',
    'errors.mqtt>0',
    'refused.https>0',
    'enroll.p99<9s',
  ]
  const named = { ...calm(), assertions: own }
  // what somebody typed stays, and fails
  const typed = ['admitted_mqtt>0', 'admitted_https>0']
  const { scenario, dropped } = withoutContradicted(override(named, { ...given, assertions: typed }), own)
  expect(dropped).toEqual(expected)
  expect(scenario.assertions).toEqual([...own.filter((text) => !expected.includes(text)), ...typed])
})

test('calm.yaml says the defaults, and all of them', () => {
  const { text } = scenarioText('calm', '/')
  expect(loadScenario('calm', '/')).toEqual(calm())
  expect(parseDocument(text).toJS()).toEqual(readWhole(text, 'calm.yaml').whole)
  const unsaid = ['duration', 'certificate_ttl', 'advice_every']
  const keys = Object.keys(ScenarioFileSchema.properties).filter((key) => !unsaid.includes(key))
  expect(Object.keys(parseDocument(text).toJS() as object)).toEqual(keys)
})

test('calm is what it was', () => {
  expect(calm()).toMatchObject({
    devices: 25,
    ramp: 5_000,
    duration: undefined,
    load: { kind: 'closed', pace: 4_000, jitter: 0.5 },
    doors: { https: 1, mqtt: 1 },
    enroll: { rest: 1, est: 0, mqtt: 0 },
    keys: { 'P-256': 6, 'P-384': 1, 'P-521': 1, Ed25519: 1, RSA: 1 },
    mqtt: { version: 4, qos: 1, clean: true, subscribe: true },
    timeline: [],
    drills: [],
  })
})

describe('finding one', () => {
  test('a file, by its path from where it was said', () => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'mine.yml'), 'api_version: 1\ndevices: 3\n')
    for (const path of ['mine.yml', './mine.yml', join(folder.path, 'mine.yml')])
      expect(loadScenario(path, folder.path)).toMatchObject({ name: 'mine', devices: 3 })
  })

  test('its complaints name it as it is seen from there', () => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'mine.yml'), 'api_version: 1\ndevices: 0\n')
    expect(() => loadScenario('./mine.yml', folder.path)).toThrow(/config_invalid: mine\.yml:2: devices: /)
    expect(() => loadScenario(join(folder.path, 'mine.yml'), '/usr')).toThrow(
      `config_invalid: ${folder.path}/mine.yml:2: devices: `,
    )
  })

  test('a file never hides a ready one', () => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'calm'), 'api_version: 1\ndevices: 3\n')
    expect(loadScenario('calm', folder.path).devices).toBe(25)
    expect(loadScenario('./calm', folder.path).devices).toBe(3)
  })

  const others = NAMES.join(', ')
  test.each([
    [
      'calmm',
      `no scenario is called "calmm" (did you mean calm?); there are ${others}, and files, such as ./mine.yaml`,
    ],
    [
      'Revocation-Drill',
      `no scenario is called "Revocation-Drill" (did you mean revocation-drill?); there are ${others}, and files, such as ./mine.yaml`,
    ],
    [
      'offline',
      `no scenario is called "offline" (did you mean offline-90-days?); there are ${others}, and files, such as ./mine.yaml`,
    ],
    ['xyzzy', `no scenario is called "xyzzy"; there are ${others}, and files, such as ./mine.yaml`],
    ['', `no scenario is called ""; there are ${others}, and files, such as ./mine.yaml`],
    ['./nothing.yaml', 'nothing.yaml: cannot be read: ENOENT'],
    ['.', /: is no ordinary file$/],
    ['big.yaml', 'big.yaml: larger than 64 KiB, which no scenario is'],
    ['endless.yaml', 'endless.yaml: is no ordinary file'],
    // nobody writes into it
    ['pipe.yaml', 'pipe.yaml: is no ordinary file'],
    ['latin.yaml', 'latin.yaml: is not UTF-8 text'],
    ['a\0.yaml', /cannot be read: ERR_INVALID_ARG_VALUE$/],
  ])('%j', (given, expected) => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'big.yaml'), Buffer.alloc(65_537, ' '))
    writeFileSync(join(folder.path, 'latin.yaml'), Buffer.from('summary: \xe9', 'latin1'))
    symlinkSync('/dev/zero', join(folder.path, 'endless.yaml'))
    execFileSync('mkfifo', [join(folder.path, 'pipe.yaml')])
    let detail = ''
    try {
      loadScenario(given, folder.path)
    } catch (error) {
      ;({ detail } = error as { detail: string })
    }
    if (typeof expected === 'string') expect(detail).toBe(expected)
    else expect(detail).toMatch(expected)
  })
})

test('the ready ones are read from where the program is', () => {
  const file = join(import.meta.dirname, '../../../../src/device-sim/scenarios/mixed.yaml')
  expect(scenarioText('mixed', '/tmp').text).toBe(readFileSync(file, 'utf8'))
})
