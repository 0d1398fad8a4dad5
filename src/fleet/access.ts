/** Anchors, applications and policies: what an administrator says about who may go where. Not how it is judged: that is #policy. */

/** A named root CA (with its intermediates, when there are any) bound to hostnames. */
export type Anchor = {
  readonly name: string
  /** one or more certificates, any order */
  readonly pem: string
  /** lower case, no port, no trailing dot */
  readonly hostnames: readonly string[]
}

export const TOPIC_ACTS = ['publish', 'subscribe', 'receive'] as const
export type TopicAct = (typeof TOPIC_ACTS)[number]

/** `filter`: an MQTT topic filter that may hold `${device.id}` and the other templates of docs/admission.md. */
export type TopicRule = { readonly filter: string; readonly acts: readonly TopicAct[] }

export type Application = {
  readonly name: string
  /** 64 hex, made once by the registry; the assertion's `aud` */
  readonly id: string
  readonly hostnames: readonly string[]
  /** undefined: not reachable over HTTPS. `path`: a prefix ending in `/*`, or an exact path. `origin`: http(s) URL without path. */
  readonly https: { readonly path: string; readonly origin: string } | undefined
  /** undefined: not reachable over MQTT. Empty `topics`: the defaults of #policy/topics. */
  readonly mqtt: { readonly topics: readonly TopicRule[] } | undefined
  /** names; order is evaluation order. None: nobody gets in. */
  readonly policies: readonly string[]
}

/** Rule objects as Cloudflare Access writes them: one key each. */
export type Rule =
  { readonly certificate: Record<string, never> } | { readonly common_name: { readonly common_name: string } }

export type Policy = {
  readonly name: string
  /** "Service Auth" in Cloudflare's dashboard, "Non Identity" in the seed */
  readonly decision: 'non_identity'
  /** OR; at least one */
  readonly include: readonly Rule[]
  /** AND */
  readonly require: readonly Rule[]
  /** NOT */
  readonly exclude: readonly Rule[]
}

/** Everything the doors judge by, with the version it was read at. */
export type AccessSnapshot = {
  /** rises with every change of an anchor, application or policy */
  readonly version: number
  readonly anchors: readonly Anchor[]
  readonly applications: readonly Application[]
  readonly policies: readonly Policy[]
}
