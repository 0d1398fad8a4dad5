/** A device in the middle of its work is revoked: from the operator's answer on, nothing of it gets in, and what was in is out. */

import type { Drill } from './drill.ts'

const ATTEMPTS = 3

export const revoked: Drill = {
  name: 'revoked',
  needs: ['operator'],
  async run(stage) {
    const { ledger } = stage
    const device = await stage.enroll('revoked')
    const clientId = device.deviceId
    const context = stage.contextOf(device)
    await stage.admits('revoked.https.before', clientId, { context })
    const link = await stage.connects('revoked.mqtt.before', { context, clientId })

    await stage.operator?.revoke(clientId)

    await stage.cuts('revoked.mqtt.cut', link)
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const fresh = stage.contextOf(device, attempt % 2 === 0 ? 'TLSv1.3' : 'TLSv1.2')
      const answer = await stage.refuses('revoked.https.after', 'certificate_revoked', { context: fresh })
      if (answer.status < 300) ledger.revokedThenAdmitted()
      const asking = { context: fresh, clientId }
      if (await stage.refusesConnect('revoked.mqtt.after', 'certificate_revoked', asking))
        ledger.revokedThenAdmitted()
    }
    // the device is revoked, and so is its certificate: either word is true
    await stage.denies('revoked.renewal', ['device_revoked', 'certificate_revoked'], stage.renew(device))
  },
}
