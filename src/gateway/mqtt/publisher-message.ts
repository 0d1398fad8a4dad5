/**
 * One message that came over HTTPS: what it is, the PUBLISH that says it to the broker, and whether the broker takes such a one. Not when: publisher.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import type { Level } from './packets.ts'
import { userProperty, writeProperties, type Property } from './properties.ts'
import { makePublish } from './publish-packet.ts'
import type { LineLimits } from './publisher-line.ts'

export type Message = {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** UTF-8, up to 65,535 bytes */
  readonly contentType: string | undefined
  /** who sends it, as #policy/admission.ts nameOf writes it */
  readonly device: string
}

const propertiesOf = ({ contentType, device }: Pick<Message, 'contentType' | 'device'>): Buffer => {
  const list: Property[] = [userProperty('sallyport-device', device)]
  if (contentType !== undefined) list.push({ name: 'contentType', value: contentType })
  return writeProperties(list)
}

/** Its PUBLISH. @param id 0 with QoS 0 */
export const packetOf = (message: Message, level: Level, id: number): Buffer =>
  makePublish({ ...message, id, level, ...(level === 5 ? { properties: propertiesOf(message) } : {}) })

/** Bytes of the longest header of a packet, above that of an empty one: the remaining length may need three bytes more. */
const LENGTH_ROOM = 3

/** Bytes of a PUBLISH beside its payload, at most. */
export const overheadOf = (message: Omit<Message, 'payload'>): number =>
  packetOf({ ...message, payload: new Uint8Array() }, 5, 0).length + LENGTH_ROOM

/** What this broker does not take would end the connection, and with it the messages of others. */
export const unfitOf = (
  { qos, retain }: Message,
  packet: Uint8Array,
  limits: LineLimits,
): FleetError | undefined => {
  if (qos > limits.qos) return new FleetError('unsupported', `the broker takes no messages of QoS ${qos}`)
  if (retain && !limits.retain) return new FleetError('unsupported', 'the broker retains no messages')
  if (packet.length > limits.packet)
    return new FleetError('body_too_large', `the broker takes packets of ${limits.packet} bytes at most`)
  return undefined
}
