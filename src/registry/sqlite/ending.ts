/**
 * How a device ends inside a transaction: its certificates, its bound tokens and, when they were stolen, its keys. Not which devices end,
 * nor their state: that is devices.ts for one and revocations.ts for a group.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import type { RevocationReason } from '#fleet/revocation-reason.ts'
import type { Tools } from './verbs.ts'

/** Ids of voided tokens in an audit entry. */
const MOST_NAMED = 20

type Ended = {
  /** what the audit says of it */
  readonly details: Readonly<Record<string, unknown>>
  /** subject key ids of those whose CRL says something new now */
  readonly issuers: readonly string[]
}

/** For a key that is never certified again, whatever was known of it. One that was blocked is the device's from now on: it is never unblocked. */
export const COMPROMISE_KEY = `
  insert into device_keys (spki_sha256, device_id, compromised_at) values (:spki, :deviceId, :now)
  on conflict (spki_sha256) do update
    set compromised_at = coalesce(compromised_at, excluded.compromised_at), device_id = coalesce(device_id, excluded.device_id)
  where compromised_at is null or device_id is null`

export const createEnding = ({
  database,
}: Pick<Tools, 'database'>): ((id: DeviceId, reason: RevocationReason, now: number) => Ended) => {
  // an `intended` row too: it may have been signed. What was revoked keeps its date; a compromise replaces a lesser reason.
  const revokeCertificates = database
    .prepare<{ id: string; now: number; reason: string }, string>(
      `update certificates set state = 'revoked', revoked_at = coalesce(revoked_at, :now),
         revocation_reason = case when revocation_reason is null or :reason = 'keyCompromise' then :reason else revocation_reason end
       where device_id = +:id and (state <> 'revoked' or (:reason = 'keyCompromise' and revocation_reason <> 'keyCompromise'))
       returning issuer_ski`,
    )
    .pluck()
  // with the one that it was to enrol with; one that comes twice is written once
  const keysOf = database
    .prepare<{ id: string }, string>(
      `select spki_sha256 from certificates where device_id = +:id
       union all select registered_spki from devices where id = :id and registered_spki is not null`,
    )
    .pluck()
  const compromise = database.prepare(COMPROMISE_KEY)
  const revokeTokens = database
    .prepare<{ id: string; now: number }, string>(
      'update claim_tokens set revoked_at = :now where device_id = :id and revoked_at is null returning id',
    )
    .pluck()

  return (id, reason, now) => {
    const issuers = revokeCertificates.all({ id, now, reason })
    let keys = 0
    if (reason === 'keyCompromise')
      for (const spki of keysOf.all({ id })) keys += compromise.run({ spki, deviceId: id, now }).changes
    const tokens = revokeTokens.all({ id, now })
    return {
      details: {
        reason,
        certificates: issuers.length,
        keys,
        tokens: tokens.length,
        token_ids: tokens.slice(0, MOST_NAMED),
      },
      issuers: [...new Set(issuers)],
    }
  }
}
