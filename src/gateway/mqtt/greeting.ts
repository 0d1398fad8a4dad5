/** CONNECT: read, judged, and answered when the answer is no. The one moment at which it is said who a connection is. */

import type { Peer } from '#fleet/peer.ts'
import { nameOf } from '#policy/admission.ts'
import type { Ask, Decision, Identity } from '#policy/decision.ts'
import { newRequestId } from '#runtime/request-id.ts'
import { CONNACK, MQTT_CODES, V5_UNSUPPORTED_VERSION, type MqttReason } from '#wire/mqtt-codes.ts'
import type { Admission } from '../admission.ts'
import { readConnect, type Connect } from './connect-packet.ts'
import { makeConnack, makeConnack5 } from './packets.ts'
import type { Verdicts } from './verdicts.ts'

export type ConnectAsk = Extract<Ask, { act: 'connect' }>

export type Greeting =
  | {
      readonly kind: 'admitted'
      readonly connect: Connect
      readonly ask: ConnectAsk
      readonly identity: Identity
      /** ms: when the certificates end that admitted it */
      readonly notAfter: number
    }
  | {
      readonly kind: 'refused'
      readonly reason: MqttReason
      readonly connack: Buffer
      /** what admission has not recorded, because it was not asked */
      readonly detail?: string
    }
  /** not answered, only closed */
  | { readonly kind: 'malformed'; readonly detail: string }

/** CONNACK of 3.1 and 3.1.1. Of reasons that close without one, "not authorized" says least. */
export const refusalOf = (reason: MqttReason): Buffer => {
  const { connack3 } = MQTT_CODES[reason]
  return makeConnack(connack3 === 'close' ? CONNACK.notAuthorized : connack3)
}

const askFor = (host: string, clientId: string): ConnectAsk => ({
  door: 'mqtt',
  host,
  act: 'connect',
  clientId,
})

/** @param host undefined: the client named none and there is no default */
const judge = (
  admission: Admission,
  peer: Peer,
  host: string | undefined,
  { clientId, clean, level }: Connect,
): { readonly ask: ConnectAsk; readonly decision: Decision } => {
  const ask = askFor(host ?? '', clientId)
  if (host === undefined) return { ask, decision: { allow: false, reason: 'host_mismatch' } }
  const decision = admission.judge(peer, ask)
  // An empty ClientID asks the server for one [MQTT-3.1.3-6], and there is only one to give. Not for a session that outlives the
  // connection [MQTT-3.1.3-8]; and MQTT 3.1 does not know it.
  const asksForName = clientId === '' && clean && level >= 4
  if (decision.allow || decision.reason !== 'client_id_mismatch' || !asksForName) return { ask, decision }
  if (decision.identity === undefined) return { ask, decision }
  const named = askFor(host, nameOf(decision.identity))
  return { ask: named, decision: admission.judge(peer, named) }
}

/** @param body where the variable header of the CONNECT begins */
export const greet = (
  {
    admission,
    peer,
    host,
    verdicts,
  }: {
    readonly admission: Admission
    readonly peer: Peer
    readonly host: string | undefined
    readonly verdicts: Verdicts
  },
  bytes: Buffer,
  body: number,
  end: number,
): Greeting => {
  const reading = readConnect(bytes, body, end)
  if (reading.kind === 'malformed') return reading
  if (reading.kind === 'version')
    return {
      kind: 'refused',
      reason: 'unsupported',
      detail: reading.five ? 'MQTT 5' : 'a protocol level that is not MQTT 3.1 or 3.1.1',
      connack: reading.five ? makeConnack5(V5_UNSUPPORTED_VERSION) : refusalOf('unsupported'),
    }
  const { connect } = reading
  const { ask, decision } = judge(admission, peer, host, connect)
  if (!decision.allow) {
    admission.record(peer, ask, decision, newRequestId())
    const { reason } = decision
    return { kind: 'refused', reason, connack: refusalOf(reason) }
  }
  const will = connect.will === undefined ? 'allowed' : verdicts.will(connect.will.topic)
  if (will !== 'allowed') return { kind: 'refused', reason: will, connack: refusalOf(will) }
  admission.record(peer, ask, decision, newRequestId())
  const { identity, notAfter } = decision
  return { kind: 'admitted', connect, ask, identity, notAfter }
}
