/** docs/access.md against the code: its examples are read as a desk would read them, and its tables name everything that can be said. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { anchorToWire, readAnchor } from '#enroll/access/anchors.ts'
import { readApplication } from '#enroll/access/applications.ts'
import { readPolicy, readRuleGroup } from '#enroll/access/policies.ts'
import { POLICY_DECISIONS } from '#fleet/access.ts'
import { SELECTORS } from '#policy/access/selectors.ts'
import { ApplicationBody, type Fleet } from '#wire/access.ts'
import { makePki } from '../../../support/pki.ts'

const NOW = Date.UTC(2026, 10, 24, 12)
const { pem } = makePki({ now: NOW }).root
const text = readFileSync(join(import.meta.dirname, '../../../../docs/access.md'), 'utf8')
const blocks = [...text.matchAll(/### (.*)|```yaml\n([^]*?)```/g)]

/** The heading that each stands under, for the test's name. */
const examples = blocks.flatMap(([, , yaml], at): [string, string][] => {
  const heading = blocks.slice(0, at).findLast(([, title]) => title !== undefined)?.[1] ?? 'above all'
  return yaml === undefined ? [] : [[heading, yaml]]
})

test.each(examples)('%s', (_, yaml) => {
  const fleet = parse(yaml) as Fleet
  const { anchors = [], applications = [], policies = [], rule_groups = [] } = fleet
  for (const { name, ...body } of policies) expect(readPolicy(name, body)).toMatchObject({ name })
  for (const { name, ...body } of rule_groups) expect(readRuleGroup(name, body)).toMatchObject({ name })
  for (const { name, ...body } of anchors)
    expect(anchorToWire(readAnchor(name, { ...body, pem }, NOW))).toMatchObject({
      name,
      hostnames: body.hostnames,
    })
  for (const { name, https, ...body } of applications) {
    // of an example that only shows what changes
    if (https === undefined) continue
    const whole = https.origin_ca === undefined ? https : { ...https, origin_ca: pem }
    expect(readApplication(name, { ...body, https: whole }, NOW)).toMatchObject({ name })
  }
  expect(Object.keys(fleet).length).toBeGreaterThan(0)
})

const fieldsOf = (schema: { readonly properties: Readonly<Record<string, object>> }): string[] =>
  Object.keys(schema.properties)

test('every field of an application, every decision and every selector has its row', () => {
  const { https, mqtt } = ApplicationBody.properties
  const fields = fieldsOf(ApplicationBody).flatMap((field) => {
    if (field === 'https') return fieldsOf(https).map((each) => `https.${each}`)
    return field === 'mqtt' ? fieldsOf(mqtt).map((each) => `mqtt.${each}`) : [field]
  })
  const rows = text.split('\n').filter((line) => line.startsWith('|'))
  const first = rows.map((row) => row.split('|')[1]?.trim() ?? '')
  const wanted = [...fields, ...POLICY_DECISIONS].map((name) => `\`${name}\``)
  expect(wanted.filter((name) => !first.includes(name))).toEqual([])
  const selectors = [...Object.keys(SELECTORS), 'group']
  expect(selectors.filter((name) => !first.some((cell) => cell.includes(`{"${name}":`)))).toEqual([])
})
