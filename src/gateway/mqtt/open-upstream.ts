/**
 * Which broker stands behind this process's door: brokers on sockets (`mqtt.upstream`), in a worker the socket of the gateway's embedded one,
 * else the embedded one itself. Not how any of them works.
 */

import type { Clock } from '#fleet/clock.ts'
import type { Config } from '#runtime/config.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import { checkUpstreamSettings } from './brokers/check-settings.ts'
import { openBrokers } from './brokers/open-brokers.ts'
import { openSocketUpstream } from './brokers/socket-upstream.ts'
import type { Upstream } from './upstream.ts'

/**
 * Opens at once, whether a broker can be reached or not: that is said to each client.
 * @param o.place `worker`: a process of `https.workers`, which has no broker of its own
 * @param o.embedded called only when there are no brokers and this is the gateway's own process
 * @throws FleetError `config_invalid`
 */
export const openUpstream = async (o: {
  readonly config: Pick<Config, 'mqtt'>
  readonly place: 'gateway' | 'worker'
  readonly log: Log
  readonly metrics: Metrics
  readonly clock: Clock
  readonly embedded: () => Promise<Upstream>
}): Promise<Upstream> => {
  const { mqtt } = o.config
  checkUpstreamSettings(mqtt)
  if (mqtt.upstream !== undefined) return openBrokers({ ...o, mqtt, random: Math.random })
  return o.place === 'worker' ? openSocketUpstream({ path: mqtt.broker_socket }) : o.embedded()
}
