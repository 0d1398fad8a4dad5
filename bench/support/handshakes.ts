/**
 * The load of the HTTPS suites, as a process on IPC: connections with a full mutual-TLS 1.3 handshake over X25519 each, a few at a time, so
 * many requests on each, one after the other, with the cookie that came. Counts what it saw, and how long each took; it does not time the server.
 */

import { connect, type TLSSocket } from 'node:tls'
import { CLAIMED, holdToClaims } from './claims.ts'

export type Load = {
  readonly port: number
  readonly host: string
  readonly cert: string
  readonly key: string
  readonly connections: number
  readonly atOnce: number
  /** requests on each connection; 1: the server closes it after the first */
  readonly each: number
}
/** `took`: ms, from the start of a connection (its first request) or of a request to the whole answer, in no order. */
export type Loaded = {
  readonly ok: number
  readonly failed: string | undefined
  readonly took: readonly number[]
}

const HELLO = 'GET /hello HTTP/1.1\r\nUser-Agent: bench\r\nAccept: */*\r\n'

const open = (load: Load): TLSSocket =>
  connect({
    host: '127.0.0.1',
    port: load.port,
    servername: load.host,
    cert: load.cert,
    key: load.key,
    rejectUnauthorized: false,
    ...CLAIMED,
    ALPNProtocols: ['http/1.1'],
  })

type Seen = { ok: number; failed: string | undefined; took: number[] }

const oneConnection = (load: Load, seen: Seen): Promise<void> =>
  new Promise((resolve) => {
    let began = performance.now()
    let left = load.each
    let received = ''
    let cookie = ''
    const socket = open(load)
    const ask = (): void => {
      received = ''
      socket.write(`${HELLO}Host: ${load.host}\r\n${cookie}\r\n`)
    }
    socket.setEncoding('latin1').setNoDelay(true)
    holdToClaims(socket)
    socket.on('secureConnect', ask)
    socket.on('data', (text: string) => {
      received += text
      if (!received.endsWith('\r\n\r\nok\n')) return
      if (!received.startsWith('HTTP/1.1 200 ')) {
        seen.failed ??= received.slice(0, 200)
        socket.destroy()
        return
      }
      seen.ok += 1
      seen.took.push(performance.now() - began)
      left -= 1
      const [, token] = /\r\nset-cookie: ([^;\r]+)/i.exec(received) ?? []
      if (token !== undefined) cookie = `Cookie: ${token}\r\n`
      began = performance.now()
      if (left > 0) ask()
      else if (load.each > 1) socket.end()
    })
    socket.on('error', (error) => {
      seen.failed ??= error.message
    })
    socket.on('close', () => {
      if (left > 0) seen.failed ??= `closed early: ${received.slice(0, 200)}`
      resolve()
    })
  })

const run = async (load: Load): Promise<Loaded> => {
  let left = load.connections
  const seen: Seen = { ok: 0, failed: undefined, took: [] }
  await Promise.all(
    Array.from({ length: load.atOnce }, async () => {
      while (left > 0) {
        left -= 1
        await oneConnection(load, seen)
      }
    }),
  )
  return seen
}

process.on('message', (load: Load) => {
  void run(load).then((loaded) => process.send?.(loaded))
})
process.on('disconnect', () => process.exit())
