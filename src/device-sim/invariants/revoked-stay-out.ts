/**
 * Who is revoked or suspended stays out: nothing that was begun later than T after the operator's answer gets in, and nothing is delivered then,
 * whenever it was published. Who is under way then may end. An MQTT connection has to be cut by then: what a device goes on to write at QoS 0,
 * which nobody acknowledges, shows one that was not.
 *
 * The worker hears of both after the fact, from the coordinator. So the last admissions of each device are kept, and judged again when
 * it is heard; and what got in under a suspension waits until the end of that is known, which may have come before it. Of that it counts when it
 * was answered: in an open loop a turn counts from when it was due, and may have waited for the end of the suspension. T before the end is not judged.
 */

import type { FleetEventOf } from '../events.ts'
import { isDenial } from '../words.ts'
import { createBreaches } from './finding.ts'
import { createPerDevice, type Judge } from './judge.ts'

/** admissions of a device that are kept */
const KEPT = 16
/** admissions under one suspension that wait for its end; more say no more */
const MOST_WAITING = 64

const WAYS_IN = [
  'an HTTPS request was answered',
  'an MQTT connection was accepted',
  'a PUBLISH was acknowledged',
  'a PUBLISH was delivered to it',
  'a certificate was renewed',
  'a copy of it got in',
  'a PUBLISH of QoS 0 went over a connection that was not cut',
  'a SUBSCRIBE was granted',
  'a certificate was issued',
  'an HTTPS request reached the origin, whatever that made of it,',
  'a PUBLISH of it was heard by somebody else',
] as const
type Way = (typeof WAYS_IN)[number]

type State = {
  /** ms since the epoch; Infinity: it is not */
  revoked: number
  suspended: number
  /** a ring of the last admissions: when they began and were answered, and which of WAYS_IN; NaN: none, or judged already */
  readonly at: Float64Array
  readonly answered: Float64Array
  readonly way: Uint8Array
  next: number
  waiting: { readonly at: number; readonly answered: number; readonly words: () => string }[]
}

/** `at`: when it began, or was due */
type Admission = { readonly at: number; readonly answered: number; readonly way: number }

/** @param within ms: T. @param qos of what is published */
export const revokedStayOut = (within: number, qos: 0 | 1 = 1): Judge => {
  const breaches = createBreaches()
  let checked = 0
  const devices = createPerDevice<State>(() => ({
    revoked: Infinity,
    suspended: Infinity,
    at: new Float64Array(KEPT).fill(NaN),
    answered: new Float64Array(KEPT),
    way: new Uint8Array(KEPT),
    next: 0,
    waiting: [],
  }))

  const words = (device: string, way: Way, after: number, what: string, more: string) => () =>
    `${device}: ${way} ${(after / 1_000).toFixed(3)} s after it was ${what}${more}`

  /** @returns whether it should not have been */
  const judged = (device: string, state: State, one: Admission, more = ''): boolean => {
    const { at, answered } = one
    const way = WAYS_IN[one.way] as Way
    if (at > state.revoked + within) {
      checked++
      breaches.add(words(device, way, at - state.revoked, 'revoked', more))
      return true
    }
    if (at > state.suspended + within) {
      const told = words(device, way, at - state.suspended, 'suspended', more)
      if (state.waiting.length < MOST_WAITING) state.waiting.push({ at, answered, words: told })
      return true
    }
    return false
  }
  const admitted = (device: string, at: number, way: number, millis = 0): void => {
    const state = devices.of(device)
    const answered = at + millis
    const denied = state.revoked !== Infinity || state.suspended !== Infinity
    if (denied && judged(device, state, { at, answered, way })) return
    state.at[state.next] = at
    state.answered[state.next] = answered
    state.way[state.next] = way
    state.next = (state.next + 1) % KEPT
  }
  /** What was let in before this was heard of, as far as it is kept: when all of it is a breach, there may have been more. */
  const again = (device: string, state: State): void => {
    const since = Math.min(state.revoked, state.suspended) + within
    const more = state.at.every((at) => at > since)
      ? `; this was heard of late, and of what got in meanwhile only the last ${KEPT} are known: there were at least as many`
      : ''
    for (let slot = 0; slot < KEPT; slot++) {
      const one = {
        at: Number(state.at[slot]),
        answered: Number(state.answered[slot]),
        way: Number(state.way[slot]),
      }
      if (judged(device, state, one, more)) state.at[slot] = NaN
    }
  }
  const refused = ({ device, at, door, reason }: FleetEventOf<'refused'>): void => {
    // an origin that wants a login says 401 to everybody: whoever hears it may have been let in
    if (door === 'https' && !isDenial(reason)) return
    const state = devices.known(device)
    if (state !== undefined && at > Math.min(state.revoked, state.suspended) + within) checked++
  }

  return {
    on: {
      admitted: ({ device, at, door, millis }) => admitted(device, at, door === 'https' ? 0 : 1, millis),
      published({ device, at, acknowledged, millis }) {
        if (acknowledged) admitted(device, at, 2, millis)
        // at QoS 0 it was written on a connection that was open
        else if (qos === 0) admitted(device, at, 6)
      },
      burst: ({ device, at }) => admitted(device, at, 6),
      heard: ({ device, at, millis }) => admitted(device, at, 10, millis),
      listening: ({ device, at }) => admitted(device, at, 7),
      delivered: ({ device, at }) => admitted(device, at, 3),
      enrolled({ device, at, via, millis }) {
        if (via !== 'state' && via !== 'given') admitted(device, at, 8, millis)
      },
      issued: ({ device, at }) => admitted(device, at, 8),
      renewed: ({ device, at, millis }) => admitted(device, at, 4, millis),
      cloned({ device, at, outcome }) {
        if (outcome === 'admitted' || outcome === 'renewed') admitted(device, at, 5)
      },
      refused,
      error({ device, at, letIn }) {
        if (letIn !== undefined) admitted(device, at, 9, letIn)
      },
      revoked({ device, at }) {
        const state = devices.of(device)
        state.revoked = Math.min(state.revoked, at)
        // by the one reason or the other they are out
        const waiting = state.waiting.filter((each) => each.at > at + within)
        for (const each of waiting) breaches.add(each.words)
        checked += waiting.length
        state.waiting = state.waiting.filter((each) => !waiting.includes(each))
        again(device, state)
      },
      suspended({ device, at }) {
        const state = devices.of(device)
        state.suspended = Math.min(state.suspended, at)
        again(device, state)
      },
      resumed({ device, at }) {
        const state = devices.of(device)
        const before = state.waiting.filter(({ answered }) => answered < at - within)
        for (const each of before) breaches.add(each.words)
        checked += before.length
        state.waiting = []
        state.suspended = Infinity
      },
    },
    finding() {
      const now = breaches.copy()
      let waiting = 0
      for (const [, state] of devices.entries())
        for (const each of state.waiting) {
          waiting++
          now.add(each.words)
        }
      return {
        name: 'revoked_stay_out',
        checked: checked + waiting,
        broken: now.broken,
        evidence: now.evidence,
      }
    },
  }
}
