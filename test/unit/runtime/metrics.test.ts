import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Server } from 'node:http'
import { countsOf, createMetrics, createMetricsServer } from '#runtime/metrics.ts'
import { listen, urlFor } from '#runtime/listen.ts'

it('counts, observes and gauges, with the desk on everything', async () => {
  const metrics = createMetrics('gateway')
  metrics.counter('decisions_total', 'Decisions', ['door', 'reason']).inc({ door: 'https', reason: 'none' })
  metrics
    .counter('decisions_total', 'Decisions', ['door', 'reason'])
    .inc({ door: 'https', reason: 'none' }, 2)
  metrics.histogram('wait_seconds', 'Waits', [], [1, 2]).observe(1.5)
  metrics.gauge('open', 'Open').set(7)
  metrics.gauge('asked', 'Asked', [], () => 9).set(1)
  const text = await metrics.text()
  expect(text).toContain('decisions_total{door="https",reason="none",desk="gateway"} 3')
  expect(text).toContain('wait_seconds_bucket{le="2",desk="gateway"} 1')
  expect(text).toContain('wait_seconds_bucket{le="1",desk="gateway"} 0')
  expect(text).toContain('open{desk="gateway"} 7')
  expect(text).toContain('asked{desk="gateway"} 9')
})

it('reads a gauge with labels anew at each scrape: what is gone is gone', async () => {
  const metrics = createMetrics('enroll')
  const lives = new Map([
    ['one', 1],
    ['two', 2],
  ])
  metrics.gauge('life', 'Life', ['issuer'], () => [...lives].map(([issuer, value]) => [{ issuer }, value]))
  expect(await metrics.text()).toContain('life{issuer="two",desk="enroll"} 2')
  lives.delete('two')
  const text = await metrics.text()
  expect(text).toContain('life{issuer="one",desk="enroll"} 1')
  expect(text).not.toContain('two')
})

it('is the sum over the processes of a desk, which travels as JSON', async () => {
  const [own, worker] = [createMetrics('gateway'), createMetrics('gateway')]
  for (const metrics of [own, worker]) {
    metrics.counter('decisions_total', 'Decisions', ['door']).inc({ door: 'https' }, 2)
    metrics.gauge('open', 'Open').set(3)
    metrics.histogram('wait_seconds', 'Waits', [], [1, 2]).observe(1.5)
  }
  worker.counter('decisions_total', 'Decisions', ['door']).inc({ door: 'mqtt' })
  const sent = JSON.parse(JSON.stringify(await worker.values())) as Awaited<ReturnType<typeof worker.values>>
  own.include(() => Promise.resolve([sent]))
  const text = await own.text()
  expect(text).toContain('decisions_total{door="https",desk="gateway"} 4')
  expect(text).toContain('decisions_total{door="mqtt",desk="gateway"} 1')
  expect(text).toContain('open{desk="gateway"} 6')
  expect(text).toContain('wait_seconds_bucket{le="2",desk="gateway"} 2')
  expect(text).toContain('wait_seconds_count{desk="gateway"} 2')

  // what is left of a process that is gone: what it counted, not what it had open
  own.include(async () => [await countsOf([sent, sent])])
  const later = await own.text()
  expect(later).toContain('decisions_total{door="https",desk="gateway"} 6')
  expect(later).toContain('open{desk="gateway"} 3')
  expect(later).toContain('wait_seconds_count{desk="gateway"} 3')
})

let server: Server
let base: string
let ready: boolean | Error = false
beforeEach(async () => {
  server = createMetricsServer(createMetrics('enroll'), () => {
    if (ready instanceof Error) throw ready
    return ready
  })
  const { host, port } = await listen(server, { host: '127.0.0.1', port: 0, key: 'enroll.metrics_listen' })
  base = urlFor('http', host, port)
})
afterEach(() => {
  server.close()
  server.closeAllConnections()
})

it.each([
  ['GET', '/metrics', false, 200, /process_cpu/],
  ['GET', '/healthz', false, 200, /^ok$/m],
  ['GET', '/readyz', false, 503, /^not ready$/m],
  ['GET', '/readyz', true, 200, /^ready$/m],
  ['GET', '/readyz', new Error('locked'), 503, /^not ready$/m],
  ['GET', '/', true, 404, /not found/],
  ['GET', '/metrics?x', true, 404, /not found/],
  ['GET', '/constructor', true, 404, /not found/],
  ['POST', '/healthz', true, 404, /not found/],
] as const)('%s %s (ready: %s) → %i', async (method, path, isReady, status, body) => {
  ready = isReady
  const reply = await fetch(base + path, { method })
  expect(reply.status).toBe(status)
  expect(await reply.text()).toMatch(body)
})
