/**
 * What administrators say about who may go where, as it is written: in `PUT /v1/{anchors,applications,policies,rule-groups}/{name}`, where the
 * name is in the path, and in `fleet.yaml`. Names are Cloudflare Access's where it has one. What a schema cannot say (host names, paths,
 * durations, certificates, rules) is read by the use case, which says what was expected.
 */

import Type, { type Static } from 'typebox'
import {
  CLIENT_ID_RULES,
  DENY_PUBLISH,
  FORWARD_ON,
  FORWARDS,
  HTTPS_KINDS,
  ON_REVOKE_WILL,
  ON_STALE,
  POLICY_DECISIONS,
  TOPIC_ACTS,
} from '#fleet/access.ts'
import { SAME_SITES, TOKEN_BINDINGS } from '#fleet/session.ts'
import { Group } from './groups.ts'
import { closed, Duration, Hex, literals, Name } from './parts.ts'
import { noted } from './rest.ts'

const hostnames = (maxItems: number) =>
  Type.Array(Type.String({ maxLength: 253 }), { minItems: 1, maxItems, examples: [['api.example.com']] })
const url = Type.String({ maxLength: 2_048 })
/** CA certificates, a chain or several */
const certificates = Type.String({ maxLength: 262_144 })
const session_duration = Type.Optional(
  Type.String({ maxLength: 64, description: '0s is No Duration; up to 31d', examples: ['0s', '15m', '24h'] }),
)

/** `crl`: whose revocation lists count; absent: nobody asks. Without `urls` they are uploaded. `on_stale`: what a missing or stale one means. */
export const AnchorBody = Type.Object(
  {
    pem: certificates,
    // names only, and perhaps one for each that a pattern of an application covers
    hostnames: hostnames(1_000),
    crl: Type.Optional(
      Type.Object(
        {
          urls: Type.Optional(Type.Array(url, { maxItems: 16 })),
          on_stale: Type.Optional(literals(ON_STALE)),
        },
        closed,
      ),
    ),
  },
  closed,
)
export type AnchorBody = Static<typeof AnchorBody>

/** of pages */
const allowed_origins = Type.Optional(
  Type.Array(Type.String({ maxLength: 300 }), { maxItems: 100, examples: [['https://app.example.com']] }),
)

const https = Type.Object(
  {
    kind: Type.Optional(
      literals(HTTPS_KINDS, {
        description:
          'proxy (the default): a way to its origin; mqtt-publish: a POST is a PUBLISH of the device',
      }),
    ),
    path: Type.String({ maxLength: 1_024, examples: ['/*', '/api/v1/*'] }),
    /** `http://host:port`, `https://host:port` or `unix:/path`; several of one kind: the next when one cannot be reached */
    origin: Type.Optional(
      Type.Union([url, Type.Array(url, { minItems: 1, maxItems: 16 })], {
        description: 'of a proxy: needed; of mqtt-publish: there is none',
        examples: ['http://127.0.0.1:3000'],
      }),
    ),
    retain: Type.Optional(Type.Boolean({ description: 'of mqtt-publish: may a message be retained?' })),
    origin_ca: Type.Optional(certificates),
    timeout: Type.Optional(Duration),
    /** octets, or a size such as `10MiB` */
    body_limit: Type.Optional(Type.Union([Type.Integer({ minimum: 0 }), Type.String({ maxLength: 32 })])),
    websocket: Type.Optional(Type.Boolean()),
    allowed_origins,
    encoded_slashes: Type.Optional(Type.Boolean()),
    forward: Type.Optional(Type.Array(literals(FORWARDS), { maxItems: FORWARDS.length })),
    forward_on: Type.Optional(literals(FORWARD_ON)),
  },
  closed,
)

