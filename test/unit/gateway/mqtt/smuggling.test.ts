import { generate, type IPublishPacket } from 'mqtt-packet'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openFront, type Front } from '../../../support/mqtt-front.ts'

/**
 * The broker must read the packets that were judged, and no others. mqtt-packet's parser runs into itself when it is given bytes while
 * it hands out a packet: it then skips as many bytes of the new ones as the packet was long, and reads on in the middle of a payload.
 */

let front: Front
beforeEach(async () => {
  front = await openFront()
  front.admission.rules = [
    { filter: 'devices/${device.id}/#', acts: ['publish', 'subscribe', 'receive'] },
    { filter: 'devices/#', acts: ['subscribe', 'receive'] },
  ]
})
afterEach(() => front[Symbol.asyncDispose]())

const publish = (topic: string, payload: string | Buffer): Buffer => {
  const packet: IPublishPacket = { cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false }
  return generate(packet)
}
const denied = generate({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '#', qos: 0 }] })
const topic = 'devices/lamp-1/x'
const smuggled = publish('devices/victim/x', 'evil')
/** as long without its header as the next one is up to its payload */
const first = publish(topic, 'ab')

describe('what a payload says is not a packet', () => {
  test.each([
    ['after a packet that goes nowhere', Buffer.concat([first, denied, publish(topic, smuggled)])],
    [
      'after as much as the broker takes at once',
      Buffer.concat([publish(topic, Buffer.alloc(100_000)), first, denied, publish(topic, smuggled)]),
    ],
    [
      'after several',
      Buffer.concat([first, denied, first, denied, first, denied, publish(topic, smuggled), denied]),
    ],
  ])('%s', async (_, bytes) => {
    const hears = await front.enter('witness')
    hears.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'devices/victim/#', qos: 0 }] })
    await hears.until('suback')
    const client = await front.enter('lamp-1')
    client.stream.write(bytes)
    // until all of it has gone through the broker: a packet sent too early would go where the smuggled one goes
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
    expect(await hears.ping()).toEqual([])
    expect((await client.ping()).filter(({ cmd }) => cmd !== 'suback')).toEqual([])
  })
})
