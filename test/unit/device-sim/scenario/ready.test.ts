/** The ready scenarios, and how one is found: by its name, or by a path. */

import { execFileSync } from 'node:child_process'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseDocument } from 'yaml'
import { calm } from '#device-sim/scenario/defaults.ts'
import { loadScenario, scenarioNames, scenarioText } from '#device-sim/scenario/load.ts'
import { readWhole } from '#device-sim/scenario/read.ts'
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
