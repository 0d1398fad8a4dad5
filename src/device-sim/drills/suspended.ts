/**
 * What an operator may do to a device beside revoking it: suspended, it is out at once and back when it is resumed; one of two certificates
 * revoked, the other one is good; retired, it is out for good.
 */

import type { Drill } from './drill.ts'

export const suspended: Drill = {
  name: 'suspended',
  needs: ['operator'],
  async run(stage) {
    const { operator } = stage
    const device = await stage.enroll('suspended')
    const { deviceId: clientId } = device
    const asking = { context: stage.contextOf(device), clientId }
    const link = await stage.connects('suspended.mqtt.before', asking)

    await operator?.suspend(clientId)
    await stage.cuts('suspended.mqtt.cut', link)
    await stage.refuses('suspended.https', 'device_suspended', asking)
    await stage.refusesConnect('suspended.mqtt.after', 'device_suspended', asking)
    await stage.denies('suspended.renewal', 'device_suspended', stage.renew(device))

    await operator?.resume(clientId)
    await stage.admits('suspended.resumed.https', clientId, asking)
    await using again = await stage.connects('suspended.resumed.mqtt', asking)
    await again?.close()

    const renewed = await stage.renew(device, { newKey: true })
    await stage.confirm(renewed)
    await operator?.revokeCertificate(device.serial)
    await stage.refuses('suspended.old_certificate.https', 'certificate_revoked', asking)
    await stage.refusesConnect('suspended.old_certificate.mqtt', 'certificate_revoked', asking)
    const newer = { context: stage.contextOf(renewed), clientId }
    await stage.admits('suspended.new_certificate', clientId, newer)

    await operator?.retire(clientId)
    await stage.refuses('suspended.retired.https', 'device_retired', newer)
    await stage.refusesConnect('suspended.retired.mqtt', 'device_retired', newer)
  },
}
