/** An origin that remembers what it was asked, byte for byte as Node's parser gives it, and answers as a test tells it to. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'

export type Recorded = {
  readonly method: string
  readonly target: string
  readonly rawHeaders: readonly string[]
  /** lower-case names, every value */
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly trailers: readonly string[]
  readonly body: string
}

export type RecordingOrigin = AsyncDisposable & {
  readonly url: string
  readonly seen: Recorded[]
  /** resolves when the origin has begun to see its `count`th request since the start */
  begun(count: number): Promise<void>
  /** resolves when its `count`th broken-off request has been noticed */
  aborted(count: number): Promise<void>
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void

export type RecordingOptions = {
  /** PEM: it speaks TLS */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** a Unix socket in place of a port */
  readonly socketPath?: string
  /** the address that `url` names; default 127.0.0.1 */
  readonly hostname?: string
  readonly onUpgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
}

const plain: Answer = (_, response) => {
  response.writeHead(200, { 'content-type': 'text/plain' })
  response.end('origin says ok')
}

const counter = (): { up(): void; reach(count: number): Promise<void> } => {
  let at = 0
  let waiting: { count: number; resolve: () => void }[] = []
  return {
    up: () => {
      at += 1
      for (const one of waiting) if (at >= one.count) one.resolve()
      waiting = waiting.filter(({ count }) => count > at)
    },
    reach: (count) =>
      at >= count
        ? Promise.resolve()
        : new Promise((resolve) => {
            waiting.push({ count, resolve })
          }),
  }
}

/** @param answers by path; anything else gets 200. Called when the header is in; the body is recorded as it comes. */
export const openRecordingOrigin = async (
  answers: Readonly<Record<string, Answer>> = {},
  o: RecordingOptions = {},
): Promise<RecordingOrigin> => {
  const seen: Recorded[] = []
  const begun = counter()
  const aborted = counter()
  const server = o.tls === undefined ? createServer() : createTlsServer(o.tls)
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    let body = ''
    request.setEncoding('latin1')
    request.on('data', (chunk: string) => {
      body += chunk
    })
    request.on('error', () => {})
    response.on('close', () => {
      if (!response.writableFinished) aborted.up()
    })
    const target = request.url ?? ''
    const answer = answers[target.split('?')[0] ?? '']
    const note = (): void => {
      seen.push({
        method: request.method ?? '',
        target,
        rawHeaders: request.rawHeaders,
        headers: request.headersDistinct as Record<string, string[]>,
        trailers: request.rawTrailers,
        body,
      })
    }
    begun.up()
    if (answer === undefined)
      request.on('end', () => {
        note()
        plain(request, response)
      })
    else {
      request.on('end', note)
      answer(request, response)
    }
  })
  const { onUpgrade } = o
  const upgraded = new Set<Duplex>()
  if (onUpgrade !== undefined)
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      seen.push({
        method: request.method ?? '',
        target: request.url ?? '',
        rawHeaders: request.rawHeaders,
        headers: request.headersDistinct as Record<string, string[]>,
        trailers: [],
        body: '',
      })
      socket.on('error', () => {})
      upgraded.add(socket)
      socket.once('close', () => {
        upgraded.delete(socket)
        aborted.up()
      })
      begun.up()
      onUpgrade(request, socket, head)
    })
  if (o.socketPath === undefined) server.listen(0, '127.0.0.1')
  else server.listen(o.socketPath)
  await once(server, 'listening')
  const scheme = o.tls === undefined ? 'http' : 'https'
  return {
    url:
      o.socketPath === undefined
        ? `${scheme}://${o.hostname ?? '127.0.0.1'}:${(server.address() as AddressInfo).port}`
        : `unix:${o.socketPath}`,
    seen,
    begun: (count) => begun.reach(count),
    aborted: (count) => aborted.reach(count),
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      for (const socket of upgraded) socket.destroy()
      await once(server, 'close')
    },
  }
}
