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
  /** the next whole reply on a connection that stays open; of one without a body only when its header says so */
  reply(): Promise<RawReply>
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

/** @returns the body, and how far it went; undefined: it is not whole yet */
const unchunk = (text: string): { readonly body: string; readonly length: number } | undefined => {
  let at = 0
  let body = ''
  for (;;) {
    const end = text.indexOf('\r\n', at)
    const size = Number.parseInt(text.slice(at, end), 16)
    if (end === -1 || Number.isNaN(size) || text.length < end + 4 + size) return undefined
    body += text.slice(end + 2, end + 2 + size)
    at = end + 2 + size + 2
    if (size === 0) return { body, length: at }
  }
}

const headOf = (raw: string): { status: number; headers: Record<string, string>; length: number } => {
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
  return { status: Number(start.split(' ')[1]), headers, length: end + 4 }
}

/** The first reply in what was received. */
export const readReply = (raw: string): RawReply => {
  const { length, ...head } = headOf(raw)
  const body = raw.slice(length)
  return {
    ...head,
    body: head.headers['transfer-encoding'] === 'chunked' ? (unchunk(body)?.body ?? body) : body,
    raw,
  }
}

/** The first reply, when all of it is there. */
const wholeReply = (raw: string): RawReply | undefined => {
  if (!raw.includes('\r\n\r\n')) return undefined
  const { length, ...head } = headOf(raw)
  const rest = raw.slice(length)
  if (head.headers['transfer-encoding'] === 'chunked') {
    const whole = unchunk(rest)
    return whole && { ...head, body: whole.body, raw: raw.slice(0, length + whole.length) }
  }
  const octets = Number(head.headers['content-length'] ?? '0')
  if (rest.length < octets) return undefined
  return { ...head, body: rest.slice(0, octets), raw: raw.slice(0, length + octets) }
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
  let taken = 0
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
    reply: async () => {
      for (;;) {
        const whole = wholeReply(received.slice(taken))
        if (whole !== undefined) {
          taken += whole.raw.length
          return whole
        }
        if (over) throw new Error(`the connection ended after ${JSON.stringify(received.slice(taken))}`)
        await next()
      }
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
