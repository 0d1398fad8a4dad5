/**
 * What was acknowledged at QoS 1 comes to the device that listens, as long as its session was there for it.
 *
 * A message counts as lost if it had nearly the whole drain on one open connection and had not come when that ended, or when its session did: a loss
 * stays one, whatever becomes of the device. A session that was to be kept, and is not there on the next connection, has lost all that was
 * outstanding. Not held against anybody: what was acknowledged while it did not listen; what had no such time, and then went down with a clean
 * session, or with that of a revoked, suspended or copied device.
 */

import type { FleetEvent } from '../events.ts'
import { createBreaches } from './finding.ts'
import { createPerDevice, type Judge } from './judge.ts'
import {
  acknowledged,
  createOutstanding,
  delivered,
  forget,
  overdue,
  type Outstanding,
} from './outstanding.ts'

/** All times in ms since the epoch. */
type State = {
  readonly topics: Map<string, Outstanding>
  /** its session listens since then; Infinity: it does not */
  since: number
  denied: boolean
  revoked: boolean
  /** others come in under its ClientID, and end its sessions */
  copied: boolean
  connected: boolean
  /** since when it listens on this connection */
  up: number
  /** the last acknowledgement or delivery */
  alive: number
  /** what was acknowledged until then has had its time */
  due: number
  /** lost with a session that was not kept, and when that was seen */
  forgotten: number
  forgottenAt: number
  /** lost for good, though its session may be gone now; on which topic the first, and its number */
  lost: number
  lostFirst: { readonly topic: string; readonly seq: number | undefined } | undefined
}

const whichOf = (seq: number | undefined): string =>
  seq === undefined ? '' : `, the first of them number ${seq}`

/** The least that a delivery is given, ms, however short the drain. */
const LEAST = 1_000

export type DeliveryRules = {
  /** ms */
  readonly drain: number
  /** of MQTT sessions */
  readonly clean: boolean
  /** connections of this run may be dead without an end: then nothing is proved by one being open */
  readonly deadLinks: boolean
}

export const acknowledgedIsDelivered = ({ drain, clean, deadLinks }: DeliveryRules): Judge => {
  // nearly: a goodbye waits for the drain from when the run is told to stop, on a timer
  const time = Math.max(LEAST, drain * 0.9)
  let checked = 0
  const devices = createPerDevice<State>(() => ({
    topics: new Map(),
    since: Infinity,
    denied: false,
    revoked: false,
    copied: false,
    connected: false,
    up: 0,
    alive: 0,
    due: -Infinity,
    forgotten: 0,
    forgottenAt: -Infinity,
    lost: 0,
    lostFirst: undefined,
  }))

  const topicOf = (state: State, name: string): Outstanding => {
    let topic = state.topics.get(name)
    if (topic === undefined) state.topics.set(name, (topic = createOutstanding()))
    return topic
  }
  /** @param due what was acknowledged until then has been lost before. @returns how many others were outstanding */
  const forgetAll = (state: State, due: number): number => {
    let others = 0
    for (const [name, topic] of state.topics) {
      const { count, first } = overdue(topic, due)
      if (count > 0) state.lostFirst ??= { topic: name, seq: first }
      state.lost += count
      others += forget(topic) - count
    }
    return others
  }
  /** Until when what was acknowledged has had its time, when this connection ends at `end`. */
  const dueAt = (state: State, end: number): number => {
    const to = deadLinks ? Math.min(end, state.alive) : end
    return state.connected && to - state.up >= time ? Math.max(state.due, to - time) : state.due
  }
  const ends = (state: State, at: number): void => {
    state.due = dueAt(state, at)
    state.connected = false
    if (clean) state.since = Infinity
  }
  const ended = ({ device, at }: FleetEvent): void => {
    const state = devices.known(device)
    if (state !== undefined) ends(state, at)
  }
  /** Its session is gone, and that was meant. Heard of later than it was: what it lost since is as good as meant. */
  const discard = ({ device, at }: FleetEvent): State => {
    const state = devices.of(device)
    forgetAll(state, Math.min(dueAt(state, at), at - time))
    if (state.forgottenAt >= at) state.forgotten = 0
    if (state.since < at) state.since = Infinity
    return state
  }

  return {
    on: {
      listening({ device, at, present }) {
        const state = devices.of(device)
        const kept = !clean && state.since !== Infinity
        if (kept && !present && !state.denied && !state.copied) {
          state.forgotten += forgetAll(state, state.due)
          state.forgottenAt = at
        }
        if (!kept || !present) {
          forgetAll(state, state.due)
          state.since = at
        }
        state.connected = true
        state.up = at
      },
      published({ device, at, millis, topic, seq, acknowledged: is }) {
        const state = devices.known(device)
        // it is sent once the session listens, however long it was due
        if (!is || state === undefined || state.denied || at + millis < state.since) return
        const came = acknowledged(topicOf(state, topic), seq, at + millis)
        if (came === true) checked++
        state.alive = Math.max(state.alive, at + millis)
      },
      delivered({ device, at, topic, seq }) {
        const state = devices.known(device)
        if (state === undefined) return
        if (delivered(topicOf(state, topic), seq)) checked++
        state.alive = Math.max(state.alive, at)
      },
      cut: ended,
      left: ended,
      revoked(event) {
        const state = discard(event)
        state.denied = true
        state.revoked = true
      },
      suspended(event) {
        discard(event).denied = true
      },
      resumed({ device }) {
        const state = devices.of(device)
        state.denied = state.revoked
      },
      cloned(event) {
        if (event.outcome === 'admitted') discard(event).copied = true
      },
    },
    finding(at) {
      const breaches = createBreaches()
      let lost = 0
      for (const [device, state] of devices.entries()) {
        if (state.forgotten > 0) {
          lost += state.forgotten
          breaches.add(
            () => `${device}: ${state.forgotten} acknowledged and not delivered: its session was not kept`,
            state.forgotten,
          )
        }
        if (state.lost > 0) {
          lost += state.lost
          const { topic, seq } = state.lostFirst ?? {}
          breaches.add(
            () =>
              `${device}: ${state.lost} acknowledged and not delivered on ${topic}${whichOf(seq)}, before its session ended`,
            state.lost,
          )
        }
        const until = dueAt(state, at)
        for (const [topic, outstanding] of state.topics) {
          const { count, first } = overdue(outstanding, until)
          if (count === 0) continue
          lost += count
          breaches.add(
            () => `${device}: ${count} acknowledged and not delivered on ${topic}${whichOf(first)}`,
            count,
          )
        }
      }
      return {
        name: 'acknowledged_is_delivered',
        checked: checked + lost,
        broken: breaches.broken,
        evidence: breaches.evidence,
      }
    },
  }
}
