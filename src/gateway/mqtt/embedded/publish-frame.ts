/**
 * PUBLISH as it is sent to the broker's clients (MQTT 3.1 and 3.1.1 §3.3), made once for all that get the same: at QoS 0 the very same bytes,
 * else a copy with the packet id of each. Not the door's packets: ../publish-packet.ts.
 */

import { TYPE, varintSize, writeVarint } from '../packets.ts'

/** Longer payloads are not copied for each client. */
const SHARED = 4_096

const PUBLISH = TYPE.publish << 4
const DUP = 0x08

export type Frames = {
  /** @param id 0 at QoS 0. @returns one piece, or two to be sent one after the other */
  frame(qos: number, id: number, retain: boolean, dup: boolean): readonly [Buffer, Buffer | undefined]
}

export const createFrames = (topic: string, payload: Buffer): Frames => {
  const name = Buffer.from(topic)
  const apart = payload.length > SHARED
  /** QoS 0, no RETAIN */
  let plain: readonly [Buffer, Buffer | undefined] | undefined

  const make = (qos: number, id: number, first: number): readonly [Buffer, Buffer | undefined] => {
    const length = 2 + name.length + (qos > 0 ? 2 : 0) + payload.length
    const bytes = Buffer.allocUnsafe(1 + varintSize(length) + length - (apart ? payload.length : 0))
    bytes[0] = first
    let at = bytes.writeUInt16BE(name.length, writeVarint(bytes, 1, length))
    at += name.copy(bytes, at)
    if (qos > 0) at = bytes.writeUInt16BE(id, at)
    if (apart) return [bytes, payload]
    payload.copy(bytes, at)
    return [bytes, undefined]
  }

  return {
    frame: (qos, id, retain, dup) => {
      const first = PUBLISH | (dup ? DUP : 0) | (qos << 1) | (retain ? 1 : 0)
      if (first !== PUBLISH) return make(qos, id, first)
      plain ??= make(0, 0, PUBLISH)
      return plain
    },
  }
}
