/**
 * The load of bench/crl.ts, as a process on IPC: POSTs over kept TLS connections, one at a time on each, until they are used up or it is told
 * to stop. Says when each began, by the clock that all processes of a machine share, and how long it took.
 */

import { once } from 'node:events'
import { connect } from 'node:tls'

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
      const socket = connect({ port: o.port, host: 'localhost', ca: o.ca })
      await once(socket, 'secureConnect')
      socket.setNoDelay(true).setEncoding('latin1')
      let text = ''
      let answered: (status: string) => void = () => undefined
      socket.on('data', (data: string) => {
        text += data
        const head = text.indexOf('\r\n\r\n')
        const length = Number(/content-length: (\d+)/i.exec(text)?.[1])
        if (head < 0 || text.length < head + 4 + length) return
        const status = text.slice(9, 12)
        text = ''
        answered(status)
      })
      socket.on('close', () => answered('closed'))
      for (let body = o.bodies[next++]; body !== undefined && !stopped; body = o.bodies[next++]) {
        const began = performance.now()
        const status = await new Promise<string>((resolve) => {
          answered = resolve
          socket.write(
            `POST ${o.path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n${o.headers}content-length: ${(body as string).length}\r\n\r\n${body}`,
          )
        })
        samples.push([performance.timeOrigin + began, performance.now() - began])
        statuses[status] = (statuses[status] ?? 0) + 1
      }
      socket.destroy()
    }),
  )
  return { samples, statuses }
}

process.on('message', (asked: TimedPosts | 'stop') => {
  if (asked === 'stop') stopped = true
  else void run(asked).then((timed) => process.send?.(timed))
})
process.on('disconnect', () => process.exit())
