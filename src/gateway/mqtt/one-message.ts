/** `mqtt.handshake_per: message`: one handshake carries one PUBLISH, and the connection is over with its last acknowledgement. */

import { TYPE } from './packets.ts'
import { NO } from './windows.ts'

export type OneMessage = {
  /** @returns false: there was one. The same sent again is another: nothing is sent twice on one connection, and the session is clean. */
  published(qos: number, id: number): boolean
  /** a packet from the broker, or from the door in its place. @param code of MQTT 5; else 0 */
  acknowledged(type: number, id: number, code: number): void
  readonly over: boolean
}

/** By QoS, what ends it [MQTT-4.3]. QoS 0 ends with itself. */
const LAST_WORD = [0, TYPE.puback, TYPE.pubcomp]

export const createOneMessage = (): OneMessage => {
  let sent: { readonly qos: number; readonly id: number } | undefined
  let over = false
  return {
    published: (qos, id) => {
      if (sent !== undefined) return false
      sent = { qos, id }
      over = qos === 0
      return true
    },
    acknowledged: (type, id, code) => {
      if (sent?.id !== id) return
      // a PUBREC that says no is the last word too (MQTT 5 §4.3.3)
      if (type === LAST_WORD[sent.qos] || (type === TYPE.pubrec && code >= NO)) over = true
    },
    get over() {
      return over
    },
  }
}
