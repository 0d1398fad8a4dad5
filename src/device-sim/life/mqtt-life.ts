/**
 * How a simulated device lives over MQTT: connected, listening to its own topics and publishing to them; back after a cut. What it says is
 * mqtt-traffic.ts; when the next publication comes is the load's.
 */

import { FleetError } from '#fleet/errors.ts'
import { CONNACK, REASON } from '#wire/mqtt-codes.ts'
import { mqttConnect, type MqttLink } from '../client/mqtt-connect.ts'
import { now } from '../clock.ts'
import { closedLoop } from '../load/closed.ts'
import { LATE } from '../load/open.ts'
import { firstOf } from '../waiting.ts'
import { LEAST_REFUSAL } from '../words.ts'
import type { Shown, Verdict } from './identity-keeper.ts'
import type { Life } from './life.ts'
import { topicsOf } from './mqtt-topics.ts'
import { createTraffic } from './mqtt-traffic.ts'
import type { VirtualDevice } from './virtual-device.ts'

/** ms for the last messages to arrive before a device says goodbye by itself */
const LAST_DELIVERIES = 5_000
/** Not authorized, in MQTT 3.1.1 and 5: of all codes the only one that may be about the certificate. */
const VERDICTS: readonly number[] = [CONNACK.notAuthorized, REASON.notAuthorized]
/** A CONNACK does not say that the certificate has expired: after so many refusals in a row a device finds out by renewing it, once. */
const DOUBTS = 2

export const mqttLife = (device: VirtualDevice): Life => {
  const { plan, scope, keeper, stopping } = device
  const { scenario, rounds, gauge, targets, emit, load } = scope
  const { version, qos, clean, keepalive, subscribe } = scenario.mqtt
  if (targets.mqtts === undefined) throw new FleetError('config_invalid', `${plan.id}: no MQTT door is known`)
  const url = targets.mqtts
  const topics = topicsOf(plan, scope.topic)
  const traffic = createTraffic(plan, scope, topics)

  let turns = 0
  let current: MqttLink | undefined
  let leaving = false
  /** comes back at once, not after a wait */
  let hurries = false
  /** in a row: of the door; and attempts that failed, whatever it said or did not say */
  let refusals = 0
  let failures = 0
  /** the last of them was a verdict */
  let judged = false
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

  const connect = async (line: AbortSignal): Promise<{ link: MqttLink; present: boolean } | undefined> => {
    const asked = now()
    let at = asked
    let shown: Shown | undefined
    const outcome = await mqttConnect({
      url,
      // when its turn to connect has come
      context: () => {
        at = now()
        // not the door's fault
        if (at - asked > LATE) load.late += traffic.waiting()
        restart = new AbortController()
        shown = keeper.show()
        return shown.context
      },
      clientId: plan.id,
      version,
      clean: clean || spoiled,
      keepalive,
      onMessage: traffic.onMessage,
      signal: line,
      ...device.network,
    })
    const tell = (verdict: Verdict): void => {
      // the desk is not waited for
      if (shown !== undefined) void keeper.tried(shown, verdict)
    }
    if (!outcome.accepted) {
      if (line.aborted) return undefined
      if (outcome.code === undefined) emit({ kind: 'cut', device: plan.id, at: now() })
      else {
        refused(`connack_${outcome.code}`, at)
        judged = VERDICTS.includes(outcome.code)
        if (judged) {
          doubt()
          tell('refused')
        }
      }
      return undefined
    }
    refusals = 0
    failures = 0
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
    tell('admitted')
    return { link: outcome.link, present: outcome.sessionPresent }
  }

  const tryOthers = async (on: MqttLink): Promise<void> => {
    untried = false
    for (const topic of topics.foreign) {
      const granted = await on.subscribe(topic, 0)
      if (granted === 'cut') return
      if (granted < LEAST_REFUSAL) spoiled = true
      emit({ kind: granted < LEAST_REFUSAL ? 'stray' : 'kept_out', device: plan.id, at: now(), topic })
    }
  }
  const listen = async (on: MqttLink, present: boolean): Promise<void> => {
    if (untried) await tryOthers(on)
    if (!subscribe || spoiled) return
    const at = now()
    // the session that is still there has the subscription
    const granted = traffic.isListening() ? 0 : await on.subscribe(topics.filter, qos)
    if (granted === 'cut') return
    if (granted >= LEAST_REFUSAL) return refused(`suback_${granted}`, at)
    traffic.listens(true)
    emit({ kind: 'listening', device: plan.id, at, present })
  }

  const more = (): boolean => turns < rounds && !stopping.aborted
  const stays = (on: MqttLink): boolean =>
    more() && on.isOpen() && !restart.signal.aborted && !device.isAway()

  const talk = async (on: MqttLink): Promise<void> => {
    if (scenario.load.kind === 'open') {
      if (stays(on)) await firstOf(on.ended, restart.signal, stopping)
      return
    }
    await closedLoop({
      more: () => stays(on),
      take: () => {
        turns++
        return traffic.publish(now())
      },
      rest: () => device.wait(on.ended, restart.signal),
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
  const visit = async (line: AbortSignal): Promise<boolean> => {
    const began = now()
    judged = false
    try {
      const connected = await connect(line)
      if (connected === undefined) return false
      current = connected.link
      await listen(current, connected.present)
      if (!spoiled) {
        traffic.use(current, connected.present)
        await talk(current)
        // at the end, what there was no room for may still go out
        if (more()) traffic.use(undefined)
      }
      // a connection that is not to be used further is left for a better one
      hurries = spoiled || restart.signal.aborted
      await leave(current)
      return true
    } catch (error) {
      device.report('mqtt', error, began, line)
      return false
    } finally {
      traffic.use(undefined)
      current?.drop()
      current = undefined
    }
  }

  return {
    ready: () => more() && !device.isAway(),
    take(dues) {
      turns += dues.length
      traffic.send(dues)
    },
    async run() {
      for (;;) {
        await device.untilBack()
        if (!more()) break
        hurries = false
        const line = device.line()
        if (!(await visit(line)) && !line.aborted) {
          failures++
          // an attempt is a turn, too: a bounded run ends also when nobody answers
          turns++
        }
        if (more() && !hurries && !line.aborted) await device.backOff(failures, judged)
      }
      traffic.end()
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
