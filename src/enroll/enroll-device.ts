/**
 * USE CASE: a device with a claim token gets its certificate. REST and EST both come here.
 * Not the wire: no HTTP, no PEM in answers.
 */

import type { ClaimToken } from '#fleet/credentials.ts'
import { FleetError, type ErrorCode } from '#fleet/errors.ts'
import { nameDevice } from '#policy/enrollment.ts'
import { acceptCsrInTurn, issueCertificate, type IssuanceDeps, type Issued } from './issuance.ts'

/** What the registry may still find wrong with the credential; counted against the address like a wrong one. */
const CREDENTIAL_REFUSALS: ReadonlySet<ErrorCode> = new Set([
  'token_invalid',
  'token_expired',
  'token_spent',
  'token_revoked',
])

/** `csr`: PEM text, or DER. `deviceId`: what the request asks to be called. `address`: remote IP. */
export type EnrollAsk = {
  readonly csr: string | Uint8Array
  readonly deviceId?: string | undefined
  readonly address: string
}

/**
 * For a token that credentials.ts has let through.
 * @throws FleetError: the CSR's, `device_id_*`, and those of {@link issueCertificate}
 */
export const enrollWithClaim = async (
  deps: IssuanceDeps,
  token: ClaimToken,
  ask: EnrollAsk,
): Promise<Issued> => {
  const csr = await acceptCsrInTurn(ask.csr)
  const named = nameDevice({ bound: token.deviceId, asked: ask.deviceId, commonName: csr.commonName })
  if (!named.ok) throw new FleetError(named.reason, named.detail)
  const group = deps.registry.groups().get(token.group)
  if (group === undefined) throw new FleetError('group_disabled', 'the group of the token is gone')
  try {
    return await issueCertificate(deps, {
      actor: `token:${token.id}`,
      deviceId: named.deviceId,
      credential: { kind: 'token', id: token.id },
      requestId: undefined,
      group,
      tags: group.tags,
      csr,
      ttl: token.certificateTtl ?? group.certificateTtl,
    })
  } catch (error) {
    if (error instanceof FleetError && CREDENTIAL_REFUSALS.has(error.code)) deps.failures.failed(ask.address)
    throw error
  }
}
