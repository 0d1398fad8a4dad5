import { parser, type Packet } from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import { publishPackets } from '#device-sim/client/publish-packets.ts'

const read = (version: 4 | 5, octets: Buffer): Packet[] => {
  const packets: Packet[] = []
  const reader = parser({ protocolVersion: version })
  reader.on('packet', (packet) => packets.push(packet))
  expect(reader.parse(octets)).toBe(0)
  return packets
}

describe.each([4, 5] as const)('version %d, as another implementation reads it', (version) => {
  // around the steps of the variable byte integer: 3 octets of topic, 2 of its length, 1 of properties in version 5
  test.each([0, 1, 121, 122, 123, 127, 16_377, 16_378, 16_379, 2_097_146, 2_097_147])('%d octets', (size) => {
    const payload = Buffer.alloc(size, 'x')
    const packets = read(version, publishPackets(version, 'a/b', [payload, Buffer.from('next')]))
    expect(packets).toMatchObject([
      { cmd: 'publish', topic: 'a/b', qos: 0, retain: false, dup: false },
      { cmd: 'publish', topic: 'a/b', qos: 0, payload: Buffer.from('next') },
    ])
    expect((packets[0] as { payload: Buffer }).payload.equals(payload)).toBe(true)
  })

  test('a topic beyond ASCII, and no messages at all', () => {
    expect(read(version, publishPackets(version, 'gerät/ö', [Buffer.of(1)]))).toMatchObject([
      { topic: 'gerät/ö' },
    ])
    expect(publishPackets(version, 'a', [])).toHaveLength(0)
  })

  test.each([
    ['no topic', '', 1],
    ['a topic that is too long', 'ä'.repeat(32_768), 1],
    ['a payload that is too long', 'a', 268_435_456],
  ])('%s fits into no packet', (_, topic, size) => {
    // only its length is looked at
    const payload = { length: size } as Uint8Array
    expect(() => publishPackets(version, topic, [payload])).toThrow(RangeError)
  })
})
