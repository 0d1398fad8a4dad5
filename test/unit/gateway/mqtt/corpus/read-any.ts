/** One packet of any type, as the door reads it: the framer, then its reader. What a verdict would look at, a topic's text, is looked at too. */

import { readAck, readDisconnect } from '#gateway/mqtt/ack-packets.ts'
import { readConnack } from '#gateway/mqtt/connack-packet.ts'
import { readConnect } from '#gateway/mqtt/connect-packet.ts'
import { createFramer } from '#gateway/mqtt/frames.ts'
import {
  decodeText,
  opensConnect,
  opensFromBroker,
  opensFromClient,
  TYPE,
  type Level,
  type Side,
} from '#gateway/mqtt/packets.ts'
import { readPublish } from '#gateway/mqtt/publish-packet.ts'
import { readSuback, readSubscribe, readUnsuback, readUnsubscribe } from '#gateway/mqtt/subscribe-packets.ts'
import { isTopicName } from '#wire/topics.ts'

type At = { bytes: Buffer; start: number; body: number; end: number; level: Level; side: Side }

const publish = ({ bytes, start, body, end, level, side }: At): unknown => {
  const head = readPublish(bytes, start, body, end, level, side)
  if (typeof head === 'string') return undefined
  const topic = decodeText(bytes, head.topicFrom, head.topicUntil)
  if (head.topicFrom !== head.topicUntil && (topic === undefined || !isTopicName(topic))) return undefined
  // positions from where it begins: they are compared between buffers
  const moved = Object.entries(head).map(([name, value]) =>
    /From|Until/.test(name) && typeof value === 'number' && value > 0 ? [name, value - start] : [name, value],
  )
  return { ...Object.fromEntries(moved), topic }
}
const ack = ({ bytes, start, body, end, level }: At): unknown => {
  const read = readAck(bytes, body, end, level, (bytes[start] as number) >> 4)
  return read && { ...read }
}
const connect = ({ bytes, body, end }: At): unknown => {
  const reading = readConnect(bytes, body, end)
  return reading.kind === 'malformed' ? undefined : reading
}

const READ: Readonly<Record<number, (at: At) => unknown>> = {
  [TYPE.connect]: connect,
  [TYPE.connack]: ({ bytes, body, end, level }) => readConnack(bytes, body, end, level),
  [TYPE.publish]: publish,
  [TYPE.puback]: ack,
  [TYPE.pubrec]: ack,
  [TYPE.pubrel]: ack,
  [TYPE.pubcomp]: ack,
  [TYPE.subscribe]: ({ bytes, body, end, level }) => readSubscribe(bytes, body, end, level),
  [TYPE.suback]: ({ bytes, body, end, level }) => readSuback(bytes, body, end, level),
  [TYPE.unsubscribe]: ({ bytes, body, end, level }) => readUnsubscribe(bytes, body, end, level),
  [TYPE.unsuback]: ({ bytes, body, end, level }) => readUnsuback(bytes, body, end, level),
  [TYPE.disconnect]: ({ bytes, body, end, level, side }) => readDisconnect(bytes, body, end, level, side),
}

/** @returns undefined: malformed */
export const readAt = (at: At): unknown => READ[(at.bytes[at.start] as number) >> 4]?.(at)

export const opensFor = (level: Level, side: Side, first: number): ((first: number) => boolean) =>
  side === 'broker'
    ? opensFromBroker[level]
    : first >> 4 === TYPE.connect
      ? opensConnect
      : opensFromClient[level]

/** What is read of a stream in these pieces. `refused`: its last packet was, and nothing comes after it. */
export const readPieces = (
  pieces: readonly Buffer[],
  level: Level,
  side: Side,
): { read: unknown[]; refused: boolean } => {
  const read: unknown[] = []
  const first = pieces.find((piece) => piece.length > 0)?.[0] ?? 0
  const framer = createFramer({
    limit: 4096,
    opens: opensFor(level, side, first),
    decide: (bytes, start, body, end) => {
      const found = readAt({ bytes, start, body, end, level, side })
      if (found === undefined) return { reason: 'bad_request', detail: '' }
      read.push(found)
      return 'skip'
    },
    out: () => {},
  })
  const refused = pieces.some((piece) => framer.push(piece) !== undefined)
  return { read, refused }
}
