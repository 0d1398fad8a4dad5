/**
 * The verdict of both doors: facts in, {@link Decision} out, by one ladder. Pure and synchronous: who gathers the facts, logs and
 * counts is #gateway/admission.ts. The rungs and their order are docs/admission.md, which a test holds against them.
 */

import {
  isStanding,
  type CertificateFacts,
  type CertificateState,
  type IssuerState,
} from '#fleet/certificate.ts'
import type { Denial } from '#fleet/denial.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { DeviceState } from '#fleet/device.ts'
import type { Peer } from '#fleet/peer.ts'
import { admittingPolicy, findHttps, findMqtt, type Access, type CompiledApplication } from './access.ts'
import type { Ask, Decision, Identity, TopicJudge } from './decision.ts'
import { judgeClientLeaf } from './keys.ts'
import { canonicalTarget, type Canonical } from './target.ts'
import { topicsOf, type MayUse } from './topics.ts'

/** What the registry remembers of a certificate of ours; the part of its LiveStatus that is judged. */
export type DeviceRecord = {
  readonly deviceId: DeviceId
  readonly certificateState: Exclude<CertificateState, 'intended'>
  readonly deviceState: DeviceState
  readonly group: string
  readonly tags: Readonly<Record<string, string>>
  readonly issuerState: IssuerState
}

/** The span in which every certificate above the leaf is valid, ms since the epoch, both ends included. */
export type Span = { readonly notBefore: number; readonly notAfter: number }

/**
 * Whose certificate it is, as far as the anchors of the hostname and the registry can say.
 * `rejected`: OpenSSL did not accept the chain, and this is our own account of why. `ours`: under an anchor that holds an issuer of
 * ours; `record` undefined: not on record. `foreign`: under another anchor.
 */
export type Standing =
  | { readonly kind: 'absent' }
  | { readonly kind: 'rejected'; readonly reason: Denial }
  | { readonly kind: 'ours'; readonly above: Span; readonly record: DeviceRecord | undefined }
  | { readonly kind: 'foreign'; readonly above: Span; readonly anchor: string }

export type Facts = {
  readonly now: number
  readonly peer: Peer
  readonly ask: Ask
  /** undefined: the registry cannot be read */
  readonly registry: { readonly access: Access; readonly standing: Standing } | undefined
}

/** The facts, and what follows from them without a verdict. */
type Case = Facts & {
  readonly target: Canonical | undefined
  readonly identity: Identity | undefined
  readonly application: CompiledApplication | undefined
  readonly policy: string | undefined
  /** MQTT, where there is an application for it */
  readonly mayUse: MayUse | undefined
}

type Rung = {
  /** every reason it can give, in the order in which it looks for them */
  readonly reasons: readonly Denial[]
  readonly judge: (seen: Case) => Denial | undefined
}

/** A foreign CN is only a name under its anchor. Without one the fingerprint serves: every certificate is called something. */
const identityOf = (
  standing: Standing | undefined,
  leaf: CertificateFacts | undefined,
): Identity | undefined => {
  if (leaf === undefined || standing === undefined) return undefined
  if (standing.kind === 'foreign')
    return { kind: 'foreign', anchor: standing.anchor, name: leaf.commonName ?? leaf.fingerprint }
  if (standing.kind !== 'ours' || standing.record === undefined) return undefined
  const { deviceId, group, tags } = standing.record
  return { kind: 'device', id: deviceId, group, tags }
}

/** How an identity is written: in a ClientID, a log line, `common_name`. A `/` cannot be in a device id, so the two never meet. */
export const nameOf = (identity: Identity): string =>
  identity.kind === 'device' ? identity.id : `${identity.anchor}/${identity.name}`

const commonNameOf = (identity: Identity): string =>
  identity.kind === 'device' ? identity.id : identity.name

const applicationOf = (
  { ask, registry }: Facts,
  target: Canonical | undefined,
): CompiledApplication | undefined => {
  if (registry === undefined) return undefined
  if (ask.door === 'mqtt') return findMqtt(registry.access, ask.host)
  if (target === undefined || !target.ok) return undefined
  return findHttps(registry.access, ask.host, target.decoded)
}

