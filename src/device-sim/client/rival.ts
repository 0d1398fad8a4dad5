/**
 * Whoever has copied a device's key and certificate, and uses them from elsewhere: renews before the device does, or connects beside it. Says in
 * a word what came of it. Not the judging of whether it was noticed.
 */

import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { pause } from '../waiting.ts'
import { clientContext } from './connection.ts'
import { confirmDevice, renewDevice } from './enroll-device.ts'
import type { Enrolled } from './identity.ts'
import type { Meter } from './meter.ts'
import { mqttConnect } from './mqtt-connect.ts'
import { wordOf } from './refusal.ts'

type Rival = {
  /** key and certificate, as they were when they were copied */
  readonly copy: Enrolled
  readonly signal?: AbortSignal | undefined
  readonly meter?: Meter | undefined
}

/**
 * Asks for a certificate with a new key, which is what a thief wants: to be independent of the original.
 * @param o.uses it: tells the desk so, from when on the original has a successor that is not its own
 * @returns `renewed`; `admitted` when it uses what it got; or the server's reason (`clone_suspected`, `certificate_pending`,
 * `certificate_revoked`, …); never throws
 */
export const rivalRenewal = async (
  o: Rival & { readonly server: string; readonly uses?: boolean | undefined },
): Promise<string> => {
  try {
    const enrolled = await renewDevice({ ...o, enrolled: o.copy, newKey: true })
    if (!o.uses) return 'renewed'
    await confirmDevice({ ...o, enrolled })
    return 'admitted'
  } catch (error) {
    return wordOf(error)
  }
}

/** ms that it stays when nobody sends it away: the original comes back within that */
const STAYS = 2 * SECOND

/**
 * Connects with the copied device's ClientID, which takes it from the original, and stays until it is cut or for `stays` ms.
 * @returns `admitted`; `connack_<code>`; `closed`: without a CONNACK; `target_unreachable`: nobody was asked; never throws
 */
export const rivalConnection = async (
  o: Rival & { readonly url: string; readonly stays?: number | undefined },
): Promise<string> => {
  const { copy, url, signal, meter } = o
  try {
    const context = clientContext({ rootPem: copy.rootPem, identity: copy })
    const outcome = await mqttConnect({ url, context, clientId: copy.deviceId, signal, meter })
    if (!outcome.accepted) return outcome.code === undefined ? 'closed' : `connack_${outcome.code}`
    await using link = outcome.link
    await pause(o.stays ?? STAYS, link.ended, signal)
    return 'admitted'
  } catch (error) {
    return error instanceof FleetError ? error.code : 'target_unreachable'
  }
}
