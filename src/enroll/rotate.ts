/**
 * USE CASES: an issuer, or a root that servers are verified with, goes from prepared to retired; an issuer is revoked. Each takes effect
 * in this desk before it is answered, and in the gateways through the change feed. Which step may follow which, and when, is
 * #policy/rotation.ts. Not the files: #pki/ceremony.ts makes those.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { IssuerRecord } from '#fleet/certificate.ts'
import { SECOND, type Clock } from '#fleet/clock.ts'
import type { Actor } from '#fleet/credentials.ts'
import { FleetError } from '#fleet/errors.ts'
import type { GivenRevocationReason } from '#fleet/revocation-reason.ts'
import { readCertificate, readCertificates } from '#pki/certificate.ts'
import { issuedBy, verifyChain } from '#pki/chain.ts'
import {
  judgeActivation,
  judgeRetirement,
  REVOCATION_MOVE,
  ROTATION_MOVES,
  type RotationVerb,
  type Verdict,
} from '#policy/rotation.ts'
import type { ServerAnchor, TrustKind } from '#registry/authorities.ts'
import type { Registry } from '#registry/registry.ts'
import type { LiveIssuers } from './issuers.ts'
import type { Trust } from './trust.ts'
import { instant } from './wire-time.ts'

export type Authorities = {
  readonly registry: Registry
  readonly issuers: LiveIssuers
  readonly trust: Trust
  readonly clock: Clock
  /** `ca.rotate_min_offered`, ms, and `ca.rotate_min_share` */
  readonly minOffered: number
  readonly minShare: number
  /** for tests */
  readonly pause?: (ms: number) => Promise<void>
}

/** `notes`: what follows from it, for people. */
type Moved<T> = { readonly moved: T; readonly notes: readonly string[] }

const ATTEMPTS = 5

const isLocked = (error: unknown): error is FleetError =>
  error instanceof FleetError && error.code === 'registry_unavailable'

/**
 * What is on record takes effect here. It is on record already, so a registry that is locked for a moment must not leave this desk with
 * the states of before. What is wrong with a file holds nothing up, and is not tried again.
 * @returns what was found and cannot be used, in words. @throws `registry_unavailable`: it was locked for longer
 */
const takeEffect = async ({ issuers, trust, pause = sleep }: Authorities): Promise<readonly string[]> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const problems = await issuers.refresh()
      await trust.refresh()
      return problems
    } catch (error) {
      if (!isLocked(error) || attempt === ATTEMPTS) throw error
      await pause(SECOND)
    }
  }
}

/** {@link takeEffect} of what is committed: it has happened, so it is answered, with what is wrong as notes. */
const settle = async (o: Authorities): Promise<readonly string[]> => {
  try {
    return (await takeEffect(o)).map((problem) => `Warning, while looking for issuers: ${problem}.`)
  } catch (error) {
    if (!isLocked(error)) throw error
    return [
      'Warning: it is on record, and the doors follow; but the registry was locked, and this desk goes on with the states of before until it looks again (sallyport issuer scan).',
    ]
  }
}

const missing = (what: string): FleetError => new FleetError('not_found', `no such ${what}`)

const conflict = (detail: string): FleetError => new FleetError('conflict', detail)

/** How many have it, by what was given out since it was first offered. undefined: it was never new to anybody. */
const countFetched = (
  registry: Registry,
  kind: TrustKind,
  offeredVersion: number | undefined,
): Promise<{ readonly fetched: number; readonly active: number }> =>
  offeredVersion === undefined
    ? Promise.resolve({ fetched: 0, active: 0 })
    : registry.trustShare(kind, offeredVersion)

type Judged = { readonly verdict: Verdict; readonly details: Readonly<Record<string, unknown>> }
const FREE: Judged = { verdict: { ok: true, warning: undefined }, details: {} }

/** Said before anything is counted; the registry says it again inside its transaction. */
const checkMove = (verb: RotationVerb, state: IssuerRecord['state']): void => {
  const { from, to } = ROTATION_MOVES[verb]
  if (!from.some((possible) => possible === state))
    throw conflict(`it is ${state}, and only what is ${from.join(' or ')} becomes ${to}`)
}

const judgeOffer = async (
  o: Authorities,
  kind: TrustKind,
  thing: Pick<IssuerRecord, 'state' | 'offeredAt' | 'offeredVersion'>,
  force: boolean,
): Promise<Judged> => {
  const { minOffered, minShare } = o
  const counts = await countFetched(o.registry, kind, thing.offeredVersion)
  const verdict = judgeActivation({ ...thing, ...counts }, { now: o.clock(), minOffered, minShare, force })
  return { verdict, details: { ...counts, ...(force ? { forced: true } : {}) } }
}

/** @returns what is to be noted. @throws `conflict` */
const allowed = ({ verdict }: Judged): readonly string[] => {
  if (!verdict.ok) throw conflict(verdict.detail)
  return verdict.warning === undefined ? [] : [`Warning: ${verdict.warning}.`]
}

