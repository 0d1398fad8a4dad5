/**
 * A request whose header never ends, to the HTTPS door and to the enroll desk: 408 by ten seconds and a little; and one whose header takes a second
 * to come, which is no such request.
 */

import { SECOND } from '#fleet/clock.ts'
import type { Drill } from './drill.ts'
import { sayRaw, wasTurnedAway, wordOfRaw, type RawAnswer } from './raw.ts'

/** ms; `limits.header_timeout` is 10 s unless somebody has set it, and less is as good */
const LIMIT = 10 * SECOND
const SLACK = 2 * SECOND
const UNHURRIED = SECOND

export const slowRequest: Drill = {
  name: 'slow_request',
  needs: ['patience'],
  async run(stage) {
    const { expectations, ledger, targets } = stage
    const device = await stage.enroll('slow')
    const context = stage.contextOf(device)
    const counted = (path: string, answer: RawAnswer): void => {
      const [status] = answer.statuses
      if (status !== undefined && status < 300) ledger.admitted(path, device.deviceId)
      else ledger.refused('https', wordOfRaw(answer))
    }
    const slow = async (door: 'https' | 'enroll'): Promise<void> => {
      const url = targets[door]
      const said = `GET / HTTP/1.1\r\nHost: ${new URL(url).host}\r\n`
      const asking = { url, context, alpn: ['http/1.1'], what: `slow ${door}`, within: LIMIT + SLACK }
      const answer = await sayRaw(stage, asking, said)
      if (door === 'https') counted('/', answer)
      const wrong = wasTurnedAway('request_timeout', answer)
      expectations.check(`slow_request.${door}`, wrong === undefined, wrong ?? '')
    }
    const unhurried = async (door: 'https' | 'enroll'): Promise<void> => {
      const url = targets[door]
      const path = stage.target('slow_request')
      const said = [`GET ${path} HTTP/1.1\r\nHost: ${new URL(url).host}\r\n`, 'Connection: close\r\n\r\n']
      const asking = { url, context, alpn: ['http/1.1'], what: `unhurried ${door}`, pace: UNHURRIED }
      const answer = await sayRaw(stage, asking, ...said)
      const { statuses, reasons } = answer
      if (door === 'https') counted(path, answer)
      expectations.check(
        `slow_request.${door}.unhurried`,
        statuses.length === 1 && statuses[0] !== 408,
        `expected an answer to a header that took a second, got ${statuses.join() || 'nothing'} ${reasons.join()}`,
      )
    }
    await Promise.all([slow('https'), slow('enroll'), unhurried('https'), unhurried('enroll')])
  },
}
