/** What a client hears at the end, in its version of MQTT: a CONNACK before it was let in, a DISCONNECT after it. Not when it ends. */

import { MQTT_CODES, REASON, type MqttReason } from '#wire/mqtt-codes.ts'
import { makeDisconnect } from './ack-packets.ts'
import { makeConnack } from './connack-packet.ts'
import { refusalOf } from './greeting.ts'
import type { Level } from './packets.ts'

/** How far the client has come. `level` undefined: it has not said a whole CONNECT. */
export type Heard = { readonly level: Level | undefined; readonly open: boolean }

/** @param code DISCONNECT's, where there is a better one than the reason's. @returns undefined: the connection is closed without a word */
export const farewell = ({ level, open }: Heard, reason: MqttReason, code?: number): Buffer | undefined => {
  if (level === undefined) return undefined
  if (open) return level === 5 ? makeDisconnect(5, code ?? MQTT_CODES[reason].disconnect5) : undefined
  return level < 5 && MQTT_CODES[reason].connack3 === 'close' ? undefined : refusalOf(level, reason)
}

/** To whom another connection has come for its ClientID. */
export const takenOver = ({ level, open }: Heard): Buffer | undefined =>
  level === 5 && open ? makeDisconnect(5, REASON.sessionTakenOver) : undefined

/** The gateway stops. @param serverReference where else to go */
export const stopping = ({ level, open }: Heard, serverReference: string | undefined): Buffer | undefined => {
  if (level === undefined) return undefined
  if (!open)
    return level === 5 && serverReference !== undefined
      ? makeConnack(5, REASON.serverMoved, { serverReference })
      : refusalOf(level, 'target_unreachable')
  if (level < 5) return undefined
  return serverReference === undefined
    ? makeDisconnect(5, REASON.serverShuttingDown)
    : makeDisconnect(5, REASON.serverMoved, { serverReference })
}
