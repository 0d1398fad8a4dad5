/**
 * The faults of a scenario's timeline that are the devices' own: what is done to a device when one begins and when it ends. Not the
 * operator's (OPERATOR_FAULTS): those are the coordinator's, and devices only hear of them.
 */

import type { Agenda } from '../life/agenda.ts'
import { chosen } from '../life/plan.ts'
import type { VirtualDevice } from '../life/virtual-device.ts'
import { createRandom } from '../random.ts'
import type { Fault, FaultKind, Scenario } from '../scenario/scenario.ts'
import { sendRival } from './rivals.ts'

type FaultOf<K extends FaultKind> = Extract<Fault, { readonly kind: K }>

/** Called when it begins. @returns what ends it; must not throw */
type Begin<K extends FaultKind> = (device: VirtualDevice, fault: FaultOf<K>) => (() => void) | void

const OWN: { readonly [K in FaultKind]?: Begin<K> } = {
  link: (device, { delay, jitter, loss, halfOpen, slowHandshake }) => {
    const random = createRandom(device.plan.id, 'link')
    const fault = { delay, jitter, loss, halfOpen, slowHandshake, random }
    return device.ail(fault)
  },
  offline: (device) => {
    device.leave()
    return () => device.comeBack()
  },
  reconnect: (device) => device.cut(),
  renew(device, { newKey }) {
    if (!device.isAway()) void device.keeper.renewNow(newKey)
  },
  clone(device, { rival }) {
    const { errands } = device.scope
    const errand = sendRival(device, rival).finally(() => errands.delete(errand))
    errands.add(errand)
  },
}

/** The devices on whose link a fault will be at some time. */
export const withLinkFaults = (scenario: Scenario, seed: string): ReadonlySet<number> =>
  new Set(
    scenario.timeline.flatMap(({ kind }, index) =>
      kind === 'link' ? [...chosen(scenario, seed, index)] : [],
    ),
  )

/** @param o.device by number; undefined: not of this part, or it never came */
export const planFaults = (o: {
  readonly scenario: Scenario
  readonly seed: string
  readonly startsAt: number
  readonly agenda: Agenda
  device(number: number): VirtualDevice | undefined
}): void => {
  const { scenario, seed, startsAt, agenda } = o
  scenario.timeline.forEach((fault, index) => {
    const begin = OWN[fault.kind] as Begin<FaultKind> | undefined
    if (begin === undefined) return
    const hit = chosen(scenario, seed, index)
    const ends: (() => void)[] = []
    agenda.add(startsAt + fault.at, () => {
      for (const number of hit) {
        const device = o.device(number)
        const end = device === undefined || device.stopping.aborted ? undefined : begin(device, fault)
        if (end !== undefined) ends.push(end)
      }
    })
    if (fault.lasts !== undefined)
      agenda.add(startsAt + fault.at + fault.lasts, () => {
        for (const end of ends) end()
      })
  })
}
