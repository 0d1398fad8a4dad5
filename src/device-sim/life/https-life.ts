/** How a simulated device lives over HTTPS: one request, one handshake, a wait, again. */

import { httpsOnce } from '../client/https-once.ts'
import { isDenial, type VirtualDevice } from './virtual-device.ts'

/** Ends with the run's signal, or after its turns. */
export const httpsLife = async (device: VirtualDevice): Promise<void> => {
  const { plan, scope } = device
  const { signal, meter, rounds, emit } = scope
  for (let turn = 1; turn <= rounds && !signal.aborted; turn++) {
    if (turn > 1) await device.wait()
    if (signal.aborted) return
    await device.renewIfDue()
    const target = `/telemetry/${plan.id}/${turn}`
    try {
      const answer = await httpsOnce({
        url: new URL(target, scope.targets.https).href,
        context: device.context(),
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ device: plan.id, turn }),
        signal,
        meter,
      })
      const { status, reason = `http_${status}` } = answer
      // an origin that is down has nothing to do with the certificate
      if (status < 400 || isDenial(reason)) await device.tried(status < 400)
      if (status < 400) {
        emit({ kind: 'admitted', device: plan.id, door: 'https', target, millis: answer.millis })
      } else if (isDenial(reason)) emit({ kind: 'refused', device: plan.id, door: 'https', reason })
      else emit({ kind: 'error', device: plan.id, door: 'https', detail: reason })
    } catch (error) {
      device.report('https', error)
    }
  }
}