/** @throws FleetError `not_found` */
export const findIssuer = ({ issuers }: Pick<Authorities, 'issuers'>, ski: string): IssuerRecord => {
  const record = issuers.records().find((known) => known.ski === ski)
  if (record === undefined) throw missing('issuer')
  return record
}

/** Its key must be here and it must be good now: with another one active, nobody would be given a certificate. */
const checkSigner = ({ issuers, clock }: Authorities, ski: string): void => {
  const issuer = issuers.all().find((known) => known.ski === ski)
  if (issuer === undefined) throw conflict('its key is not here: put both of its files into ca.issuers')
  if (issuer.ready?.() === false)
    throw conflict(`its key cannot be used: the signer: ${issuer.problem?.() ?? 'it is away'}`)
  if (issuer.notAfter <= clock()) throw conflict('it has expired, or what stands above it has')
}

const judgeIssuer: Readonly<
  Record<RotationVerb, (o: Authorities, record: IssuerRecord, force: boolean) => Promise<Judged>>
> = {
  distribute: () => Promise.resolve(FREE),
  activate: async (o, record, force) => {
    checkSigner(o, record.ski)
    return judgeOffer(o, 'chain', record, force)
  },
  retire: async (o, { ski }, force) => {
    const live = (await o.registry.liveCertificates(o.clock())).get(ski) ?? 0
    const verdict = judgeRetirement({ live, inUse: undefined, force })
    return { verdict, details: { live, ...(force ? { forced: true } : {}) } }
  },
}

const ISSUER_NOTES: Readonly<Record<RotationVerb, string>> = {
  distribute: 'It is given out with the chain from now on, and signs nothing yet. Next: ca rotate activate.',
  activate:
    'It signs from now on. Certificates of the one before stay good, and devices that ask when to renew are told: now. Next, when none of those live: ca rotate retire.',
  retire: 'No door admits a certificate of it any more.',
}

/** The key of a retired one is still needed for as long as somebody may hold a certificate of it. */
const keyNote = ({ issuers, clock }: Authorities, ski: string): string => {
  const until = issuers.publishedUntil(ski)
  return until === undefined || until < clock()
    ? 'Its key is needed no more: it may be destroyed.'
    : `Its CRL and its OCSP answers are made until ${instant(until)} at least, for whoever asks about its last certificates: keep its key until then, and until the desk has let go of it (docs/ca-life.md).`
}

/** @throws `not_found`, `conflict`: not from this state, or not yet; `registry_unavailable` */
export const moveIssuer = async (
  o: Authorities,
  ask: { readonly ski: string; readonly verb: RotationVerb; readonly force: boolean },
  actor: Actor,
): Promise<Moved<IssuerRecord>> => {
  const record = findIssuer(o, ask.ski)
  checkMove(ask.verb, record.state)
  const judged = await judgeIssuer[ask.verb](o, record, ask.force)
  const notes = allowed(judged)
  const { from, to } = ROTATION_MOVES[ask.verb]
  const { details } = judged
  const moved = await o.registry.moveIssuer({ ski: ask.ski, from, to, now: o.clock(), actor, details })
  if (moved === undefined) throw missing('issuer')
  const problems = await settle(o)
  const ofKey = ask.verb === 'retire' ? [keyNote(o, ask.ski)] : []
  return { moved, notes: [...notes, ISSUER_NOTES[ask.verb], ...ofKey, ...problems] }
}

/** Counted after it is done: it must not wait for a count of millions, and not fail with it. */
const liveNote = async ({ registry, clock }: Authorities, ski: string): Promise<string> => {
  const devices =
    'each needs a new credential, such as a token bound to its id (sallyport token create --device <id>).'
  try {
    const live = (await registry.liveCertificates(clock())).get(ski) ?? 0
    if (live === 0) return 'No certificate of it was in use.'
    return live === 1
      ? `1 certificate of it was in use. Its device cannot renew: ${devices}`
      : `${live} certificates of it were in use. Their devices cannot renew: ${devices}`
  } catch (error) {
    if (!isLocked(error)) throw error
    return `How many certificates of it were in use could not be counted. Their devices cannot renew: ${devices}`
  }
}

/** `ca crl` asks to be told that there is no list before it: else it would drop what stands on that. Never throws for a locked registry. */
const firstFlag = async ({ registry }: Authorities, parent: string | undefined): Promise<string> => {
  try {
    return (await registry.importedCrls()).some(({ ski }) => ski === parent) ? '' : ' --first'
  } catch (error) {
    if (!isLocked(error)) throw error
    return ''
  }
}

