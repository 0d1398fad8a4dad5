/** USE CASE: certificates that were handed out in a renewal and never used are withdrawn; the ones before them stay. Nobody asks for it. */

import type { Clock } from '#fleet/clock.ts'
import type { Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'

/** In one transaction: enrolments wait meanwhile. */
const BATCH = 200

/** @returns how many */
export const withdrawUnconfirmed = async (
  { registry, clock, log }: { readonly registry: Registry; readonly clock: Clock; readonly log: Log },
  signal?: AbortSignal,
): Promise<number> => {
  let withdrawn = 0
  while (!(signal?.aborted ?? false)) {
    const part = await registry.withdrawUnconfirmed(clock(), BATCH)
    withdrawn += part
    if (part < BATCH) break
  }
  if (withdrawn > 0) log.info({ withdrawn }, 'renewed certificates that nobody used are withdrawn')
  return withdrawn
}
