/**
 * USE CASE: the holder of a live certificate gets its successor, with the same key or a new one. REST and EST both come here.
 * The device keeps its id, and the successor gets the life that its predecessor was given.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { nameDevice } from '#policy/enrollment.ts'
import { judgeRenewal, lifeOf } from '#policy/renewal.ts'
import { acceptCsrInTurn, issueCertificate, type IssuanceDeps, type Issued } from './issuance.ts'

/** Who may renew on this connection. `life`: ms */
export type Renewer = { readonly deviceId: DeviceId; readonly fingerprint: string; readonly life: number }

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
  return { deviceId: record.deviceId, fingerprint: leaf.fingerprint, life: lifeOf(record) }
}

/**
 * @param ask.deviceId what the request says it is called; must agree
 * @throws FleetError: the CSR's, `device_id_mismatch`, and those of {@link issueCertificate}
 */
export const renewFor = async (
  deps: IssuanceDeps,
  renewer: Renewer,
  ask: { readonly csr: string | Uint8Array; readonly deviceId?: string | undefined },
): Promise<Issued> => {
  const csr = await acceptCsrInTurn(ask.csr)
  const named = nameDevice({ bound: renewer.deviceId, asked: ask.deviceId, commonName: csr.commonName })
  if (!named.ok) throw new FleetError(named.reason, named.detail)
  return issueCertificate(deps, {
    actor: `device:${renewer.deviceId}`,
    deviceId: renewer.deviceId,
    credential: { kind: 'renewal', fingerprint: renewer.fingerprint },
    csr,
    ttl: renewer.life,
  })
}
