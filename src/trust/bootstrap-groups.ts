/**
 * Which group a bootstrap certificate is for: the one whose anchor stands nearest to it, whatever the request names. Builds and verifies its
 * chain for every group that takes such, and holds it against what that group says. Not what the registry says of it, and not what it is good
 * for: that is #enroll/bootstrap.ts. The gateway asks here whom it may let in to enrol over MQTT.
 *
 * Cheap first: names and dates, then at most {@link MOST_CHECKS} signatures for a connection, however many requests come on it.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { createChecks, isSameCa, mayIssue, verifyChain, type Checks } from '#pki/chain.ts'
import { judgeBootstrapCa } from '#pki/client-ca.ts'
import { judgeBootstrapLeaf } from '#policy/bootstrap.ts'
import { readAll } from './anchor-load.ts'
import { revocationOf, trustOf, type Trust } from './bootstrap-trust.ts'

/** Throws, and may count it against the address. */
export type Refuse = (code: ErrorCode, detail: string) => never

/** The connection, and the certificate that it proved the key of. */
export type Shown = { readonly peer: Peer; readonly leaf: CertificateFacts }

/** A chain of ten has nine; a few more, for a certificate that several groups might trust. */
const MOST_CHECKS = 16

type Sent = { readonly pool: readonly CertificateFacts[]; readonly checks: Checks }

/** What the client sent, read once, and the signatures that were checked for it. One peer is one connection. */
const sentBy = new WeakMap<Peer, Sent>()

const sentOf = (peer: Peer): Sent => {
  const before = sentBy.get(peer)
  if (before !== undefined) return before
  const sent = { pool: readAll(peer.sentChain), checks: createChecks(MOST_CHECKS) }
  sentBy.set(peer, sent)
  return sent
}

/** The leaf, and what of the rest could stand above it, by names and key ids alone. */
const pathsFrom = (
  leaf: CertificateFacts,
  pool: readonly CertificateFacts[],
): readonly CertificateFacts[] => {
  const above = new Set([leaf])
  // a set hands out what is added while it is walked
  for (const child of above) for (const issuer of pool) if (mayIssue(child, issuer)) above.add(issuer)
  return [...above]
}

/** By names and key ids alone: could it end at one of the anchors? */
const mightEnd = (paths: readonly CertificateFacts[], anchors: readonly CertificateFacts[]): boolean =>
  paths.some((certificate) =>
    anchors.some((anchor) => anchor.fingerprint === certificate.fingerprint || mayIssue(certificate, anchor)),
  )

type Candidate = { readonly group: EnrollmentGroup; readonly trust: Trust }
/** `chain`: leaf first, anchor last; undefined: it ends at no anchor of this group, by `problem` */
type Judged = Candidate & {
  readonly chain: readonly CertificateFacts[] | undefined
  readonly problem: string
}

export const takesBootstrap = (group: EnrollmentGroup | undefined): boolean =>
  group?.bootstrap !== undefined && group.credentials.includes('bootstrap')

const candidatesAmong = (groups: Iterable<EnrollmentGroup>): readonly Candidate[] =>
  [...groups].flatMap((group) =>
    group.bootstrap === undefined || !takesBootstrap(group)
      ? []
      : [{ group, trust: trustOf(group.bootstrap) }],
  )

const UNKNOWN = 'no group trusts the issuer of this certificate'

/** Every group that takes bootstrap certificates, and what it makes of this one. @param now ms */
export const judgedByAll = (
  groups: ReadonlyMap<string, EnrollmentGroup>,
  { peer, leaf }: Shown,
  now: number,
  refuse: Refuse,
): readonly Judged[] => {
  const all = candidatesAmong(groups.values())
  if (all.length === 0) return refuse('certificate_untrusted', UNKNOWN)
  const { pool, checks } = sentOf(peer)
  const paths = pathsFrom(leaf, pool)
  const likely = new Set(all.filter(({ trust }) => mightEnd(paths, trust.anchors)))
  if (likely.size === 0) return refuse('certificate_untrusted', UNKNOWN)

  const allowNoEku = [...likely].some(({ group }) => group.bootstrap?.allowNoEku === true)
  const fault = judgeBootstrapLeaf(leaf, allowNoEku, now)
  if (fault !== undefined) return refuse(fault, 'the bootstrap certificate is not one that may enrol')

  return all.map((candidate) => {
    if (!likely.has(candidate)) return { ...candidate, chain: undefined, problem: UNKNOWN }
    const { anchors, roots } = candidate.trust
    const result = verifyChain({
      leaf,
      pool: [...pool, ...anchors],
      roots,
      now,
      checks,
      judgeCa: judgeBootstrapCa,
    })
    return result.ok
      ? { ...candidate, chain: result.chain, problem: '' }
      : { ...candidate, chain: undefined, problem: result.problem }
  })
}

