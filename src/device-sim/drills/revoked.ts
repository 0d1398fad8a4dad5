/** A device in the middle of its work is revoked: from the operator's answer on, nothing of it gets in, and what was in is out. */

import { SECOND } from '#fleet/clock.ts'
import { renewDevice } from '../client/enroll-device.ts'
import { pause } from '../waiting.ts'
import type { Drill } from './drill.ts'

/** ms; the promise is 100, but this is no timed test: it must end, not hang */
const CUT = 2 * SECOND
const ATTEMPTS = 3

export const revoked: Drill = {
  name: 'revoked',
  needs: ['operator'],
  async run(stage) {
    const { ledger, expectations, meter, signal, targets } = stage
    const device = await stage.enroll('revoked')
    const clientId = device.deviceId
    const context = stage.contextOf(device)
    await stage.admits('revoked.https.before', clientId, { context })
    const link = await stage.connects('revoked.mqtt.before', { context, clientId })

    await stage.operator?.revoke(clientId)

    await pause(CUT, signal, ...(link === undefined ? [] : [link.ended]))
    expectations.check('revoked.mqtt.cut', link?.isOpen() !== true, 'the open connection was not cut')
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const fresh = stage.contextOf(device, attempt % 2 === 0 ? 'TLSv1.3' : 'TLSv1.2')
      const answer = await stage.refuses('revoked.https.after', 'certificate_revoked', { context: fresh })
      if (answer.status < 300) ledger.revokedThenAdmitted()
      const asking = { context: fresh, clientId }
      if (await stage.refusesConnect('revoked.mqtt.after', 'certificate_revoked', asking))
        ledger.revokedThenAdmitted()
    }
    // the device is revoked, and so is its certificate: either word is true
    await stage.denies(
      'revoked.renewal',
      ['device_revoked', 'certificate_revoked'],
      renewDevice({ server: targets.enroll, enrolled: device, meter, signal }),
    )
  },
}
