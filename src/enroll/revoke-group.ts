/**
 * USE CASE: an administrator revokes a whole group. Part by part, each a transaction of some milliseconds with a turn of the event loop
 * behind it, so that the desk goes on answering; and no longer than a few seconds for one request, which then says where to go on.
 */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Actor } from '#fleet/credentials.ts'
import { SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { GivenRevocationReason } from '#fleet/revocation-reason.ts'
import type { Registry } from '#registry/registry.ts'

/** Devices in one transaction, about 2 ms. */
const PART = 25
/** For one request. A client waits for 30 s. */
const WITHIN = 5 * SECOND

/**
 * Devices that enrol meanwhile may slip through: disable the group first. Repeating it is safe.
 * @param ask.after where an earlier call stopped
 * @param ask.within ms; for tests
 * @returns how many devices this call revoked, and where to go on; undefined: there are no more
 * @throws FleetError `not_found`, `registry_unavailable`: what was revoked until then stays so
 */
export const revokeGroup = async (
  { registry, clock }: { readonly registry: Registry; readonly clock: Clock },
  ask: {
    readonly group: string
    readonly reason: GivenRevocationReason
    readonly after?: string | undefined
    readonly within?: number
  },
  actor: Actor,
): Promise<{ readonly revoked: number; readonly next: string | undefined }> => {
  const stopAt = performance.now() + (ask.within ?? WITHIN)
  const { group, reason } = ask
  let { after } = ask
  let revoked = 0
  for (;;) {
    const part = await registry.revokeGroupPart({ group, after, limit: PART, reason, now: clock(), actor })
    revoked += part.revoked
    after = part.next
    if (after === undefined || performance.now() >= stopAt) break
    await nextTurn()
  }
  // of a group that was deleted, devices may be left: theirs is an answer too
  if (revoked === 0 && ask.after === undefined && !registry.groups().has(group))
    throw new FleetError('not_found', 'no such group')
  return { revoked, next: after }
}
