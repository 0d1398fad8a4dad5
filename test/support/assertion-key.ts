/** A registry in which the enroll desk has been: with the signing key that it makes at its start. */

import { DAY, type Clock } from '#fleet/clock.ts'
import { createAssertionKeys } from '#enroll/assertion-keys.ts'
import type { AssertionAlgorithm, Registry } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'

export const ensureAssertionKey = (o: {
  readonly registry: Registry
  readonly clock: Clock
  readonly sealingKey: Buffer
  readonly algorithm?: AssertionAlgorithm
}): Promise<void> =>
  createAssertionKeys({
    algorithm: 'ES256',
    ...o,
    life: 42 * DAY,
    overlap: 7 * DAY,
    log: createLog('enroll', 'silent'),
  }).keep()
