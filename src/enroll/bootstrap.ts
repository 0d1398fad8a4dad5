/**
 * Who comes with a bootstrap certificate: a manufacturer's (IDevID), or a claim certificate that many devices share. The handshake of
 * this connection proves that the peer has its key; here it is proved that a group trusts it. OpenSSL's verdict is about every CA that
 * this listener names, and says nothing of one group, so each signature is checked again, up to that group's own anchors.
 *
 * Cheap first: names and dates, then at most {@link MOST_CHECKS} signatures for a connection, however many requests come on it. Not what
 * the device is called, nor how often the certificate is good: that is the use case's and the registry's.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Clock } from '#fleet/clock.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { readCertificate, signedPartSha256 } from '#pki/certificate.ts'
import { createChecks, verifyChain, type Checks } from '#pki/chain.ts'
import { attributeOf } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'
import { judgeBootstrapLeaf } from '#policy/bootstrap.ts'
import type { Registry } from '#registry/registry.ts'
import { revocationOf, trustOf, type Trust } from './bootstrap-trust.ts'
import type { Claim } from './claim.ts'
import type { Issuers } from './issuers.ts'
import type { FailureLimits } from './limits.ts'

export type BootstrapDeps = {
  readonly registry: Pick<Registry, 'groups' | 'status'>
  readonly issuers: Pick<Issuers, 'all'>
  readonly clock: Clock
  /** of failed credentials, by address */
  readonly failures: FailureLimits
}

/** A chain of ten has nine; a few more, for a certificate that several groups might trust. */
const MOST_CHECKS = 16

type Sent = { readonly pool: readonly CertificateFacts[]; readonly checks: Checks }

/** What the client sent, read once, and the signatures that were checked for it. One peer is one connection. */
const sentBy = new WeakMap<Peer, Sent>()

const readable = (der: Uint8Array): CertificateFacts | undefined => {
  try {
    return readCertificate(der)
  } catch {
    return undefined
  }
}

const sentOf = (peer: Peer): Sent => {
  const before = sentBy.get(peer)
  if (before !== undefined) return before
  const pool = peer.sentChain.map(readable).filter((one) => one !== undefined)
  const sent = { pool, checks: createChecks(MOST_CHECKS) }
  sentBy.set(peer, sent)
  return sent
}

const mayHaveIssued = (child: CertificateFacts, issuer: CertificateFacts): boolean =>
  Buffer.compare(child.issuerDer, issuer.subjectDer) === 0 &&
  (child.authorityKeyId === undefined ||
    issuer.subjectKeyId === undefined ||
    child.authorityKeyId === issuer.subjectKeyId)

/** The leaf, and what of the rest could stand above it, by names and key ids alone. */
const pathsFrom = (
  leaf: CertificateFacts,
  pool: readonly CertificateFacts[],
): readonly CertificateFacts[] => {
  const above = new Set([leaf])
  // a set hands out what is added while it is walked
  for (const child of above) for (const issuer of pool) if (mayHaveIssued(child, issuer)) above.add(issuer)
  return [...above]
}

/** By names and key ids alone: could it end at one of the anchors? */
const mightEnd = (paths: readonly CertificateFacts[], anchors: readonly CertificateFacts[]): boolean =>
  paths.some((certificate) =>
    anchors.some(
      (anchor) => anchor.fingerprint === certificate.fingerprint || mayHaveIssued(certificate, anchor),
    ),
  )

type Candidate = { readonly group: EnrollmentGroup; readonly trust: Trust }
type Found = Candidate & { readonly chain: readonly CertificateFacts[] }

const candidatesAmong = (groups: Iterable<EnrollmentGroup>): readonly Candidate[] =>
  [...groups].flatMap((group) =>
    group.bootstrap === undefined || !group.credentials.includes('bootstrap')
      ? []
      : [{ group, trust: trustOf(group.bootstrap) }],
  )

/** The group whose anchor stands nearest to the leaf. A disabled one too: it is to shut out whom a wider one would take. */
const nearest = (found: readonly Found[]): Found | undefined => {
  const [first, second] = found.toSorted((a, b) => a.chain.length - b.chain.length)
  if (first !== undefined && second?.chain.length === first.chain.length)
    throw new FleetError('credential_not_allowed', 'several groups take this certificate: name one')
  return first
}

