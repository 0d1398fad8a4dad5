/**
 * USE CASE: a device gets its first certificate, or the first after its credentials were void. REST and EST both come here, whatever the
 * credential. In this order, cheap before dear, and nothing asked of anybody for a use that was served before:
 *
 *   the CSR, which proves the key → the credential, when it is none of a header → the id → the device's own entry and its group → what
 *   the group says → an earlier use is served again → the webhook → an operator → the registry's transaction, signature, record
 *
 * Not the wire: no HTTP, no PEM in answers.
 */

import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import type { CsrFacts } from '#pki/csr.ts'
import { nameInGroup } from '#policy/enrollment-group.ts'
import { isBootstrapPeer } from './asker.ts'
import { authenticateBootstrap, refuseSharedKey } from './bootstrap.ts'
import type { Claim } from './claim.ts'
import { enrollAsking, type Waiting } from './enroll-asking.ts'
import { certificateOf, issue, settle } from './enroll-case.ts'
import { acceptCsrInTurn, type IssuanceDeps, type Issued } from './issuance.ts'
import { claimOfStranger } from './stranger.ts'

export type { Waiting }

/** What may still be wrong with a credential that is genuine; counted against the address like one that is not. */
const CREDENTIAL_REFUSALS: ReadonlySet<ErrorCode> = new Set([
  'token_invalid',
  'token_expired',
  'token_spent',
  'token_revoked',
])

/**
 * `csr`: PEM text, or DER, or read already. `deviceId`: what the request asks to be called. `group`: that it names, by itself or by an EST label; a
 * credential has its own. `peer`: of this connection. `address`: remote IP. `requestId`: of the HTTP request, as in our log.
 */
export type EnrollAsk = {
  readonly csr: string | Uint8Array | CsrFacts
  readonly deviceId?: string | undefined
  readonly group?: string | undefined
  readonly peer?: Peer | undefined
  readonly address: string
  readonly requestId: string
}

export const isWaiting = (answer: Issued | Waiting): answer is Waiting => 'requestId' in answer

/** A good use never gets here: who has a token that is good for nothing more cannot ask on and on. @throws as `work`; `rate_limited` */
const counted = async <T>(
  { failures }: Pick<IssuanceDeps, 'failures'>,
  address: string,
  work: Promise<T>,
): Promise<T> => {
  try {
    return await work
  } catch (error) {
    if (error instanceof FleetError && CREDENTIAL_REFUSALS.has(error.code)) {
      failures.check(address)
      failures.failed(address)
    }
    throw error
  }
}

/**
 * @param claim proved by a header; undefined: it is a certificate of this connection, or there is none
 * @throws FleetError: the CSR's, the credential's, `device_id_*`, those of {@link judgeEnrollment}, `enrollment_denied`,
 * `webhook_unavailable`, `quota_exceeded`, `rate_limited`, and those of {@link issueCertificate}
 */
export const enrollDevice = async (
  deps: IssuanceDeps,
  claim: Claim | undefined,
  ask: EnrollAsk,
): Promise<Issued | Waiting> => {
  // the chain before the request: a certificate that nobody trusts costs no more than itself
  const proved =
    claim ??
    (isBootstrapPeer(deps, ask.peer) ? await authenticateBootstrap(deps, ask.peer, ask.group) : undefined)
  if (proved !== undefined && ask.group !== undefined && ask.group !== proved.group)
    throw new FleetError(
      'credential_not_allowed',
      'the credential is for another group than the request names',
    )
  const csr = await acceptCsrInTurn(ask.csr)
  const { deviceId: asked, address } = ask
  const by = proved ?? (await claimOfStranger(deps, { csr, deviceId: asked, group: ask.group, address }))
  const groups = deps.registry.groups()
  if (by.kind === 'bootstrap') refuseSharedKey(groups.get(by.group), ask.peer, csr.spkiSha256)
  const named = nameInGroup(
    { bound: by.bound, asked, commonName: csr.commonName, certificate: certificateOf(by) },
    groups.get(by.group)?.idTemplate,
  )
  if (!named.ok) throw new FleetError(named.reason, named.detail)
  const { deviceId, bound } = named
  const settled = await settle(deps, groups, {
    claim: by,
    csr,
    deviceId,
    asked: deviceId,
    bound,
    address,
    logId: ask.requestId,
  })
  const { group } = settled
  const asks = group.webhook !== undefined || group.approval || by.kind === 'approval' || by.late
  return counted(deps, address, asks ? enrollAsking(deps, groups, settled) : issue(deps, settled))
}
