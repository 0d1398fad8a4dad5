/** What a server writes is a name like any other, whatever names JavaScript knows: from the event to every form of the report. */

import { expect, test } from 'vitest'
import { createMeasures } from '#device-sim/measure/measuring.ts'
import { createTotals } from '#device-sim/measure/totals.ts'
import { parseAssertion } from '#device-sim/scenario/assertions.ts'
import { judgeAssertion } from '#device-sim/scenario/judge.ts'
import { csvReport } from '#device-sim/report/csv.ts'
import { htmlReport } from '#device-sim/report/html/html-report.ts'
import { junitReport } from '#device-sim/report/junit.ts'
import { summaryLines } from '#device-sim/report/summary.ts'
import { sampleReport } from '../../../support/simulation-report.ts'

const NAMES = ['constructor', '__proto__', 'toString', 'valueOf', 'hasOwnProperty']

test.each(NAMES)('%s', (name) => {
  using measures = createMeasures()
  const about = { device: 'd', at: 1, door: 'https' } as const
  for (let times = 0; times < 41; times++) {
    measures.sink({ ...about, kind: 'error', detail: name })
    measures.sink({ ...about, kind: 'refused', reason: name, millis: 1 })
  }
  const sample = structuredClone(measures.sample({ devices: 1, connected: 0, underWay: 0 }))
  const totals = createTotals()
  // in two: once it is found, once it is added
  totals.add(0, sample)
  totals.add(1, sample)
  const figures = totals.totals()
  expect(Object.entries(figures.errors['https'] ?? {})).toEqual([[name, 82]])
  const series = totals.points(0).map((point) => ({ ...point, servers: {} }))
  expect(series.map(({ errors }) => errors)).toEqual([{ https: 82 }])
  expect(Object.entries(series[0]?.refused ?? {})).toEqual([[`https ${name}`, 82]])

  const judged = (text: string) =>
    judgeAssertion(parseAssertion(text), {
      ...figures,
      ranked: totals.ranked(),
      generator: { bound: false, gathering: { bound: false, reasons: [] } },
      load: 'closed',
      duration: 1_000,
    })
  for (const figure of ['errors', 'errors.https', 'refused', 'refused.https', 'refused.unexpected']) {
    expect(judged(`${figure}==82`)).toEqual({ held: true, value: 82, why: 'it was 82' })
    expect(judged(`${figure}==0`).held).toBe(false)
  }

  const report = sampleReport({ over: { ...figures, series } })
  expect(htmlReport(report)).toContain(`<code>${name}</code>`)
  expect(csvReport(report)).toContain(`refused https ${name}`)
  expect(summaryLines(report).join('\n')).toContain(`https: ${name} 82`)
  expect(junitReport(report)).toMatch(/^<\?xml/)
})