/** Does the path without its `;parameters` lead elsewhere? Then the origin may serve what was never judged. */
const isAmbiguous = ({ ask, registry, target, application }: Case): boolean =>
  registry !== undefined &&
  target?.ok === true &&
  target.plain !== target.decoded &&
  findHttps(registry.access, ask.host, target.plain) !== application

const outside = (now: number, { notBefore, notAfter }: Span): Denial | undefined =>
  now < notBefore ? 'certificate_not_yet_valid' : now > notAfter ? 'certificate_expired' : undefined

/** A certificate of a device that was never enrolled is none that we have handed out, whatever else the record says. */
const DEVICE_DENIALS: Readonly<Record<DeviceState, Denial | undefined>> = {
  registered: 'certificate_unknown',
  active: undefined,
  suspended: 'device_suspended',
  revoked: 'certificate_revoked',
  retired: 'device_retired',
}

/**
 * Reasons of the registry's record, worst first: `retired` revokes every certificate too, and must still say its own word. A `pending`
 * certificate is as good as a live one: being let in is how it is confirmed.
 */
const recordReason = (record: DeviceRecord): Denial | undefined => {
  if (!isStanding(record.issuerState)) return 'issuer_revoked'
  if (record.deviceState === 'retired') return 'device_retired'
  if (record.certificateState === 'revoked') return 'certificate_revoked'
  return DEVICE_DENIALS[record.deviceState]
}

/** Everything that does not depend on the topic. */
const STANDING_RUNGS: readonly Rung[] = [
  // ---- the connection and the request, whoever it is
  { reasons: ['session_resumed'], judge: ({ peer }) => (peer.resumed ? 'session_resumed' : undefined) },
  {
    // MQTT has no Host: without SNI the door asks for its configured default, or for '' when there is none
    reasons: ['host_mismatch'],
    judge: ({ peer, ask }) =>
      ask.host !== '' &&
      (peer.serverName === ask.host || (ask.door === 'mqtt' && peer.serverName === undefined))
        ? undefined
        : 'host_mismatch',
  },
  { reasons: ['bad_target'], judge: ({ target }) => (target?.ok === false ? 'bad_target' : undefined) },
  {
    reasons: ['registry_unavailable'],
    judge: ({ registry }) => (registry === undefined ? 'registry_unavailable' : undefined),
  },
  {
    reasons: ['no_application'],
    judge: ({ ask, registry }) => (registry?.access.known.has(ask.host) ? undefined : 'no_application'),
  },

  // ---- the certificate
  {
    reasons: ['certificate_required'],
    judge: ({ peer }) => (peer.leaf === undefined ? 'certificate_required' : undefined),
  },
  {
    reasons: [
      'certificate_untrusted',
      'certificate_expired',
      'certificate_not_yet_valid',
      'certificate_wrong_purpose',
      'certificate_weak_key',
    ],
    judge: ({ registry }) => {
      const standing = registry?.standing
      if (standing === undefined || standing.kind === 'absent') return 'certificate_required'
      return standing.kind === 'rejected' ? standing.reason : undefined
    },
  },
  {
    reasons: ['certificate_untrusted', 'certificate_wrong_purpose', 'certificate_weak_key'],
    judge: ({ peer }) => (peer.leaf === undefined ? 'certificate_required' : judgeClientLeaf(peer.leaf)),
  },
  {
    // OpenSSL looked once, at the handshake; a connection may be older than that
    reasons: ['certificate_expired', 'certificate_not_yet_valid'],
    judge: ({ now, peer }) => (peer.leaf === undefined ? 'certificate_required' : outside(now, peer.leaf)),
  },
  {
    // the intermediate is the trust anchor in the handshake, so nobody else looks at the dates above it
    reasons: ['certificate_untrusted'],
    judge: ({ now, registry }) => {
      const standing = registry?.standing
      if (standing?.kind !== 'ours' && standing?.kind !== 'foreign') return 'certificate_untrusted'
      return outside(now, standing.above) === undefined ? undefined : 'certificate_untrusted'
    },
  },

  // ---- the record
  {
    reasons: [
      'certificate_unknown',
      'issuer_revoked',
      'device_retired',
      'certificate_revoked',
      'device_suspended',
    ],
    judge: ({ registry }) => {
      const standing = registry?.standing
      if (standing?.kind !== 'ours') return undefined
      return standing.record === undefined ? 'certificate_unknown' : recordReason(standing.record)
    },
  },

  // ---- the policy
  { reasons: ['bad_target'], judge: (seen) => (isAmbiguous(seen) ? 'bad_target' : undefined) },
  {
    reasons: ['no_application'],
    judge: ({ application }) => (application === undefined ? 'no_application' : undefined),
  },
  { reasons: ['policy_denied'], judge: ({ policy }) => (policy === undefined ? 'policy_denied' : undefined) },
  {
    reasons: ['client_id_mismatch'],
    judge: ({ ask, identity }) =>
      ask.door === 'mqtt' &&
      ask.act === 'connect' &&
      (identity === undefined || ask.clientId !== nameOf(identity))
        ? 'client_id_mismatch'
        : undefined,
  },
]

