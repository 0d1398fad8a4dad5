/**
 * Which refusals a scenario is bound to meet: a revoked device is refused, and that is no failure. What `refused.unexpected` does not count.
 * By kind of fault, not by device: that no other device meets them is for the invariants to say. Not the drills' refusals: those are not the fleet's.
 */

import { parseDuration } from '#fleet/duration.ts'
import type { ErrorCode } from '#fleet/errors.ts'
import { MQTT_CODES, type MqttReason } from '#wire/mqtt-codes.ts'
import type { Door } from '../events.ts'
import type { Fault, FaultKind, Scenario } from './scenario.ts'

type Refusals = {
  /** at the doors, over HTTPS by its word, over MQTT by its code */
  readonly doors: readonly MqttReason[]
  readonly enroll: readonly ErrorCode[]
}

const NONE: Refusals = { doors: [], enroll: [] }

/** docs/scenarios.md is held against it. */
export const EXPECTED_REFUSALS: Readonly<Record<FaultKind, Refusals>> = {
  link: NONE,
  // away until its certificate had ended: it may knock before it renews
  offline: { doors: ['certificate_expired'], enroll: [] },
  reconnect: NONE,
  renew: NONE,
  // the one that comes second is refused, copy or original; the group may suspend both
  clone: {
    doors: ['certificate_revoked', 'device_suspended'],
    enroll: ['clone_suspected', 'certificate_pending', 'certificate_revoked', 'device_suspended'],
  },
  revoke: { doors: ['certificate_revoked'], enroll: ['certificate_revoked', 'device_revoked'] },
  suspend: { doors: ['device_suspended'], enroll: ['device_suspended'] },
  // of a CA that is retired by force
  rotate: { doors: ['issuer_revoked'], enroll: ['issuer_revoked', 'certificate_revoked'] },
}

/** Some faults refuse only under a condition. */
const applies = (fault: Fault, { certificateTtl, duration }: Scenario): boolean => {
  if (fault.kind === 'rotate') return fault.step === 'retire' && fault.force
  if (fault.kind !== 'offline') return true
  const away = fault.lasts ?? (duration ?? Infinity) - fault.at
  // the last to renew do so when a sixth of its life is left
  return certificateTtl !== undefined && away >= (parseDuration(certificateTtl) ?? Infinity) / 6
}

const wordsOf = ({ doors, enroll }: Refusals, { mqtt }: Scenario): readonly string[] => [
  ...doors.flatMap((reason) => {
    const { connack3, connack5, puback5, suback5 } = MQTT_CODES[reason]
    const codes =
      mqtt.version === 4
        ? [`connack_${connack3}`]
        : [`connack_${connack5}`, `puback_${puback5}`, `suback_${suback5}`]
    return [`https ${reason}`, ...codes.map((code) => `mqtt ${code}`)]
  }),
  ...enroll.map((reason) => `${'enroll' satisfies Door} ${reason}`),
]

/** @returns `<door> <reason>` */
export const expectedRefusals = (scenario: Scenario): ReadonlySet<string> =>
  new Set(
    scenario.timeline
      .filter((fault) => applies(fault, scenario))
      .flatMap((fault) => wordsOf(EXPECTED_REFUSALS[fault.kind], scenario)),
  )
