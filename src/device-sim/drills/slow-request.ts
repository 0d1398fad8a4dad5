/** A request whose header never ends, to the HTTPS door and to the enroll desk: 408, at the latest a second after the limit. */

import { SECOND } from '#fleet/clock.ts'
import type { Drill } from './drill.ts'
import { sayRaw } from './raw.ts'

/** ms; `limits.header_timeout` is 10 s unless somebody has set it */
const LIMIT = 10 * SECOND
const SLACK = 5 * SECOND

export const slowRequest: Drill = {
  name: 'slow_request',
  needs: ['patience'],
  async run(stage) {
    const { expectations, ledger, targets } = stage
    const device = await stage.enroll('slow')
    const context = stage.contextOf(device)
    const slow = async (door: 'https' | 'enroll'): Promise<void> => {
      const url = targets[door]
      const said = `GET / HTTP/1.1\r\nHost: ${new URL(url).host}\r\n`
      const asking = { url, context, alpn: ['http/1.1'], what: `slow ${door}`, within: LIMIT + SLACK }
      const { statuses, reasons, closed } = await sayRaw(stage, asking, said)
      if (door === 'https') ledger.refused('https', reasons[0] ?? `http_${statuses[0] ?? 'nothing'}`)
      expectations.check(
        `slow_request.${door}`,
        statuses.join() === '408' && reasons.join() === 'request_timeout' && closed,
        `expected 408 request_timeout and the end, got ${statuses.join() || 'nothing'} ${reasons.join()}${closed ? '' : ', left open'}`,
      )
    }
    await Promise.all([slow('https'), slow('enroll')])
  },
}
