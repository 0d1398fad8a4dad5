/** What no schema says of a scenario: parts that are right by themselves and make no sense together. Also after options have overridden some. */

import { formatDuration } from '#fleet/duration.ts'
import type { Complain } from './complaint.ts'
import { LASTING_FAULTS, type Fault, type Scenario } from './scenario.ts'

const EFFECTS = 'at least one of: delay, loss, half_open, slow_handshake'

/** Of what it does, not of when: that is {@link checkConsistency}. */
const checkFault = (fault: Fault, path: string, complain: Complain): void => {
  const { kind, lasts, share } = fault
  if (lasts !== undefined && !LASTING_FAULTS.includes(kind))
    complain(`${path}.for`, formatDuration(lasts), `none: ${kind} is done once`)
  if (kind === 'rotate' && share !== 1)
    complain(`${path}.share`, String(share), 'none: rotate is of no devices in particular')
  if (kind !== 'link') return
  const { delay, jitter, loss, halfOpen, slowHandshake } = fault
  if (jitter > delay)
    complain(`${path}.link.jitter`, formatDuration(jitter), `at most the delay, ${formatDuration(delay)}`)
  const others = delay > 0 || loss > 0 || slowHandshake > 0
  if (!halfOpen && !others) complain(`${path}.link`, 'no effect', EFFECTS)
  if (halfOpen && others)
    complain(`${path}.link`, 'half_open and another effect', 'half_open alone: nothing passes')
}

/** @throws what `complain` throws */
export const checkConsistency = (it: Scenario, complain: Complain): void => {
  for (const name of ['doors', 'enroll', 'keys'] as const)
    if (Object.values(it[name]).every((weight) => weight === 0))
      complain(name, 'nothing but 0', `at least one above 0 of: ${Object.keys(it[name]).join(', ')}`)
  if (it.duration !== undefined && it.ramp > it.duration)
    complain('ramp', formatDuration(it.ramp), `at most the duration, ${formatDuration(it.duration)}`)
  if (!Number.isInteger(it.mqtt.keepalive))
    complain('mqtt.keepalive', formatDuration(it.mqtt.keepalive * 1_000), 'whole seconds')
  if (it.clocks.from > it.clocks.to)
    complain('clocks', 'from after to', 'from to be at most to, as in {share: 0.5, from: -2h, to: 2h}')

  for (const [index, fault] of it.timeline.entries()) {
    const path = `timeline[${index}]`
    checkFault(fault, path, complain)
    if (fault.kind === 'clone' && fault.rival === 'connection' && it.doors.mqtt === 0)
      complain(
        `${path}.clone.rival`,
        'connection',
        'renewal: no device comes by MQTT, where a copy could be beside it',
      )
    if (it.duration === undefined) continue
    const end = `the end of the run, ${formatDuration(it.duration)}`
    if (fault.at >= it.duration) complain(`${path}.at`, formatDuration(fault.at), `less than ${end}`)
    if (fault.at + (fault.lasts ?? 0) > it.duration)
      complain(
        `${path}.for`,
        `${formatDuration(fault.lasts ?? 0)} from ${formatDuration(fault.at)} on`,
        `at most ${end}; without it, it lasts until then`,
      )
  }
}
