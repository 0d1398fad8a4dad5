/** Applications over MQTT (`mqtt`) between the wire and the nouns. Their topic rules: topics.ts. Not what the door makes of them: docs/mqtt.md. */

import { MQTT_DEFAULTS, type MqttAccess } from '#fleet/access.ts'
import type { ApplicationBody } from '#wire/access.ts'
import { readPageOrigins } from './origins.ts'
import { readTopic } from './topics.ts'

type MqttBody = NonNullable<ApplicationBody['mqtt']>

/** What differs from what it would be anyway, so that one meaning has one spelling. */
const unlikeDefaults = <T extends object>(said: T, defaults: Readonly<Record<string, unknown>>): T =>
  Object.fromEntries(
    Object.entries(said).filter(([key, value]) => value !== undefined && value !== defaults[key]),
  ) as T

/** @throws FleetError `bad_request`, with the field */
export const readMqtt = (body: MqttBody): MqttAccess => {
  const { client_id, connections, deny_publish, on_revoke_will, handshake_per, websocket } = body
  const allowedOrigins = readPageOrigins('mqtt.allowed_origins', body.allowed_origins ?? [])
  return {
    topics: (body.topics ?? []).map(readTopic),
    ...(unlikeDefaults(
      {
        clientId: client_id,
        connections,
        denyPublish: deny_publish,
        onRevokeWill: on_revoke_will,
        handshakePer: handshake_per,
        websocket,
      },
      MQTT_DEFAULTS,
    ) as Partial<MqttAccess>),
    ...(allowedOrigins.length === 0 ? {} : { allowedOrigins }),
  }
}

/** Absent is what the settings of the gateway say. */
export const mqttToWire = (mqtt: MqttAccess) => {
  const all = { ...MQTT_DEFAULTS, ...mqtt }
  return {
    topics: all.topics.map(({ filter, acts }) => ({ filter, acts: [...acts] })),
    client_id: all.clientId,
    connections: all.connections,
    deny_publish: all.denyPublish,
    on_revoke_will: all.onRevokeWill,
    ...(all.handshakePer === undefined ? {} : { handshake_per: all.handshakePer }),
    websocket: all.websocket,
    allowed_origins: [...all.allowedOrigins],
  }
}
