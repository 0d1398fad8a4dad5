/**
 * Octets that are no MQTT, or too much of it, from a device that may come in: the connection ends, without a word where there is none to say.
 *
 * A broker would end the connection as well, if the door had handed it on. So what comes after CONNECT is said in MQTT 5 where the target speaks
 * it, for there the door says why, in its own code; and where it does not, soon, and with nobody else thrown out.
 */

import { REASON } from '#wire/mqtt-codes.ts'
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

type Level = 4 | 5

type Hello = {
  readonly name?: string
  readonly version?: number
  readonly flags?: number
  readonly id: string
}
/** CONNECT. In MQTT 5 with no properties. */
const hello = ({ name = 'MQTT', version = 4, flags = 2, id }: Hello): number[] =>
  packet(0x10, ...text(name), version, flags, 0, 60, ...(version === 5 ? [0] : []), ...text(id))
const DISCONNECT = [0xe0, 0x00]

/** 3.1.1: CONNACK */
const ACCEPTED = '20020000'
const UNSUPPORTED = '20020001'
const KIB = 1_024
/** octets of an answer that are looked at */
const MOST_SHOWN = 512
/** ms in which what is refused when it is announced has been refused */
const SOON = 1_500

/** Instead of CONNECT, or a CONNECT that is none. What is said, and what must be answered before the connection ends, in hex. */
type Before = readonly [said: number[], answered: string]
const BEFORE: Readonly<Record<string, (id: string) => Before>> = {
  another_protocol: (id) => [hello({ id, name: 'MQTX' }), ''],
  reserved_flag: (id) => [hello({ id, flags: 3 }), ''],
  no_connect: () => [packet(0xc0), ''],
  no_mqtt: () => [[...Buffer.from('GET / HTTP/1.1\r\n\r\n')], ''],
  endless_length: () => [[0x10, 0xff, 0xff, 0xff, 0xff, 0x7f], ''],
  // announced is enough: it is not waited for
  connect_too_large: () => [[0x10, ...length(64 * KIB), 0, 4], ''],
  unknown_version: (id) => [hello({ id, version: 9 }), UNSUPPORTED],
}

/** After a CONNECT that is accepted. `other`: a device that is connected meanwhile */
type Speaker = { readonly id: string; readonly other: string; readonly level: Level }
/** What is said, and with which code the door ends the connection in MQTT 5. */
type After = readonly [said: (by: Speaker) => number[], ...codes: readonly number[]]
const publish = (first: number, topic: string, level: Level, ...rest: readonly number[]): number[] =>
  packet(first, ...text(topic), ...rest, ...(level === 5 ? [0] : []))
const AFTER: Readonly<Record<string, After>> = {
  second_connect: [({ other, level }) => hello({ id: other, version: level }), REASON.protocolError],
  reserved_type: [() => [0x00, 0x00], REASON.malformedPacket, REASON.protocolError],
  qos_3: [({ id, level }) => publish(0x36, `devices/${id}/x`, level, 0, 1), REASON.malformedPacket],
  wildcard_in_topic: [({ id, level }) => publish(0x30, `devices/${id}/#`, level), REASON.topicNameInvalid],
  packet_too_large: [() => [0x30, ...length(8 * KIB * KIB), 0, 1], REASON.packetTooLarge],
}

/** CONNACK of MQTT 5, accepted; its properties are the server's business */
const ACCEPTED_5 = /^20(..)0[01]00/
const hex = (text: string): string => Buffer.from(text, 'latin1').toString('hex')

/** @returns what follows the CONNACK that accepts, in hex; undefined: it is none */
const afterConnack = (got: string, level: Level): string | undefined => {
  if (level === 4) return got.startsWith(ACCEPTED) ? got.slice(ACCEPTED.length) : undefined
  const octets = ACCEPTED_5.exec(got)?.[1]
  return octets === undefined ? undefined : got.slice(4 + 2 * Number.parseInt(octets, 16))
}

/** DISCONNECT with this code, and nothing else. */
const isDismissal = (rest: string, codes: readonly number[]): boolean => {
  const [, octets = '', code = ''] = /^e0([0-7].)(..)/.exec(rest) ?? []
  return rest.length === 4 + 2 * Number.parseInt(octets, 16) && codes.includes(Number.parseInt(code, 16))
}

export const mqttFrames: Drill = {
  name: 'mqtt_frames',
  needs: [],
  async run(stage) {
    const { expectations, ledger, targets } = stage
    const [device, other] = await Promise.all([stage.enroll('frames'), stage.enroll('frames-other')])
    const { deviceId: id } = device
    const context = stage.contextOf(device)
    const say = async (what: string, said: readonly number[]) => {
      const asking = { url: targets.mqtts, context, what: `MQTT ${what}`, within: SOON }
      const { closed, text: answer } = await sayRaw(stage, asking, Buffer.from(said))
      const got = hex(answer.slice(0, MOST_SHOWN))
      return { closed, got, shown: `${got || 'nothing'}${closed ? ' and the end' : ''}` }
    }

    await Promise.all(
      Object.entries(BEFORE).map(async ([what, make]) => {
        const [said, expected] = make(id)
        const { closed, got, shown } = await say(what, said)
        const held = closed && got === expected
        expectations.check(
          `mqtt_frames.${what}`,
          held,
          `expected ${expected || 'nothing'} and the end, got ${shown}`,
        )
      }),
    )

    const { got: first } = await say('MQTT 5', [...hello({ id, version: 5 }), ...DISCONNECT])
    const level: Level = afterConnack(first, 5) === undefined ? 4 : 5
    const standing = { context: stage.contextOf(other), clientId: other.deviceId }
    await using witness = await stage.connects('mqtt_frames.witness', standing)
    // one after the other: they have the same ClientID
    for (const [what, [make, ...codes]] of Object.entries(AFTER)) {
      const before = witness?.isOpen()
      const said = [...hello({ id, version: level }), ...make({ id, other: other.deviceId, level })]
      const { closed, got, shown } = await say(what, said)
      const rest = afterConnack(got, level)
      if (rest !== undefined) ledger.connected()
      const ended = closed && rest !== undefined && (level === 4 ? rest === '' : isDismissal(rest, codes))
      const wanted =
        level === 4
          ? 'CONNACK 0'
          : `CONNACK 0, DISCONNECT ${codes.map((code) => code.toString(16)).join(' or ')}`
      expectations.check(`mqtt_frames.${what}`, ended, `expected ${wanted} and the end soon, got ${shown}`)
      expectations.check(
        `mqtt_frames.${what}`,
        before === witness?.isOpen(),
        'another device was thrown out by it',
      )
    }
    await witness?.close()
    await using still = await stage.connects('mqtt_frames.still_there', { context, clientId: id })
    await still?.close()
  },
}
