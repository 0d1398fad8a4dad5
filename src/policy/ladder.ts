/**
 * The rungs of admission, in their order: each looks at one thing and gives its own reasons. docs/admission.md is held against them. Not what
 * they look at: case.ts. Not what follows: admission.ts.
 */

import { MQTT_DEFAULTS } from '#fleet/access.ts'
import { isStanding } from '#fleet/certificate.ts'
import type { Denial } from '#fleet/denial.ts'
import type { DeviceState } from '#fleet/device.ts'
import { findHttps } from './access/compile.ts'
import type { CompiledPolicy } from './access/rules.ts'
import { durationOf, nameOf, type Case, type Request } from './case.ts'
import { clientIdFor } from './client-id.ts'
import type { Ask } from './decision.ts'
import { judgeClientLeaf } from './keys.ts'
import type { DeviceRecord, RevocationFacts, Span, Standing } from './facts.ts'

type Rung<Seen> = {
  /** every reason it can give, in the order in which it looks for them */
  readonly reasons: readonly Denial[]
  /** @param by the policy that decides; undefined: none matches */
  readonly judge: (seen: Seen, by: CompiledPolicy | undefined) => Denial | undefined
}

export const climb = <Seen>(
  rungs: readonly Rung<Seen>[],
  seen: Seen,
  by: CompiledPolicy | undefined,
): Denial | undefined => {
  for (const { judge } of rungs) {
    const reason = judge(seen, by)
    if (reason !== undefined) return reason
  }
  return undefined
}

/** The connection and the request, whoever it is. */
export const CONNECTION_RUNGS: readonly Rung<Request>[] = [
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
    judge: ({ access }) => (access === undefined ? 'registry_unavailable' : undefined),
  },
  {
    reasons: ['no_application'],
    judge: ({ ask, access }) => (access?.known.has(ask.host) === true ? undefined : 'no_application'),
  },
]

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

const REVOCATION_DENIALS: Readonly<Record<RevocationFacts, Denial | undefined>> = {
  unasked: undefined,
  good: undefined,
  revoked: 'certificate_revoked',
  issuer_revoked: 'issuer_revoked',
  unknown: 'revocation_unknown',
}

const isTrusted = (standing: Standing | undefined): standing is Extract<Standing, { above: Span }> =>
  standing?.kind === 'ours' || standing?.kind === 'foreign'

/** The certificate that is held, when one is. */
export const CERTIFICATE_RUNGS: readonly Rung<Pick<Case, 'now' | 'held'>>[] = [
  {
    reasons: [
      'certificate_untrusted',
      'certificate_expired',
      'certificate_not_yet_valid',
      'certificate_wrong_purpose',
      'certificate_weak_key',
    ],
    judge: ({ held }) => {
      if (held?.standing.kind === 'rejected') return held.standing.reason
      return held === undefined || isTrusted(held.standing) ? undefined : 'certificate_untrusted'
    },
  },
  {
    reasons: ['certificate_untrusted', 'certificate_wrong_purpose', 'certificate_weak_key'],
    judge: ({ held }) => (held === undefined ? undefined : judgeClientLeaf(held.leaf)),
  },
  {
    // OpenSSL looked once, at the handshake; a connection may be older than that
    reasons: ['certificate_expired', 'certificate_not_yet_valid'],
    judge: ({ now, held }) => (held === undefined ? undefined : outside(now, held.leaf)),
  },
  {
    // the intermediate is the trust anchor in the handshake, so nobody else looks at the dates above it
    reasons: ['certificate_untrusted'],
    judge: ({ now, held }) =>
      isTrusted(held?.standing) && outside(now, held.standing.above) !== undefined
        ? 'certificate_untrusted'
        : undefined,
  },
  {
    reasons: [
      'certificate_unknown',
      'issuer_revoked',
      'device_retired',
      'certificate_revoked',
      'device_suspended',
    ],
    judge: ({ held }) => {
      if (held?.standing.kind !== 'ours') return undefined
      const { record } = held.standing
      return record === undefined ? 'certificate_unknown' : recordReason(record)
    },
  },
  {
    reasons: ['certificate_revoked', 'issuer_revoked', 'revocation_unknown'],
    judge: ({ held }) =>
      held?.standing.kind === 'foreign' ? REVOCATION_DENIALS[held.standing.revocation] : undefined,
  },
]

/** What else came along, and whether it is enough to be somebody. */
export const CREDENTIAL_RUNGS: readonly Rung<Case>[] = [
  {
    reasons: ['token_invalid'],
    judge: ({ serviceToken }) => (serviceToken.kind === 'refused' ? 'token_invalid' : undefined),
  },
  {
    reasons: ['token_invalid', 'token_binding_mismatch'],
    judge: ({ session }) => (session.kind === 'refused' ? session.reason : undefined),
  },
  {
    // a new session begins with a handshake, and with the certificate that was shown in it
    reasons: ['session_expired'],
    judge: ({ session, ask, held, recorded }) =>
      session.kind === 'over' &&
      (held === undefined || recorded || (ask.door === 'https' && ask.first === false))
        ? 'session_expired'
        : undefined,
  },
  {
    reasons: ['certificate_required'],
    judge: ({ identity }) => (identity === undefined ? 'certificate_required' : undefined),
  },
]

