import { expect, test } from 'vitest'
import { summaryLines } from '#device-sim/report/summary.ts'
import { NOTHING, sampleReport } from '../../../support/simulation-report.ts'

const lines = summaryLines(sampleReport(), { html: 'out/report.html', csv: 'out/series.csv' })

test.each([
  '✓ revocation-drill: passed, 1 drill not tried',
  'devices     200 asked for, 200 enrolled by REST, 106 renewals',
  'refused     https: certificate_revoked 90, request_timeout 15',
  '            mqtt: connack_5 30',
  '  ✓ full_handshakes             checked 7,011 times',
  '  – clones_noticed              not judged: no certificate was copied in this scenario',
  '  ✓ https.p99<500ms  https.p99 is 498.2 ms',
  'drills: 7 of 7 expectations held',
  '  – clone  not tried: it needs an operator token',
  'generator   kept up',
  'reports     html out/report.html',
  '            csv out/series.csv',
])('it says: %s', (line) => {
  expect(lines).toContain(line)
})

test('the figures of latency stand under their heads', () => {
  const from = lines.findIndex((line) => line.startsWith('latency'))
  const table = lines.slice(from, lines.indexOf('', from))
  expect(table[0]).toMatch(/^latency +count +missing +p50 +p90 +p99 +p99\.9 +max$/)
  expect(table[1]).toMatch(/^https +4,885 +0 +4\.04 ms/)
  expect(new Set(table.map((line) => line.length)).size).toBe(1)
})

test('what did not hold has its evidence; what came from outside cannot move the cursor', () => {
  const text = summaryLines(sampleReport({ failing: true, foreign: '\u001b[2J\nx' })).join('\n')
  expect(text).toMatch(
    /^✗ revocation-drill: NOT OK, 1 drill not tried\n {4}invariant revoked_stay_out was broken 2 times/,
  )
  expect(text).toContain(
    '  ✗ revoked_stay_out            BROKEN 2 of 1,204 times\n      sim-3f2a-17?[2J?x: GET',
  )
  expect(text).toContain('  ✗ other_ca https  expected certificate_untrusted, got 200?[2J?x')
  expect(text).toContain('https       nobody was admitted')
  expect(text).not.toContain('\u001b')
})

test('a generator that was the bottleneck is said in words', () => {
  expect(summaryLines(sampleReport({ bound: true })).join('\n')).toMatch(
    /generator {3}WAS THE BOTTLENECK: latencies are not those of the server\n {12}worker 1 was busy/,
  )
})

test('of nothing it says that there is nothing', () => {
  const text = summaryLines(sampleReport(NOTHING)).join('\n')
  expect(text).toMatch(/refused {5}none\nerrors {6}none\n\nlatency {5}nothing was measured/)
  expect(text).not.toMatch(/invariants|drills|NaN|undefined/)
})

test('a name that is huge is cut, not wrapped', () => {
  for (const line of summaryLines(sampleReport({ failing: true, foreign: 'x'.repeat(5_000) })))
    expect(line.length).toBeLessThanOrEqual(400)
})
