/** What of `mqtt.upstream*` cannot be meant. Each by itself has been read already: #runtime/kinds.ts. */

import { FleetError } from '#fleet/errors.ts'
import type { Config } from '#runtime/config.ts'
import { showAddress } from '#runtime/kinds.ts'

type Mqtt = Config['mqtt']

const stop = (detail: string): never => {
  throw new FleetError('config_invalid', detail)
}

/** @throws FleetError `config_invalid`, which says what to do */
export const checkUpstreamSettings = (mqtt: Mqtt): void => {
  const brokers = mqtt.upstream ?? []
  const isSet = (name: keyof Mqtt): boolean => mqtt[name] !== undefined
  if ((mqtt.upstream_cert === undefined) !== (mqtt.upstream_key === undefined))
    stop('mqtt.upstream_cert and mqtt.upstream_key belong together: set both, or neither')

  const forTls = (['upstream_ca', 'upstream_cert'] as const).find(isSet)
  if (forTls !== undefined && !brokers.some(({ tls }) => tls))
    stop(
      `mqtt.${forTls} is for mqtts:// brokers, and mqtt.upstream names none: write mqtts:// there, or leave mqtt.${forTls} out`,
    )
  const forBrokers = (['upstream_username', 'upstream_password_file'] as const).find(isSet)
  if (forBrokers !== undefined && brokers.length === 0)
    stop(
      `mqtt.${forBrokers} is for the brokers of mqtt.upstream, and there are none: set it, or leave it out`,
    )
  if (mqtt.upstream_proxy_protocol !== 'off' && brokers.length === 0)
    stop('mqtt.upstream_proxy_protocol is for the brokers of mqtt.upstream, and there are none')
  if (mqtt.upstream_engine !== 'mqtt' && brokers.length === 0)
    stop('mqtt.upstream_engine is about the brokers of mqtt.upstream, and there are none')

  const seen = new Set<string>()
  for (const { host, port } of brokers) {
    const name = showAddress(host, port)
    if (seen.has(name)) stop(`mqtt.upstream names ${name} twice`)
    seen.add(name)
  }
}
