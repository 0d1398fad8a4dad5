/** `sim ls`, `sim show`, `sim schema`: what they print. No server is asked. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Check } from 'typebox/value'
import type { TSchema } from 'typebox'
import { describe, expect, test } from 'vitest'
import { run } from '#cli/run.ts'
import { scenarioNames, scenarioText } from '#device-sim/scenario/load.ts'
import { ScenarioFileSchema } from '#wire/scenario.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { fakeIo, type FakeIo } from './fake-io.ts'

const said = async (args: readonly string[], cwd = '/'): Promise<{ code: number; io: FakeIo }> => {
  const io = fakeIo({ cwd })
  return { code: await run(args, io), io }
}

describe('sim ls', () => {
  test('as a table', async () => {
    const { code, io } = await said(['sim', 'ls'])
    expect(code).toBe(0)
    const [head, ...rows] = io.stdout().trimEnd().split('\n')
    expect(head).toMatch(/^NAME +DEVICES +LASTS +WHAT$/)
    expect(rows.map((row) => row.split(' ')[0])).toEqual(scenarioNames())
    expect(io.stdout()).toMatch(/^calm +25 +until ended +Every device enrols/m)
    expect(io.stdout()).toMatch(/^offline-90-days +100 +1m20s +Away /m)
  })

  test('as JSON', async () => {
    const { io } = await said(['sim', 'ls', '--json'])
    const { items, next } = JSON.parse(io.stdout()) as { items: { name: string }[]; next: null }
    expect(next).toBeNull()
    expect(items.map(({ name }) => name)).toEqual(scenarioNames())
    expect(items.find(({ name }) => name === 'calm')).toEqual({
      name: 'calm',
      summary: 'Every device enrols, then makes a request or publishes a message every few seconds.',
      devices: 25,
      duration_ms: null,
    })
  })
})

describe('sim show', () => {
  test.each(scenarioNames())('%s: as it is written, and with every default', async (name) => {
    expect((await said(['sim', 'show', name])).io.stdout()).toBe(scenarioText(name, '/').text)
    const whole: unknown = JSON.parse((await said(['sim', 'show', name, '--json'])).io.stdout())
    expect(Check(ScenarioFileSchema, whole)).toBe(true)
    expect(whole).toMatchObject({ api_version: 1, bounds: {}, clocks: {} })
  })

  test('what it prints as JSON is a scenario file again', async () => {
    using folder = temporaryFolder()
    const { io } = await said(['sim', 'show', 'flaky-link', '--json'])
    writeFileSync(join(folder.path, 'again.yaml'), io.stdout())
    const again = await said(['sim', 'show', './again.yaml', '--json'], folder.path)
    expect(again.io.stdout()).toBe(io.stdout())
  })

  test.each([
    ['calmm', /^sallyport: no scenario is called "calmm" \(did you mean calm\?\); there are /],
    [
      './bad.yaml',
      /^sallyport: bad\.yaml:2: devices: got 0, expected a whole number from 1 to 100000 \(config_invalid\)\n$/,
    ],
  ])('%s is a mistake of whoever typed it', async (given, expected) => {
    using folder = temporaryFolder()
    writeFileSync(join(folder.path, 'bad.yaml'), 'api_version: 1\ndevices: 0\n')
    const { code, io } = await said(['sim', 'show', given], folder.path)
    expect(code).toBe(2)
    expect(io.stdout()).toBe('')
    expect(io.stderr()).toMatch(expected)
  })
})

describe('sim schema', () => {
  const schemaOf = async (of: string): Promise<TSchema & Readonly<Record<string, unknown>>> =>
    JSON.parse((await said(['sim', 'schema', of])).io.stdout()) as never

  test('what is printed judges as the program does', async () => {
    const schema = await schemaOf('scenario')
    expect(schema).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: 'urn:sallyport:scenario:1',
      additionalProperties: false,
      required: ['api_version'],
    })
    const entry = (fault: object): object => ({ api_version: 1, timeline: [{ at: '1s', ...fault }] })
    expect(Check(schema, { api_version: 1 })).toBe(true)
    expect(Check(schema, entry({ offline: {} }))).toBe(true)
    expect(Check(schema, entry({}))).toBe(false)
    expect(Check(schema, entry({ offline: {}, suspend: {} }))).toBe(false)
    expect(Check(schema, { api_version: 1, surprise: 1 })).toBe(false)
  })

  test('every key says what it is', async () => {
    const silent: string[] = []
    const look = (schema: Readonly<Record<string, unknown>>, path: string): void => {
      const properties = (schema['properties'] ?? {}) as Record<string, Record<string, unknown>>
      for (const [name, inner] of Object.entries(properties)) {
        if (inner['description'] === undefined) silent.push(`${path}${name}`)
        look(inner, `${path}${name}.`)
        look((inner['items'] ?? {}) as Record<string, unknown>, `${path}${name}[].`)
      }
    }
    look(await schemaOf('scenario'), '')
    // a weight says no more than its map does
    expect(silent.filter((path) => !/^(?:doors|enroll|keys)\./.test(path))).toEqual([])
  })

  test('of reports', async () => {
    expect(await schemaOf('report')).toMatchObject({ $id: 'urn:sallyport:simulation-report:1' })
  })

  test('of nothing else', async () => {
    const { code, io } = await said(['sim', 'schema', 'fleet'])
    expect(code).toBe(2)
    expect(io.stderr()).toMatch(/scenario, report/)
  })
})
