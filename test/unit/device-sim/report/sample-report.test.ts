/** The reports that the other tests here are made with are reports. */

import { Check, Errors } from 'typebox/value'
import { expect, test } from 'vitest'
import { SimulationReportSchema } from '#wire/simulation-report.ts'
import { sampleReport } from '../../../support/simulation-report.ts'

test.each([
  {},
  { failing: true, foreign: '<' },
  { bound: true },
  { seconds: 0, gathering: 0 },
  { seconds: 1 },
])('a sample of %j is what the schema says', (options) => {
  const report = sampleReport(options)
  expect([...Errors(SimulationReportSchema, report)]).toEqual([])
  expect(Check(SimulationReportSchema, JSON.parse(JSON.stringify(report)))).toBe(true)
})

test('it is the same each time', () => {
  expect(sampleReport()).toEqual(sampleReport())
})

test('nothing but what is named', () => {
  expect(Check(SimulationReportSchema, { ...sampleReport(), more: 1 })).toBe(false)
})
