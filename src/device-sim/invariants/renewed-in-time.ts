/**
 * No certificate runs out under a device that could have renewed it. One that is away, revoked or suspended cannot, nor one that waits for the rest of
 * the fleet to enrol, nor the original of a copy that the desk has noticed; free again it has the drain's time. Asked in time is in time, if the
 * answer comes within the drain: so who has not asked is known only when that has passed after the end of its certificate.
 *
 * A clock that is wrong is no excuse, for what counts is the machine's; but it is the device's own doing, and the evidence says so.
 */

import type { FleetEvent } from '../events.ts'
import { createBreaches, quoted } from './finding.ts'
import { createPerDevice, type Judge } from './judge.ts'

/** All in ms since the epoch. */
type State = {
  notAfter: number
  away: boolean
  revoked: boolean
  suspended: boolean
  /** since when it has been neither; -Infinity: always */
  free: number
  /** this certificate has been judged */
  told: boolean
  /** what the desk said when it last said no */
  refusal: string | undefined
  /** key and certificate are somebody else's too */
  copied: boolean
}

/** Of a device: ms after the start from which it lives, ms by which its clock is wrong. */
export type Planned = (device: string) => { readonly start: number; readonly clockOffset: number } | undefined

/** What a copied device may be told by a desk that does what it should. */
const OF_A_COPY: readonly string[] = ['certificate_pending', 'certificate_revoked', 'device_suspended']

/** @param drain ms that a renewal may take, or to renew in once a device is free */
export const renewedInTime = (drain: number, planned: Planned = () => undefined): Judge => {
  const breaches = createBreaches()
  let checked = 0
  const devices = createPerDevice<State>(() => ({
    notAfter: Infinity,
    away: false,
    revoked: false,
    suspended: false,
    free: -Infinity,
    told: false,
    refusal: undefined,
    copied: false,
  }))

  /** It is told so: the one that comes second, and that may be the original. */
  const isRival = ({ refusal, copied }: State): boolean =>
    refusal === 'clone_suspected' || (copied && refusal !== undefined && OF_A_COPY.includes(refusal))
  const isFree = (state: State): boolean =>
    !state.away && !state.revoked && !state.suspended && !isRival(state)
  const ownClock = (device: string): string => {
    const offset = planned(device)?.clockOffset ?? 0
    if (offset === 0) return ''
    return `; its own clock is ${Math.abs(offset / 1_000)} s ${offset < 0 ? 'slow' : 'fast'}: that is the device's failure, not the server's`
  }
  const words =
    (device: string, { notAfter, refusal }: State, what: string) =>
    () =>
      `${device}: ${what} its certificate had expired at ${new Date(notAfter).toISOString()}` +
      (refusal === undefined ? '' : `; the desk had said ${quoted(refusal)}`) +
      ownClock(device)

  /** It should have had another by `at`. */
  const isOverdue = (state: State, at: number): boolean =>
    !state.told && isFree(state) && at > Math.max(state.notAfter, state.free) + drain
  const settle = (device: string, state: State, at: number): void => {
    if (!isOverdue(state, at)) return
    state.told = true
    checked++
    breaches.add(words(device, state, 'not renewed, and'))
  }
  const constrain =
    (change: Partial<State>) =>
    ({ device, at }: FleetEvent): void => {
      const state = devices.known(device)
      if (state === undefined) return
      settle(device, state, at)
      const before = isFree(state)
      Object.assign(state, change)
      if (!before && isFree(state)) state.free = at
    }

  return {
    started(at) {
      for (const [device, state] of devices.entries())
        state.free = Math.max(state.free, at + (planned(device)?.start ?? 0))
    },
    on: {
      enrolled({ device, at, millis, via, notAfter }) {
        // nobody renews those that were given; one that was kept may have expired since
        if (via !== 'given') Object.assign(devices.of(device), { notAfter, free: at + millis, told: false })
      },
      renewed({ device, at, millis, notAfter, before }) {
        const state = devices.of(device)
        state.notAfter = before
        const askedLate = at > before && at > state.free + drain
        if (!state.told) {
          checked++
          if (isFree(state) && (askedLate || isOverdue(state, at + millis)))
            breaches.add(words(device, state, 'renewed, but only when'))
        }
        Object.assign(state, { notAfter, told: false, refusal: undefined })
      },
      refused({ device, door, reason }) {
        if (door !== 'enroll') return
        const state = devices.known(device)
        if (state !== undefined) state.refusal = reason
      },
      cloned({ device, outcome }) {
        const state = devices.known(device)
        if (state !== undefined && (outcome === 'admitted' || outcome === 'renewed')) state.copied = true
      },
      away: constrain({ away: true }),
      back: constrain({ away: false }),
      revoked: constrain({ revoked: true }),
      suspended: constrain({ suspended: true }),
      resumed: constrain({ suspended: false }),
    },
    finding(at) {
      const now = breaches.copy()
      let overdue = 0
      for (const [device, state] of devices.entries())
        if (isOverdue(state, at)) {
          overdue++
          now.add(words(device, state, 'not renewed, and'))
        }
      return {
        name: 'renewed_in_time',
        checked: checked + overdue,
        broken: now.broken,
        evidence: now.evidence,
      }
    },
  }
}
