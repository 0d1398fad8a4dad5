/** One URL, asked: what counts as an answer, what does not, and what is sent. Servers on loopback, some of them hostile. */

import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterAll, expect, test } from 'vitest'
import { createCrlFetcher, MAX_FETCHED_BYTES, type Validators } from '#enroll/anchor-crls/fetch.ts'

const fetcher = createCrlFetcher()
const impatient = createCrlFetcher({ timeout: 200 })
const servers: Server[] = []
const sockets = new Set<Socket>()
afterAll(async () => {
  await fetcher[Symbol.asyncDispose]()
  await impatient[Symbol.asyncDispose]()
  for (const socket of sockets) socket.destroy()
  for (const server of servers) server.close()
})

const listening = async (server: Server): Promise<string> => {
  servers.push(server)
  server.on('connection', (socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/ca.crl`
}
const serve = (answer: RequestListener): Promise<string> => listening(createServer(answer))
const ask = (url: string, validators?: Validators, signal = new AbortController().signal) =>
  fetcher.fetch(url, validators, signal)

test('the octets, and what to ask with the next time', async () => {
  const url = await serve((_, response) =>
    response.setHeader('etag', '"1"').setHeader('last-modified', 'Tue, 24 Nov 2026 12:00:00 GMT').end('crl'),
  )
  expect(await ask(url)).toEqual({
    kind: 'octets',
    octets: Buffer.from('crl'),
    validators: { etag: '"1"', lastModified: 'Tue, 24 Nov 2026 12:00:00 GMT' },
  })
})

test('what it asks: no more than it has to say, and the query of the URL', async () => {
  const asked: { url: string | undefined; headers: IncomingHttpHeaders }[] = []
  const url = await serve((request, response) => {
    asked.push({ url: request.url, headers: request.headers })
    response.statusCode = 304
    response.end()
  })
  expect(await ask(`${url}?ca=1`, { etag: '"1"', lastModified: 'then' })).toEqual({ kind: 'unchanged' })
  const [{ url: path, headers } = { url: '', headers: {} }] = asked
  expect(path).toBe('/ca.crl?ca=1')
  expect(headers).toMatchObject({
    'if-none-match': '"1"',
    'if-modified-since': 'then',
    'user-agent': 'sallyport',
  })
  expect(Object.keys(headers).toSorted()).toEqual([
    'accept',
    'accept-encoding',
    'connection',
    'host',
    'if-modified-since',
    'if-none-match',
    'user-agent',
  ])
})

test('a redirect is not followed, wherever it leads', async () => {
  let reached = 0
  const target = await serve((_, response) => {
    reached += 1
    response.end('crl')
  })
  for (const location of [target, 'file:///etc/passwd', 'https://127.0.0.1:1/']) {
    const url = await serve((_, response) => response.writeHead(302, { location }).end('secret'))
    expect(await ask(url)).toEqual({
      kind: 'failed',
      problem: expect.stringMatching(/^it answered 302: redirects are not followed/) as string,
    })
  }
  expect(reached).toBe(0)
})

test.each<[string, RequestListener, RegExp, typeof fetcher?]>([
  ['not found', (_, response) => response.writeHead(404).end('secret of the inside'), /^it answered 404$/],
  ['an error', (_, response) => response.writeHead(500).end(), /^it answered 500$/],
  ['unchanged, and nobody asked', (_, response) => response.writeHead(304).end(), /^it answered 304$/],
  ['a part', (_, response) => response.writeHead(206).end('c'), /^it answered 206$/],
  [
    'compressed',
    (_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('x'),
    /compressed/,
  ],
  [
    'cut off',
    (_, response) => response.writeHead(200, { 'content-length': '10' }).write('x', () => response.destroy()),
    /cannot be reached/,
  ],
  ['never whole', (_, response) => response.writeHead(200).write('x'), /took too long/, impatient],
  ['never begun', () => undefined, /took too long/, impatient],
  [
    'too many headers',
    (_, response) => response.writeHead(200, { 'x-long': 'x'.repeat(20_000) }).end(),
    /cannot be reached/,
  ],
])('failed: %s', async (_, answer, problem, by = fetcher) => {
  const got = await by.fetch(await serve(answer), undefined, new AbortController().signal)
  expect(got).toEqual({ kind: 'failed', problem: expect.stringMatching(problem) as string })
  expect(JSON.stringify(got)).not.toContain('secret')
})

test('too large, and not announced: it stops there', async () => {
  let sent = 0
  const chunk = Buffer.alloc(1_048_576)
  const url = await serve((_, response) => {
    const more = (error?: Error | null): void => {
      if (error) return
      sent += chunk.length
      response.write(chunk, more)
    }
    more()
  })
  expect(await ask(url)).toMatchObject({
    kind: 'failed',
    problem: expect.stringMatching(/larger than/) as string,
  })
  expect(sent).toBeLessThan(MAX_FETCHED_BYTES + 16 * chunk.length)
})

test('what is no HTTP, and nobody there', async () => {
  const odd = await listening(createTcpServer((socket) => socket.end('220 mail ready\r\n')))
  expect(await ask(odd)).toMatchObject({ problem: expect.stringMatching(/cannot be reached/) as string })
  const closed = createTcpServer()
  const url = await listening(closed)
  closed.close()
  await once(closed, 'close')
  expect(await ask(url)).toMatchObject({ problem: 'it cannot be reached (ECONNREFUSED)' })
})

test.each(['file:///etc/passwd', 'ftp://127.0.0.1/ca.crl', 'ldap://127.0.0.1/', 'ca.crl', ''])(
  'not a URL for this: %s',
  async (url) => {
    expect(await ask(url)).toMatchObject({ problem: expect.stringMatching(/not an http/) as string })
  },
)

test('a certificate that nobody here trusts', async () => {
  const url = (await serve((_, response) => response.end('x'))).replace('http:', 'https:')
  expect(await ask(url)).toMatchObject({ problem: expect.stringMatching(/cannot be reached/) as string })
})

test('ends when the desk does', async () => {
  const stop = new AbortController()
  const url = await serve(() => stop.abort())
  expect(await ask(url, undefined, stop.signal)).toMatchObject({ kind: 'failed' })
})
