/**
 * Ends what a broker keeps for a ClientID: its session, its queue, and a will that waits. Not when: ./holders.ts and ./evictions.ts.
 * A clean start of MQTT 5 would make the broker send a will that waits for its delay, so there the session is gone on with, and ended by its
 * expiry of 0.
 */

import { SECOND } from '#fleet/clock.ts'
import { makeDisconnect } from './ack-packets.ts'
import { makeForget } from './connect-packet.ts'
import { readConnack } from './connack-packet.ts'
import { createFramer, type Decide } from './frames.ts'
import { opensFromBroker, type Level } from './packets.ts'
import type { Link, Upstream } from './upstream.ts'
import { isVersionRefusal } from './welcome.ts'

/** @param done true: there is nothing of it any more; false: nobody knows */
export type Discard = (clientId: string, done: (gone: boolean) => void) => void

/** ms that a broker has for it. */
const PATIENCE = 5 * SECOND
/** At once: a fleet that is revoked must not be a storm. */
const MOST = 64
/** Bytes of a CONNACK, and of whatever a session has to say before it ends. */
const LARGEST = 16 * 1024 * 1024

/** Suffixes are for devices, whose ids hold no `@`; a foreign name may, and holds `/`, which no suffix does. */
export const identityOf = (clientId: string): string => {
  const at = clientId.indexOf('@')
  return at === -1 || clientId.includes('/') ? clientId : clientId.slice(0, at)
}

type Outcome = 'gone' | 'version' | 'failed'

const attempt = (
  upstream: Upstream,
  level: Level,
  clientId: string,
  done: (outcome: Outcome) => void,
): void => {
  const identity = identityOf(clientId)
  let outcome: Outcome = 'failed'
  let link: Link | undefined
  /** the first packet is its answer, and nothing after it matters */
  const onAnswer: Decide = (bytes, _start, body, end) => {
    if (outcome !== 'failed') return 'skip'
    const code = readConnack(bytes, body, end, level)?.code
    if (code === 0) {
      outcome = 'gone'
      link?.write(makeDisconnect(level, 0))
      link?.end('finish')
      return 'skip'
    }
    if (isVersionRefusal(level, bytes, body, end)) outcome = 'version'
    return { reason: 'target_unreachable', detail: `the broker does not end a session (${code})` }
  }
  const answer = createFramer({
    limit: LARGEST,
    opens: opensFromBroker[level],
    decide: onAnswer,
    out: () => {},
  })
  link = upstream.open(
    {
      data: (bytes) => {
        if (outcome === 'failed' && answer.push(bytes) !== undefined) link?.end('drop')
      },
      drain: () => {},
      closed: () => {
        clearTimeout(late)
        done(outcome)
      },
    },
    { clientId, identity, level, address: undefined },
  )
  const late = setTimeout(() => {
    outcome = 'failed'
    link?.end('drop')
  }, PATIENCE)
  link.write(makeForget(level, clientId, upstream.login(identity)))
}

/** @param most at once */
export const createDiscard = (upstream: Upstream, most = MOST): Discard => {
  const queue: (readonly [clientId: string, done: (gone: boolean) => void])[] = []
  let running = 0

  const next = (): void => {
    while (running < most) {
      const first = queue.shift()
      if (first === undefined) return
      const [clientId, done] = first
      running += 1
      const finish = (gone: boolean): void => {
        running -= 1
        done(gone)
        next()
      }
      attempt(upstream, upstream.levels.has(5) ? 5 : 4, clientId, (outcome) => {
        // an older broker, of which nothing was known yet
        if (outcome === 'version') attempt(upstream, 4, clientId, (second) => finish(second === 'gone'))
        else finish(outcome === 'gone')
      })
    }
  }
  return (clientId, done) => {
    queue.push([clientId, done])
    next()
  }
}
