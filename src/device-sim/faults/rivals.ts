/** Lets a copy of a device loose, and tells what came of it. What a copy does stands in client/rival.ts; whether it was noticed is judged elsewhere. */

import { SECOND } from '#fleet/clock.ts'
import { rivalConnection, rivalRenewal } from '../client/rival.ts'
import { now } from '../clock.ts'
import type { VirtualDevice } from '../life/virtual-device.ts'

/** The original comes back after each; a door looks for two that take a connection from each other again and again. */
const CONNECTIONS = 3
/** ms that a copy stays, so that the original finds it there when it comes back */
const STAYS = 10 * SECOND

/** The first tells; the others are there to be noticed. */
const connections = async (device: VirtualDevice, url: string): Promise<void> => {
  const { keeper, network, plan, scope } = device
  const copy = keeper.enrolled()
  for (let time = 1; time <= CONNECTIONS && !device.stopping.aborted; time++) {
    const at = now()
    const outcome = await rivalConnection({
      copy,
      url,
      stays: STAYS,
      signal: device.stopping,
      meter: network.meter,
    })
    if (time === 1) scope.emit({ kind: 'cloned', device: plan.id, at, rival: 'connection', outcome })
  }
}

type Rival = 'renewal' | 'connection'

/** A device that is not on MQTT has no connection that a copy could be beside; without a desk nobody renews. */
export const canRival = ({ plan, scope: { targets } }: VirtualDevice, rival: Rival): boolean =>
  rival === 'connection' ? plan.door === 'mqtt' && targets.mqtts !== undefined : targets.enroll !== undefined

/** Only if it {@link canRival}. Never rejects. */
export const sendRival = async (device: VirtualDevice, rival: Rival): Promise<void> => {
  const { plan, scope, keeper, network } = device
  const { enroll = '', mqtts = '' } = scope.targets
  const at = now()
  if (rival === 'connection') return connections(device, mqtts)
  const copy = keeper.enrolled()
  const outcome = await rivalRenewal({
    copy,
    server: enroll,
    uses: true,
    signal: device.stopping,
    meter: network.meter,
  })
  scope.emit({ kind: 'cloned', device: plan.id, at, rival, outcome })
}
