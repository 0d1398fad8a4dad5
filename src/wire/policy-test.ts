/** `POST /v1/policy-test`: who would be let in, by which policy, and why not by the others. Nothing is changed by asking. Not the verdict: #policy. */

import Type, { type Static } from 'typebox'
import { POLICY_DECISIONS, TOPIC_ACTS } from '#fleet/access.ts'
import { DENIALS } from '#fleet/denial.ts'
import { closed, Duration, Instant, literals, Name, Pem } from './parts.ts'

/**
 * `certificate`: the leaf first, perhaps with its intermediates; or `device_id`: its newest usable one; neither: none is presented. `host`: as
 * in SNI, or with its port as in Host: an `origin` is held against that. `address`: without it no rule about addresses holds. `at`: default now. `mqtt`: at that door; then nothing of HTTPS counts, but the
 * `origin` of a page that opens a WebSocket. `topic`: of `subscribe` a filter.
 */
export const PolicyTest = Type.Object(
  {
    certificate: Type.Optional(Pem),
    device_id: Type.Optional(Type.String({ maxLength: 256 })),
    service_token_id: Type.Optional(Type.String({ maxLength: 64 })),
    host: Type.String({ minLength: 1, maxLength: 260 }),
    method: Type.Optional(Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$" })),
    target: Type.Optional(Type.String({ maxLength: 8_192 })),
    origin: Type.Optional(Type.String({ maxLength: 512 })),
    address: Type.Optional(Type.String({ maxLength: 64 })),
    at: Type.Optional(Instant),
    mqtt: Type.Optional(
      Type.Union([
        Type.Object({ act: literals(TOPIC_ACTS), topic: Type.String({ maxLength: 1_024 }) }, closed),
        Type.Object(
          {
            act: literals(['connect']),
            client_id: Type.String({ maxLength: 4_096 }),
            websocket: Type.Optional(Type.Boolean()),
          },
          closed,
        ),
      ]),
    ),
  },
  closed,
)
export type PolicyTest = Static<typeof PolicyTest>

const RuleAt = Type.Object({ index: Type.Integer(), rule: Type.String() }, closed)

/**
 * `concerned` false: it has no say about whoever shows no such credential, or at this door. `include`: the first rule that holds.
 * `require`: the first that does not. `exclude`: the first that holds. Absent: there is none.
 */
const Explanation = Type.Object(
  {
    name: Name,
    decision: literals(POLICY_DECISIONS),
    report_only: Type.Boolean(),
    concerned: Type.Boolean(),
    matched: Type.Boolean(),
    include: Type.Optional(RuleAt),
    require: Type.Optional(RuleAt),
    exclude: Type.Optional(RuleAt),
  },
  closed,
)

/** `name`: as in the log; of a foreign certificate `<anchor>/<common name>`. */
const Identity = Type.Object(
  {
    kind: literals(['device', 'foreign', 'service', 'none']),
    name: Type.Optional(Type.String()),
    group: Type.Optional(Type.String()),
  },
  closed,
)

/**
 * `reason`, when it is not allowed. `application`: whose policies were asked. `policy`, `rule`: what decided; absent where nothing did, or
 * where something else refused. `client_id`: at the broker, of a CONNECT that is admitted. `would_deny`, `would_allow`: the report-only policy that would have decided otherwise.
 */
export const PolicyTested = Type.Object(
  {
    allowed: Type.Boolean(),
    reason: Type.Optional(literals(DENIALS)),
    application: Type.Optional(Name),
    policy: Type.Optional(Name),
    rule: Type.Optional(Type.String()),
    session_duration: Type.Optional(Duration),
    client_id: Type.Optional(Type.String()),
    identity: Type.Optional(Identity),
    would_deny: Type.Optional(Name),
    would_allow: Type.Optional(Name),
    certificate: Type.Optional(
      Type.Object({ fingerprint: Type.String(), serial: Type.String(), not_after: Instant }, closed),
    ),
    policies: Type.Array(Explanation),
  },
  closed,
)
export type PolicyTested = Static<typeof PolicyTested>
