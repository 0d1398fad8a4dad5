/**
 * Who comes with a bootstrap certificate: a manufacturer's (IDevID), or a claim certificate that many devices share. The handshake of
 * this connection proves that the peer has its key; here it is proved that a group trusts it. OpenSSL's verdict is about every CA that
 * this listener names, and says nothing of one group, so each signature is checked again, up to that group's own anchors.
 *
 * Which group that is, and what it costs: #trust/bootstrap-groups.ts. Not what the device is called, nor how often the certificate is good: that is
 * the use case's and the registry's.
 */

import type { Clock } from '#fleet/clock.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { signedPartSha256 } from '#pki/certificate.ts'
import { attributeOf } from '#pki/names.ts'
import { OID } from '#pki/oids.ts'
import { judgeBootstrapKey } from '#policy/bootstrap.ts'
import type { Registry } from '#registry/registry.ts'
import {
  checkTaken,
  findTaker,
  judgedByAll,
  nearest,
  takesBootstrap,
  type Refuse,
  type Shown,
} from '#trust/bootstrap-groups.ts'
import type { Claim } from './claim.ts'
import type { Issuers } from './issuers.ts'
import type { FailureLimits } from './limits.ts'

export type BootstrapDeps = {
  readonly registry: Pick<Registry, 'groups' | 'status' | 'findKey'>
  readonly issuers: Pick<Issuers, 'all'>
  readonly clock: Clock
  /** of failed credentials, by address */
  readonly failures: FailureLimits
}

/** Counted against the address: whoever gets this has shown something that is not good. */
const refuser =
  ({ failures }: Pick<BootstrapDeps, 'failures'>, { address }: Peer): Refuse =>
  (code, detail) => {
    failures.check(address)
    failures.failed(address)
    throw new FleetError(code, detail)
  }

/** @throws `session_resumed`, `certificate_required`, `credential_not_allowed` */
const shownBy = ({ registry }: Pick<BootstrapDeps, 'registry'>, peer: Peer | undefined): Shown => {
  if (peer?.resumed === true) throw new FleetError('session_resumed', 'make a full handshake')
  const leaf = peer?.leaf
  if (peer === undefined || leaf === undefined)
    throw new FleetError('certificate_required', 'present a bootstrap certificate')
  if (registry.status(leaf.fingerprint) !== undefined)
    throw new FleetError('credential_not_allowed', 'a certificate of this CA renews, it does not enrol')
  return { peer, leaf }
}

/** As {@link authenticateBootstrap}, but for what the registry says of the key. */
export const verifyBootstrap = (
  deps: BootstrapDeps,
  connection: Peer | undefined,
  groupName: string | undefined,
): Claim => {
  const now = deps.clock()
  const { peer, leaf } = shownBy(deps, connection)
  const refuse = refuser(deps, peer)
  if (groupName !== undefined && !takesBootstrap(deps.registry.groups().get(groupName)))
    return refuse('credential_not_allowed', 'the group takes no bootstrap certificates')

  const taken = findTaker(deps.registry.groups(), { peer, leaf }, groupName, now, refuse)
  const { group, chain } = taken
  // our own CA as an anchor would let every device make more
  const ours = new Set(
    deps.issuers.all().flatMap(({ certificate, root }) => [certificate.spkiSha256, root.spkiSha256]),
  )
  if (chain.some(({ spkiSha256 }) => ours.has(spkiSha256)))
    throw new FleetError('credential_not_allowed', 'a certificate of this CA renews, it does not enrol')

  checkTaken(taken, now, refuse)

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

/**
 * @param peer undefined: not a TLS connection
 * @param groupName the group that the request names; it must be the nearest, or one of those that are
 * @returns `bound` is undefined: the use case makes the id, out of `variables`
 * @throws FleetError: `session_resumed`, `certificate_required`, `certificate_untrusted` (also when a revocation list that must be there
 * is not, or is out of date), `certificate_expired`, `certificate_not_yet_valid`, `certificate_wrong_purpose`, `certificate_weak_key`,
 * `certificate_revoked`, `key_compromised`, `credential_not_allowed`, `group_disabled`, `rate_limited`
 */
export const authenticateBootstrap = async (
  deps: BootstrapDeps,
  peer: Peer | undefined,
  groupName: string | undefined,
): Promise<Claim> => {
  const claim = verifyBootstrap(deps, peer, groupName)
  const { peer: shown, leaf } = shownBy(deps, peer)
  const key = await deps.registry.findKey(leaf.spkiSha256)
  if (key?.compromised === true)
    return refuser(deps, shown)(
      'key_compromised',
      'the key of the bootstrap certificate was reported compromised',
    )
  return claim
}

/**
 * As {@link authenticateBootstrap}, before a byte of the body is read, which may say only which of several equally near groups is meant:
 * whom no group takes is refused here.
 */
export const checkBootstrap = async (deps: BootstrapDeps, connection: Peer): Promise<void> => {
  const shown = shownBy(deps, connection)
  const judged = judgedByAll(deps.registry.groups(), shown, deps.clock(), refuser(deps, shown.peer))
  if (nearest(judged).length < 2) await authenticateBootstrap(deps, connection, undefined)
}

/**
 * @param group that the bootstrap certificate was taken by
 * @throws `key_in_use`: the key to certify is the bootstrap certificate's own, which many devices have
 */
export const refuseSharedKey = (
  group: EnrollmentGroup | undefined,
  peer: Peer | undefined,
  csrSpki: string,
): void => {
  const fault = judgeBootstrapKey({
    csrSpki,
    bootstrapSpki: peer?.leaf?.spkiSha256,
    uses: group?.bootstrap?.certificatesPerCredential ?? 1,
  })
  if (fault !== undefined)
    throw new FleetError(fault, 'this is the key of the bootstrap certificate, which many devices share')
}
