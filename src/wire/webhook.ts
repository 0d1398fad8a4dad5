/**
 * The enrolment webhook: what the desk asks the operator's own server before it signs, and what that may answer. Signed like this:
 * `sallyport-signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">`. docs/credentials.md has a receiver.
 */

import Type, { type Static } from 'typebox'
import { Check } from 'typebox/value'
import { CREDENTIAL_KINDS } from '#fleet/enrollment-group.ts'
import { closed, literals, orNull } from './parts.ts'

const Text = orNull(Type.String())

/** No secrets. `credential.id`: a token's public handle, the SHA-256 of a bootstrap certificate's signed part, '' for who has neither. */
export const WebhookEvent = Type.Object(
  {
    type: Type.Literal('enrollment'),
    request_id: Type.String(),
    device_id: Type.String(),
    group: Type.String(),
    address: Type.String(),
    credential: Type.Object(
      {
        kind: literals(CREDENTIAL_KINDS),
        id: Type.String(),
      },
      closed,
    ),
    csr: Type.Object({ spki_sha256: Type.String(), key_kind: Type.String(), common_name: Text }, closed),
    /** absent: it came with another credential */
    bootstrap_certificate: Type.Optional(
      Type.Object({ sha256: Type.String(), common_name: Text, serial_number: Text }, closed),
    ),
  },
  closed,
)
export type WebhookEvent = Static<typeof WebhookEvent>

/** `reason` is shown to the device; `device_id` and `tags` count only with `allow: true`. Anything else in it refuses the whole answer. */
export const WebhookAnswer = Type.Object(
  {
    allow: Type.Boolean(),
    device_id: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    tags: Type.Optional(Type.Record(Type.String(), Type.String())),
    reason: Type.Optional(Type.String({ maxLength: 256 })),
  },
  closed,
)
export type WebhookAnswer = Static<typeof WebhookAnswer>

export const isWebhookAnswer = (value: unknown): value is WebhookAnswer => Check(WebhookAnswer, value)

export const SIGNATURE_HEADER = 'sallyport-signature'
