/**
 * The load of bench/ocsp.ts, as a process on IPC: HTTP/1.1 requests as they are to be sent, over kept connections, one at a time on each.
 * It counts what it saw and does not time the server.
 */

import { once } from 'node:events'
import { connect } from 'node:net'

/** `queries`: whole requests, latin1. */
export type Queries = {
  readonly port: number
  readonly connections: number
  readonly queries: readonly string[]
}
/** `octets`: of bodies */
export type Queried = {
  readonly seconds: number
  readonly statuses: Readonly<Record<string, number>>
  readonly octets: number
}

const run = async ({ port, connections, queries }: Queries): Promise<Queried> => {
  const statuses: Record<string, number> = {}
  let octets = 0
  let next = 0
  const started = performance.now()
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      await once(socket, 'connect')
      socket.setEncoding('latin1')
      let text = ''
      let answered: (status: string) => void = () => undefined
      socket.on('data', (data: string) => {
        text += data
        const head = text.indexOf('\r\n\r\n')
        if (head < 0) return
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1])
        if (text.length < head + 4 + length) return
        octets += length
        const status = text.slice(9, 12)
        text = ''
        answered(status)
      })
      socket.on('close', () => answered('closed'))
      for (let query = queries[next++]; query !== undefined; query = queries[next++]) {
        const status = await new Promise<string>((resolve) => {
          answered = resolve
          socket.write(query as string, 'latin1')
        })
        statuses[status] = (statuses[status] ?? 0) + 1
      }
      socket.destroy()
    }),
  )
  return { seconds: (performance.now() - started) / 1_000, statuses, octets }
}

process.on('message', (queries: Queries) => {
  void run(queries).then((queried) => process.send?.(queried))
})
process.on('disconnect', () => process.exit())
