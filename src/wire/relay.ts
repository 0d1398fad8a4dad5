/**
 * Enrolment over MQTT: the topics, and what a gateway hands on to the enroll desk (`POST /v1/relay/enroll`). docs/mqtt-enrollment.md says what
 * each of it means. Not the answers of an enrolment: those are REST's own, ./rest.ts.
 */

import Type, { type Static } from 'typebox'
import { closed, Instant, literals, Name, Pem } from './parts.ts'

/** Topics of the door itself begin so. None of them ever reaches a broker. */
export const LOCAL_PREFIX = '$sallyport/'

export const RELAY_KINDS = ['nonce', 'create', 'renew'] as const
export type RelayKind = (typeof RELAY_KINDS)[number]

/** What a nonce is good for: one of them, and not the other. */
export const PROVED_KINDS = ['create', 'renew'] as const
export type ProvedKind = (typeof PROVED_KINDS)[number]

/** Where a request is published. */
export const REQUEST_TOPICS: Readonly<Record<RelayKind, string>> = {
  nonce: '$sallyport/certificates/nonce',
  create: '$sallyport/certificates/create-from-csr',
  renew: '$sallyport/certificates/renew',
}

/** Where its answer comes. */
export const replyTopics = (kind: RelayKind): { readonly accepted: string; readonly rejected: string } => ({
  accepted: `${REQUEST_TOPICS[kind]}/accepted`,
  rejected: `${REQUEST_TOPICS[kind]}/rejected`,
})

/** Of the enroll desk's device listener. */
export const RELAY_PATH = '/v1/relay/enroll'

/** The gateway's id, in every answer to a gateway that was let in: what has none is about the gateway, and not about the device. */
export const RELAY_HEADER = 'sallyport-gateway'

/** 72 octets in base64url, without padding. */
const NONCE_CHARACTERS = 96

/**
 * What a device publishes to `create-from-csr` and `renew`. `signature`: base64, by the key of the certificate that this connection was made
 * with, over `SHA-256(CSR in DER) ‖ nonce`, and `‖ group` when it names one. `device_id`: when given, the CSR's common name says the same. `group`: as of REST; not in a renewal.
 */
export const RelayedRequest = Type.Object(
  {
    csr: Pem,
    nonce: Type.String({ maxLength: NONCE_CHARACTERS }),
    signature: Type.String({ maxLength: 2_048 }),
    device_id: Type.Optional(Type.String({ maxLength: 256 })),
    group: Type.Optional(Name),
  },
  closed,
)
export type RelayedRequest = Static<typeof RelayedRequest>

/**
 * `certificate`: what the device presented in its handshake with the gateway, leaf first, PEM. `request`: as the device published it; none for
 * a nonce. `for`: what a nonce is asked for; with nothing else. `address`: where the gateway says that the device is.
 */
export const RelayRequest = Type.Object(
  {
    kind: literals(RELAY_KINDS),
    certificate: Pem,
    address: Type.String({ maxLength: 45 }),
    for: Type.Optional(literals(PROVED_KINDS)),
    request: Type.Optional(RelayedRequest),
  },
  closed,
)
export type RelayRequest = Static<typeof RelayRequest>

/** `nonce`: base64url, for one certificate and one kind of request, until `expires`. */
export const RelayNonce = Type.Object(
  { nonce: Type.String({ pattern: '^[A-Za-z0-9_-]+$' }), expires: Instant },
  closed,
)
export type RelayNonce = Static<typeof RelayNonce>
