/**
 * Renewal in two phases: the new certificate waits to be confirmed, by its first admitted passage of either door or by a word to the desk;
 * both are good meanwhile; until then it renews nothing; and what is older than two loses its place.
 */

import { SECOND } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { adviceFor } from '../client/enroll-device.ts'
import type { Enrolled } from '../client/identity.ts'
import { pause } from '../waiting.ts'
import type { Drill } from './drill.ts'
import type { Stage } from './stage.ts'

/** Its handshake is heard of within about a second; a busy machine gets as many of the server's own waits. */
const PATIENCE = 5

/** What comes of asking for the next one; waits as long as it is told that this one is pending. */
const renewedOnceConfirmed = async (stage: Stage, enrolled: Enrolled, newKey: boolean): Promise<Enrolled> => {
  for (let wait = 1; ; wait++) {
    try {
      return await stage.renew(enrolled, { newKey })
    } catch (error) {
      const pending = error instanceof FleetError && error.code === 'certificate_pending'
      if (!pending || wait === PATIENCE) throw error
      await pause((error.retryAfter ?? 1) * SECOND, stage.signal)
    }
  }
}

const isPending = (stage: Stage, enrolled: Enrolled): Promise<void> =>
  stage.denies('renewal.pending', 'certificate_pending', stage.renew(enrolled))

export const renewal: Drill = {
  name: 'renewal',
  needs: [],
  async run(stage) {
    const { targets, signal, meter, expectations } = stage
    const first = await stage.enroll('renewer')
    const { deviceId } = first
    const admits = (name: string, enrolled: Enrolled) =>
      stage.admits(`renewal.${name}`, deviceId, { context: stage.contextOf(enrolled) })
    const advice = await adviceFor({ server: targets.enroll, enrolled: first, signal, meter })
    const due = advice.renewAfter > stage.clock() && advice.renewAfter < first.notAfter
    expectations.check('renewal.advice', due && advice.reason === undefined, JSON.stringify(advice))

    const second = await stage.renew(first)
    await isPending(stage, second)
    await admits('predecessor', first)
    await admits('successor', second)

    const third = await renewedOnceConfirmed(stage, second, true)
    await isPending(stage, third)
    const link = await stage.connects('renewal.mqtt', { context: stage.contextOf(third), clientId: deviceId })
    await link?.close()

    const fourth = await renewedOnceConfirmed(stage, third, true)
    await stage.confirm(fourth)
    await admits('successor', fourth)
    await admits('predecessor', third)
    await stage.refuses('renewal.older', 'certificate_revoked', { context: stage.contextOf(first) })
    await stage.refuses('renewal.older', 'certificate_revoked', { context: stage.contextOf(second) })
  },
}
