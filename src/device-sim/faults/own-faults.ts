/**
 * The faults of a scenario's timeline that are the devices' own: what is done to a device when one begins and when it ends. Not the
 * operator's (OPERATOR_FAULTS): those are the coordinator's, and devices only hear of them.
 */

import type { Agenda } from '../life/agenda.ts'
import { chosen } from '../life/plan.ts'
import type { VirtualDevice } from '../life/virtual-device.ts'
import { createRandom } from '../random.ts'
import type { Fault, FaultKind, Scenario } from '../scenario/scenario.ts'
import { canRival, sendRival } from './rivals.ts'

type FaultOf<K extends FaultKind> = Extract<Fault, { readonly kind: K }>

/** This device cannot have that fault, or not now. */
const MISSED = Symbol('missed')

/** Called when it begins. @param label of this fault. @returns what ends it; must not throw */
type Begin<K extends FaultKind> = (
  device: VirtualDevice,
  fault: FaultOf<K>,
  seed: string,
  label: string,
) => (() => void) | typeof MISSED | undefined | void

const OWN: { readonly [K in FaultKind]?: Begin<K> } = {
  link: (device, { delay, jitter, loss, halfOpen, slowHandshake }, seed, label) => {
    // by number: what a device is called may differ between two runs of one seed
    const random = createRandom(seed, `${label} ${device.plan.number}`)
    const fault = { delay, jitter, loss, halfOpen, slowHandshake, random }
    return device.ail(fault)
  },
  offline: (device) => {
    device.leave()
    return () => device.comeBack()
  },
  reconnect: (device) => (device.isAway() ? MISSED : device.cut()),
  renew(device, { newKey }) {
    if (device.isAway() || !device.keeper.renews) return MISSED
    void device.keeper.renewNow(newKey)
    return undefined
  },
  clone(device, { rival }) {
    const { errands } = device.scope
    if (!canRival(device, rival)) return MISSED
    const errand = sendRival(device, rival).finally(() => errands.delete(errand))
    errands.add(errand)
    return undefined
  },
}

/** Of the others nothing is left a moment later: who comes then was not there. */
const LASTING: readonly FaultKind[] = ['link', 'offline']

/** The devices on whose link a fault will be at some time. */
export const withLinkFaults = (scenario: Scenario, seed: string): ReadonlySet<number> =>
  new Set(
    scenario.timeline.flatMap(({ kind }, index) =>
      kind === 'link' ? [...chosen(scenario, seed, index)] : [],
    ),
  )

export type PlannedFaults = {
  /** A device has come: what lasts is its, too. */
  came(device: VirtualDevice): void
}

/**
 * @param o.device by number; undefined: not of this part, or it has not come
 * @param o.onStruck called for each device that a fault befell
 */
export const planFaults = (o: {
  readonly scenario: Scenario
  readonly seed: string
  readonly startsAt: number
  readonly agenda: Agenda
  device(number: number): VirtualDevice | undefined
  /** @param index in the timeline */
  onStruck(index: number): void
}): PlannedFaults => {
  const { scenario, seed, startsAt, agenda } = o
  /** what lasts: begun, and not over */
  const lasting = new Set<(device: VirtualDevice) => void>()
  scenario.timeline.forEach((fault, index) => {
    const begin = OWN[fault.kind] as Begin<FaultKind> | undefined
    if (begin === undefined) return
    const hit = chosen(scenario, seed, index)
    const ends: (() => void)[] = []
    const strike = (device: VirtualDevice | undefined): void => {
      if (device === undefined || device.stopping.aborted) return
      const end = begin(device, fault, seed, `link ${index}`)
      if (end === MISSED) return
      o.onStruck(index)
      if (end !== undefined) ends.push(end)
    }
    const late = (device: VirtualDevice): void => {
      if (hit.has(device.plan.number)) strike(device)
    }
    agenda.add(startsAt + fault.at, () => {
      for (const number of hit) strike(o.device(number))
      if (LASTING.includes(fault.kind)) lasting.add(late)
    })
    if (fault.lasts !== undefined)
      agenda.add(startsAt + fault.at + fault.lasts, () => {
        lasting.delete(late)
        for (const end of ends) end()
      })
  })
  return {
    came(device) {
      for (const strike of lasting) strike(device)
    },
  }
}