/** @throws `not_found`, `conflict`: it is revoked already; `registry_unavailable` */
export const revokeIssuer = async (
  o: Authorities,
  ask: { readonly ski: string; readonly reason: GivenRevocationReason },
  actor: Actor,
): Promise<Moved<IssuerRecord>> => {
  const { serial, authorityKeyId: parent } = readCertificate(findIssuer(o, ask.ski).der)
  const details = { reason: ask.reason }
  const moved = await o.registry.moveIssuer({
    ski: ask.ski,
    ...REVOCATION_MOVE,
    reason: ask.reason,
    now: o.clock(),
    actor,
    details,
  })
  if (moved === undefined) throw missing('issuer')
  const problems = await settle(o)
  const notes = [
    'Every door refuses its certificates from now on (issuer_revoked), and connections made with them are being cut.',
    `Whoever verifies by the root alone does not know yet. Sign the root's CRL where the root's key is: sallyport ca crl --revoke ${serial} --reason ${ask.reason}${await firstFlag(o, parent)}. Then give it to this desk: sallyport ca crl --import certs/root.crl.`,
    await liveNote(o, ask.ski),
    o.issuers.signing() !== undefined
      ? 'Another issuer is active, and signs.'
      : 'No issuer is active now: nobody is given a certificate (issuer_unusable) until one is (sallyport ca rotate prepare, distribute, activate --force).',
    ...problems,
  ]
  return { moved, notes }
}

/** Looks for new files. @returns what was found and cannot be used, in words. @throws `registry_unavailable` */
export const scanIssuers = (o: Authorities): Promise<readonly string[]> => takeEffect(o)

// ---- server anchors

/** @throws FleetError `not_found` */
export const findAnchor = ({ trust }: Pick<Authorities, 'trust'>, fingerprint: string): ServerAnchor => {
  const anchor = trust.anchors().find((known) => known.fingerprint === fingerprint)
  if (anchor === undefined) throw missing('server anchor')
  return anchor
}

/**
 * One self-signed CA certificate: clients take each of them for a root.
 * @throws `bad_request`, with what is wrong; `conflict`: it is retired, which is final
 */
export const prepareAnchor = async (o: Authorities, pem: string, actor: Actor): Promise<ServerAnchor> => {
  const certificates = readCertificates(pem)
  const [root] = certificates
  if (root === undefined || certificates.length !== 1)
    throw new FleetError('bad_request', `pem: expected one certificate, got ${certificates.length}`)
  if (!root.isCa || !issuedBy(root, root))
    throw new FleetError('bad_request', 'pem: not a root: it is not a CA certificate signed by itself')
  const verified = verifyChain({ leaf: root, pool: [], roots: [root], now: o.clock() })
  if (!verified.ok) throw new FleetError('bad_request', `pem: ${verified.problem}`)
  const { fingerprint, der } = root
  const anchor = await o.registry.addServerAnchor({ fingerprint, der, state: 'prepared' }, o.clock(), actor)
  await takeEffect(o)
  if (anchor.state === 'retired') throw conflict('this root has been retired, which is final')
  return anchor
}

const judgeAnchor: Readonly<
  Record<RotationVerb, (o: Authorities, anchor: ServerAnchor, force: boolean) => Promise<Judged>>
> = {
  distribute: () => Promise.resolve(FREE),
  activate: (o, anchor, force) => judgeOffer(o, 'server', anchor, force),
  retire: (o, { fingerprint }, force) => {
    const inUse = o.trust.leansOn(fingerprint)
      ? 'the certificate that this desk presents (tls.cert) leads to no other anchor'
      : undefined
    const verdict = judgeRetirement({ live: 0, inUse, force })
    return Promise.resolve({ verdict, details: force ? { forced: true } : {} })
  },
}

const ANCHOR_NOTES: Readonly<Record<RotationVerb, string>> = {
  distribute: 'It is given out in /v1/trust.pem from now on. Next: trust activate.',
  activate:
    'Devices know it: now give every server a certificate under it (tls.cert of both desks). Claim tokens name the root that the certificate of this desk leads to. Next, when no server presents a certificate under the one before: trust retire.',
  retire: 'It is given out no more.',
}

/** @throws as {@link moveIssuer} */
export const moveAnchor = async (
  o: Authorities,
  ask: { readonly fingerprint: string; readonly verb: RotationVerb; readonly force: boolean },
  actor: Actor,
): Promise<Moved<ServerAnchor>> => {
  const anchor = findAnchor(o, ask.fingerprint)
  checkMove(ask.verb, anchor.state)
  const judged = await judgeAnchor[ask.verb](o, anchor, ask.force)
  const notes = allowed(judged)
  const { from, to } = ROTATION_MOVES[ask.verb]
  const { details } = judged
  const moved = await o.registry.moveServerAnchor({
    fingerprint: ask.fingerprint,
    from,
    to,
    now: o.clock(),
    actor,
    details,
  })
  if (moved === undefined) throw missing('server anchor')
  const problems = await settle(o)
  return { moved, notes: [...notes, ANCHOR_NOTES[ask.verb], ...problems] }
}
