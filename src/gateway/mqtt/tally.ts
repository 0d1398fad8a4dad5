/** What the MQTT door counts, beside the verdicts that admission counts for both doors. Cheap: packets are numbers until somebody looks. */

import type { Metrics } from '#runtime/metrics.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'
import { TYPE } from './packets.ts'

export type Tally = {
  /** by packet type, from clients and to them */
  readonly up: Uint32Array
  readonly down: Uint32Array
  /** a connection that the door ended, or did not begin */
  ended(reason: MqttReason | 'max_connections' | 'handshake_failed' | 'broker_closed'): void
  /** a message that somebody did not get, or the broker did not keep */
  dropped(what: 'denied' | 'queue' | 'evicted' | 'retained' | 'slow'): void
  /** hands the packet counts on; call it now and then, and at the end */
  flush(): void
}

/** @param open connections that are open now */
export const createTally = (metrics: Metrics, open: () => number): Tally => {
  const packets = metrics.counter('sallyport_mqtt_packets_total', 'MQTT packets by direction and type', [
    'direction',
    'type',
  ])
  const ended = metrics.counter(
    'sallyport_mqtt_ended_total',
    'MQTT connections ended or not begun by the door',
    ['reason'],
  )
  const dropped = metrics.counter('sallyport_mqtt_dropped_total', 'MQTT messages not delivered or not kept', [
    'why',
  ])
  metrics.gauge('sallyport_mqtt_connections', 'Open MQTT connections', [], open)
  const counts = { up: new Uint32Array(16), down: new Uint32Array(16) }
  return {
    ...counts,
    ended: (reason) => ended.inc({ reason }),
    dropped: (why) => dropped.inc({ why }),
    flush: () => {
      for (const [direction, of] of Object.entries(counts)) {
        for (const [type, number] of Object.entries(TYPE)) {
          const count = of[number] as number
          if (count > 0) packets.inc({ direction, type }, count)
        }
        of.fill(0)
      }
    },
  }
}
