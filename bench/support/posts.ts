/**
 * The load of bench/enroll.ts, as a process on IPC: so many POSTs over kept connections, one at a time on each. It opens them, says
 * `opened`, and posts when it is told to `go`: a handshake is no part of what is done over a connection that is kept. It counts
 * what it saw and does not time the server.
 */

import { once } from 'node:events'
import { connect as tcpConnect } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { awake } from './awake.ts'
import { CLAIMED, holdToClaims } from './claims.ts'
import { keepConnection, type KeptConnection } from './kept-connection.ts'

export type Post = { readonly path: string; readonly headers: string; readonly body: string }
export type Posts = {
  readonly url: string
  /** PEM; for https */
  readonly ca: string
  readonly connections: number
  readonly posts: readonly Post[]
}
export type Opened = 'opened'
export type Go = 'go'
export type Posted = { readonly seconds: number; readonly statuses: Readonly<Record<string, number>> }

const openConnection = (url: URL, ca: string): Promise<KeptConnection> => {
  const at = { host: url.hostname, port: Number(url.port) }
  if (url.protocol !== 'https:') return keepConnection(tcpConnect(at), 'connect')
  const socket = tlsConnect({ ...at, ca, ...CLAIMED })
  holdToClaims(socket)
  return keepConnection(socket, 'secureConnect')
}

const requestOf = ({ path, headers, body }: Post): string =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\n${headers}content-length: ${body.length}\r\n\r\n${body}`

const run = async ({ url, ca, connections, posts }: Posts): Promise<Posted> => {
  const opened = await Promise.all(
    Array.from({ length: connections }, () => openConnection(new URL(url), ca)),
  )
  const told = once(process, 'message')
  process.send?.('opened' satisfies Opened)
  await told
  const statuses: Record<string, number> = {}
  let next = 0
  const started = performance.now()
  await Promise.all(
    opened.map(async ({ send, close }) => {
      for (let post = posts[next++]; post !== undefined; post = posts[next++]) {
        const { status } = await send(requestOf(post))
        statuses[status] = (statuses[status] ?? 0) + 1
      }
      close()
    }),
  )
  return { seconds: (performance.now() - started) / 1_000, statuses }
}

process.on('message', (message: Posts | Go) => {
  if (message !== 'go') void awake(() => run(message)).then((posted) => process.send?.(posted))
})
process.on('disconnect', () => process.exit())
