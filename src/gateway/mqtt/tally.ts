/** What the MQTT door counts, beside the verdicts that admission counts for both doors. Cheap: packets are numbers until somebody looks. */

import type { TopicAct } from '#fleet/access.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'
import { TYPE } from './packets.ts'

/** One direction: whole packets, by type, and their bytes. */
export type Traffic = { readonly packets: Uint32Array; bytes: number }

export type Tally = {
  /** from clients, and to them */
  readonly up: Traffic
  readonly down: Traffic
  /** a connection that the door ended, or did not begin; not one whose client left, or whose network did */
  ended(
    reason: MqttReason | 'max_connections' | 'handshake_failed' | 'broker_closed' | 'taken_over' | 'drained',
  ): void
  /** a message that somebody did not get, or the broker did not keep */
  dropped(what: 'denied' | 'queue' | 'evicted' | 'retained' | 'slow'): void
  /** a PUBLISH, a filter of a SUBSCRIBE, or a delivery that was refused */
  denied(act: TopicAct, reason: MqttReason): void
  /** A packet has been allowed. @returns is it one in `mqtt.log_every`? */
  sampled(): boolean
  /** hands the packet counts on; call it now and then, and at the end */
  flush(): void
}

const traffic = (): Traffic => ({ packets: new Uint32Array(16), bytes: 0 })

/**
 * @param open connections that are open now
 * @param logEvery mqtt.log_every; 0: no packet is sampled
 */
export const createTally = (metrics: Metrics, open: () => number, logEvery = 0): Tally => {
  const packets = metrics.counter('sallyport_mqtt_packets_total', 'MQTT packets by direction and type', [
    'direction',
    'type',
  ])
  const bytes = metrics.counter('sallyport_mqtt_bytes_total', 'Bytes of MQTT packets', ['direction'])
  const ended = metrics.counter(
    'sallyport_mqtt_ended_total',
    'MQTT connections that the door ended, or did not begin: by reason, taken over, drained, closed by the broker',
    ['reason'],
  )
  const dropped = metrics.counter('sallyport_mqtt_dropped_total', 'MQTT messages not delivered or not kept', [
    'why',
  ])
  const denied = metrics.counter(
    'sallyport_mqtt_denied_total',
    'PUBLISH packets, filters and deliveries refused by the MQTT door',
    ['act', 'reason'],
  )
  metrics.gauge('sallyport_mqtt_connections', 'Open MQTT connections', [], open)
  const directions = { up: traffic(), down: traffic() }
  let untilSample = logEvery
  return {
    ...directions,
    ended: (reason) => ended.inc({ reason }),
    dropped: (why) => dropped.inc({ why }),
    denied: (act, reason) => denied.inc({ act, reason }),
    sampled: () => {
      if (logEvery === 0 || --untilSample > 0) return false
      untilSample = logEvery
      return true
    },
    flush: () => {
      for (const [direction, of] of Object.entries(directions)) {
        for (const [type, number] of Object.entries(TYPE)) {
          const count = of.packets[number] as number
          if (count > 0) packets.inc({ direction, type }, count)
        }
        if (of.bytes > 0) bytes.inc({ direction }, of.bytes)
        of.packets.fill(0)
        of.bytes = 0
      }
    },
  }
}
