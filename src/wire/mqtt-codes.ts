/**
 * The one table from a refusal to what an MQTT client sees (MQTT 3.1.1 §3.2.2.3, §3.9.3; MQTT 5 §2.4). docs/problems.md is held against it.
 * Not the table of HTTP statuses: that is ./problems.ts.
 */

import type { Denial } from '#fleet/denial.ts'
import type { ErrorCode } from '#fleet/errors.ts'

/** What refuses a packet or a connection: every denial, and the few errors that can happen on a broker connection. */
export type MqttReason =
  | Denial
  | 'bad_request'
  | 'body_too_large'
  | 'request_timeout'
  | 'unsupported'
  | 'target_unreachable'
  | 'internal'

/** Return codes of a CONNACK in MQTT 3.1 and 3.1.1. 0: accepted. */
export const CONNACK = {
  accepted: 0,
  unacceptableProtocol: 1,
  identifierRejected: 2,
  serverUnavailable: 3,
  badUserNameOrPassword: 4,
  notAuthorized: 5,
} as const

/** The only refusal that a SUBACK of MQTT 3.1.1 knows [MQTT-3.9.3-2]; MQTT 3.1 knows none, so it gets the same. */
export const SUBACK_FAILURE = 0x80

/** The v5 CONNACK's word for "not this protocol version". */
export const V5_UNSUPPORTED_VERSION = 0x84

export type MqttCodes = {
  /** CONNACK return code of 3.1 and 3.1.1; `close`: the connection is closed without one */
  readonly connack3: number | 'close'
  /** Reason codes of MQTT 5 */
  readonly connack5: number
  readonly suback5: number
  /** PUBACK and PUBREC */
  readonly puback5: number
  readonly disconnect5: number
}

const row = (
  connack3: MqttCodes['connack3'],
  connack5: number,
  suback5: number,
  puback5: number,
  disconnect5: number,
): MqttCodes => ({ connack3, connack5, suback5, puback5, disconnect5 })

const { unacceptableProtocol, identifierRejected, serverUnavailable, notAuthorized } = CONNACK

/** Not authorized; a connection that stands is told the same. */
const refused = row(notAuthorized, 0x87, 0x87, 0x87, 0x87)
/** As `refused`, and a connection that stands is ended by the administrator's hand. */
const withdrawn = row(notAuthorized, 0x87, 0x87, 0x87, 0x98)

export const MQTT_CODES: Readonly<Record<MqttReason, MqttCodes>> = {
  certificate_required: refused,
  certificate_untrusted: refused,
  certificate_expired: refused,
  certificate_not_yet_valid: refused,
  certificate_wrong_purpose: refused,
  certificate_weak_key: refused,
  certificate_revoked: withdrawn,
  revocation_unknown: refused,
  certificate_unknown: refused,
  issuer_revoked: withdrawn,
  device_suspended: withdrawn,
  device_retired: withdrawn,
  policy_denied: withdrawn,
  origin_denied: refused,
  no_application: withdrawn,
  host_mismatch: refused,
  bad_target: refused,
  session_resumed: refused,
  handshake_not_fresh: refused,
  session_expired: row(notAuthorized, 0x87, 0x87, 0x87, 0xa0),
  token_invalid: refused,
  token_binding_mismatch: refused,
  client_id_mismatch: row(identifierRejected, 0x85, 0x87, 0x87, 0x87),
  topic_denied: refused,
  rate_limited: row(serverUnavailable, 0x9f, 0x97, 0x97, 0x96),
  registry_unavailable: row(serverUnavailable, 0x88, 0x83, 0x83, 0x83),

  bad_request: row('close', 0x81, 0x8f, 0x90, 0x81),
  body_too_large: row('close', 0x95, 0x97, 0x97, 0x95),
  request_timeout: row('close', 0x80, 0x80, 0x80, 0x8d),
  unsupported: row(unacceptableProtocol, 0x84, 0x80, 0x80, 0x82),
  target_unreachable: row(serverUnavailable, 0x88, 0x83, 0x83, 0x8b),
  internal: row(serverUnavailable, 0x80, 0x80, 0x80, 0x80),
} satisfies Partial<Record<ErrorCode, MqttCodes>>
