/**
 * Whose a public key is: from the certificates that it has, or from what was said about it before it had any. Not whether it may be used:
 * the verbs decide that.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import type { Handle } from './handle.ts'

export type KeyRow = {
  /** null: nobody's, and blocked */
  readonly device_id: DeviceId | null
  readonly compromised_at: number | null
}

/** @returns a look-up by hex SHA-256 of the SubjectPublicKeyInfo; undefined: never heard of */
export const createKeys = (database: Handle): ((spkiSha256: string) => KeyRow | undefined) => {
  const said = database.prepare<[string], KeyRow>(
    'select device_id, compromised_at from device_keys where spki_sha256 = ?',
  )
  const certified = database
    .prepare<[string], DeviceId>('select device_id from certificates where spki_sha256 = +? limit 1')
    .pluck()
  return (spkiSha256) => {
    const key = said.get(spkiSha256)
    if (key !== undefined && key.device_id !== null) return key
    const owner = certified.get(spkiSha256)
    if (owner !== undefined) return { device_id: owner, compromised_at: key?.compromised_at ?? null }
    return key
  }
}
