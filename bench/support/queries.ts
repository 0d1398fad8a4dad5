/**
 * The load of bench/ocsp.ts, as a process on IPC: HTTP/1.1 requests as they are to be sent, over kept connections, one at a time on each.
 * It counts what it saw and does not time the server.
 */

import { connect } from 'node:net'
import { awake } from './awake.ts'
import { keepConnection } from './kept-connection.ts'

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
      const { send, close } = await keepConnection(connect({ port, host: '127.0.0.1' }), 'connect')
      for (let query = queries[next++]; query !== undefined; query = queries[next++]) {
        const { status, octets: more } = await send(query)
        octets += more
        statuses[status] = (statuses[status] ?? 0) + 1
      }
      close()
    }),
  )
  return { seconds: (performance.now() - started) / 1_000, statuses, octets }
}

process.on('message', (queries: Queries) => {
  void awake(() => run(queries)).then((queried) => process.send?.(queried))
})
process.on('disconnect', () => process.exit())
