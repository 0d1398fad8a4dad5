/**
 * Does what the broker keeps for a client end with it? The registry's word about the device says so, and not that about one certificate: an older one is
 * revoked as `superseded` at each renewal, and the session is the device's. Not the ending: ./ending.ts, ./sleepers.ts, ./evictions.ts.
 */

import type { DeviceId } from '#fleet/device-id.ts'
import { SECOND } from '#fleet/clock.ts'
import type { RegistryReader } from '#registry/registry.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'

/** Whose it is. `deviceId`: undefined of a foreign identity. `since`: ms, when the connection that holds it, or held it last, was let in. */
export type SessionOwned = { readonly deviceId: string | undefined; readonly since: number }

export type EndsSession = (reason: MqttReason, session: SessionOwned) => boolean

/** ms between the moment that a cut is dated with and the one at which the doors see it, and more. */
const LAG = 10 * SECOND

/** What is said of the device itself, as it is now. */
const OF_DEVICE: ReadonlySet<MqttReason> = new Set(['device_suspended', 'device_retired'])
/** What is said of a certificate, and of its device perhaps. */
const OF_CERTIFICATE: ReadonlySet<MqttReason> = new Set(['certificate_revoked', 'issuer_revoked'])

/**
 * Was this device ever cut? What an unknown session of it holds may be of before then, and a device that was let in again finds nothing of that.
 * Where the registry cannot be asked, it was.
 */
export const createWasEverCut =
  (registry: Pick<RegistryReader, 'wasCut'>): ((deviceId: string) => boolean) =>
  (deviceId) => {
    try {
      return registry.wasCut(deviceId as DeviceId, 0) !== undefined
    } catch {
      return true
    }
  }

/**
 * @returns does a session end whose client is refused for that reason? Where the reason is said of a certificate: when its device is cut
 * (RegistryReader.wasCut), or was after that client was let in. Of a foreign identity nobody knows more than that. Where the registry cannot be
 * asked, it ends.
 */
export const createEndsSession =
  (registry: Pick<RegistryReader, 'wasCut'>): EndsSession =>
  (reason, { deviceId, since }) => {
    if (OF_DEVICE.has(reason)) return true
    if (!OF_CERTIFICATE.has(reason)) return false
    if (deviceId === undefined) return true
    try {
      const cut = registry.wasCut(deviceId as DeviceId, 0)
      return cut !== undefined && (cut.isCut || cut.at >= since - LAG)
    } catch {
      return true
    }
  }
