/**
 * What one simulated device says over MQTT and what it hears of it: numbered over reconnects, so that what is missing, twice or out of order
 * shows. Not its connections: mqtt-life.ts.
 */

import type { MqttLink } from '../client/mqtt-connect.ts'
import { now } from '../clock.ts'
import { burstWriter, messageOf, readMessage, type BurstWriter } from '../load/payload.ts'
import { pause } from '../waiting.ts'
import type { Topics } from './mqtt-topics.ts'
import type { DevicePlan } from './plan.ts'
import type { RunScope } from './run-scope.ts'
import { createUnacknowledged, type Unacknowledged } from './unacknowledged.ts'

export type Traffic = {
  /** of any connection of the device */
  onMessage(topic: string, payload: Buffer): void
  /** from now on it hears what it says, or does not; what was published into a session that is gone is not waited for */
  listens(to: boolean): void
  isListening(): boolean
  /**
   * There is a connection: what the last one left unacknowledged is sent again, when the session is `present` (MQTT-4.4.0-1), and what has been
   * waiting goes out. undefined: it is not used any more.
   */
  use(on: MqttLink | undefined, present?: boolean): void
  /** One publication, on the connection that is used; never rejects. Ends also with the connection. @param at when it begins */
  publish(at: number): Promise<void>
  /** As many as there are due times, by when they were due: on the connection that is used, or on the next. At QoS 0 many in one write. */
  send(dues: readonly number[]): void
  /** that no connection has had yet */
  waiting(): number
  /** Waits for acknowledgements, and for deliveries too if so asked, for at most `ms`, until the connection ends or {@link Traffic.giveUp}. */
  quiet(on: MqttLink, o: { readonly deliveries: boolean; readonly ms: number }): Promise<void>
  giveUp(): void
  /** No connection comes any more: what never went out is dropped, and what was never acknowledged never will be. */
  end(): void
}

/** octets of one burst; more waits until the socket has room */
const MOST_OCTETS = 1_048_576

/** that are sent again on one connection */
const MOST_AGAIN = 1_024

type Publication = Unacknowledged & {
  /** on this connection */
  dup: boolean
}

