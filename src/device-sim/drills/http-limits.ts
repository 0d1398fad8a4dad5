/** What is no HTTP, or too much of it, at the HTTPS door and at the enroll desk: a clear 4xx, and the end of the connection. */

import type { ErrorCode } from '#fleet/errors.ts'
import type { Drill } from './drill.ts'
import { sayRaw, wasTurnedAway, wordOfRaw } from './raw.ts'

const KIB = 1_024

type Make = (host: string) => readonly [said: string, reason: ErrorCode]

/** By what is wrong with it: what is said to `host`, and the reason that must come. */
const CASES: Readonly<Record<string, Make>> = {
  no_http: () => ['this is no HTTP\r\n\r\n', 'bad_request'],
  two_lengths: (host) => [
    `POST /v1/renew HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx`,
    'bad_request',
  ],
  length_and_chunked: (host) => [
    `POST /v1/renew HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    'bad_request',
  ],
  bare_line_feed: (host) => [`GET / HTTP/1.1\nHost: ${host}\n\n`, 'bad_request'],
  headers_too_large: (host) => [
    `GET / HTTP/1.1\r\nHost: ${host}\r\nX-Long: ${'x'.repeat(40 * KIB)}\r\n\r\n`,
    'headers_too_large',
  ],
  // announced is enough: not an octet of it is waited for
  body_too_large: (host) => [
    `POST /v1/renew HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${2 ** 43}\r\n\r\n`,
    'body_too_large',
  ],
}

export const httpLimits: Drill = {
  name: 'http_limits',
  needs: [],
  async run(stage) {
    const { expectations, ledger, targets } = stage
    const device = await stage.enroll('limits')
    const context = stage.contextOf(device)
    const tryOne = async (door: 'https' | 'enroll', what: string, make: Make): Promise<void> => {
      const url = targets[door]
      const [said, reason] = make(new URL(url).host)
      const asking = { url, context, alpn: ['http/1.1'], what: `${door} ${what}` }
      const answer = await sayRaw(stage, asking, said)
      if (door === 'https') ledger.refused('https', wordOfRaw(answer))
      const wrong = wasTurnedAway(reason, answer)
      expectations.check(`http_limits.${door}.${what}`, wrong === undefined, wrong ?? '')
    }
    await Promise.all(
      Object.entries(CASES).flatMap(([what, make]) => [
        tryOne('https', what, make),
        tryOne('enroll', what, make),
      ]),
    )
  },
}
