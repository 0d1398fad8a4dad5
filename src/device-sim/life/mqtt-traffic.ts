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

export type Traffic = {
  /** of any connection of the device */
  onMessage(topic: string, payload: Buffer): void
  /** from now on it hears what it says, or does not; what was published into a session that is gone is not waited for */
  listens(to: boolean): void
  isListening(): boolean
  /** One publication; never rejects. @param at when it was due, or begins */
  publish(on: MqttLink, at: number): Promise<void>
  /** As many as there are due times, by when they were due: at QoS 0 in one write. */
  send(on: MqttLink, dues: readonly number[]): void
  /** Waits for acknowledgements, and for deliveries too if so asked, for at most `ms`, until the connection ends or {@link Traffic.giveUp}. */
  quiet(on: MqttLink, o: { readonly deliveries: boolean; readonly ms: number }): Promise<void>
  giveUp(): void
}

export const createTraffic = (plan: DevicePlan, scope: RunScope, topics: Topics): Traffic => {
  const { gauge, scenario, emit } = scope
  const { qos } = scenario.mqtt
  const device = plan.id
  const topic = topics.publish
  /** the first is 1 */
  let seq = 0
  let listening = false
  /** published, and to be heard again; at QoS 0 only how many */
  const awaited = new Set<number>()
  let unheard = 0
  let unacknowledged = 0
  let writer: BurstWriter | undefined
  /** somebody waits for it to be quiet */
  let waiter: { readonly deliveries: boolean; readonly done: AbortController } | undefined

  const isQuiet = (deliveries: boolean): boolean =>
    unacknowledged === 0 && (!deliveries || (awaited.size === 0 && unheard <= 0))
  const look = (): void => {
    if (waiter !== undefined && isQuiet(waiter.deliveries)) waiter.done.abort()
  }

  const publish = async (on: MqttLink, at: number): Promise<void> => {
    const number = ++seq
    if (listening && qos === 0) unheard++
    else if (listening) awaited.add(number)
    unacknowledged++
    gauge.underWay++
    const answer = await on.publish(topic, messageOf(device, number, now(), scenario.payload), qos)
    gauge.underWay--
    unacknowledged--
    // nobody has promised that it comes
    if (answer !== 'done') awaited.delete(number)
    const millis = now() - at
    const acknowledged = answer === 'done' && qos === 1
    if (typeof answer === 'number')
      emit({ kind: 'refused', device, at, door: 'mqtt', reason: `puback_${answer}`, millis })
    else if (answer === 'done' || qos === 1)
      emit({ kind: 'published', device, at, topic, seq: number, millis, acknowledged })
    look()
  }
  const burst = async (on: MqttLink, count: number): Promise<void> => {
    writer ??= burstWriter(device, scenario.payload)
    const first = seq + 1
    const at = now()
    seq += count
    if (listening) unheard += count
    gauge.underWay += count
    emit({ kind: 'burst', device, at, topic, seq: first, count })
    await on.burst(topic, writer(first, count, at))
    gauge.underWay -= count
  }

  return {
    onMessage(from, payload) {
      const at = now()
      if (!topics.isOwn(from)) return emit({ kind: 'stray', device, at, topic: from })
      const said = from === topic ? readMessage(payload) : undefined
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
      unheard = 0
    },
    isListening: () => listening,
    publish,
    send(on, dues) {
      if (qos === 0) void burst(on, dues.length)
      else for (const due of dues) void publish(on, due)
    },
    async quiet(on, { deliveries, ms }) {
      if (isQuiet(deliveries) || !on.isOpen()) return
      waiter = { deliveries, done: new AbortController() }
      await pause(ms, on.ended, waiter.done.signal)
      waiter = undefined
    },
    giveUp: () => waiter?.done.abort(),
  }
}
