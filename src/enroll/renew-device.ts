/**
 * USE CASE: the holder of a certificate gets its successor, with the same key or a new one. REST and EST both come here.
 * The device keeps its id, and the successor is granted the life that its predecessor was granted: not the one it got, which an
 * expiring issuer may have cut short. What comes with another key from a certificate that has a successor already is a copy of the
 * device, or its original (docs/lifecycle.md): it is refused, and told.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import { DAY } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import type { CsrFacts } from '#pki/csr.ts'
import { nameDevice } from '#policy/enrollment.ts'
import { grantedTtl } from '#policy/enrollment-group.ts'
import { judgeHolder, judgeRenewal, judgeSuccessorKey, type Holding } from '#policy/renewal.ts'
import type { LiveStatus } from '#registry/registry.ts'
import type { Approval } from './approvals.ts'
import type { Waiting } from './enroll-device.ts'
import { verifyExpired } from './expired-chain.ts'
import {
  acceptCsrInTurn,
  issueCertificate,
  type Issuance,
  type IssuanceDeps,
  type Issued,
} from './issuance.ts'
import { suspectClone, unasked } from './suspect-clone.ts'

/** Who speaks on this connection, by a certificate that is good at this desk. */
export type Holder = {
  readonly deviceId: DeviceId
  readonly group: string
  readonly fingerprint: string
  readonly leaf: CertificateFacts
  readonly record: LiveStatus
  /** it has expired, and may do nothing but renew */
  readonly late: boolean
  /** remote IP */
  readonly address: string
}

/** Who may renew on this connection. `revoked`: who may not, and is told so by {@link renewFor} once it is known which key it wanted. */
export type Renewer = Holder & { readonly revoked?: boolean }

type Desk = Pick<IssuanceDeps, 'registry' | 'clock'>

/** Refusals that are put off until the request has been read. */
const NOBODY: ReadonlySet<ErrorCode> = new Set()
const REVOKED: ReadonlySet<ErrorCode> = new Set(['certificate_revoked'])

/** So many keys within a day are no answers that were lost. */
const SUSPICIOUS_KEYS = 3

/** s: by then a handshake that a door admitted has been heard of here */
const CONFIRMED_SOON = 2

const holderOf = (
  deps: Desk,
  peer: Peer | undefined,
  judge: (
    facts: Omit<Parameters<typeof judgeHolder>[0], 'grace'>,
    group: EnrollmentGroup | undefined,
  ) => Holding,
  heard: ReadonlySet<ErrorCode> = NOBODY,
): Renewer => {
  const leaf = peer?.leaf
  const record = leaf === undefined ? undefined : deps.registry.status(leaf.fingerprint)
  const group = record && deps.registry.groups().get(record.group)
  const facts = {
    resumed: peer?.resumed ?? false,
    leaf,
    trusted: peer?.trusted ?? false,
    record,
    now: deps.clock(),
  }
  const holding = judge(facts, group)
  if (!holding.ok && !heard.has(holding.reason))
    throw new FleetError(
      holding.reason,
      holding.reason === 'certificate_pending'
        ? 'use it at a door, or confirm it (POST /v1/confirm), before you renew it'
        : 'present the current certificate of the device',
      holding.reason === 'certificate_pending' ? { retryAfter: CONFIRMED_SOON } : {},
    )
  if (peer === undefined || leaf === undefined || record === undefined)
    throw new FleetError('certificate_required', 'present the current certificate of the device')
  return {
    deviceId: record.deviceId,
    group: record.group,
    fingerprint: leaf.fingerprint,
    leaf,
    record,
    late: holding.ok && holding.late,
    address: peer.address,
    ...(holding.ok ? {} : { revoked: true }),
  }
}

/**
 * For everything but renewing: a `pending` certificate is as good as any; an expired one only where `lateToo` says so.
 * The proof is the handshake of this connection; nothing of the request is looked at.
 * @param peer undefined: not a TLS connection
 * @throws FleetError: a refusal of {@link judgeHolder}, `registry_unavailable`
 */
export const acceptHolder = (deps: Desk, peer: Peer | undefined, { lateToo = false } = {}): Holder =>
  holderOf(deps, peer, (facts, group) =>
    judgeHolder({ ...facts, grace: lateToo ? (group?.expiredGrace ?? 0) : 0 }),
  )

/**
 * The proof is the handshake of this connection; nothing of the request is looked at. A revoked certificate of an active device gets as far as
 * {@link renewFor}, and no further: a copy that slept through two renewals is to be found by what it asks for.
 * @param peer undefined: not a TLS connection
 * @throws FleetError: a refusal of {@link judgeRenewal} but `certificate_revoked`, `registry_unavailable`
 */
export const acceptRenewer = (deps: Desk, peer: Peer | undefined): Renewer =>
  holderOf(deps, peer, (facts, group) => judgeRenewal({ ...facts, group }), REVOKED)

/** What a renewal is given, beside what signing needs. */
type RenewalDeps = Issuance & Pick<IssuanceDeps, 'alert' | 'approvals'>

/** One renewal, as far as it has been settled. */
type Case = { readonly renewer: Renewer; readonly group: EnrollmentGroup; readonly csr: CsrFacts }

const historyOf = ({ registry, clock }: RenewalDeps, { fingerprint }: Renewer) =>
  registry.renewalsBy(fingerprint, clock() - DAY)

