import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { FleetError } from '#fleet/errors.ts'
import { operatorApi } from '#cli/operator-api.ts'

const TOKEN = `spo1.${'a'.repeat(16)}.${'b'.repeat(43)}`

const serve = async (listener: RequestListener): Promise<AsyncDisposable & { url: string }> => {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

const failure = async (work: Promise<unknown>): Promise<FleetError> => {
  const error = await work.catch((thrown: unknown) => thrown)
  if (error instanceof FleetError) return error
  throw new Error(`expected a FleetError, got ${String(error)}`)
}

test('asks with the token, a JSON body, and an Idempotency-Key where something is made', async () => {
  const asked: unknown[] = []
  await using server = await serve((request, response) => {
    const { authorization, 'idempotency-key': key, 'content-type': type } = request.headers
    let body = ''
    request.on('data', (chunk) => (body += chunk))
    request.on('end', () => {
      asked.push([request.method, request.url, authorization, typeof key, type, body])
      response.end('{"ok":true}')
    })
  })
  const api = operatorApi({ url: server.url, token: TOKEN })
  expect(
    await api.call('GET', '/v1/devices', { query: { limit: 5, after: undefined, state: 'a&b' } }),
  ).toEqual({ ok: true })
  await api.call('POST', '/v1/tokens', { body: { uses: 2 } })
  expect(asked).toEqual([
    ['GET', '/v1/devices?limit=5&state=a%26b', `Bearer ${TOKEN}`, 'undefined', undefined, ''],
    ['POST', '/v1/tokens', `Bearer ${TOKEN}`, 'string', 'application/json', '{"uses":2}'],
  ])
})

test('a problem document becomes its code, and stays the cause', async () => {
  const problem = { type: 'x', title: 't', status: 409, reason: 'conflict', request_id: 'r' }
  await using server = await serve((_, response) =>
    response.writeHead(409, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem)),
  )
  const error = await failure(operatorApi({ url: server.url, token: TOKEN }).call('GET', '/'))
  expect([error.code, error.cause]).toEqual(['conflict', problem])
})

test.each<[string, RequestListener]>([
  ['a web page', (_, response) => response.end('<html>')],
  ['an error of another program', (_, response) => response.writeHead(500).end('{}')],
  // the token must not be carried somewhere else
  ['a redirect', (_, response) => response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end()],
  ['a connection that breaks', (request) => request.socket.destroy()],
])('%s is not Sallyport', async (_, listener) => {
  await using server = await serve(listener)
  expect((await failure(operatorApi({ url: server.url, token: TOKEN }).call('GET', '/'))).code).toBe(
    'target_unreachable',
  )
})

test.each<[string, Record<string, string>, unknown]>([
  ['an ETag: it is to be as it was read', { etag: '"7"' }, { value: { name: 'a' }, etag: '"7"' }],
  // `*` in its place would be a change without a condition
  ['none: nothing is found that could be changed', {}, 'target_unreachable'],
])('what is found has %s', async (_, headers, found) => {
  await using server = await serve((_request, response) =>
    response.writeHead(200, headers).end('{"name":"a"}'),
  )
  const finding = operatorApi({ url: server.url, token: TOKEN }).find('/v1/anchors/a')
  if (typeof found === 'string') expect((await failure(finding)).code).toBe(found)
  else expect(await finding).toEqual(found)
})

test('nobody there: says so, with the URL and what to do', async () => {
  const error = await failure(operatorApi({ url: 'http://127.0.0.1:9', token: TOKEN }).call('GET', '/'))
  expect(error.code).toBe('target_unreachable')
  expect(error.detail).toMatch(/127\.0\.0\.1:9.*npm start/)
})

test.each(['http://192.0.2.1:8080', 'http://enroll.example.com:8080', 'http://127.0.0.1.example.com'])(
  'a token is never sent in the clear to %s',
  (url) => {
    expect(() => operatorApi({ url, token: TOKEN })).toThrow(/over https/)
  },
)

test.each(['http://127.0.0.1:8080', 'http://[::1]:8080', 'http://localhost:1', 'https://enroll.example.com'])(
  'and may be sent to %s',
  (url) => {
    expect(() => operatorApi({ url, token: TOKEN })).not.toThrow()
  },
)
