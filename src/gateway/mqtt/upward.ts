/**
 * Every packet from an admitted client, judged in place: PUBLISH and SUBSCRIBE by admission, the rest by its form. A table by type.
 * Not CONNECT, and nothing is sent from here but through {@link Above}.
 */

import { isTopicFilter } from '#wire/topics.ts'
import type { Decide, Refusal, Step } from './frames.ts'
import type { OneMessage } from './one-message.ts'
import {
  makeSuback,
  makeSubscribe,
  readId,
  readSubscribe,
  readUnsubscribe,
  TYPE,
  type Filter,
  type FilterList,
} from './packets.ts'
import { MAX_FILTERS, mergeCodes, planSubscribe, type Plan } from './subscribing.ts'
import type { Share } from './turns.ts'
import type { Verdicts } from './verdicts.ts'

export type Above = {
  readonly verdicts: Verdicts
  readonly sharedSubscriptions: boolean
  /** SUBSCRIBEs that the broker has been asked in part, by packet id */
  readonly plans: Map<number, Plan>
  /** undefined: a connection may carry any number of messages */
  readonly oneMessage: OneMessage | undefined
  /** what a packet costs beyond the one that each of them does */
  readonly share: Share
  /** to the client, from the door itself */
  answer(bytes: Buffer): void
  /** the client takes its leave in order */
  goodbye(): void
}

const DUP = 0x08

const malformed = (detail: string): Refusal => ({ reason: 'bad_request', detail })

/** Where the topic of a PUBLISH ends. @returns 0 when it does not fit */
const topicEnd = (bytes: Buffer, body: number, end: number): number => {
  if (body + 2 > end) return 0
  const until = body + 2 + bytes.readUInt16BE(body)
  return until > end ? 0 : until
}

const onPublish = (above: Above, bytes: Buffer, start: number, body: number, end: number): Step => {
  const qos = ((bytes[start] as number) >> 1) & 3
  const until = topicEnd(bytes, body, end)
  if (until === 0) return malformed('PUBLISH: the topic does not fit')
  const id = qos === 0 ? 0 : readId(bytes, until, end)
  if (qos > 0 && id === 0) return malformed('PUBLISH: no packet id')
  const verdict = above.verdicts.topic('publish', bytes, body + 2, until)
  // 3.1.1 has no way to say no [MQTT-3.3.5-2]: the connection is closed
  if (verdict !== 'allowed')
    return { reason: verdict, detail: 'PUBLISH: refused by its topic', recorded: verdict !== 'bad_request' }
  if (above.oneMessage !== undefined && !above.oneMessage.published(qos, id))
    return { reason: 'session_expired', detail: 'one message for each handshake' }
  return 'forward'
}

/** MQTT 3.1 lets a client set DUP here; 3.1.1 made the bit reserved, and a broker of today may hold to that. */
const withoutDup = (bytes: Buffer, start: number): void => {
  bytes[start] = (bytes[start] as number) & ~DUP
}

const failed = (list: FilterList<Filter>): Plan => ({
  asked: [],
  answer: list.filters.map(() => undefined),
  whole: false,
})

const onSubscribe = (above: Above, bytes: Buffer, start: number, body: number, end: number): Step => {
  const list = readSubscribe(bytes, body, end)
  if (list === undefined) return malformed('SUBSCRIBE: malformed')
  above.share.spend(list.filters.length)
  if (above.plans.has(list.id)) return malformed('SUBSCRIBE: the packet id is in use')
  withoutDup(bytes, start)
  const plan =
    above.oneMessage === undefined
      ? planSubscribe(
          list.filters,
          above.sharedSubscriptions,
          (filter) => above.verdicts.filter(filter) === 'allowed',
        )
      : failed(list)
  if (plan.whole) return 'forward'
  if (plan.asked.length === 0) {
    above.answer(makeSuback(list.id, mergeCodes(plan, new Uint8Array(0))))
    return 'skip'
  }
  above.plans.set(list.id, plan)
  return makeSubscribe({ id: list.id, filters: plan.asked })
}

const onUnsubscribe = (above: Above, bytes: Buffer, start: number, body: number, end: number): Step => {
  const list = readUnsubscribe(bytes, body, end)
  if (list === undefined || list.filters.length > MAX_FILTERS) return malformed('UNSUBSCRIBE: malformed')
  if (!list.filters.every(isTopicFilter)) return malformed('UNSUBSCRIBE: not a filter')
  above.share.spend(list.filters.length)
  withoutDup(bytes, start)
  // aedes takes its time over it, and a SUBSCRIBE that overtakes it would be undone: wait for the UNSUBACK
  return 'forward-hold'
}

const onAck = (_: Above, bytes: Buffer, start: number, body: number, end: number): Step => {
  if (end - body !== 2 || readId(bytes, body, end) === 0)
    return malformed('an acknowledgement without a packet id')
  withoutDup(bytes, start)
  return 'forward'
}

const empty =
  (then: (above: Above) => Step) =>
  (above: Above, _bytes: Buffer, _start: number, body: number, end: number): Step =>
    end === body ? then(above) : malformed('a packet that must be empty is not')

type Judge = (above: Above, bytes: Buffer, start: number, body: number, end: number) => Step

/** What is not here is refused by its first byte, before its body is read. */
const JUDGES: Readonly<Record<number, Judge>> = {
  [TYPE.publish]: onPublish,
  [TYPE.puback]: onAck,
  [TYPE.pubrec]: onAck,
  [TYPE.pubrel]: onAck,
  [TYPE.pubcomp]: onAck,
  [TYPE.subscribe]: onSubscribe,
  [TYPE.unsubscribe]: onUnsubscribe,
  [TYPE.pingreq]: empty(() => 'forward'),
  [TYPE.disconnect]: empty((above) => {
    above.goodbye()
    return 'forward-hold'
  }),
}

/** @param seen counts packets by type */
export const judgeUpward =
  (above: Above, seen: Uint32Array): Decide =>
  (bytes, start, body, end) => {
    const type = (bytes[start] as number) >> 4
    seen[type] = (seen[type] as number) + 1
    return JUDGES[type]?.(above, bytes, start, body, end) ?? malformed('a packet that no client sends')
  }
