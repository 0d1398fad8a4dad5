/** A good certificate, and another device's ClientID: refused, and the other device does not notice. */

import type { Drill } from './drill.ts'

export const wrongClientId: Drill = {
  name: 'wrong_client_id',
  needs: [],
  async run(stage) {
    const [attacker, victim] = await Promise.all([stage.enroll('mask'), stage.enroll('masked')])
    const own = { context: stage.contextOf(victim), clientId: victim.deviceId }
    await using link = await stage.connects('wrong_client_id.victim', own)
    const context = stage.contextOf(attacker)
    for (const clientId of [victim.deviceId, `${attacker.deviceId}x`, attacker.deviceId.toUpperCase()])
      await stage.refusesConnect('wrong_client_id.mqtt', 'client_id_mismatch', { context, clientId })
    // an answer to something sent after it: the takeover, had there been one, would have come first
    const granted = await link?.subscribe(`devices/${victim.deviceId}/#`)
    const evidence = `the other device's connection is ${link?.isOpen() ? 'open' : 'closed'}, SUBACK ${granted}`
    stage.expectations.check('wrong_client_id.undisturbed', granted === 1, evidence)
  },
}
