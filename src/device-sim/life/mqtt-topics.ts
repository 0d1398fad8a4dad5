/** Which topics are a simulated device's own, and which it should be kept out of. Not what the gateway allows: that is tried. */

import type { DevicePlan } from './plan.ts'

export type Topics = {
  readonly publish: string
  /** it listens to this */
  readonly filter: string
  /** everybody's, and one of a device that there may be */
  readonly foreign: readonly string[]
  isOwn(topic: string): boolean
}

/** @param template with `{id}`; undefined: `devices/{id}/telemetry`, and it listens to all of `devices/{id}/` */
export const topicsOf = ({ id }: DevicePlan, template: string | undefined): Topics => {
  const prefix = `devices/${id}/`
  const publish = template?.replaceAll('{id}', id) ?? `${prefix}telemetry`
  return {
    publish,
    filter: template === undefined ? `${prefix}#` : publish,
    // its own name with something after it: a door that compares beginnings would let it in
    foreign: ['#', `devices/${id}0/#`],
    isOwn: (topic) => topic === publish || topic.startsWith(prefix),
  }
}
