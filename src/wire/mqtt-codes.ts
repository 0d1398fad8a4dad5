/**
 * The one table from a refusal to what an MQTT client sees (MQTT 3.1.1 §3.2.2.3, §3.9.3; MQTT 5 §2.4), and the codes by name. docs/problems.md
 * is held against it.
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
  | 'quota_exceeded'
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

/**
 * MQTT 5 table 2-6, and the tables of §3.2.2.2, §3.4.2.1 … §3.14.2.1: every reason code and the packets in which it may stand. `disconnect`:
 * anybody's DISCONNECT; `dismissal`: only a server's. AUTH and its codes are not spoken here.
 */
const REASONS = [
  [0x00, 'success', 'connack', 'puback', 'pubrec', 'pubrel', 'pubcomp', 'suback', 'unsuback', 'disconnect'],
  [0x01, 'grantedQos1', 'suback'],
  [0x02, 'grantedQos2', 'suback'],
  [0x04, 'disconnectWithWill', 'disconnect'],
  [0x10, 'noMatchingSubscribers', 'puback', 'pubrec'],
  [0x11, 'noSubscriptionExisted', 'unsuback'],
  [0x80, 'unspecifiedError', 'connack', 'puback', 'pubrec', 'suback', 'unsuback', 'disconnect'],
  [0x81, 'malformedPacket', 'connack', 'disconnect'],
  [0x82, 'protocolError', 'connack', 'disconnect'],
  [0x83, 'implementationSpecificError', 'connack', 'puback', 'pubrec', 'suback', 'unsuback', 'disconnect'],
  [0x84, 'unsupportedProtocolVersion', 'connack'],
  [0x85, 'clientIdentifierNotValid', 'connack'],
  [0x86, 'badUserNameOrPassword', 'connack'],
  [0x87, 'notAuthorized', 'connack', 'puback', 'pubrec', 'suback', 'unsuback', 'dismissal'],
  [0x88, 'serverUnavailable', 'connack'],
  [0x89, 'serverBusy', 'connack', 'dismissal'],
  [0x8a, 'banned', 'connack'],
  [0x8b, 'serverShuttingDown', 'dismissal'],
  [0x8c, 'badAuthenticationMethod', 'connack'],
  [0x8d, 'keepAliveTimeout', 'dismissal'],
  [0x8e, 'sessionTakenOver', 'dismissal'],
  [0x8f, 'topicFilterInvalid', 'suback', 'unsuback', 'dismissal'],
  [0x90, 'topicNameInvalid', 'connack', 'puback', 'pubrec', 'disconnect'],
  [0x91, 'packetIdentifierInUse', 'puback', 'pubrec', 'suback', 'unsuback'],
  [0x92, 'packetIdentifierNotFound', 'pubrel', 'pubcomp'],
  [0x93, 'receiveMaximumExceeded', 'disconnect'],
  [0x94, 'topicAliasInvalid', 'disconnect'],
  [0x95, 'packetTooLarge', 'connack', 'disconnect'],
  [0x96, 'messageRateTooHigh', 'disconnect'],
  [0x97, 'quotaExceeded', 'connack', 'puback', 'pubrec', 'suback', 'disconnect'],
  [0x98, 'administrativeAction', 'disconnect'],
  [0x99, 'payloadFormatInvalid', 'connack', 'puback', 'pubrec', 'disconnect'],
  [0x9a, 'retainNotSupported', 'connack', 'dismissal'],
  [0x9b, 'qosNotSupported', 'connack', 'dismissal'],
  [0x9c, 'useAnotherServer', 'connack', 'dismissal'],
  [0x9d, 'serverMoved', 'connack', 'dismissal'],
  [0x9e, 'sharedSubscriptionsNotSupported', 'suback', 'dismissal'],
  [0x9f, 'connectionRateExceeded', 'connack', 'dismissal'],
  [0xa0, 'maximumConnectTime', 'dismissal'],
  [0xa1, 'subscriptionIdentifiersNotSupported', 'suback', 'dismissal'],
  [0xa2, 'wildcardSubscriptionsNotSupported', 'suback', 'dismissal'],
] as const

type ReasonRow = (typeof REASONS)[number]

/** Reason codes of MQTT 5 by name. Those from 0x80 on are failures. */
export const REASON = Object.fromEntries(REASONS.map(([code, name]) => [name, code])) as {
  readonly [Row in ReasonRow as Row[1]]: Row[0]
}

const reasonsIn = (...places: readonly string[]): ReadonlySet<number> =>
  new Set(
    REASONS.filter(([, , ...allowed]) => allowed.some((place) => places.includes(place))).map(
      ([code]) => code,
    ),
  )

/** Which reason codes may stand in which packet of MQTT 5. `disconnect`: a client's; `dismissal`: a server's. */
export const REASONS_IN = {
  connack: reasonsIn('connack'),
  puback: reasonsIn('puback'),
  pubrec: reasonsIn('pubrec'),
  pubrel: reasonsIn('pubrel'),
  pubcomp: reasonsIn('pubcomp'),
  suback: reasonsIn('suback'),
  unsuback: reasonsIn('unsuback'),
  disconnect: reasonsIn('disconnect'),
  dismissal: reasonsIn('disconnect', 'dismissal'),
} as const

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
  // subscriptions, connections of one identity, messages under way
  quota_exceeded: row(serverUnavailable, 0x97, 0x97, 0x97, 0x97),
  target_unreachable: row(serverUnavailable, 0x88, 0x83, 0x83, 0x8b),
  internal: row(serverUnavailable, 0x80, 0x80, 0x80, 0x80),
} satisfies Partial<Record<ErrorCode, MqttCodes>>