/**
 * @param peer undefined: not a TLS connection
 * @param groupName the group that the request names; undefined: the one whose anchor is nearest
 * @returns `bound` is undefined: the use case makes the id, out of `variables`
 * @throws FleetError: `session_resumed`, `certificate_required`, `certificate_untrusted` (also when a revocation list that must be there
 * is not, or is out of date), `certificate_expired`, `certificate_not_yet_valid`, `certificate_wrong_purpose`, `certificate_weak_key`,
 * `certificate_revoked`, `credential_not_allowed`, `group_disabled`, `rate_limited`
 */
export const authenticateBootstrap = (
  deps: BootstrapDeps,
  peer: Peer | undefined,
  groupName: string | undefined,
): Claim => {
  const now = deps.clock()
  if (peer?.resumed === true) throw new FleetError('session_resumed', 'make a full handshake')
  const leaf = peer?.leaf
  if (peer === undefined || leaf === undefined)
    throw new FleetError('certificate_required', 'present a bootstrap certificate')
  const refuse = (code: ErrorCode, detail: string): never => {
    deps.failures.check(peer.address)
    deps.failures.failed(peer.address)
    throw new FleetError(code, detail)
  }
  if (deps.registry.status(leaf.fingerprint) !== undefined)
    throw new FleetError('credential_not_allowed', 'a certificate of this CA renews, it does not enrol')

  const groups = deps.registry.groups()
  const named = groupName === undefined ? undefined : groups.get(groupName)
  if (groupName !== undefined && (named?.bootstrap === undefined || !named.credentials.includes('bootstrap')))
    return refuse('credential_not_allowed', 'the group takes no bootstrap certificates')
  const all = candidatesAmong(named === undefined ? groups.values() : [named])
  const { pool, checks } = all.length === 0 ? { pool: [], checks: undefined } : sentOf(peer)
  const paths = pathsFrom(leaf, pool)
  const candidates = all.filter(({ trust }) => mightEnd(paths, trust.anchors))
  if (checks === undefined || candidates.length === 0)
    return refuse('certificate_untrusted', 'no group trusts the issuer of this certificate')

  const allowNoEku = candidates.some(({ group }) => group.bootstrap?.allowNoEku === true)
  const fault = judgeBootstrapLeaf(leaf, allowNoEku, now)
  if (fault !== undefined) return refuse(fault, 'the bootstrap certificate is not one that may enrol')

  let problem = 'no group trusts the issuer of this certificate'
  const found = nearest(
    candidates.flatMap((candidate) => {
      const result = verifyChain({ leaf, pool, roots: candidate.trust.anchors, now, checks })
      if (result.ok) return [{ ...candidate, chain: result.chain }]
      problem = result.problem
      return []
    }),
  )
  if (found === undefined) return refuse('certificate_untrusted', problem)
  const { group, trust, chain } = found
  // what this group says, now that it is known which
  const own = judgeBootstrapLeaf(leaf, group.bootstrap?.allowNoEku === true, now)
  if (own !== undefined) return refuse(own, 'the bootstrap certificate has no extended key usage')
  // our own CA as an anchor would let every device make more
  const ours = new Set(
    deps.issuers.all().flatMap(({ certificate, root }) => [certificate.spkiSha256, root.spkiSha256]),
  )
  if (chain.some(({ spkiSha256 }) => ours.has(spkiSha256)))
    throw new FleetError('credential_not_allowed', 'a certificate of this CA renews, it does not enrol')

  const revocation = revocationOf(chain, trust.crls, now)
  if (revocation === 'revoked') return refuse('certificate_revoked', 'the bootstrap certificate is revoked')
  if (revocation !== 'good')
    return refuse('certificate_untrusted', `there is no current revocation list of "${revocation.missing}"`)
  if (!group.enabled) throw new FleetError('group_disabled', 'the group of this certificate is disabled')

  const serialNumber = attributeOf(leaf.subjectDer, OID.serialNumber)
  return {
    kind: 'bootstrap',
    id: signedPartSha256(leaf.der),
    fingerprint: leaf.fingerprint,
    actor: `bootstrap:${leaf.fingerprint}`,
    group: group.name,
    bound: undefined,
    ttl: undefined,
    variables: {
      ...(leaf.commonName === undefined ? {} : { 'cert.cn': leaf.commonName }),
      ...(serialNumber === undefined ? {} : { 'cert.serial_number': serialNumber }),
    },
    late: false,
  }
}
