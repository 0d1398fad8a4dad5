/**
 * The load of bench/crl.ts, as a process on IPC: POSTs over kept TLS connections, one at a time on each, until they are used up or it is told
 * to stop. Says when each began, by the clock that all processes of a machine share, and how long it took.
 */

import { connect } from 'node:tls'
import { CLAIMED, holdToClaims } from './claims.ts'
import { keepConnection } from './kept-connection.ts'

export type TimedPosts = {
  readonly port: number
  /** PEM */
  readonly ca: string
  readonly connections: number
  readonly path: string
  readonly headers: string
  readonly bodies: readonly string[]
}
/** `samples`: [ms since the epoch, ms] */
export type Timed = {
  readonly samples: readonly (readonly [number, number])[]
  readonly statuses: Readonly<Record<string, number>>
}

let stopped = false

const run = async (o: TimedPosts): Promise<Timed> => {
  const samples: (readonly [number, number])[] = []
  const statuses: Record<string, number> = {}
  let next = 0
  stopped = false
  await Promise.all(
    Array.from({ length: o.connections }, async () => {
      const socket = connect({ port: o.port, host: 'localhost', ca: o.ca, ...CLAIMED })
      holdToClaims(socket)
      const { send, close } = await keepConnection(socket, 'secureConnect')
      for (let body = o.bodies[next++]; body !== undefined && !stopped; body = o.bodies[next++]) {
        const began = performance.now()
        const { status } = await send(
          `POST ${o.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${o.headers}content-length: ${body.length}\r\n\r\n${body}`,
        )
        samples.push([performance.timeOrigin + began, performance.now() - began])
        statuses[status] = (statuses[status] ?? 0) + 1
      }
      close()
    }),
  )
  return { samples, statuses }
}

process.on('message', (asked: TimedPosts | 'stop') => {
  if (asked === 'stop') stopped = true
  else void run(asked).then((timed) => process.send?.(timed))
})
process.on('disconnect', () => process.exit())
