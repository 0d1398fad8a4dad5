/**
 * What was acknowledged at QoS 1 comes to the device that listens, as long as its session was there for it.
 *
 * Not held against anybody: what was acknowledged while it did not listen; in a clean session, what had not come when the connection ended in the
 * middle of the run; whatever a revoked, suspended or copied device had coming, for its session is gone; what had no time to come: a message
 * counts as lost only if it had nearly the whole drain on one open connection. A session that was to be kept, and is not there on the next
 * connection, has lost what was outstanding.
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
  /** the server has ended the last connection */
  cut: boolean
  /** the last acknowledgement or delivery */
  alive: number
  /** what was acknowledged until then has had its time */
  due: number
  /** lost with a session that was not kept, and when that was seen */
  forgotten: number
  forgottenAt: number
}

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
    cut: false,
    alive: 0,
    due: -Infinity,
    forgotten: 0,
    forgottenAt: -Infinity,
  }))

  const topicOf = (state: State, name: string): Outstanding => {
    let topic = state.topics.get(name)
    if (topic === undefined) state.topics.set(name, (topic = createOutstanding()))
    return topic
  }
  const forgetAll = (state: State): number => {
    let count = 0
    for (const topic of state.topics.values()) count += forget(topic)
    return count
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
  /** Its session is gone, and that was meant. Heard of later than it was: what it lost since is as good as meant. */
  const discard = ({ device, at }: FleetEvent): State => {
    const state = devices.of(device)
    forgetAll(state)
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
          state.forgotten += forgetAll(state)
          state.forgottenAt = at
        }
        if (!kept || !present) forgetAll(state)
        if (!kept || !present) state.since = at
        state.connected = true
        state.cut = false
        state.up = at
      },
      published({ device, at, millis, topic, seq, acknowledged: is }) {
        const state = devices.known(device)
        if (!is || state === undefined || state.denied || at < state.since) return
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
      cut({ device, at }) {
        const state = devices.known(device)
        if (state === undefined) return
        ends(state, at)
        state.cut = true
      },
      left({ device, at }) {
        const state = devices.known(device)
        if (state !== undefined) ends(state, at)
      },
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
        // the server has ended it for good: nobody could be reached
        if (!state.connected && state.cut) continue
        const until = dueAt(state, at)
        for (const [topic, outstanding] of state.topics) {
          const { count, first } = overdue(outstanding, until)
          if (count === 0) continue
          lost += count
          const which = first === undefined ? '' : `, the first of them number ${first}`
          breaches.add(() => `${device}: ${count} acknowledged and not delivered on ${topic}${which}`, count)
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
