/**
 * Somebody has copied a device's key and certificate, and renews after it: refused, and the operator is told. The device itself, asking
 * again for an answer that it lost, is no copy.
 */

import { rivalRenewal } from '../client/rival.ts'
import type { Drill } from './drill.ts'

export const clone: Drill = {
  name: 'clone',
  needs: ['operator'],
  async run(stage) {
    const { targets, signal, meter, expectations, operator } = stage
    const server = targets.enroll
    const original = await stage.enroll('copied')
    const copy = { ...original }
    const renewed = await stage.renew(original, { newKey: true })
    await stage.confirm(renewed)

    const again = await stage.renew(original, { keyPem: renewed.keyPem })
    const same = again.serial === renewed.serial
    expectations.check('clone.lost_answer', same, 'asked again with the same key, it got another certificate')
    const before = await operator?.device(original.deviceId)
    expectations.check(
      'clone.no_false_alarm',
      before?.clone_suspected_at === null,
      'it was suspected for that',
    )

    const outcome = await rivalRenewal({ server, copy, signal, meter })
    const refused = outcome === 'clone_suspected'
    expectations.check('clone.refused', refused, `expected clone_suspected, got ${outcome}`)
    const after = await operator?.device(original.deviceId)
    const told = typeof after?.clone_suspected_at === 'string'
    expectations.check('clone.told', told, 'the operator API shows no suspicion')
    // the group of the drills alerts, and does no more
    await stage.admits('clone.original', original.deviceId, { context: stage.contextOf(renewed) })
  },
}