/**
 * How far above the leaf the nearest of these anchors stands, in a chain that was verified for whichever group; Infinity: nowhere. A CA
 * stands in its place under any certificate of it (renewed, cross-signed): by sending another one nobody gets past the group that knows it.
 */
const distanceOf = ({ trust }: Candidate, chains: readonly (readonly CertificateFacts[])[]): number => {
  const places = chains.map((chain) =>
    chain.findIndex((one) => trust.anchors.some((anchor) => isSameCa(anchor, one))),
  )
  return Math.min(...places.map((at) => (at < 0 ? Infinity : at)))
}

/** Those whose anchor stands nearest to the leaf: one, unless several are equally near. A disabled one too. */
export const nearest = (judged: readonly Judged[]): readonly Judged[] => {
  const chains = judged.flatMap(({ chain }) => (chain === undefined ? [] : [chain]))
  const distances = judged.map((one) => distanceOf(one, chains))
  const least = Math.min(...distances)
  return least === Infinity ? [] : judged.filter((_, at) => distances[at] === least)
}

/**
 * A name says which of several that are equally near. It is no way around the nearest one: that one may be disabled, ask an operator or a
 * webhook, have revocation lists, and a wider group has not.
 */
const choose = (judged: readonly Judged[], groupName: string | undefined, refuse: Refuse): Judged => {
  const near = nearest(judged)
  if (groupName !== undefined) {
    const named = near.find(({ group }) => group.name === groupName)
    if (named !== undefined) return named
    const other = judged.find(({ group }) => group.name === groupName)
    if (other?.chain === undefined) return refuse('certificate_untrusted', other?.problem ?? UNKNOWN)
    throw new FleetError('credential_not_allowed', 'the certificate is for a group whose anchor is nearer')
  }
  const [only, ...more] = near
  if (only === undefined) {
    const problems = judged.map(({ problem }) => problem).filter((problem) => problem !== UNKNOWN)
    return refuse('certificate_untrusted', problems.at(-1) ?? UNKNOWN)
  }
  if (more.length > 0)
    throw new FleetError('credential_not_allowed', 'several groups take this certificate: name one')
  return only
}

/** The group that is to judge, by its own anchors. `chain`: leaf first, anchor last. */
export type Taken = Candidate & { readonly chain: readonly CertificateFacts[] }

/** What this group says, now that it is known which. */
const takenBy = (
  { group, trust, chain, problem }: Judged,
  { leaf }: Shown,
  now: number,
  refuse: Refuse,
): Taken => {
  if (chain === undefined) return refuse('certificate_untrusted', problem)
  const own = judgeBootstrapLeaf(leaf, group.bootstrap?.allowNoEku === true, now)
  if (own !== undefined) return refuse(own, 'the bootstrap certificate has no extended key usage')
  return { group, trust, chain }
}

/**
 * The group, and the chain up to its anchor; revocation and whether it is enabled: {@link checkTaken}.
 * @param groupName that the request names; undefined: none
 */
export const findTaker = (
  groups: ReadonlyMap<string, EnrollmentGroup>,
  shown: Shown,
  groupName: string | undefined,
  now: number,
  refuse: Refuse,
): Taken => takenBy(choose(judgedByAll(groups, shown, now, refuse), groupName, refuse), shown, now, refuse)

/** @throws what `refuse` does; `group_disabled` */
export const checkTaken = ({ group, trust, chain }: Taken, now: number, refuse: Refuse): void => {
  const revocation = revocationOf(chain, trust.crls, now)
  if (revocation === 'revoked') return refuse('certificate_revoked', 'the bootstrap certificate is revoked')
  if (revocation !== 'good')
    return refuse('certificate_untrusted', `there is no current revocation list of "${revocation.missing}"`)
  if (!group.enabled) throw new FleetError('group_disabled', 'the group of this certificate is disabled')
}

const refused: Refuse = (code, detail) => {
  throw new FleetError(code, detail)
}

/**
 * Could a request of this connection be taken, if it named its group well? Never throws: a group that cannot be read takes nobody.
 * @param groups may throw
 */
export const mightBeTaken = (
  groups: () => ReadonlyMap<string, EnrollmentGroup>,
  shown: Shown,
  now: number,
): boolean => {
  const takes = (judged: Judged): boolean => {
    try {
      checkTaken(takenBy(judged, shown, now, refused), now, refused)
      return true
    } catch {
      return false
    }
  }
  try {
    return nearest(judgedByAll(groups(), shown, now, refused)).some(takes)
  } catch {
    return false
  }
}
