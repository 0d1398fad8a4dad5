/**
 * What admission judges: the facts of one request, and what follows from them without a verdict. Credentials are looked at here, each only
 * where something depends on it. Not the verdict: ladder.ts, admission.ts.
 */

import type { Denial } from '#fleet/denial.ts'
import type { Peer } from '#fleet/peer.ts'
import type { TokenBinding } from '#fleet/session.ts'
import { findHttps, findMqtt, hasSessions, type Access, type CompiledApplication } from './access/compile.ts'
import type { CompiledPolicy } from './access/rules.ts'
import type { Subject } from './access/selectors.ts'
import type { Ask, Identity } from './decision.ts'
import {
  NO_CREDENTIALS,
  type Credentials,
  type Held,
  type ServiceTokenFacts,
  type SessionFacts,
  type Standing,
} from './facts.ts'
import { canonicalTarget, type Canonical } from './target.ts'
import { topicsOf, type MayUse } from './topics.ts'

export type Facts = {
  readonly now: number
  readonly peer: Peer
  readonly ask: Ask
  /** undefined: MQTT, or nothing but a certificate */
  readonly credentials?: Credentials
  /** https.session_duration, ms; default 0 */
  readonly sessionDuration?: number
  /** undefined: the registry cannot be read */
  readonly registry: { readonly access: Access; readonly standing: Standing } | undefined
}

/** A request before anybody has looked at who it is. */
export type Request = {
  readonly now: number
  readonly peer: Peer
  readonly ask: Ask
  /** undefined: the registry cannot be read */
  readonly access: Access | undefined
  readonly target: Canonical | undefined
  readonly application: CompiledApplication | undefined
  /** https.session_duration, ms */
  readonly fallback: number
  /** the certificate of the handshake */
  readonly presented: Held | undefined
}

export type Case = Request & {
  readonly serviceToken: ServiceTokenFacts
  readonly session: SessionFacts
  /** the certificate that is judged: the presented one, or where none is, the one that a session token is for */
  readonly held: Held | undefined
  readonly recorded: boolean
  /** what is wrong with it */
  readonly fault: Denial | undefined
  /** who has authenticated; undefined: nobody */
  readonly identity: Identity | undefined
  readonly subject: Subject
  /** MQTT, where there is an application for it */
  readonly mayUse: MayUse | undefined
}

/** Whose a certificate is, good or not. A foreign CN is only a name under its anchor. Without one the fingerprint serves: every certificate is called something. */
export const identityOf = (held: Held | undefined): Identity | undefined => {
  if (held === undefined) return undefined
  const { standing, leaf } = held
  if (standing.kind === 'foreign')
    return { kind: 'foreign', anchor: standing.anchor, name: leaf.commonName ?? leaf.fingerprint }
  if (standing.kind !== 'ours' || standing.record === undefined) return undefined
  const { deviceId, group, tags } = standing.record
  return { kind: 'device', id: deviceId, group, tags }
}

/** `<anchor>/<CN>` */
export const foreignName = (anchor: string, name: string): string => `${anchor}/${name}`

/**
 * How an identity is written: in a ClientID, a log line, `common_name`. No two kinds ever meet: a device id holds neither `/` nor a space and
 * begins with neither, and no anchor's name holds a space.
 */
const NAMES: { readonly [K in Identity['kind']]: (identity: Extract<Identity, { kind: K }>) => string } = {
  device: ({ id }) => id,
  foreign: ({ anchor, name }) => foreignName(anchor, name),
  service: ({ name }) => `service token ${name}`,
  none: () => '-',
}

export const nameOf = (identity: Identity): string => NAMES[identity.kind](identity as never)

/** ms: how long a session lasts that `by` lets begin. None does where a service token comes along, with or without a certificate. */
export const durationOf = (
  { application, fallback, serviceToken }: Pick<Case, 'application' | 'fallback' | 'serviceToken'>,
  by: CompiledPolicy | undefined,
): number =>
  serviceToken.kind === 'absent'
    ? (by?.policy.sessionDuration ?? application?.application.sessionDuration ?? fallback)
    : 0

export const bindingOf = (application: CompiledApplication): TokenBinding =>
  application.application.tokenBinding ?? 'certificate'

export const requestOf = ({ now, peer, ask, registry, sessionDuration = 0 }: Facts): Request => {
  const target = ask.door === 'https' ? canonicalTarget(ask.target) : undefined
  const { access, standing } = registry ?? {}
  const find = (): CompiledApplication | undefined => {
    if (access === undefined) return undefined
    if (ask.door === 'mqtt') return findMqtt(access, ask.host)
    return target?.ok === true ? findHttps(access, ask.host, target.decoded) : undefined
  }
  const presented =
    peer.leaf === undefined || standing === undefined ? undefined : { leaf: peer.leaf, standing }
  return { now, peer, ask, access, target, application: find(), fallback: sessionDuration, presented }
}

const ABSENT = { kind: 'absent' } as const

const subjectOf = (
  { now, ask, peer }: Request,
  good: Held | undefined,
  serviceToken: ServiceTokenFacts,
): Subject => {
  const standing = good?.standing
  const certificate =
    good === undefined || (standing?.kind !== 'ours' && standing?.kind !== 'foreign')
      ? undefined
      : {
          leaf: good.leaf,
          anchor: standing.anchor,
          issuerSki: standing.issuerSki,
          record: standing.kind === 'ours' ? standing.record : undefined,
        }
  return {
    door: ask.door,
    now,
    address: peer.address,
    certificate,
    serviceToken: serviceToken.kind === 'good' ? serviceToken.id : undefined,
  }
}

/**
 * @param faultOf what is wrong with a certificate
 */
export const caseOf = (
  request: Request,
  credentials: Credentials = NO_CREDENTIALS,
  faultOf: (seen: Pick<Case, 'now' | 'held'>) => Denial | undefined,
): Case => {
  const { now, ask, application, presented, fallback } = request
  const asked = ask.door === 'https' ? application : undefined
  const serviceToken = asked === undefined ? ABSENT : credentials.serviceToken()
  const presentedFault = faultOf({ now, held: presented })

  /** Where there can be no session, or a service token stands in its place, where the certificate is bad anyway, or where the token is worthless without one, nobody looks. */
  const lookAtSession = (): SessionFacts => {
    if (asked === undefined || serviceToken.kind !== 'absent' || !hasSessions(asked, fallback)) return ABSENT
    const binding = bindingOf(asked)
    const matters = presented === undefined ? binding === 'none' : presentedFault === undefined
    return matters ? credentials.session(asked.application, binding) : ABSENT
  }
  const session = lookAtSession()
  const recordedHeld = presented === undefined && session.kind === 'good' ? session.recorded : undefined
  const held = presented ?? recordedHeld
  const fault = presented === undefined ? faultOf({ now, held }) : presentedFault
  const good = fault === undefined ? held : undefined
  const identity =
    identityOf(good) ??
    (serviceToken.kind === 'good'
      ? ({ kind: 'service', id: serviceToken.id, name: serviceToken.name } as const)
      : undefined)
  const topics = ask.door === 'mqtt' ? application?.application.mqtt?.topics : undefined
  return {
    ...request,
    serviceToken,
    session,
    held,
    recorded: recordedHeld !== undefined,
    fault,
    identity,
    subject: subjectOf(request, good, serviceToken),
    mayUse: topics === undefined || identity === undefined ? undefined : topicsOf(topics, identity),
  }
}
