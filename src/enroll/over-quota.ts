/**
 * A quota that is used up is told: a claim certificate that has leaked stops there, and somebody must come to know. Once an hour for each
 * bootstrap certificate that time does not help (it is spent, or its group is full of devices) and for each other quota, since who was
 * refused will ask again and again. Not the quotas: the registry counts.
 */

import { HOUR, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Reservation } from '#registry/registry.ts'
import type { Alert } from './alerts.ts'

/** Who makes up more credentials than this in an hour is told of once more for some. */
const MOST_REMEMBERED = 10_000

export interface OverQuota {
  /** Does `work`; when a quota refuses it, that is told, and thrown on. @param by how people know the credential: the actor */
  watch<T>(by: Pick<Reservation, 'credential' | 'actor' | 'group'>, work: () => Promise<T>): Promise<T>
}

export const createOverQuota = ({
  alert,
  clock,
}: {
  readonly alert: Alert
  readonly clock: Clock
}): OverQuota => {
  let hour = 0
  let told = new Set<string>()
  const isNew = (name: string): boolean => {
    const now = Math.floor(clock() / HOUR)
    if (now !== hour || told.size >= MOST_REMEMBERED) told = new Set()
    hour = now
    if (told.has(name)) return false
    told.add(name)
    return true
  }
  return {
    async watch({ credential, actor, group }, work) {
      try {
        return await work()
      } catch (error) {
        if (!(error instanceof FleetError) || error.code !== 'quota_exceeded') throw error
        // a full hour is one thing, however many come; what a credential itself has used up is used up for good, and time does not help
        const isOwn = credential.kind === 'bootstrap' && error.retryAfter === undefined
        const quota = isOwn ? credential.id : `${group}: ${error.detail}`
        if (isNew(quota))
          alert(
            'quota_exceeded',
            { actor, credential: credential.kind, group },
            `certificates are refused: ${error.detail}`,
          )
        throw error
      }
    },
  }
}
