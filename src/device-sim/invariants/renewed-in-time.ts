/**
 * No certificate runs out under a device that could have renewed it. One that is away, revoked or suspended cannot; back again it has the drain's
 * time. A clock that is wrong is no excuse: what counts is the machine's.
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
}

/** @param drain ms that a renewal may take, or to renew in once a device is back */
export const renewedInTime = (drain: number): Judge => {
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
  }))

  const isFree = ({ away, revoked, suspended }: State): boolean => !away && !revoked && !suspended
  const words =
    (device: string, { notAfter, refusal }: State, what: string) =>
    () =>
      `${device}: ${what} its certificate had expired at ${new Date(notAfter).toISOString()}` +
      (refusal === undefined ? '' : `; the desk had said ${quoted(refusal)}`)

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