const TOPIC_RUNG: Rung = {
  reasons: ['topic_denied'],
  judge: ({ ask, mayUse }) => {
    if (ask.door !== 'mqtt' || ask.act === 'connect') return undefined
    return mayUse?.(ask.act, ask.topic) === true ? undefined : 'topic_denied'
  },
}

export const LADDER: readonly Rung[] = [...STANDING_RUNGS, TOPIC_RUNG]

const caseOf = (facts: Facts): Case => {
  const { ask, peer, registry } = facts
  const target = ask.door === 'https' ? canonicalTarget(ask.target) : undefined
  const identity = identityOf(registry?.standing, peer.leaf)
  const application = applicationOf(facts, target)
  const policy =
    application === undefined || identity === undefined
      ? undefined
      : admittingPolicy(application, { commonName: commonNameOf(identity) })
  const rules = ask.door === 'mqtt' ? application?.application.mqtt?.topics : undefined
  const mayUse = rules === undefined || identity === undefined ? undefined : topicsOf(rules, identity)
  return { ...facts, target, identity, application, policy, mayUse }
}

const denial = (reason: Denial, { identity }: Case): Decision => ({
  allow: false,
  reason,
  ...(identity === undefined ? {} : { identity }),
})

const climb = (rungs: readonly Rung[], seen: Case): Decision => {
  for (const { judge } of rungs) {
    const reason = judge(seen)
    if (reason !== undefined) return denial(reason, seen)
  }
  const { identity, application, policy, peer, registry } = seen
  const standing = registry?.standing
  // every rung has passed, so all of them are there; said again because a later rung could forget it
  if (
    application === undefined ||
    identity === undefined ||
    policy === undefined ||
    peer.leaf === undefined ||
    (standing?.kind !== 'ours' && standing?.kind !== 'foreign')
  )
    return { allow: false, reason: 'policy_denied' }
  const notAfter = Math.min(peer.leaf.notAfter, standing.above.notAfter)
  return { allow: true, identity, application: application.application, policy, notAfter }
}

/** @returns the first rung's reason, or leave to pass: by which application and which of its policies */
export const admit = (facts: Facts): Decision => climb(LADDER, caseOf(facts))

/** {@link admit} of any number of topics on one host, for the price of one. */
export const judgeTopics = (facts: Omit<Facts, 'ask'> & { readonly host: string }): TopicJudge => {
  const { host } = facts
  const seen = caseOf({ ...facts, ask: { door: 'mqtt', host, act: 'receive', topic: '' } })
  const standing = climb(STANDING_RUNGS, seen)
  if (!standing.allow) return { standing, judge: () => standing }
  return {
    standing,
    judge: (act, topic) => {
      const reason = TOPIC_RUNG.judge({ ...seen, ask: { door: 'mqtt', host, act, topic } })
      return reason === undefined ? standing : denial(reason, seen)
    },
  }
}
