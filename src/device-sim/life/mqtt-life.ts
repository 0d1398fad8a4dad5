/**
 * How a simulated device lives over MQTT: connected, listening to its own topics and publishing to them; back after a cut. What it says is
 * mqtt-traffic.ts; when the next publication comes is the load's.
 */

import { FleetError } from '#fleet/errors.ts'
import { mqttConnect, type MqttLink } from '../client/mqtt-connect.ts'
import { now } from '../clock.ts'
import { closedLoop } from '../load/closed.ts'
import { firstOf } from '../waiting.ts'
import type { Life } from './life.ts'
import { topicsOf } from './mqtt-topics.ts'
import { createTraffic } from './mqtt-traffic.ts'
import type { VirtualDevice } from './virtual-device.ts'

/** ms for the last messages to arrive before a device says goodbye by itself */
const LAST_DELIVERIES = 5_000
/** SUBACK codes from here on are refusals (MQTT 3.1.1 §3.9.3, MQTT 5 §3.9.3) */
const REFUSED = 0x80
/** A CONNACK does not say that the certificate has expired: after so many refusals in a row a device finds out by renewing it, once. */
const DOUBTS = 2

export const mqttLife = (device: VirtualDevice): Life => {
  const { plan, scope, keeper, stopping } = device
  const { scenario, rounds, gauge, targets, emit } = scope
  const { version, qos, clean, keepalive, subscribe } = scenario.mqtt
  if (targets.mqtts === undefined) throw new FleetError('config_invalid', `${plan.id}: no MQTT door is known`)
  const url = targets.mqtts
  const topics = topicsOf(plan, scope.topic)
  const traffic = createTraffic(plan, scope, topics)

  let turns = 0
  /** due times of an open loop, until there is a connection */
  let waiting: number[] = []
  /** the connection, and from when it is ready for publications until it is not */
  let current: MqttLink | undefined
  let link: MqttLink | undefined
  let leaving = false
  /** comes back at once, not after a wait */
  let hurries = false
  /** in a row: of the door; and attempts to which nobody said anything */
  let refusals = 0
  let failures = 0
  /** serial of the certificate that refusals were blamed on */
  let blamed: string | undefined
  let untried = plan.triesOthers && scope.triesOthers
  /** a foreign subscription was granted: the session goes before it is used */
  let spoiled = false
  let restart = new AbortController()

  const refused = (reason: string, at: number): void =>
    emit({ kind: 'refused', device: plan.id, at, door: 'mqtt', reason, millis: now() - at })
  const doubt = (): void => {
    const { serial } = keeper.enrolled()
    if (++refusals < DOUBTS || blamed === serial) return
    blamed = serial
    keeper.heardExpired()
  }

  /** @returns undefined: it did not get in; has been said */
  const connect = async (line: AbortSignal): Promise<{ link: MqttLink; present: boolean } | undefined> => {
    await keeper.renewIfDue()
    const shown = keeper.show()
    const at = now()
    const outcome = await mqttConnect({
      url,
      context: shown.context,
      clientId: plan.id,
      version,
      clean: clean || spoiled,
      keepalive,
      onMessage: traffic.onMessage,
      signal: line,
      ...device.network,
    })
    if (!outcome.accepted) {
      if (line.aborted) return undefined
      if (outcome.code === undefined) emit({ kind: 'cut', device: plan.id, at: now() })
      else {
        refused(`connack_${outcome.code}`, at)
        doubt()
        await keeper.tried(shown, false)
      }
      return undefined
    }
    refusals = 0
    spoiled = false
    emit({ kind: 'admitted', device: plan.id, at, door: 'mqtt', millis: now() - at })
    gauge.connected++
    void outcome.link.closed.then(() => {
      gauge.connected--
      const ended = now()
      if (!leaving && !line.aborted) emit({ kind: 'cut', device: plan.id, at: ended })
      emit({ kind: 'left', device: plan.id, at: ended })
    })
    if (!outcome.sessionPresent) traffic.listens(false)
    await keeper.tried(shown, true)
    return { link: outcome.link, present: outcome.sessionPresent }
  }

  const tryOthers = async (on: MqttLink): Promise<void> => {
    untried = false
    for (const topic of topics.foreign) {
      const granted = await on.subscribe(topic, 0)
      if (granted === 'cut') return
      if (granted < REFUSED) spoiled = true
      emit({ kind: granted < REFUSED ? 'stray' : 'kept_out', device: plan.id, at: now(), topic })
    }
  }
  const listen = async (on: MqttLink, present: boolean): Promise<void> => {
    if (untried) await tryOthers(on)
    if (!subscribe || spoiled) return
    const at = now()
    // the session that is still there has the subscription
    const granted = traffic.isListening() ? 0 : await on.subscribe(topics.filter, qos)
    if (granted === 'cut') return
    if (granted >= REFUSED) return refused(`suback_${granted}`, at)
    traffic.listens(true)
    emit({ kind: 'listening', device: plan.id, at, present })
  }

  /** Those that waited for a connection: sent now, or given up with the attempt that failed. */
  const release = (on: MqttLink | undefined): void => {
    const dues = waiting
    waiting = []
    gauge.underWay -= dues.length
    if (on !== undefined && dues.length > 0) traffic.send(on, dues)
  }
  const more = (): boolean => turns < rounds && !stopping.aborted
  const stays = (on: MqttLink): boolean => more() && on.isOpen() && !restart.signal.aborted

  const talk = async (on: MqttLink): Promise<void> => {
    if (scenario.load.kind === 'open') {
      release(on)
      if (stays(on)) await firstOf(on.ended, restart.signal, stopping)
      return
    }
    await closedLoop({
      more: () => stays(on),
      take: () => {
        turns++
        return traffic.publish(on, now())
      },
      rest: async () => {
        await device.wait(on.ended, restart.signal)
        if (!device.isAway()) await keeper.renewIfDue()
      },
    })
  }
  /** What is under way may still come; then a polite end. */
  const leave = async (on: MqttLink): Promise<void> => {
    // a session that stays keeps what has not come, for as long as the device comes back
    const deliveries = clean || !more()
    await traffic.quiet(on, { deliveries, ms: Math.min(scope.drainLeft(), LAST_DELIVERIES) })
    leaving = true
    await on.close()
    await on.closed
    leaving = false
  }

  /** One connection, from its first packet to its last. @returns whether it got in */
  const visit = async (): Promise<boolean> => {
    const line = device.line()
    const began = now()
    restart = new AbortController()
    try {
      const connected = await connect(line)
      failures = 0
      if (connected === undefined) return false
      current = connected.link
      await listen(current, connected.present)
      if (!spoiled) {
        link = current
        await talk(link)
        link = undefined
      }
      // a connection that is not to be used further is left for a better one
      hurries = spoiled || restart.signal.aborted || line.aborted
      await leave(current)
      return true
    } catch (error) {
      device.report('mqtt', error, began, line)
      if (!line.aborted) failures++
      return false
    } finally {
      current = undefined
      link = undefined
    }
  }

  return {
    ready: () => more() && !device.isAway(),
    take(dues) {
      turns += dues.length
      if (link !== undefined) return traffic.send(link, dues)
      gauge.underWay += dues.length
      waiting.push(...dues)
    },
    async run() {
      for (;;) {
        await device.untilBack()
        if (!more()) break
        hurries = false
        const gotIn = await visit()
        if (!gotIn) {
          release(undefined)
          // a refusal is a turn, too: a bounded run ends also when nobody answers
          if (!device.line().aborted) turns++
        }
        if (more() && !hurries) await device.backOff(failures)
      }
      release(undefined)
      await keeper.idle()
    },
    onCandidate: () => restart.abort(),
    hurry() {
      if (current?.isOpen() !== true) return false
      traffic.giveUp()
      leaving = true
      void current.close()
      return true
    },
  }
}
