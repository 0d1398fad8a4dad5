/** An HTTPS client that says exactly the bytes it is told, as an attacker would. Not a browser: it checks nothing about the server. */

import { once } from 'node:events'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import type { TestLeaf } from './pki.ts'

export type RawReply = {
  readonly status: number
  /** lower-case names; several fields of one name are joined with `, ` */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly raw: string
}

export type RawClient = Disposable & {
  readonly socket: TLSSocket
  send(bytes: string | Uint8Array): void
  /** everything received so far */
  text(): string
  /** until what was received matches */
  until(pattern: RegExp): Promise<string>
  /** until the server has closed, or broken, the connection; everything received */
  closed(): Promise<string>
}

export type RawOptions = {
  readonly port: number
  /** undefined: no certificate */
  readonly leaf?: Pick<TestLeaf, 'keyPem' | 'fullPem'> | undefined
  /** null: no SNI */
  readonly serverName?: string | null
  readonly tls?: ConnectionOptions
}

export const openRaw = async (o: RawOptions): Promise<RawClient> => {
  const socket = connect({
    host: '127.0.0.1',
    port: o.port,
    rejectUnauthorized: false,
    ...(o.serverName === null ? { servername: '' } : { servername: o.serverName ?? 'a.test' }),
    ...(o.leaf === undefined ? {} : { key: o.leaf.keyPem, cert: o.leaf.fullPem }),
    ...o.tls,
  })
  let received = ''
  let waiting: (() => void)[] = []
  const wake = (): void => {
    const woken = waiting
    waiting = []
    for (const one of woken) one()
  }
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    received += chunk
    wake()
  })
  let over = false
  for (const event of ['end', 'close', 'error'])
    socket.on(event, () => {
      over = true
      wake()
    })
  await once(socket, 'secureConnect')
  const next = (): Promise<void> =>
    new Promise((resolve) => {
      waiting.push(resolve)
    })
  return {
    socket,
    send: (bytes) => {
      socket.write(bytes)
    },
    text: () => received,
    until: async (pattern) => {
      while (!pattern.test(received)) {
        if (over) throw new Error(`the connection ended after ${JSON.stringify(received)}`)
        await next()
      }
      return received
    },
    closed: async () => {
      while (!over) await next()
      return received
    },
    [Symbol.dispose]: () => {
      socket.destroy()
    },
  }
}

const unchunk = (body: string): string => {
  let rest = body
  let whole = ''
  for (;;) {
    const end = rest.indexOf('\r\n')
    const size = Number.parseInt(rest.slice(0, end), 16)
    if (end === -1 || Number.isNaN(size) || size === 0) return whole
    whole += rest.slice(end + 2, end + 2 + size)
    rest = rest.slice(end + 2 + size + 2)
  }
}

/** The first reply in what was received. */
export const readReply = (raw: string): RawReply => {
  const end = raw.indexOf('\r\n\r\n')
  if (end === -1) throw new Error(`not a reply: ${JSON.stringify(raw)}`)
  const [start = '', ...lines] = raw.slice(0, end).split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value
  }
  const body = raw.slice(end + 4)
  return {
    status: Number(start.split(' ')[1]),
    headers,
    body: headers['transfer-encoding'] === 'chunked' ? unchunk(body) : body,
    raw,
  }
}

/** One connection, these bytes, all that came back. */
export const sayRaw = async (bytes: string | Uint8Array, o: RawOptions): Promise<RawReply> => {
  using client = await openRaw(o)
  client.send(bytes)
  return readReply(await client.closed())
}

/** A well-formed request. */
export const requestText = (
  target: string,
  o: { method?: string; host?: string; headers?: readonly string[]; body?: string } = {},
): string => {
  const length = o.body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(o.body)}`]
  const lines = [
    `${o.method ?? 'GET'} ${target} HTTP/1.1`,
    `Host: ${o.host ?? 'a.test'}`,
    ...length,
    ...(o.headers ?? []),
  ]
  return `${lines.join('\r\n')}\r\n\r\n${o.body ?? ''}`
}
