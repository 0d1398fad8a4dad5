/** Anchors, applications, policies and rule groups: what an administrator says about who may go where. Not how it is judged: that is #policy. */

import type { SessionChoice } from './session.ts'

/** What a door does with a foreign anchor's certificates when nobody can say which of them are revoked. */
export const ON_STALE = ['fail_closed', 'fail_open'] as const
export type OnStale = (typeof ON_STALE)[number]

/** A named root CA (with its intermediates, when there are any) bound to hostnames. */
export type Anchor = {
  readonly name: string
  /** one or more certificates, any order */
  readonly pem: string
  /** lower case, no port, no trailing dot */
  readonly hostnames: readonly string[]
  /**
   * Whose CRLs count, for certificates that are not ours. `urls`: http(s), fetched by the enroll desk; without any they are uploaded.
   * undefined: nobody asks, as at Cloudflare.
   */
  readonly crl?: { readonly urls: readonly string[]; readonly onStale: OnStale }
}

export const TOPIC_ACTS = ['publish', 'subscribe', 'receive'] as const
export type TopicAct = (typeof TOPIC_ACTS)[number]

/** `filter`: an MQTT topic filter that may hold `${device.id}` and the other templates of docs/admission.md. */
export type TopicRule = { readonly filter: string; readonly acts: readonly TopicAct[] }

/**
 * What a ClientID may be (docs/mqtt.md). `equal`: the identity. `prefix`: that, or `<identity>@<suffix>`. `forced`: anything; the broker is told
 * the identity.
 */
export const CLIENT_ID_RULES = ['equal', 'prefix', 'forced'] as const
export type ClientIdRule = (typeof CLIENT_ID_RULES)[number]

/** What a denied PUBLISH of MQTT 3.1 and 3.1.1 comes to, which know no way to say no. */
export const DENY_PUBLISH = ['disconnect', 'drop'] as const
export type DenyPublish = (typeof DENY_PUBLISH)[number]

/** What becomes of the will of a device that is cut. */
export const ON_REVOKE_WILL = ['discard', 'publish'] as const
export type OnRevokeWill = (typeof ON_REVOKE_WILL)[number]

/** Of an application over MQTT. What is left out: {@link MQTT_DEFAULTS}. */
export type MqttAccess = {
  /** Empty: the defaults of #policy/topics. */
  readonly topics: readonly TopicRule[]
  readonly clientId?: ClientIdRule
  /** of one identity at a time, each with its own ClientID; one that comes with a ClientID that is there takes it over */
  readonly connections?: number
  readonly denyPublish?: DenyPublish
  readonly onRevokeWill?: OnRevokeWill
  /** undefined: mqtt.handshake_per */
  readonly handshakePer?: 'connection' | 'message'
  /** also over WebSocket, at `/mqtt` of the HTTPS door */
  readonly websocket?: boolean
  /** values of Origin that pages of other sites may send with a WebSocket, beside the application's own */
  readonly allowedOrigins?: readonly string[]
}

export const MQTT_DEFAULTS = {
  clientId: 'equal',
  connections: 1,
  denyPublish: 'disconnect',
  onRevokeWill: 'discard',
  websocket: true,
  allowedOrigins: [],
} as const satisfies Partial<MqttAccess>

/** How an origin is told whose certificate it was: Cf-Client-Cert-*, Client-Cert (RFC 9440), X-Forwarded-Client-Cert (Envoy). */
export const FORWARDS = ['cloudflare', 'rfc9440', 'xfcc'] as const
export type Forward = (typeof FORWARDS)[number]

/** Cloudflare's `first` tells it with the first request of a connection only. Without a session each request is the first. */
export const FORWARD_ON = ['first', 'every'] as const
export type ForwardOn = (typeof FORWARD_ON)[number]

/**
 * What an application over HTTPS is. `proxy`: a way to its origin. `mqtt-publish`: a POST is a PUBLISH of the device (docs/mqtt-publish.md); then there
 * is no origin, and the path is a literal prefix and `/*`.
 */
export const HTTPS_KINDS = ['proxy', 'mqtt-publish'] as const
export type HttpsKind = (typeof HTTPS_KINDS)[number]

/** Of an application over HTTPS. What is left out: {@link HTTPS_DEFAULTS}. */
export type HttpsAccess = {
  readonly kind?: HttpsKind
  /** Cloudflare's grammar: `/alpha`, `/alpha/*`, `/foo*bar`; docs/admission.md */
  readonly path: string
  /** `mqtt-publish`: may a message be retained? */
  readonly retain?: boolean
  /** `http://h:p`, `https://h:p`, `unix:/path`; several: the next one when one cannot be reached; `mqtt-publish`: none, an empty list */
  readonly origin: string | readonly string[]
  /** PEM: whom an https origin's certificate is verified with; undefined: the public roots */
  readonly originCa?: string
  /** ms; how long the origin may be silent; undefined: https.origin_timeout */
  readonly timeout?: number
  /** octets; undefined: https.body_limit */
  readonly bodyLimit?: number
  readonly websocket?: boolean
  /** values of Origin that pages of other sites may send, beside the application's own */
  readonly allowedOrigins?: readonly string[]
  /** is `%2F` in a path let through, as data? */
  readonly encodedSlashes?: boolean
  readonly forward?: readonly Forward[]
  readonly forwardOn?: ForwardOn
}

