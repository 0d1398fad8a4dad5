/** A device renews, with its key and with a new one: each successor gets in, and so does its predecessor until it expires. */

import { renewDevice } from '../enroll-device.ts'
import type { Drill } from './drill.ts'

export const renewal: Drill = {
  name: 'renewal',
  needs: [],
  async run(stage) {
    const { targets, signal, meter } = stage
    let current = await stage.enroll('renewer')
    const first = current
    for (const newKey of [false, true]) {
      current = await renewDevice({ server: targets.enroll, enrolled: current, newKey, signal, meter })
      await stage.admits('renewal.successor', current.deviceId, { context: stage.contextOf(current) })
    }
    await stage.admits('renewal.predecessor', first.deviceId, { context: stage.contextOf(first) })
  },
}
