import { once } from 'node:events'
import { request } from 'node:http'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import type { Live } from '#device-sim/report/live.ts'
import { openPrometheus } from '#device-sim/report/prometheus.ts'
import { sampleLive } from '../../../support/simulation-report.ts'

const listen = { host: '127.0.0.1', port: 0 }

const scrape = async (read: () => Live | undefined): Promise<readonly string[]> => {
  await using endpoint = await openPrometheus({ listen, read })
  const answer = await fetch(endpoint.url)
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
  return (await answer.text()).split('\n')
}

test('what there is at that moment', async () => {
  const live = sampleLive()
  const lines = await scrape(() => live)
  const https = live.totals.measures['https']
  expect(lines).toContain('# TYPE sallyport_sim_refused_total counter')
  expect(lines).toContain('sallyport_sim_devices 200')
  expect(lines).toContain('sallyport_sim_phase{phase="running"} 1')
  expect(lines).toContain('sallyport_sim_phase{phase="gathering"} 0')
  expect(lines).toContain(
    `sallyport_sim_events_total{event="admitted_https"} ${live.totals.counts['admitted_https']}`,
  )
  expect(lines).toContain(
    `sallyport_sim_latency_seconds{measure="https",window="run",quantile="0.99"} ${(https?.p99 ?? 0) / 1_000}`,
  )
  expect(lines).toContain('sallyport_sim_active_faults{kind="link"} 1')
  // a line is a name, labels and a number
  for (const line of lines.filter((each) => each !== '' && !each.startsWith('#')))
    expect(line).toMatch(/^sallyport_sim_[a-z_]+(\{([a-z_]+="[^"]*",?)+\})? [\d.e+-]+$/)
})

test('before the first second there is nothing, and that is no failure', async () => {
  const lines = await scrape(() => undefined)
  const values = lines.filter((line) => line !== '' && !line.startsWith('#'))
  expect(values.filter((line) => !line.endsWith(' 0'))).toEqual([])
})

test('a scrape does not remember the one before', async () => {
  let live = sampleLive()
  await using endpoint = await openPrometheus({ listen, read: () => live })
  await (await fetch(endpoint.url)).text()
  live = { ...live, faults: [], totals: { ...live.totals, counts: { published: 7 } } }
  const text = await (await fetch(endpoint.url)).text()
  expect(text).toContain('sallyport_sim_events_total{event="published"} 7')
  expect(text).not.toMatch(/admitted_https|kind="link"/)
})

test('reasons from outside are bounded in number and letters, and none is lost', async () => {
  const https: Record<string, number> = Object.fromEntries<number>([
    ...Array.from({ length: 80 }, (_, i): [string, number] => [`reason_${i}`, 1_000 - i]),
    ['a"} 1\nevil{x="', 5],
    ['x'.repeat(65), 5],
    ['others', 5],
  ])
  const live = sampleLive()
  const lines = await scrape(() => ({ ...live, totals: { ...live.totals, refused: { https } } }))
  const found = lines.filter((line) => line.startsWith('sallyport_sim_refused_total{'))
  expect(found).toHaveLength(51)
  const sum = found.reduce((all, line) => all + Number(line.split(' ').at(-1)), 0)
  expect(sum).toBe(Object.values(https).reduce((all, n) => all + n, 0))
  expect(found.join('\n')).not.toContain('evil')
})

test('a counter that was shown once stays, and none falls, when other reasons overtake it', async () => {
  let https: Record<string, number> = Object.fromEntries(
    Array.from({ length: 80 }, (_, i): [string, number] => [`reason_${i}`, 1_000 - i]),
  )
  const live = sampleLive()
  const read = () => ({ ...live, totals: { ...live.totals, refused: { https } } })
  await using endpoint = await openPrometheus({ listen, read })
  const counters = async (): Promise<Map<string, number>> => {
    const text = await (await fetch(endpoint.url)).text()
    const lines = text.split('\n').filter((line) => line.startsWith('sallyport_sim_refused_total{'))
    return new Map(lines.map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ').at(-1))]))
  }
  const first = await counters()
  https = Object.fromEntries(Object.entries(https).map(([name, n], i) => [name, n + (i >= 60 ? 9_000 : 1)]))
  const second = await counters()
  expect([...second.keys()]).toEqual([...first.keys()])
  for (const [name, n] of first) expect(second.get(name)).toBeGreaterThan(n)
})

test.each([
  ['POST', '/metrics'],
  ['GET', '/'],
  ['GET', '/metrics/'],
])('%s %s is not there', async (method, path) => {
  await using endpoint = await openPrometheus({ listen, read: () => undefined })
  const answer = await fetch(new URL(path, endpoint.url), { method })
  await answer.text()
  expect(answer.status).toBe(404)
})

test.each([
  ['127.0.0.1', 'localhost', 200],
  ['127.0.0.1', 'LOCALHOST:9', 200],
  ['127.0.0.1', '127.0.0.1:9090', 200],
  ['127.0.0.1', '[::1]', 200],
  ['127.0.0.1', 'evil.test', 421],
  ['127.0.0.1', '192.0.2.1', 421],
  ['127.0.0.1', 'localhost.evil.test', 421],
  ['127.0.0.1', 'localhost@evil.test', 421],
  ['0.0.0.0', '192.0.2.1:9090', 200],
  ['0.0.0.0', 'evil.test', 421],
  ['localhost', 'localhost', 200],
])('on %s, asked for as %o: %i', async (host, name, expected) => {
  await using endpoint = await openPrometheus({ listen: { host, port: 0 }, read: () => undefined })
  const asking = request({
    port: new URL(endpoint.url).port,
    path: '/metrics',
    headers: { host: name },
  }).end()
  const [answer] = (await once(asking, 'response')) as [{ statusCode: number; resume(): void }]
  answer.resume()
  expect(answer.statusCode).toBe(expected)
})

test('what fails to be read is a 500, and the next scrape is answered', async () => {
  let broken = true
  await using endpoint = await openPrometheus({
    listen,
    read() {
      if (broken) throw new Error('no')
      return undefined
    },
  })
  const first = await fetch(endpoint.url)
  await first.text()
  broken = false
  const second = await fetch(endpoint.url)
  await second.text()
  expect([first.status, second.status]).toEqual([500, 200])
})

test('a port that is taken is said', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  await expect(
    openPrometheus({ listen: { host: '127.0.0.1', port }, read: () => undefined }),
  ).rejects.toThrow(`config_invalid: --prometheus: cannot listen on 127.0.0.1 port ${port} (EADDRINUSE)`)
  taken.close()
})