export const HTTPS_DEFAULTS = {
  kind: 'proxy',
  retain: false,
  websocket: false,
  allowedOrigins: [],
  encodedSlashes: false,
  forward: ['cloudflare', 'rfc9440'],
  forwardOn: 'every',
} as const satisfies Partial<HttpsAccess>

export type Application = SessionChoice & {
  readonly name: string
  /** 64 hex, made once by the registry; the assertion's `aud` */
  readonly id: string
  /** a name, or one `*` for (a part of) a label: `*.example.com` */
  readonly hostnames: readonly string[]
  /** undefined: not reachable over HTTPS */
  readonly https: HttpsAccess | undefined
  /** undefined: not reachable over MQTT */
  readonly mqtt: MqttAccess | undefined
  /** names; order is evaluation order. None: nobody gets in. */
  readonly policies: readonly string[]
}

export const WEEKDAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const
export type Weekday = (typeof WEEKDAYS)[number]

/** What `device_state` may ask for, of a device that has come this far. */
export const RULE_DEVICE_STATES = ['active', 'renewal_due', 'clone_suspected'] as const

/**
 * The argument of each selector. Those up to `group` are Cloudflare's, as its API writes them. Hex is lower case.
 * `ip`: CIDR or address. `group`: a rule group's name. `issuer`: subject key id of the CA that signed the certificate.
 * `san_dns`, `san_uri`: the whole value, or its beginning before a `*` at the end. `anchor`: its name.
 * `time_window`: `from` inclusive and `to` exclusive, `HH:MM`; `to` before `from` runs past midnight; `time_zone`: IANA's.
 */
export type Selectors = {
  readonly certificate: Record<string, never>
  readonly common_name: { readonly common_name: string }
  readonly everyone: Record<string, never>
  readonly ip: { readonly ip: string }
  readonly service_token: { readonly token_id: string }
  readonly any_valid_service_token: Record<string, never>
  readonly group: { readonly id: string }
  readonly issuer: { readonly ski: string }
  readonly san_dns: { readonly san_dns: string }
  readonly san_uri: { readonly san_uri: string }
  readonly serial: { readonly serial: string }
  readonly fingerprint: { readonly sha256: string }
  readonly spki: { readonly sha256: string }
  readonly device_id: { readonly device_id: string }
  readonly device_group: { readonly name: string }
  readonly device_tag: { readonly name: string; readonly value: string }
  readonly device_state: { readonly state: (typeof RULE_DEVICE_STATES)[number] }
  readonly anchor: { readonly name: string }
  readonly time_window: {
    readonly days?: readonly Weekday[]
    readonly from: string
    readonly to: string
    readonly time_zone: string
  }
}
export type Selector = keyof Selectors

/** Rule objects as Cloudflare Access writes them: one key each. */
export type Rule = { readonly [S in Selector]: { readonly [K in S]: Selectors[S] } }[Selector]

/** `include`: OR, at least one. `require`: AND. `exclude`: NOT. */
export type Rules = {
  readonly include: readonly Rule[]
  readonly require: readonly Rule[]
  readonly exclude: readonly Rule[]
}

/** `deny` is "Block", `non_identity` is "Service Auth" in Cloudflare's dashboard, "Non Identity" in the seed. */
export const POLICY_DECISIONS = ['allow', 'deny', 'bypass', 'non_identity'] as const
export type PolicyDecision = (typeof POLICY_DECISIONS)[number]

export type Policy = Rules & {
  readonly name: string
  readonly decision: PolicyDecision
  /** ms; 0: No Duration; undefined: the application's */
  readonly sessionDuration?: number
  /** judged, logged and counted, and without effect */
  readonly reportOnly?: boolean
}

/** Rules under a name, for policies to share by the selector `group`. Cannot hold another one. */
export type RuleGroup = Rules & { readonly name: string }

/** Everything the doors judge by, with the version it was read at. */
export type AccessSnapshot = {
  /** rises with every change of an anchor, application, policy or rule group */
  readonly version: number
  readonly anchors: readonly Anchor[]
  readonly applications: readonly Application[]
  readonly policies: readonly Policy[]
  readonly ruleGroups: readonly RuleGroup[]
}
