/** Whether a session ends with the client that held it. */

import { expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { SECOND } from '#fleet/clock.ts'
import { createEndsSession } from '#gateway/mqtt/session-ends.ts'
import type { Cut } from '#registry/registry.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'

const SINCE = 1_000 * SECOND
const cut = (at: number, isCut: boolean): Cut => ({
  deviceId: 'lamp-1' as DeviceId,
  at,
  isCut,
  seenAt: at + 1,
})

type Row = readonly [MqttReason, device: Cut | 'never cut' | 'unknown' | 'foreign', ends: boolean]
test.each<Row>([
  ['device_suspended', 'never cut', true],
  ['device_retired', 'never cut', true],
  // superseded, or withdrawn, or one certificate alone
  ['certificate_revoked', 'never cut', false],
  ['certificate_revoked', cut(SINCE + 1, true), true],
  // and enrolled anew
  ['certificate_revoked', cut(SINCE + 1, false), true],
  ['certificate_revoked', cut(SINCE - SECOND, false), true],
  // before it was let in
  ['certificate_revoked', cut(SINCE - 60 * SECOND, false), false],
  // by a clock that was behind
  ['certificate_revoked', cut(SINCE - 60 * SECOND, true), true],
  ['certificate_revoked', 'unknown', true],
  ['certificate_revoked', 'foreign', true],
  // it has a certificate of another one by now
  ['issuer_revoked', 'never cut', false],
  ['issuer_revoked', cut(SINCE + 1, true), true],
  ['issuer_revoked', 'foreign', true],
  ['certificate_expired', cut(SINCE + 1, true), false],
  ['policy_denied', cut(SINCE + 1, true), false],
  ['registry_unavailable', 'unknown', false],
  ['session_expired', 'foreign', false],
])('%s, %j: %s', (reason, device, ends) => {
  const endsSession = createEndsSession({
    wasCut: () => {
      if (device === 'unknown') throw new Error('registry_unavailable')
      return typeof device === 'string' ? undefined : device
    },
  })
  const deviceId = device === 'foreign' ? undefined : 'lamp-1'
  expect(endsSession(reason, { deviceId, since: SINCE })).toBe(ends)
})
