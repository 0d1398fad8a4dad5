/** docs/scenarios.md says of every key what the schema says, of every ready scenario what its file says, and of nothing else. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { COUNTERS, MEASURES } from '#device-sim/measure/measures.ts'
import { OPERATORS, parseAssertion } from '#device-sim/scenario/assertions.ts'
import { expectedOf, type Schema } from '#device-sim/scenario/conform.ts'
import { EXPECTED_REFUSALS } from '#device-sim/scenario/expected.ts'
import { loadScenario, scenarioNames } from '#device-sim/scenario/load.ts'
import { readScenario } from '#device-sim/scenario/read.ts'
import { SCHEMA } from '#device-sim/scenario/resolve.ts'

const text = readFileSync(join(import.meta.dirname, '../../../../docs/scenarios.md'), 'utf8')

/** Cells of the rows under this heading of a table. */
const rowsUnder = (head: string): readonly (readonly string[])[] => {
  const lines = text.split('\n')
  const at = lines.findIndex((line) => line.startsWith(`| ${head} `))
  const end = lines.findIndex((line, index) => index > at && !line.startsWith('|'))
  return lines.slice(at + 2, end).map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  )
}

/** Of a key, as it is written in YAML. */
const shown = (value: unknown): string => {
  if (Array.isArray(value)) return '[]'
  if (typeof value !== 'object' || value === null) return value === '' ? "''" : String(value)
  const inner = Object.entries(value).map(([name, each]) => `${name}: ${shown(each)}`)
  return inner.length === 0 ? '{}' : `{ ${inner.join(', ')} }`
}

const valueOf = (schema: Schema): string => {
  const plain = Object.entries(schema.properties ?? {}).filter(
    ([, { description }]) => description === undefined,
  )
  const [first] = plain
  return first === undefined || first[1].properties !== undefined
    ? expectedOf(schema)
    : `weights: ${plain.map(([name]) => name).join(', ')}`
}

const rowsOf = (schema: Schema, path: string): string[][] =>
  Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => {
    const here = path === '' ? name : `${path}.${name}`
    if (inner.description === undefined) return []
    const required = schema.required?.includes(name) ? '**needed**' : '–'
    const usual = inner.default === undefined ? required : `\`${shown(inner.default)}\``
    return [
      [`\`${here}\``, valueOf(inner), usual, inner.description],
      ...rowsOf(inner, here),
      ...(inner.items === undefined ? [] : rowsOf(inner.items, `${here}[]`)),
    ]
  })

test('a row for each key, in the order of the schema', () => {
  expect(rowsUnder('key')).toEqual(rowsOf(SCHEMA, ''))
})

test('a row for each ready scenario', () => {
  expect(rowsUnder('name')).toEqual(
    scenarioNames().map((name) => [`\`${name}\``, loadScenario(name, '/').summary]),
  )
})

test('a row for each measure, and each counter by name', () => {
  expect(rowsUnder('measure')).toEqual(
    Object.entries(MEASURES).map(([name, about]) => [`\`${name}\``, about]),
  )
  expect(text).toContain(
    `Counters: ${COUNTERS.map((name) => `\`${name}\``).join(', ')}.`.replaceAll(', ', ', '),
  )
})

test('the refusals that each fault explains', () => {
  const words = (reasons: readonly string[]): string =>
    reasons.length === 0 ? '–' : reasons.map((reason) => `\`${reason}\``).join(', ')
  const explaining = Object.entries(EXPECTED_REFUSALS).filter(
    ([, { doors, enroll }]) => doors.length + enroll.length > 0,
  )
  expect(rowsUnder('fault').map(([fault, , doors, enroll]) => [fault, doors, enroll])).toEqual(
    explaining.map(([kind, { doors, enroll }]) => [`\`${kind}\``, words(doors), words(enroll)]),
  )
})

describe('its examples', () => {
  test('the file is one', () => {
    const [, yaml] = /```yaml\n([^`]*)```/.exec(text) ?? []
    expect(readScenario(yaml ?? '', 'docs.yaml')).toMatchObject({ devices: 100, duration: 60_000 })
  })

  test('each figure of the table can be asserted', () => {
    const examples = rowsUnder('figure').flatMap(
      ([, , examples_]) => examples_?.match(/(?<=`)[^`]+(?=`)/g) ?? [],
    )
    const assertions = examples.filter((example) => OPERATORS.some((operator) => example.includes(operator)))
    expect(assertions.length).toBeGreaterThanOrEqual(7)
    for (const example of assertions) parseAssertion(example)
  })

  test('it names all operators', () => {
    expect(text).toContain(`Operators: ${OPERATORS.map((each) => `\`${each}\``).join(' ')}.`)
  })
})
