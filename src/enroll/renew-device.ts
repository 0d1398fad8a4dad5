/**
 * USE CASE: the holder of a live certificate gets its successor, with the same key or a new one. REST and EST both come here.
 * The device keeps its id, and the successor is granted the life that its predecessor was granted: not the one it got, which an
 * expiring issuer may have cut short.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import type { CsrFacts } from '#pki/csr.ts'
import { nameDevice } from '#policy/enrollment.ts'
import { judgeRenewal } from '#policy/renewal.ts'
import { acceptCsrInTurn, issueCertificate, type IssuanceDeps, type Issued } from './issuance.ts'

/** Who may renew on this connection. */
export type Renewer = { readonly deviceId: DeviceId; readonly group: string; readonly fingerprint: string }

/**
 * The proof is the handshake of this connection; nothing of the request is looked at.
 * @param peer undefined: not a TLS connection
 * @throws FleetError: a refusal of {@link judgeRenewal}, `registry_unavailable`
 */
export const acceptRenewer = (
  deps: Pick<IssuanceDeps, 'registry' | 'clock'>,
  peer: Peer | undefined,
): Renewer => {
  const leaf = peer?.leaf
  const record = leaf === undefined ? undefined : deps.registry.status(leaf.fingerprint)
  const refusal = judgeRenewal({
    resumed: peer?.resumed ?? false,
    leaf,
    trusted: peer?.trusted ?? false,
    record,
    now: deps.clock(),
  })
  if (refusal !== undefined || leaf === undefined || record === undefined) {
    throw new FleetError(
      refusal ?? 'certificate_required',
      'renew with the current certificate of the device',
    )
  }
  return { deviceId: record.deviceId, group: record.group, fingerprint: leaf.fingerprint }
}

/**
 * @param ask.csr as sent, or as {@link acceptCsrInTurn} has read it
 * @param ask.deviceId what the request says it is called; must agree
 * @throws FleetError: the CSR's, `device_id_mismatch`, and those of {@link issueCertificate}
 */
export const renewFor = async (
  deps: IssuanceDeps,
  renewer: Renewer,
  ask: { readonly csr: string | Uint8Array | CsrFacts; readonly deviceId?: string | undefined },
): Promise<Issued> => {
  const read = typeof ask.csr === 'string' || ask.csr instanceof Uint8Array
  const csr = read ? await acceptCsrInTurn(ask.csr) : ask.csr
  const named = nameDevice({ bound: renewer.deviceId, asked: ask.deviceId, commonName: csr.commonName })
  if (!named.ok) throw new FleetError(named.reason, named.detail)
  const ttl = await deps.registry.grantedTtl(renewer.fingerprint)
  if (ttl === undefined) throw new FleetError('certificate_unknown', 'the certificate is not on record')
  const group = deps.registry.groups().get(renewer.group)
  if (group === undefined) throw new FleetError('group_disabled', 'the group of the device is gone')
  return issueCertificate(deps, {
    actor: `device:${renewer.deviceId}`,
    deviceId: renewer.deviceId,
    credential: { kind: 'renewal', fingerprint: renewer.fingerprint, late: false },
    requestId: undefined,
    group,
    tags: {},
    csr,
    ttl,
  })
}
