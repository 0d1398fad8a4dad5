/** What the embedded broker stores, one message at a time: its shape, its size, and a copy that keeps nothing else in memory. */

/** A PUBLISH or PUBREL as aedes carries it. */
export type BrokerPacket = {
  cmd: string
  brokerId?: string | null
  brokerCounter: number
  topic: string
  payload: Buffer
  qos: number
  retain: boolean
  dup: boolean
  messageId?: number
  /** who published it */
  clientId?: string
}

/** What a stored message is counted for beyond its payload and topic. */
const OVERHEAD = 200

/** Bytes. */
export const sizeOf = (packet: BrokerPacket): number => OVERHEAD + packet.topic.length + packet.payload.length

/** A payload is a slice of a larger read, and so is a copy in Node's pool: keeping either would keep all of it. */
const alone = (payload: Buffer): Buffer => {
  if (payload.buffer.byteLength === payload.length) return payload
  const own = Buffer.allocUnsafeSlow(payload.length)
  payload.copy(own)
  return own
}

export const compact = (packet: BrokerPacket): BrokerPacket => ({ ...packet, payload: alone(packet.payload) })
