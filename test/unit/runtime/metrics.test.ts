import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Server } from 'node:http'
import { createMetrics, createMetricsServer } from '#runtime/metrics.ts'
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