export const createTraffic = (plan: DevicePlan, scope: RunScope, topics: Topics): Traffic => {
  const { gauge, scenario, emit, load } = scope
  const { payload, mqtt } = scenario
  const { qos, clean } = mqtt
  const device = plan.id
  const topic = topics.publish
  const inOneBurst = Math.max(1, Math.floor(MOST_OCTETS / Math.max(1, payload)))
  /** the first is 1 */
  let seq = 0
  let listening = false
  let link: MqttLink | undefined
  /** due times, until there is a connection, or room in it */
  let queue: number[] = []
  let bursting = false
  /** published, and to be heard again; at QoS 0 only how many */
  const awaited = new Set<number>()
  let unheard = 0
  /** of this connection */
  let unanswered = 0
  const open = createUnacknowledged()
  let writer: BurstWriter | undefined
  /** somebody waits for it to be quiet */
  let waiter: { readonly deliveries: boolean; readonly done: AbortController } | undefined

  const isQuiet = (deliveries: boolean): boolean =>
    unanswered === 0 &&
    (link === undefined || queue.length === 0) &&
    (!deliveries || (awaited.size === 0 && unheard <= 0))
  const look = (): void => {
    if (waiter !== undefined && isQuiet(waiter.deliveries)) waiter.done.abort()
  }
  const never = (): void => emit({ kind: 'unanswered', device, at: now(), door: 'mqtt' })

  /** Nobody will say anything of it any more. */
  const giveUp = ({ seq: number, at, awaited: heard }: Unacknowledged): void => {
    awaited.delete(number)
    gauge.underWay--
    const millis = now() - at
    emit({ kind: 'published', device, at, topic, seq: number, millis, acknowledged: false, awaited: heard })
  }
  /** But for the newest. */
  const giveUpAll = (but: number): void => {
    const all = open.all()
    for (const one of all.slice(0, Math.max(0, all.length - but))) {
      open.forget(one)
      giveUp(one)
    }
  }
  /** @returns when it is over on this connection */
  const deliver = async (on: MqttLink, one: Publication): Promise<void> => {
    const { seq: number, at, id, dup } = one
    unanswered++
    const delivery = id === undefined ? undefined : { id, dup }
    const answer = await on.publish(topic, messageOf(device, number, at, payload), 1, delivery)
    unanswered--
    if (answer === 'cut') {
      // on a session that stays it is sent again, as long as it is remembered
      if (clean) giveUp(one)
      return look()
    }
    open.forget(one)
    gauge.underWay--
    const millis = now() - at
    if (answer === 'done')
      emit({
        kind: 'published',
        device,
        at,
        topic,
        seq: number,
        millis,
        acknowledged: true,
        awaited: one.awaited,
      })
    else {
      // nobody has promised that it comes
      awaited.delete(number)
      emit({ kind: 'refused', device, at, door: 'mqtt', reason: `puback_${answer}`, millis })
    }
    look()
  }
  const begin = (on: MqttLink, at: number): Promise<void> => {
    const fresh = { seq: ++seq, at, awaited: listening }
    if (listening) awaited.add(fresh.seq)
    if (clean) return deliver(on, { ...fresh, id: undefined, dup: false })
    return deliver(on, { ...open.remember(fresh), dup: false })
  }

  /** One at QoS 0, in a closed loop: it is over once it is written. */
  const tell = async (on: MqttLink, at: number): Promise<void> => {
    const number = ++seq
    const heard = listening
    if (heard) unheard++
    const answer = await on.publish(topic, messageOf(device, number, at, payload), 0)
    gauge.underWay--
    if (answer === 'done') {
      const millis = now() - at
      emit({ kind: 'published', device, at, topic, seq: number, millis, acknowledged: false, awaited: heard })
    } else {
      if (heard) unheard--
      never()
    }
    look()
  }
  /** What a connection takes with it is not published, though its numbers are gone. */
  const burst = async (on: MqttLink, dues: readonly number[]): Promise<void> => {
    const count = dues.length
    const heard = listening
    writer ??= burstWriter(device, payload)
    const first = seq + 1
    const at = now()
    seq += count
    if (heard) unheard += count
    const answer = await on.burst(topic, writer(first, dues))
    gauge.underWay -= count
    if (answer === 'done') emit({ kind: 'burst', device, at, topic, seq: first, count, awaited: heard })
    else for (let one = 0; one < count; one++) never()
  }
  /** One burst after the other, for as long as there is room. */
  const flow = async (): Promise<void> => {
    if (bursting) return
    bursting = true
    while (link?.isOpen() === true && queue.length > 0) await burst(link, queue.splice(0, inOneBurst))
    bursting = false
    look()
  }
  const flush = (): void => {
    if (link?.isOpen() !== true || queue.length === 0) return
    if (qos === 0) return void flow()
    const dues = queue
    queue = []
    for (const due of dues) void begin(link, due)
  }

  return {
    onMessage(from, octets) {
      const at = now()
      if (!topics.isOwn(from)) return emit({ kind: 'stray', device, at, topic: from })
      const said = from === topic ? readMessage(octets) : undefined
      // what the session kept from an earlier run is nobody's concern
      if (said?.device !== device || said.sent < scope.began) return
      if (qos === 0) unheard--
      else awaited.delete(said.seq)
      emit({ kind: 'delivered', device, at, topic, seq: said.seq, millis: at - said.sent })
      look()
    },
    listens(to) {
      listening = to
      if (to) return
      awaited.clear()
    },
    isListening: () => listening,
    use(on, present = false) {
      link = on
      if (on === undefined) return
      // what was lost with the last connection is not waited for: at QoS 0 nobody keeps it
      unheard = 0
      // a broker that has kept no session has forgotten the identifiers too
      giveUpAll(present ? MOST_AGAIN : 0)
      for (const one of open.all()) void deliver(on, { ...one, dup: true })
      flush()
    },
    async publish(at) {
      if (link === undefined) return
      gauge.underWay++
      await (qos === 0 ? tell(link, at) : begin(link, at))
    },
    send(dues) {
      gauge.underWay += dues.length
      queue.push(...dues)
      flush()
    },
    waiting: () => queue.length,
    async quiet(on, { deliveries, ms }) {
      if (isQuiet(deliveries) || !on.isOpen()) return
      waiter = { deliveries, done: new AbortController() }
      await pause(ms, on.ended, waiter.done.signal)
      waiter = undefined
    },
    giveUp: () => waiter?.done.abort(),
    end() {
      link = undefined
      load.dropped += queue.length
      gauge.underWay -= queue.length
      queue = []
      giveUpAll(0)
    },
  }
}
