/** What is answered beside fastify is answered as fastify answers it: each request is put to both, with one route behind them. */

import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import Type from 'typebox'
import { expect, test } from 'vitest'
import type { DirectRoute } from '#enroll/direct-route.ts'
import { createApp, httpServer } from '#enroll/http-app.ts'
import { FleetError } from '#fleet/errors.ts'
import { loadConfig } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'

const { limits } = loadConfig({ desk: 'cli', env: {}, cwd: '/' })

const Body = Type.Object(
  { name: Type.String({ maxLength: 8 }), csr: Type.Optional(Type.String({ maxLength: 4 })) },
  { additionalProperties: false },
)

const ROUTE: DirectRoute<{ readonly name: string }, string> = {
  schema: Body,
  authorize: async ({ raw, logged }) => {
    if (raw.headers.authorization === undefined)
      throw new FleetError('credential_required', 'send a claim token')
    logged['claim'] = 'one'
    return raw.headers.authorization
  },
  act: async ({ logged }, claim, { name }) => {
    if (name === 'limit') throw new FleetError('rate_limited', 'wait', { retryAfter: 7 })
    if (name === 'broken') throw new Error('a secret of ours')
    logged['device_id'] = name
    if (name === 'wait') return { status: 202, headers: { 'retry-after': '5' }, body: { state: 'waiting' } }
    return { status: 201, body: { name, claim, text: 'é\n"' } }
  },
}

const open = async (directly: boolean) => {
  const lines: Record<string, unknown>[] = []
  const log = createLog('enroll', 'info', {
    write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>),
  })
  const metrics = createMetrics('enroll')
  const server = httpServer(limits, undefined)
  const app = createApp({ name: 'devices', log, metrics, server, secure: true })
  let acted = 0
  const { schema, authorize } = ROUTE
  const act: typeof ROUTE.act = (...args) => {
    acted += 1
    return ROUTE.act(...args)
  }
  if (directly) app.direct.set('/v1/enroll', { schema, authorize, act } as DirectRoute)
  const claims = new WeakMap<object, string>()
  app.post(
    '/v1/enroll',
    {
      schema: { body: Body },
      onRequest: async (request) => {
        claims.set(request, await authorize(request))
      },
    },
    async (request, reply) => {
      const claim = claims.get(request) as string
      const { status, headers = {}, body } = await act(request, claim, request.body)
      return reply.code(status).headers(headers).send(body)
    },
  )
  await app.ready()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { app, server, lines, metrics, acted: () => acted, port: (server.address() as AddressInfo).port }
}

/** Until the other side ends it, or nothing more can come. */
const ask = async (port: number, text: string): Promise<string> => {
  const socket = connect({ port, host: '127.0.0.1' })
  let heard = ''
  socket.setEncoding('latin1')
  socket.write(text)
  for await (const data of socket as AsyncIterable<string>) {
    heard += data
    const length = /content-length: (\d+)/i.exec(heard)?.[1]
    if (length !== undefined && heard.length >= heard.indexOf('\r\n\r\n') + 4 + Number(length)) break
  }
  return heard
}

const VARYING = /(x-request-id: |"request_id":"|^date: )[^\r"]+/gim
/** Headers in the order of the alphabet. */
const plain = (heard: string) => {
  const [head = '', body = ''] = heard.split('\r\n\r\n')
  const [status, ...headers] = head.replaceAll(VARYING, '$1').split('\r\n')
  return {
    status,
    headers: headers.map((line) => line.toLowerCase()).toSorted(),
    body: body.replaceAll(VARYING, '$1'),
  }
}

const both = async (text: string) => {
  const seen = []
  for (const directly of [true, false]) {
    const { app, server, lines, metrics, port, acted } = await open(directly)
    const heard = await ask(port, text)
    await app.close()
    server.closeAllConnections()
    const counted = (await metrics.text())
      .split('\n')
      .filter((line) => line.startsWith('sallyport_enroll_requests'))
    const told = lines.map(({ time, request_id, ms, err, ...rest }) => ({
      ...rest,
      time: typeof time,
      request_id: typeof request_id,
      ms: typeof ms,
      err: err !== undefined,
    }))
    seen.push({ ...plain(heard), told, counted, acted: acted() })
  }
  return seen as [Awaited<(typeof seen)[0]>, Awaited<(typeof seen)[0]>]
}

const HEAD = 'POST /v1/enroll HTTP/1.1\r\nhost: a\r\n'
const TOKEN = 'authorization: Bearer x\r\n'
const JSON_TYPE = 'content-type: application/json\r\n'
const post = (body: string, head = `${HEAD}${TOKEN}${JSON_TYPE}`): string =>
  `${head}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`

