/** Octets that are no MQTT, or too much of it, from a device that may come in: the connection ends, without a word where there is none to say. */

import type { Drill } from './drill.ts'
import { sayRaw } from './raw.ts'

const length = (octets: number): number[] => {
  const low = octets % 128
  return octets < 128 ? [low] : [low | 0x80, ...length(Math.floor(octets / 128))]
}
const packet = (first: number, ...body: readonly number[]): number[] => [
  first,
  ...length(body.length),
  ...body,
]
const text = (value: string): number[] => [0, value.length, ...Buffer.from(value)]

type Hello = {
  readonly name?: string
  readonly version?: number
  readonly flags?: number
  readonly id: string
}
const hello = ({ name = 'MQTT', version = 4, flags = 2, id }: Hello): number[] =>
  packet(0x10, ...text(name), version, flags, 0, 60, ...text(id))

/** 3.1.1: CONNACK */
const ACCEPTED = '20020000'
const UNSUPPORTED = '20020001'
const KIB = 1_024

/** What is said, and what must be answered before the connection ends, in hex. */
type Case = readonly [said: number[], answered: string]

/** By the device `id`. */
const CASES: Readonly<Record<string, (id: string) => Case>> = {
  another_protocol: (id) => [hello({ id, name: 'MQTX' }), ''],
  reserved_flag: (id) => [hello({ id, flags: 3 }), ''],
  no_connect: () => [packet(0xc0), ''],
  no_mqtt: () => [[...Buffer.from('GET / HTTP/1.1\r\n\r\n')], ''],
  endless_length: () => [[0x10, 0xff, 0xff, 0xff, 0xff, 0x7f], ''],
  // announced is enough: it is not waited for
  connect_too_large: () => [[0x10, ...length(64 * KIB), 0, 4], ''],
  unknown_version: (id) => [hello({ id, version: 9 }), UNSUPPORTED],
  second_connect: (id) => [[...hello({ id }), ...hello({ id })], ACCEPTED],
  reserved_type: (id) => [[...hello({ id }), 0x00, 0x00], ACCEPTED],
  qos_3: (id) => [[...hello({ id }), ...packet(0x36, ...text(`devices/${id}/x`), 0, 1)], ACCEPTED],
  wildcard_in_topic: (id) => [[...hello({ id }), ...packet(0x30, ...text(`devices/${id}/#`))], ACCEPTED],
  packet_too_large: (id) => [[...hello({ id }), 0x30, ...length(8 * KIB * KIB), 0, 1], ACCEPTED],
}

export const mqttFrames: Drill = {
  name: 'mqtt_frames',
  needs: [],
  async run(stage) {
    const { expectations, ledger, targets } = stage
    const device = await stage.enroll('frames')
    const { deviceId } = device
    const context = stage.contextOf(device)
    const tryOne = async (what: string, [said, expected]: Case): Promise<void> => {
      const asking = { url: targets.mqtts, context, what: `MQTT ${what}` }
      const answer = await sayRaw(stage, asking, Buffer.from(said))
      const got = Buffer.from(answer.text, 'latin1').toString('hex')
      if (got.startsWith(ACCEPTED)) ledger.connected()
      expectations.check(
        `mqtt_frames.${what}`,
        answer.closed && got === expected,
        `expected ${expected || 'nothing'} and the end, got ${got || 'nothing'}${answer.closed ? ' and the end' : ''}`,
      )
    }
    const cases = Object.entries(CASES).map(([what, make]) => [what, make(deviceId)] as const)
    const letIn = ([, [, answered]]: (typeof cases)[number]): boolean => answered === ACCEPTED
    await Promise.all(cases.filter((each) => !letIn(each)).map((each) => tryOne(...each)))
    // one after the other: they have the same ClientID
    for (const each of cases.filter(letIn)) await tryOne(...each)
    await using still = await stage.connects('mqtt_frames.still_there', { context, clientId: deviceId })
    await still?.close()
  },
}
