/** A certificate that says everything right about a real device, from a CA that only calls itself by the right name. */

import { X509Certificate } from 'node:crypto'
import { DAY, MINUTE } from '#fleet/clock.ts'
import { createImpostor } from '../client/impostor.ts'
import { commonNameOf } from '../client/trust.ts'
import type { Drill } from './drill.ts'

/** Of a root, for a CA that only calls itself so. */
export const rootNameIn = (pem: string): string => commonNameOf(new X509Certificate(pem)) || 'root'

export const otherCa: Drill = {
  name: 'other_ca',
  needs: [],
  async run(stage) {
    const victim = await stage.enroll('other-ca')
    const now = stage.clock()
    const impostor = await createImpostor(rootNameIn(victim.rootPem), now)
    const names = { commonName: victim.deviceId, uris: [`urn:sallyport:device:${victim.deviceId}`] }
    // TLS libraries report an untrusted certificate that has also expired as expired; the door must not (facts: tls.md, addendum 2)
    const forgeries = {
      forged: await impostor.issue(names),
      forged_and_expired: await impostor.issue({ ...names, notBefore: now - DAY, notAfter: now - MINUTE }),
    }
    for (const [kind, forged] of Object.entries(forgeries)) {
      // with the genuine intermediates sent along: a chain is not what the client says it is
      for (const chainPem of ['', impostor.rootPem, victim.chainPem]) {
        const context = stage.contextOf({ ...victim, ...forged, chainPem })
        await stage.refuses(`other_ca.https.${kind}`, 'certificate_untrusted', { context })
      }
      const context = stage.contextOf({ ...victim, ...forged })
      const clientId = victim.deviceId
      await stage.refusesConnect(`other_ca.mqtt.${kind}`, 'certificate_untrusted', { context, clientId })
    }
  },
}
