/**
 * Messages that came over HTTPS, to the broker: one long-lived connection of the door's own for each process, and what became of each message. Not
 * who may publish what: https/publish-request.ts has asked. Not the connection: publisher-line.ts.
 * Not the packets: publisher-message.ts. Not how many may wait: publisher-queue.ts.
 *
 * A message is said once. When the connection ends between PUBLISH and its acknowledgement nobody knows whether it arrived: its sender is told, and
 * decides.
 */

import { randomBytes } from 'node:crypto'
import { SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import { makeAck } from './ack-packets.ts'
import { TYPE } from './packets.ts'
import {
  openLine,
  PUBLISHER,
  type Line,
  type LineEnd,
  type LineEvents,
  type LineLimits,
} from './publisher-line.ts'
import { packetOf, unfitOf, type Message } from './publisher-message.ts'
import { createQueue, type Queued } from './publisher-queue.ts'
import type { Upstream } from './upstream.ts'
import { NO } from './windows.ts'

export { overheadOf, type Message } from './publisher-message.ts'

/** s after which it is worth asking again */
const RETRY_AFTER = 1
/** ms between two attempts to connect: doubled each time, and a part of it by chance */
const FIRST_PAUSE = 100
const LAST_PAUSE = 5 * SECOND
/** ms that a message may lack its acknowledgement when nobody waits for it any more; then the connection is begun anew. */
const STUCK = 60 * SECOND

const LAST_ID = 0xffff

/** `written`: of QoS 0. `acknowledged`: by the broker. A FleetError: `origin_unreachable`, `target_unreachable`, `unsupported`, `body_too_large`. */
export type Outcome = 'written' | 'acknowledged' | FleetError

export type Publisher = AsyncDisposable & {
  publish(message: Message): Said
  readonly readsOtherwise: Upstream['readsOtherwise']
}

export type Said = {
  /** never rejects, and may take for ever: whoever waits has a clock of his own */
  readonly outcome: Promise<Outcome>
  /** Nobody waits for it any more. What the broker has not been told, it is not told then. */
  forget(): void
  /** The same, for what must not be said any more. @returns false: it has been */
  withdraw(): boolean
}

type Entry = Queued & {
  readonly qos: Message['qos']
  done: ((outcome: Outcome) => void) | undefined
  /** ms; undefined: somebody waits */
  forgottenAt: number | undefined
  /** of QoS 2: the broker has it, and PUBREL is said */
  released: boolean
}

const gone = (detail: string): FleetError => new FleetError('origin_unreachable', detail)

/** Connects when the first message comes. @param o.timeout ms for the broker's CONNACK. @param o.random from 0 to 1, not secret */
export const createPublisher = (o: {
  readonly upstream: Upstream
  readonly timeout: number
  readonly log: Log
  readonly metrics: Metrics
  readonly clock: Clock
  readonly random: () => number
}): Publisher => {
  const { upstream, log, clock } = o
  const published = o.metrics.counter(
    'sallyport_mqtt_published_total',
    'Messages that came over HTTPS, by outcome',
    ['outcome'],
  )
  o.metrics.gauge(
    'sallyport_mqtt_publisher_up',
    'Is the connection for messages that came over HTTPS open?',
    [],
    () => (limits === undefined ? 0 : 1),
  )
  const clientId = `${PUBLISHER}-${randomBytes(8).toString('hex')}`
  /** the broker has said that it does not speak MQTT 5 */
  let isOld = false
  let line: Line | undefined
  /** undefined: it is not open */
  let limits: LineLimits | undefined
  let isFull = false
  let isClosed = false
  let failures = 0
  let retry: NodeJS.Timeout | undefined
  /** not written yet, oldest first */
  const waiting = new Set<Entry>()
  const queue = createQueue()
  /** by packet id, oldest first */
  const sent = new Map<number, Entry>()
  let lastId = 0

  /** After it has left the queue, when it was in it. */
  const settle = (entry: Entry, outcome: Outcome): void => {
    if (entry.done === undefined) return
    published.inc({ outcome: outcome instanceof FleetError ? outcome.code : outcome })
    entry.done(outcome)
    entry.done = undefined
  }
  const unqueue = (entry: Entry): void => {
    if (waiting.delete(entry)) queue.leave(entry)
  }
  const unsend = (id: number, entry: Entry): void => {
    sent.delete(id)
    queue.leave(entry)
  }
  const nextId = (): number => {
    do lastId = lastId === LAST_ID ? 1 : lastId + 1
    while (sent.has(lastId))
    return lastId
  }

  const write = (entry: Entry, message: Message, to: Line, its: LineLimits): void => {
    const id = message.qos === 0 ? 0 : nextId()
    const packet = packetOf(message, its.level, id)
    const unfit = unfitOf(message, packet, its)
    if (unfit === undefined) isFull = !to.write(packet)
    if (unfit === undefined && id > 0) {
      sent.set(id, entry)
      queue.said(entry)
      return
    }
    queue.leave(entry)
    settle(entry, unfit ?? 'written')
  }

  const flush = (): void => {
    for (const entry of waiting) {
      if (line === undefined || limits === undefined || isFull) return
      // in the order in which they came, so QoS 0 waits as well
      if (sent.size >= limits.window) return
      waiting.delete(entry)
      if (entry.message !== undefined) write(entry, entry.message, line, limits)
    }
  }

  const answered: LineEvents['answered'] = (type, id, code) => {
    const entry = sent.get(id)
    if (entry === undefined || limits === undefined) return
    const { qos } = entry
    if ((type === TYPE.puback) !== (qos === 1) || (type === TYPE.pubcomp && !entry.released)) return
    if (code >= NO) {
      unsend(id, entry)
      settle(entry, gone(`the broker refused the message, with reason code 0x${code.toString(16)}`))
    } else if (type === TYPE.pubrec) {
      entry.released = true
      isFull = line?.write(makeAck(limits.level, TYPE.pubrel, id)) === false
      return
    } else {
      unsend(id, entry)
      settle(entry, 'acknowledged')
    }
    flush()
  }

  const failAll = (): void => {
    const [lost, unsaid] = [[...sent.values()], [...waiting]]
    for (const [id, entry] of sent) unsend(id, entry)
    for (const entry of unsaid) unqueue(entry)
    for (const entry of lost)
      settle(
        entry,
        gone('the connection to the broker ended before it acknowledged; the message may have arrived'),
      )
    for (const entry of unsaid) settle(entry, gone('the broker cannot be reached'))
  }

  const ended = ({ why, text }: LineEnd): void => {
    line = undefined
    limits = undefined
    if (why === 'other_version') {
      log.info(
        { door: 'https' },
        'the broker does not speak MQTT 5: messages that come over HTTPS go in 3.1.1',
      )
      isOld = true
      connect()
      return
    }
    if (failures === 0)
      log.warn({ door: 'https', why: text }, 'the connection for messages that come over HTTPS is down')
    const pause = Math.min(LAST_PAUSE, FIRST_PAUSE * 2 ** failures)
    failures += 1
    retry = setTimeout(connect, pause * (0.5 + o.random() / 2)).unref()
    failAll()
  }

  const connect = (): void => {
    retry = undefined
    isFull = false
    const level = !isOld && upstream.levels.has(5) ? 5 : 4
    line = openLine(
      upstream,
      { level, clientId, timeout: o.timeout },
      {
        opened: (its) => {
          limits = its
          failures = 0
          log.info(
            { door: 'https', client_id: clientId, level: its.level },
            'connected for messages that come over HTTPS',
          )
          flush()
        },
        answered,
        drain: () => {
          isFull = false
          flush()
        },
        looked: () => {
          const since = clock() - STUCK
          for (const { forgottenAt = Infinity } of sent.values())
            if (forgottenAt < since) return 'it does not acknowledge'
          return undefined
        },
        ended,
      },
    )
  }

  const refusalOf = (entry: Entry): FleetError | undefined => {
    if (isClosed || retry !== undefined) return gone('the broker cannot be reached')
    if (queue.enter(entry)) return undefined
    return new FleetError('target_unreachable', 'too many messages wait for the broker', {
      retryAfter: RETRY_AFTER,
    })
  }

  return {
    publish: (message) => {
      const { promise, resolve } = Promise.withResolvers<Outcome>()
      const entry: Entry = {
        qos: message.qos,
        device: message.device,
        size: message.payload.length,
        message,
        done: resolve,
        forgottenAt: undefined,
        released: false,
      }
      const refusal = refusalOf(entry)
      if (refusal !== undefined) settle(entry, refusal)
      else {
        waiting.add(entry)
        if (line === undefined) connect()
        else flush()
      }
      const forget = (): void => {
        if (entry.done === undefined) return
        entry.done = undefined
        entry.forgottenAt = clock()
        unqueue(entry)
        published.inc({ outcome: 'forgotten' })
      }
      const withdraw = (): boolean => {
        if (!waiting.has(entry)) return false
        forget()
        return true
      }
      return { outcome: promise, forget, withdraw }
    },
    readsOtherwise: upstream.readsOtherwise,
    [Symbol.asyncDispose]: async () => {
      isClosed = true
      clearTimeout(retry)
      line?.end()
      line = undefined
      limits = undefined
      failAll()
      await Promise.resolve()
    },
  }
}
