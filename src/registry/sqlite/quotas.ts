/**
 * What a reservation may be one too many of: certificates of an hour, devices of a group, renewals of a device, certificates of a bootstrap
 * certificate. Only what has a limit is counted. Checks write nothing; what they let through is counted afterwards, in the same transaction.
 */

import { DAY, HOUR, SECOND } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Limits } from '../registry.ts'
import type { GroupSizes } from './group-sizes.ts'
import type { Handle } from './handle.ts'
import { refuse } from './refusals.ts'

/** @returns whole seconds, at least one */
const secondsUntil = (then: number, now: number): number => Math.max(1, Math.ceil((then - now) / SECOND))

export type Quotas = {
  checkHour(perHour: Limits['perHour'], now: number): void
  countHour(perHour: Limits['perHour'], now: number): void
  checkDevices(group: string, most: number): void
  /**
   * A device may have so many certificates that succeed another, or were given anew for a use of before that had cost it already, made within
   * 24 hours. What was begun and given up is none.
   */
  checkRenewals(id: DeviceId, most: number, now: number): void
  checkBootstrap(credential: string, uses: number): void
  countBootstrap(credential: string): void
}

export const createQuotas = (database: Handle, sizes: GroupSizes): Quotas => {
  const inHour = database
    .prepare<[string, number], number>('select count from issuance_counts where scope = ? and hour = ?')
    .pluck()
  const oneMore = database
    .prepare<[string, number], number>(
      `insert into issuance_counts (scope, hour, count) values (?, ?, 1)
       on conflict (scope, hour) do update set count = count + 1 returning count`,
    )
    .pluck()
  const forgetHours = database.prepare('delete from issuance_counts where scope = ? and hour < ?')
  // given anew by a token after the end of what it gave last: that was paid for
  const renewedAt = database
    .prepare<[string, number], number>(
      `select c.reserved_at from certificates c where c.device_id = +? and (c.fingerprint is not null or c.state = 'intended')
         and (c.predecessor is not null or (
           select c.credential_kind <> 'token' or before.not_after > c.reserved_at from certificates before
           where before.spki_sha256 = c.spki_sha256 and before.credential = c.credential
             and before.credential_kind = c.credential_kind and before.number < c.number and before.fingerprint is not null
           order by before.number desc limit 1))
       order by c.number desc limit 1 offset ?`,
    )
    .pluck()
  const bootstrapUses = database
    .prepare<[string], number>('select used from bootstrap_uses where credential = ?')
    .pluck()
  const countBootstrap = database.prepare(
    `insert into bootstrap_uses (credential, used) values (?, 1)
     on conflict (credential) do update set used = used + 1`,
  )
  const hourOf = (now: number): number => Math.floor(now / HOUR)

  return {
    checkHour: (perHour, now) => {
      for (const { scope, most } of perHour) {
        if ((inHour.get(scope, hourOf(now)) ?? 0) < most) continue
        const wait = secondsUntil((hourOf(now) + 1) * HOUR, now)
        refuse(
          'quota_exceeded',
          `no more than ${most} certificates in an hour (${scope.split(':', 1)[0]})`,
          wait,
        )
      }
    },
    countHour: (perHour, now) => {
      for (const { scope } of perHour)
        // the first of an hour takes the hours before it away
        if (oneMore.get(scope, hourOf(now)) === 1) forgetHours.run(scope, hourOf(now))
    },
    checkDevices: (group, most) => {
      if (sizes.size(group) >= most)
        refuse('quota_exceeded', `the group has ${most} devices and may have no more`)
    },
    checkRenewals: (id, most, now) => {
      if (most < 1) refuse('quota_exceeded', 'the group renews nothing')
      const earliest = renewedAt.get(id, most - 1)
      if (earliest === undefined || earliest <= now - DAY) return
      refuse(
        'quota_exceeded',
        `the device has been renewed ${most} times in 24 hours`,
        secondsUntil(earliest + DAY, now),
      )
    },
    checkBootstrap: (credential, uses) => {
      if ((bootstrapUses.get(credential) ?? 0) >= uses)
        refuse(
          'quota_exceeded',
          `the bootstrap certificate has yielded ${uses} certificates and may yield no more`,
        )
    },
    countBootstrap: (credential) => {
      countBootstrap.run(credential)
    },
  }
}