/** Does another way of reading the path lead elsewhere? Then the origin may serve what was never judged. */
const isAmbiguous = ({ ask, access, target, application }: Case): boolean =>
  access !== undefined &&
  target?.ok === true &&
  target.readings.some((reading) => findHttps(access, ask.host, reading) !== application)

const hasForbiddenSlash = ({ target, application }: Case): boolean =>
  target?.ok === true && target.encodedSlash && application?.application.https?.encodedSlashes !== true

/** RFC 9110 §9.2.1, without TRACE, which no door lets through. */
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Can a page have made a browser ask this, as the device? */
const isFromPages = (ask: Ask): ask is Extract<Ask, { origin?: string }> => {
  if (ask.door === 'https') return ask.upgrade === true || !SAFE_METHODS.has(ask.method)
  return ask.act === 'connect' && ask.websocket === true
}

/** RFC 6454 §6.2: https's own port is not said. */
const isOwnOrigin = (origin: string, authority: string): boolean =>
  origin === `https://${authority.replace(/:443$/, '')}`

/** ms: since when the certificate counts as shown: since the handshake, or since the token was made that stands in for it. undefined: none was. */
const shownAt = ({ ask, held, recorded, session }: Case): number | undefined => {
  if (recorded) return session.kind === 'good' ? session.session.issuedAt : undefined
  return ask.door === 'https' && held !== undefined ? ask.handshakeAt : undefined
}

/** ms: when a session of that duration is over; Infinity: there is none, or what runs already may outlast it. */
export const sessionEnd = (seen: Case, duration: number): number => {
  if (seen.ask.door === 'https' && seen.ask.running === true) return Infinity
  const since = shownAt(seen)
  return since === undefined || duration === 0 ? Infinity : since + duration
}

/** What is asked for, and which policy lets it happen. */
export const REQUEST_RUNGS: readonly Rung<Case>[] = [
  {
    reasons: ['bad_target'],
    judge: (seen) => (isAmbiguous(seen) || hasForbiddenSlash(seen) ? 'bad_target' : undefined),
  },
  {
    reasons: ['no_application'],
    judge: ({ ask, application }) => {
      if (application === undefined) return 'no_application'
      const { mqtt } = application.application
      return ask.door === 'mqtt' &&
        ask.act === 'connect' &&
        ask.websocket === true &&
        mqtt?.websocket !== true
        ? 'no_application'
        : undefined
    },
  },
  {
    reasons: ['policy_denied'],
    judge: (_, by) => (by === undefined || by.policy.decision === 'deny' ? 'policy_denied' : undefined),
  },
  {
    // "No Duration" is a handshake for each request, with the certificate
    reasons: ['certificate_required'],
    judge: (seen, by) => (seen.recorded && durationOf(seen, by) === 0 ? 'certificate_required' : undefined),
  },
  {
    reasons: ['handshake_not_fresh'],
    judge: (seen, by) =>
      seen.ask.door === 'https' && seen.ask.first === false && durationOf(seen, by) === 0
        ? 'handshake_not_fresh'
        : undefined,
  },
  {
    // whatever token comes along, and whatever lasted longer when it began
    reasons: ['session_expired'],
    judge: (seen, by) => {
      const end = by?.policy.decision === 'bypass' ? Infinity : sessionEnd(seen, durationOf(seen, by))
      return seen.now >= end ? 'session_expired' : undefined
    },
  },
  {
    // a browser brings the device's certificate along for any page that asks it to; devices send no Origin
    reasons: ['origin_denied'],
    judge: ({ ask, application }) => {
      if (!isFromPages(ask) || ask.origin === undefined) return undefined
      if (isOwnOrigin(ask.origin, ask.authority ?? ask.host)) return undefined
      return application?.allowedOrigins[ask.door].has(ask.origin) === true ? undefined : 'origin_denied'
    },
  },
  {
    reasons: ['client_id_mismatch'],
    judge: ({ ask, identity, application }) => {
      if (ask.door !== 'mqtt' || ask.act !== 'connect') return undefined
      const { clientId, connections } = { ...MQTT_DEFAULTS, ...application?.application.mqtt }
      return identity === undefined ||
        clientIdFor(clientId, connections, nameOf(identity), ask.clientId).kind === 'mismatch'
        ? 'client_id_mismatch'
        : undefined
    },
  },
]

export const TOPIC_RUNG: Rung<Pick<Case, 'ask' | 'mayUse'>> = {
  reasons: ['topic_denied'],
  judge: ({ ask, mayUse }) => {
    if (ask.door !== 'mqtt' || ask.act === 'connect') return undefined
    return mayUse?.(ask.act, ask.topic) === true ? undefined : 'topic_denied'
  },
}

/** `credentials`: a bypass policy is let past it. */
export const LADDER: readonly { readonly reasons: readonly Denial[]; readonly credentials: boolean }[] = [
  ...CONNECTION_RUNGS.map(({ reasons }) => ({ reasons, credentials: false })),
  ...[...CERTIFICATE_RUNGS, ...CREDENTIAL_RUNGS].map(({ reasons }) => ({ reasons, credentials: true })),
  ...[...REQUEST_RUNGS, TOPIC_RUNG].map(({ reasons }) => ({ reasons, credentials: false })),
]
