/** What Node's parser keeps from fastify is answered, told in one log line and counted, as every other refusal. */

import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { createApp, httpServer } from '#enroll/http-app.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'

const { limits } = loadConfig({ desk: 'cli', env: {}, cwd: '/' })

const hear = async (text: string) => {
  const lines: Record<string, unknown>[] = []
  const log = createLog('enroll', 'info', {
    write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
  })
  const metrics = createMetrics('enroll')
  const server = httpServer({ ...limits, header_timeout: 200 }, undefined)
  const app = createApp({ name: 'devices', log, metrics, server, secure: false })
  await app.ready()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' })
  let heard = ''
  socket.on('data', (data) => (heard += data.toString()))
  socket.write(text)
  await once(socket, 'close')
  await app.close()
  server.close()
  return { heard, lines, counted: await metrics.text() }
}

test.each([
  [
    'headers too large',
    `GET / HTTP/1.1\r\nHost: a\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`,
    431,
    'headers_too_large',
  ],
  ['no HTTP', 'HELLO\r\n\r\n', 400, 'bad_request'],
  ['headers that do not end', 'GET / HTTP/1.1\r\nHost: a\r\n', 408, 'request_timeout'],
  ['CONNECT', 'CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n', 405, 'method_not_allowed'],
  ['an expectation', 'GET / HTTP/1.1\r\nHost: a\r\nExpect: cake\r\n\r\n', 417, 'expectation_failed'],
])('%s', async (_, text, status, reason) => {
  const { heard, lines, counted } = await hear(text)
  expect(heard).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
  const request_id = /"request_id":"([^"]+)"/.exec(heard)?.[1]
  expect(lines).toEqual([
    expect.objectContaining({
      listener: 'devices',
      msg: 'request',
      status,
      reason,
      request_id,
      address: '127.0.0.1',
    }),
  ])
  expect(counted).toMatch(
    new RegExp(
      `sallyport_enroll_requests_total\\{listener="devices",route="unknown",status="${status}",reason="${reason}",desk="enroll"\\} 1`,
    ),
  )
})
