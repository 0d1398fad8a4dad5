/** Two requests in one write, on one handshake: exactly one is answered, and the origin sees exactly one. */

import type { Drill } from './drill.ts'
import { requestText, sayRaw } from './raw.ts'

/** ms for the server to end the connection by itself */
const CLOSES = 3_000

export const pipelinedRequests: Drill = {
  name: 'pipelined_requests',
  needs: ['seen'],
  async run(stage) {
    const { expectations, ledger } = stage
    const device = await stage.enroll('pipeliner')
    const url = stage.targets.https
    const { host } = new URL(url)
    const targets = [stage.target('pipelined_requests'), stage.target('pipelined_requests')]
    const { statuses, closed } = await sayRaw(
      stage,
      {
        url,
        context: stage.contextOf(device),
        alpn: ['http/1.1'],
        what: 'pipelined requests',
        within: CLOSES,
      },
      targets.map((target) => requestText(target, host)).join(''),
    )
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
