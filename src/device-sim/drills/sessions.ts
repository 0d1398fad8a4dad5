/**
 * Where an administrator has given a duration there are session tokens, and ways to use them wrongly: another device's, a forged one, one that has
 * ended, one without its certificate; and a way to a No Duration application on the handshake of another.
 */

import type { SecureContext } from 'node:tls'
import { SECOND } from '#fleet/clock.ts'
import type { Denial } from '#fleet/denial.ts'
import type { HttpsAnswer } from '../client/https-once.ts'
import { pause } from '../waiting.ts'
import type { Drill } from './drill.ts'
import { requestText, sayRaw } from './raw.ts'
import { createStage } from './stage.ts'
import { openStagedHost, wasAdmitted } from './staged-host.ts'

/** ms; in whole seconds. A machine too busy to answer within it gets another go */
const LASTS = 2 * SECOND
const GOES = 3

const cookieIn = ({ headers }: HttpsAnswer): string | undefined =>
  headers['set-cookie']?.map((line) => /^CF_Authorization=([^;]+)/.exec(line)?.[1]).find(Boolean)

/** Another signature of the same form. */
const forged = (token: string): string =>
  token.slice(0, -8) + (token.endsWith('AAAAAAAA') ? 'B' : 'A').repeat(8)

export const sessions: Drill = {
  name: 'sessions',
  needs: ['staging'],
  async run(stage) {
    const { staging, rootPem, expectations, signal, targets } = stage
    if (staging === undefined) return
    const [owner, thief] = await Promise.all([stage.enroll('session'), stage.enroll('session-thief')])
    const own = stage.contextOf(owner)
    const { asking } = await openStagedHost(stage, staging, {
      name: 'sessions',
      pem: rootPem,
      trusted: own,
      applications: [
        // the first one is asked until the door has heard of it, and gives no token
        { path: '/strict/*', session_duration: '0s' },
        { path: '/bound/*', session_duration: '1h' },
        { path: '/free/*', session_duration: `${LASTS / SECOND}s`, token_binding: 'none' },
      ],
    })
    // here answers may carry a token: that is what a session is. So it is not looked for
    const quiet = createStage({ ...stage, meter: { ...stage.meter, answer: () => undefined } })
    const begins = async (path: string, go = 1): Promise<string | undefined> => {
      const answer = await quiet.ask(`${path}/${go}`, { ...asking, context: own })
      const token = cookieIn(answer)
      const wrong = wasAdmitted(answer) ?? (token === undefined ? 'no session began' : undefined)
      if (wrong !== undefined && go < GOES) return begins(path, go + 1)
      expectations.check('sessions.begin', wrong === undefined, wrong ?? '')
      return token
    }
    const refuses = (what: string, reason: Denial, target: string, context: SecureContext, token: string) => {
      const headers = { ...asking.headers, cookie: `CF_Authorization=${token}` }
      return quiet.refuses(`sessions.${what}`, reason, { ...asking, target, context, headers })
    }

    const bound = await begins('/bound/begin')
    const free = await begins('/free/begin')
    const over = stage.clock() + LASTS + SECOND
    if (bound === undefined || free === undefined) return
    const nobody = stage.contextOf(undefined)
    await refuses('another_device', 'token_binding_mismatch', '/bound/2', stage.contextOf(thief), bound)
    await refuses('no_certificate', 'certificate_required', '/bound/3', nobody, bound)
    await refuses('forged', 'token_invalid', '/bound/4', own, forged(bound))

    const { host } = asking.headers
    const both = ['/bound/5', '/strict/1'].map((path) => requestText(path, host)).join('')
    const saying = {
      url: targets.https,
      context: own,
      alpn: ['http/1.1'],
      serverName: host,
      what: 'sessions',
    }
    const { statuses, reasons } = await sayRaw(quiet, saying, both)
    expectations.check(
      'sessions.not_fresh',
      statuses.join() === '502,421' && reasons.at(-1) === 'handshake_not_fresh',
      `expected 502 and 421 handshake_not_fresh, got ${statuses.join()} ${reasons.join()}`,
    )
    await pause(over - stage.clock(), signal)
    await refuses('ended', 'session_expired', '/free/2', nobody, free)
  },
}
