/** PUBLISH packets at QoS 0, many at once into one buffer (MQTT 3.1.1 and 5, 3.3). Not a general encoder: mqtt-packet is that. */

const PUBLISH = 0x30
/** MQTT 5: no properties */
const NO_PROPERTIES = Buffer.of(0)
const NONE = Buffer.alloc(0)

const MAX_REMAINING = 268_435_455

/** octets that `length` takes as a variable byte integer (1.5.5) */
const lengthOf = (length: number): number =>
  length < 128 ? 1 : length < 16_384 ? 2 : length < 2_097_152 ? 3 : 4

/** @param topic at most 65,535 octets. @throws RangeError what does not fit into a packet */
export const publishPackets = (version: 4 | 5, topic: string, payloads: readonly Uint8Array[]): Buffer => {
  const name = Buffer.from(topic)
  if (name.length === 0 || name.length > 0xffff) throw new RangeError('a topic has 1 to 65,535 octets')
  const head = Buffer.concat([
    Buffer.of(name.length >> 8, name.length & 0xff),
    name,
    version === 5 ? NO_PROPERTIES : NONE,
  ])
  let size = 0
  for (const payload of payloads) {
    const remaining = head.length + payload.length
    if (remaining > MAX_REMAINING) throw new RangeError('a packet has at most 256 MiB')
    size += 1 + lengthOf(remaining) + remaining
  }
  const packets = Buffer.allocUnsafe(size)
  let at = 0
  for (const payload of payloads) {
    packets[at++] = PUBLISH
    let left = head.length + payload.length
    do {
      packets[at++] = left < 128 ? left : (left & 0x7f) | 0x80
      left >>= 7
    } while (left > 0)
    packets.set(head, at)
    at += head.length
    packets.set(payload, at)
    at += payload.length
  }
  return packets
}
