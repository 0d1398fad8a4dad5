/** The promises that a run is held to, by name, and what is found of each. Not the judging: one file each beside this one. */

export const INVARIANTS = {
  revoked_stay_out:
    'from T after the operator was told that a device is revoked, no request of it gets a 2xx or reaches the origin, no connection of it is open, nothing it publishes is acknowledged or heard by anybody, nothing is delivered to it, and it gets no certificate',
  certificate_required: 'nobody is admitted without a client certificate',
  full_handshakes: 'no TLS session is ever resumed',
  one_request_per_connection: 'a second request on a connection is never answered',
  no_token_returned: 'no answer over HTTPS and no message over MQTT carries a token',
  own_topics_only: 'no device subscribes to, publishes on, or is sent what is on the topics of another',
  acknowledged_is_delivered:
    'what was acknowledged at QoS 1 reaches a subscriber whose session was there, once the broker is reachable again',
  certificates_verify:
    'every certificate that was enrolled or renewed is for the right key and name and verifies up to the root',
  renewed_in_time: 'no device is left with a certificate that expired while it could have renewed it',
  clones_noticed:
    'a copied certificate is noticed at its first rival renewal, or at the first connection beside the original',
} as const satisfies Readonly<Record<string, string>>

export type InvariantName = keyof typeof INVARIANTS

/** `checked`: how often it was put to the test; 0 says nothing, whatever `broken` is. */
export type Finding = {
  readonly name: InvariantName
  readonly checked: number
  readonly broken: number
  /** the first few, in words; hold no secret */
  readonly evidence: readonly string[]
}
export const MOST_EVIDENCE = 10
