/** Enrolments that an operator decides, as the operator API shows them. Not how a device asks: that is EnrollRequest in rest.ts. */

import Type, { type Static } from 'typebox'
import { REQUEST_STATES } from '#fleet/credentials.ts'
import { closed, Hex, Instant, literals, orNull } from './parts.ts'
import { PageQuery } from './rest.ts'

/** Of `renewal`: a device under suspicion of having been cloned. */
const REQUEST_CREDENTIALS = ['token', 'bootstrap', 'allow_list', 'none', 'renewal'] as const

const summary = {
  id: Type.String(),
  state: literals(REQUEST_STATES),
  group: Type.String(),
  device_id: Type.String(),
  /** SHA-256 of the SubjectPublicKeyInfo: what the device's own screen or sticker is compared with */
  spki_sha256: Hex,
  credential: Type.Object({ kind: literals(REQUEST_CREDENTIALS), id: Type.String() }, closed),
  /** where it came from first */
  address: Type.String(),
  created_at: Instant,
  expires_at: Instant,
  decided_at: orNull(Instant),
  decided_by: orNull(Type.String()),
}

export const EnrollmentRequest = Type.Object(summary, closed)
export type EnrollmentRequest = Static<typeof EnrollmentRequest>

/** With what it asked for. `common_name`: what the CSR calls the device; the certificate says `device_id` and nothing else. */
export const EnrollmentRequestDetail = Type.Object(
  { ...summary, key_kind: Type.String(), common_name: orNull(Type.String()), csr: Type.String() },
  closed,
)
export type EnrollmentRequestDetail = Static<typeof EnrollmentRequestDetail>

export const RequestPageQuery = Type.Object(
  {
    ...PageQuery.properties,
    state: Type.Optional(literals(REQUEST_STATES)),
    group: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
  },
  closed,
)
