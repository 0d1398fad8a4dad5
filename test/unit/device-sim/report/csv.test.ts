import { parse } from 'csv-parse/sync'
import { expect, test } from 'vitest'
import { CSV_COLUMNS, csvReport } from '#device-sim/report/csv.ts'
import { sampleReport } from '../../../support/simulation-report.ts'

const rowsOf = (text: string): Record<string, string>[] =>
  parse(text, { columns: true, record_delimiter: '\r\n' })

test('a row a second, with its figures', () => {
  const report = sampleReport()
  const rows = rowsOf(csvReport(report))
  expect(rows).toHaveLength(report.series.length)
  for (const [i, point] of report.series.entries()) {
    const row = rows[i] ?? {}
    expect(row['at_ms']).toBe(String(point.at_ms))
    expect(row['admitted_https']).toBe(String(point.counts['admitted_https'] ?? 0))
    expect(row['https_p99_ms']).toBe(String(point.measures['https']?.p99 ?? ''))
    expect(row['https_count']).toBe(String(point.measures['https']?.count ?? 0))
    expect(row['server gateway']).toBe(String(point.servers['gateway']))
    expect(row['refused https certificate_revoked']).toBe(
      String(point.refused['https certificate_revoked'] ?? 0),
    )
  }
  expect(rows.at(-1)?.['refused_https']).toBe(
    String(report.series.at(-1)?.refused['https certificate_revoked']),
  )
})

test('the first columns are the same without any second', () => {
  expect(csvReport({ series: [] })).toBe(`${CSV_COLUMNS.join(',')}\r\n`)
  expect(
    csvReport(sampleReport())
      .split('\r\n')[0]
      ?.startsWith(`${CSV_COLUMNS.join(',')},`),
  ).toBe(true)
  expect(new Set(CSV_COLUMNS).size).toBe(CSV_COLUMNS.length)
})

test('a name from outside is one field, and no formula', () => {
  const evil = '=cmd|"x",\r\n\u0000y'
  const text = csvReport(sampleReport({ failing: true, foreign: evil }))
  const [row] = rowsOf(text)
  const heads = Object.keys(row ?? {})
  expect(heads).toContain('refused enroll token_spent=cmd|"x",\ny')
  for (const head of heads) expect(head).toMatch(/^[a-z]/)
  expect(text).not.toContain('\u0000')
})

test('there are not more columns of reasons than can be read', () => {
  const [point] = sampleReport({ seconds: 1, gathering: 0 }).series
  const refused = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`https r${i}`, i + 1]))
  const series = point === undefined ? [] : [{ ...point, refused }]
  const heads = Object.keys(rowsOf(csvReport({ series }))[0] ?? {})
  expect(heads.filter((head) => head.startsWith('refused https '))).toHaveLength(100)
  expect(heads).toContain('refused https r499')
})
