/** Which topics are a simulated device's own, and which it should be kept out of. Not what the gateway allows: that is tried. */

import { FleetError } from '#fleet/errors.ts'
import type { DevicePlan } from './plan.ts'

export type Topics = {
  readonly publish: string
  /** it listens to this */
  readonly filter: string
  /** everybody's, and one of a device that there may be */
  readonly foreign: readonly string[]
  isOwn(topic: string): boolean
}

/** octets (MQTT 3.1.1 and 5, 1.5.4) */
const LONGEST = 65_535

/** @throws `config_invalid`: nothing that could be published to (MQTT 4.7) */
const checked = (topic: string): string => {
  const octets = Buffer.byteLength(topic)
  if (octets > 0 && octets <= LONGEST && !/[+#\0]/.test(topic)) return topic
  throw new FleetError(
    'config_invalid',
    `a topic of ${octets} octets: expected 1 to ${LONGEST}, and none of + # and NUL`,
  )
}

/**
 * @param template with `{id}`; undefined: `devices/{id}/telemetry`, and it listens to all of `devices/{id}/`
 * @throws `config_invalid`
 */
export const topicsOf = ({ id }: Pick<DevicePlan, 'id'>, template: string | undefined): Topics => {
  const prefix = `devices/${id}/`
  const publish = checked(template?.replaceAll('{id}', id) ?? `${prefix}telemetry`)
  return {
    publish,
    filter: template === undefined ? `${prefix}#` : publish,
    // its own name with something after it: a door that compares beginnings would let it in
    foreign: ['#', `devices/${id}0/#`],
    isOwn: (topic) => topic === publish || topic.startsWith(prefix),
  }
}
