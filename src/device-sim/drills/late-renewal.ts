/**
 * A device that was off for too long: no door opens to its expired certificate, and its desk renews it all the same, with its own key and
 * no other. Somebody who only says that they are such a device is nobody.
 */

import { DAY, MINUTE, SECOND } from '#fleet/clock.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import type { Enrolled } from '../client/identity.ts'
import { createImpostor } from '../client/impostor.ts'
import { pause } from '../waiting.ts'
import type { Drill } from './drill.ts'
import { rootNameIn } from './other-ca.ts'

export const lateRenewal: Drill = {
  name: 'late_renewal',
  needs: ['operator'],
  async run(stage) {
    const made = await stage.operator?.createToken({ uses: 1, cert_ttl: '5s' })
    const device = await stage.enroll('late', made)
    const refusal = (name: string, code: ErrorCode, enrolled: Enrolled, newKey: boolean): Promise<void> =>
      stage.denies(`late_renewal.${name}`, code, stage.renew(enrolled, { newKey }))

    const now = stage.clock()
    const impostor = await createImpostor(rootNameIn(device.rootPem), now)
    const forged = await impostor.issue({
      commonName: device.deviceId,
      uris: [`urn:sallyport:device:${device.deviceId}`],
      notBefore: now - DAY,
      notAfter: now - MINUTE,
    })
    for (const chainPem of ['', impostor.rootPem, device.chainPem])
      await refusal('forged', 'certificate_untrusted', { ...device, ...forged, chainPem }, false)

    // RFC 5280 §4.1.2.5: valid through notAfter, inclusive
    await pause(device.notAfter + SECOND - stage.clock(), stage.signal)
    await stage.refuses('late_renewal.door', 'certificate_expired', { context: stage.contextOf(device) })
    await refusal('another_key', 'certificate_expired', device, true)
    const renewed = await stage.renew(device)
    await stage.admits('late_renewal.admitted', device.deviceId, { context: stage.contextOf(renewed) })
  },
}