const mqtt = Type.Object(
  {
    topics: Type.Optional(
      Type.Array(
        Type.Object(
          {
            filter: Type.String({ maxLength: 1_024 }),
            acts: Type.Array(literals(TOPIC_ACTS), { minItems: 1 }),
          },
          closed,
        ),
        { maxItems: 1_000 },
      ),
    ),
    client_id: Type.Optional(literals(CLIENT_ID_RULES)),
    connections: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000 })),
    deny_publish: Type.Optional(literals(DENY_PUBLISH)),
    on_revoke_will: Type.Optional(literals(ON_REVOKE_WILL)),
    handshake_per: Type.Optional(literals(['connection', 'message'])),
    websocket: Type.Optional(Type.Boolean()),
    allowed_origins,
  },
  closed,
)

/** `policies`: in the order in which they are asked. */
export const ApplicationBody = Type.Object(
  {
    // perhaps with a `*` in a label
    hostnames: hostnames(100),
    https: Type.Optional(https),
    mqtt: Type.Optional(mqtt),
    session_duration,
    token_binding: Type.Optional(literals(TOKEN_BINDINGS)),
    http_only_cookie_attribute: Type.Optional(Type.Boolean()),
    same_site_cookie_attribute: Type.Optional(literals(SAME_SITES)),
    path_cookie_attribute: Type.Optional(Type.Boolean()),
    policies: Type.Array(Name, { maxItems: 100 }),
  },
  closed,
)
export type ApplicationBody = Static<typeof ApplicationBody>

/** Read one by one by the use case, so that a refusal names the selector and what was expected. */
const Rule = Type.Record(Type.String(), Type.Unknown(), {
  description: 'one selector and its argument, docs/access.md',
  examples: [{ certificate: {} }, { common_name: { common_name: 'pump-7' } }, { ip: { ip: '192.0.2.0/24' } }],
})
const rules = {
  include: Type.Array(Rule, { minItems: 1, maxItems: 1_000 }),
  require: Type.Optional(Type.Array(Rule, { maxItems: 1_000 })),
  exclude: Type.Optional(Type.Array(Rule, { maxItems: 1_000 })),
}

export const RuleGroupBody = Type.Object(rules, closed)
export type RuleGroupBody = Static<typeof RuleGroupBody>

/** `non_identity` is "Service Auth" in Cloudflare's dashboard, `deny` is "Block". */
export const PolicyBody = Type.Object(
  {
    decision: literals(POLICY_DECISIONS),
    ...rules,
    session_duration,
    report_only: Type.Optional(Type.Boolean()),
  },
  closed,
)
export type PolicyBody = Static<typeof PolicyBody>

const named = <T extends Type.TObject>(body: T) => Type.Interface([body], { name: Name }, closed)

export const Anchor = named(AnchorBody)
export const Application = named(ApplicationBody)
export const Policy = named(PolicyBody)
export const RuleGroup = named(RuleGroupBody)
export type Anchor = Static<typeof Anchor>
export type Application = Static<typeof Application>
export type Policy = Static<typeof Policy>
export type RuleGroup = Static<typeof RuleGroup>

/** As it is stored: `id` is the `aud` of its assertions, made once. */
export const StoredApplication = Type.Interface([Application], { id: Hex }, closed)
export type StoredApplication = Static<typeof StoredApplication>

/** `fleet.yaml`, and the body of `POST /v1/apply`: all of it takes effect, or none. What it does not name stays as it is. */
export const Fleet = Type.Object(
  {
    anchors: Type.Optional(Type.Array(Anchor)),
    applications: Type.Optional(Type.Array(Application)),
    policies: Type.Optional(Type.Array(Policy)),
    rule_groups: Type.Optional(Type.Array(RuleGroup)),
    groups: Type.Optional(Type.Array(Group)),
  },
  closed,
)
export type Fleet = Static<typeof Fleet>

/** `notes`: what follows from it that may not have been meant, for people; as in what a `PUT` answers. */
export const Applied = noted(Type.Object({}, closed))
export type Applied = Static<typeof Applied>