test.each([
  ['good', post('{"name":"lamp"}'), 201],
  ['waiting', post('{"name":"wait"}'), 202],
  ['refused by the route', post('{"name":"limit"}'), 429],
  ['broken', post('{"name":"broken"}'), 500],
  ['no credential', post('{"name":"lamp"}', `${HEAD}${JSON_TYPE}`), 401],
  ['of the wrong type', post('{"name":1}'), 400],
  ['too long for the schema', post('{"name":"a","csr":"12345"}'), 413],
  ['missing', post('{}'), 400],
  ['one too many', post('{"name":"lamp","more":1}'), 400],
  ['no object', post('[]'), 400],
  ['null', post('null'), 400],
  ['a text before it', post('\ufeff{"name":"lamp"}'), 201],
  ['of another media type', post('{"name":"lamp"}', `${HEAD}${TOKEN}content-type: text/plain\r\n`), 415],
  [
    'with a charset',
    post('{"name":"lamp"}', `${HEAD}${TOKEN}content-type: application/json; charset=utf-8\r\n`),
    201,
  ],
  ['too large, unread', `${HEAD}${TOKEN}${JSON_TYPE}content-length: 9000000\r\n\r\n`, 413],
  [
    'in chunks',
    `${HEAD}${TOKEN}${JSON_TYPE}transfer-encoding: chunked\r\n\r\nf\r\n{"name":"lamp"}\r\n0\r\n\r\n`,
    201,
  ],
  ['to no host', post('{"name":"lamp"}', `POST /v1/enroll HTTP/1.1\r\n${TOKEN}${JSON_TYPE}`), 400],
  [
    'with a query',
    post('{"name":"lamp"}', `POST /v1/enroll?a=1 HTTP/1.1\r\nhost: a\r\n${TOKEN}${JSON_TYPE}`),
    201,
  ],
  ['by another method', `PUT /v1/enroll HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n`, 405],
])('%s', async (_, text, status) => {
  const [direct, fastifys] = await both(text)
  expect(direct.status).toContain(String(status))
  expect(direct).toEqual(fastifys)
})

test.each([
  ['empty', ''],
  ['no JSON', '{"name":'],
  ['a prototype', '{"name":"lamp","__proto__":{"x":1}}'],
  ['a constructor', '{"name":"lamp","constructor":{"prototype":{"x":1}}}'],
])('%s: the same but that fastify ends the connection', async (_, body) => {
  const [direct, fastifys] = await both(post(body))
  expect(direct.status).toContain('400')
  expect(direct.acted).toBe(0)
  const { headers, ...rest } = fastifys
  expect(direct).toMatchObject(rest)
  const without = (lines: readonly string[]) =>
    lines.filter((line) => !/^(connection|keep-alive):/.test(line))
  expect(without(direct.headers)).toEqual(without(headers))
})

test('a credential is judged before the body is read, and the connection of who has none ends', async () => {
  const { app, server, port, acted } = await open(true)
  const heard = await ask(port, `${HEAD}${JSON_TYPE}content-length: 1000\r\n\r\n`)
  expect(heard).toMatch(/^HTTP\/1\.1 401 /)
  expect(heard).toMatch(/connection: close/i)
  expect(acted()).toBe(0)
  await app.close()
  server.closeAllConnections()
})

test('who goes away in the middle of a body is not answered, and the next one is', async () => {
  const { app, server, port, acted } = await open(true)
  const socket = connect({ port, host: '127.0.0.1' })
  const arrived = once(server, 'request')
  socket.write(`${HEAD}${TOKEN}${JSON_TYPE}content-length: 1000\r\n\r\n{`)
  const [, response] = (await arrived) as [unknown, NodeJS.EventEmitter]
  const closed = once(response, 'close')
  socket.destroy()
  await closed
  expect(await ask(port, post('{"name":"lamp"}'))).toMatch(/^HTTP\/1\.1 201 /)
  expect(acted()).toBe(1)
  await app.close()
  server.closeAllConnections()
})

test('while it closes, fastify answers 503', async () => {
  const { app, server, port, acted } = await open(true)
  const socket = connect({ port, host: '127.0.0.1' })
  await once(socket, 'connect')
  const first = post('{"name":"lamp"}')
  socket.write(first.slice(0, 60))
  const done = app.close()
  socket.write(first.slice(60))
  const [data] = (await once(socket, 'data')) as [Buffer]
  expect(data.toString()).toMatch(/^HTTP\/1\.1 503 /)
  expect(acted()).toBe(0)
  await done
  server.closeAllConnections()
})