/** Its successors pushed it out, and it asks with a key of its own: nobody but a copy, or its original, still has it. @throws always */
const refuseRevoked = async (deps: RenewalDeps, { renewer, group, csr }: Case): Promise<never> => {
  const history = await historyOf(deps, renewer)
  if (history?.displaced === true && history.successor?.spkiSha256 !== csr.spkiSha256)
    await suspectClone(deps, renewer, unasked(group), csr.spkiSha256)
  throw new FleetError('certificate_revoked', 'present the current certificate of the device')
}

/** Two that hold one certificate push each other's pending ones out; no alarm would come of it before one of them is used. */
const watchKeys = async (deps: RenewalDeps, { renewer, csr }: Case): Promise<void> => {
  const history = await historyOf(deps, renewer)
  if ((history?.keys ?? 0) < SUSPICIOUS_KEYS) return
  // a device that loses its answers may look like this: it is told, and nothing is done to it
  await suspectClone(deps, renewer, { onClone: 'alert' }, csr.spkiSha256)
}

/** @throws FleetError: the key's refusal, and that of an expired certificate whose signatures do not verify */
const checkSuccessor = async (deps: RenewalDeps, { renewer, group, csr }: Case): Promise<void> => {
  const { leaf, late, record } = renewer
  const device = late ? await deps.registry.findDevice(renewer.deviceId) : undefined
  const refusal = judgeSuccessorKey({
    late,
    key: csr.key,
    spkiSha256: csr.spkiSha256,
    currentSpki: leaf.spkiSha256,
    registeredSpki: device?.registeredSpki,
    group,
  })
  if (refusal === 'certificate_expired') {
    // its successor came into use before it ended: who comes now, with a key of their own, is no device that slept too long
    const history = await historyOf(deps, renewer)
    if (history?.successor !== undefined && history.successor.spkiSha256 !== csr.spkiSha256)
      await suspectClone(deps, renewer, unasked(group), csr.spkiSha256)
    throw new FleetError(refusal, 'an expired certificate renews with its own key, or the registered one')
  }
  if (refusal !== undefined) throw new FleetError(refusal, `the group takes ${group.keyKinds.join(', ')}`)
  if (late) await verifyExpired(deps, leaf, record.issuerSki, deps.clock())
}

type Wanted = Pick<
  Parameters<typeof issueCertificate>[1],
  'actor' | 'deviceId' | 'group' | 'tags' | 'csr' | 'ttl'
>

/** Where the group has an operator decide: a request for exactly this key, and on their yes the certificate. */
const askOperator = async (
  deps: RenewalDeps,
  { renewer, group, csr }: Case,
  wanted: Wanted,
): Promise<Issued | Waiting> => {
  const { fingerprint, deviceId, address } = renewer
  const claim = { kind: 'renewal', id: fingerprint, actor: wanted.actor } as const
  let answer: Approval | undefined
  try {
    answer = await deps.approvals.decide({ claim, group, deviceId, csr, address })
  } finally {
    // what an operator has looked into, and allowed, is no news
    if (answer?.state !== 'approved') await suspectClone(deps, renewer, group, csr.spkiSha256)
  }
  if (answer.state === 'waiting') return answer
  const { requestId } = answer
  return issueCertificate(deps, { ...wanted, credential: { kind: 'approval', id: requestId }, requestId })
}

/**
 * @param ask.csr as sent, or as {@link acceptCsrInTurn} has read it
 * @param ask.deviceId what the request says it is called; must agree
 * @returns `Waiting` where the group has an operator look into a suspected clone
 * @throws FleetError: the CSR's, `device_id_mismatch`, `certificate_revoked`, `key_kind_not_allowed`, `certificate_expired`, `clone_suspected`,
 * `enrollment_denied`, and those of {@link issueCertificate}
 */
export const renewFor = async (
  deps: RenewalDeps,
  renewer: Renewer,
  ask: { readonly csr: string | Uint8Array | CsrFacts; readonly deviceId?: string | undefined },
): Promise<Issued | Waiting> => {
  const csr = await acceptCsrInTurn(ask.csr)
  const named = nameDevice({ bound: renewer.deviceId, asked: ask.deviceId, commonName: csr.commonName })
  if (!named.ok) throw new FleetError(named.reason, named.detail)
  const group = deps.registry.groups().get(renewer.group)
  if (group === undefined) throw new FleetError('group_disabled', 'the group of the device is gone')
  const it: Case = { renewer, group, csr }
  if (renewer.revoked === true) return refuseRevoked(deps, it)
  await checkSuccessor(deps, it)
  const granted = await deps.registry.grantedTtl(renewer.fingerprint)
  if (granted === undefined) throw new FleetError('certificate_unknown', 'the certificate is not on record')
  const wanted: Wanted = {
    actor: `device:${renewer.deviceId}`,
    deviceId: renewer.deviceId,
    group,
    tags: {},
    csr,
    ttl: grantedTtl(granted, group),
  }
  try {
    const issued = await issueCertificate(deps, {
      ...wanted,
      credential: { kind: 'renewal', fingerprint: renewer.fingerprint, late: renewer.late },
      requestId: undefined,
    })
    if (issued.fresh && issued.pending) await watchKeys(deps, it)
    return issued
  } catch (error) {
    if (!(error instanceof FleetError) || error.code !== 'clone_suspected') throw error
    if (group.onClone === 'approval') return askOperator(deps, it, wanted)
    await suspectClone(deps, renewer, group, csr.spkiSha256)
    throw error
  }
}
