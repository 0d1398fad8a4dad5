/** Two requests in one write, on one handshake: exactly one is answered, and the origin sees exactly one. */

import { openConnection } from '../client/connection.ts'
import { pause } from '../waiting.ts'
import type { Drill } from './drill.ts'

/** ms for the server to end the connection by itself */
const CLOSES = 3_000
const MAX_ANSWER = 1 << 20

const statusLine = /HTTP\/1\.[01] (\d{3}) /g

export const pipelinedRequests: Drill = {
  name: 'pipelined_requests',
  needs: ['seen'],
  async run(stage) {
    const { expectations, meter, signal, ledger } = stage
    const device = await stage.enroll('pipeliner')
    const url = new URL(stage.targets.https)
    const context = stage.contextOf(device)
    const connection = await openConnection({ url, context, alpn: ['http/1.1'], signal, meter })
    const { socket } = connection
    const parts: Buffer[] = []
    let size = 0
    const ended = new AbortController()
    socket.on('data', (part: Buffer) => {
      size += part.length
      if (size > MAX_ANSWER) socket.destroy()
      else parts.push(part)
    })
    socket.once('close', () => ended.abort())

    const targets = [stage.target('pipelined_requests'), stage.target('pipelined_requests')]
    socket.write(targets.map((target) => `GET ${target} HTTP/1.1\r\nHost: ${url.host}\r\n\r\n`).join(''))
    await pause(CLOSES, signal, ended.signal)
    const closed = socket.destroyed
    socket.destroy()

    const text = Buffer.concat(parts).toString('latin1')
    meter.answer('pipelined requests', [], Buffer.concat(parts))
    const statuses = Array.from(text.matchAll(statusLine), ([, status]) => status)
    const served = (await stage.seen?.())?.filter((item) => targets.includes(item.target)) ?? []
    for (const { target } of served) ledger.admitted(target, device.deviceId)
    expectations.check(
      'pipelined_requests.answered_once',
      statuses.join() === '200',
      `expected one 200, got ${statuses.join() || 'nothing'}`,
    )
    expectations.check(
      'pipelined_requests.served_once',
      served.length === 1 && served[0]?.target === targets[0],
      `the origin saw ${served.length} of them`,
    )
    expectations.check('pipelined_requests.closed', closed, 'the connection was left open')
  },
}
