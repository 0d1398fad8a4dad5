/** A certificate that lives five seconds: good, then not; and the connection it opened does not outlive it. */

import { SECOND } from '#fleet/clock.ts'
import type { Enrolled } from '../client/identity.ts'
import { pause } from '../waiting.ts'
import type { Drill } from './drill.ts'
import type { Stage } from './stage.ts'

/** ms after notAfter by which a standing connection must be gone; X.509 counts in whole seconds */
const GRACE = 3 * SECOND
/** ms of its five seconds that must be left to try it with; a machine too busy for that gets another go */
const USABLE = 3 * SECOND
const GOES = 3

const enrollInTime = async (stage: Stage, go = 1): Promise<Enrolled> => {
  const made = await stage.operator?.createToken({ uses: 1, cert_ttl: '5s' })
  const device = await stage.enroll(`expired-${go}`, made)
  return device.notAfter - stage.clock() >= USABLE || go === GOES ? device : enrollInTime(stage, go + 1)
}

export const expired: Drill = {
  name: 'expired',
  needs: ['operator'],
  async run(stage) {
    const device = await enrollInTime(stage)
    const context = stage.contextOf(device)
    const clientId = device.deviceId
    await stage.admits('expired.https.before', clientId, { context })
    const link = await stage.connects('expired.mqtt.before', { context, clientId })
    // RFC 5280 §4.1.2.5: valid through notAfter, inclusive
    const over = (): number => device.notAfter + SECOND - stage.clock()
    await stage.cuts('expired.mqtt.cut', link, over() + GRACE)
    await pause(over(), stage.signal)
    await stage.refuses('expired.https.after', 'certificate_expired', { context })
    await stage.refusesConnect('expired.mqtt.after', 'certificate_expired', { context, clientId })
  },
}
