/** Enrolment over MQTT, of one process: the pipe to enroll, and what both kinds of connections need of it. Opened where the front is. */

import { SECOND, type Clock } from '#fleet/clock.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Config } from '#runtime/config.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import { newRequestId } from '#runtime/request-id.ts'
import { createClaims, type Claims } from './claims.ts'
import { createLocalTopics, LOCAL_KINDS, type OnRelayed, type OpenLocalTopics } from './local-topics.ts'
import { openRelay, type Relay } from './relay.ts'
import { createRelayShares } from './relay-shares.ts'

export type Enrolment = AsyncDisposable & { readonly claims: Claims; readonly local: OpenLocalTopics }

const needed = (setting: string, value: string | undefined): string => {
  if (value === undefined)
    throw new FleetError('config_invalid', `${setting}: gateway.enroll_url is set, so this must be too`)
  return value
}

const relayOf = ({ gateway, ca }: Config, url: string, log: Log): Relay =>
  openRelay(
    {
      url,
      cert: needed('gateway.relay_cert', gateway.relay_cert),
      key: needed('gateway.relay_key', gateway.relay_key),
      ca: gateway.relay_ca ?? ca.root,
    },
    log,
  )

/**
 * @param o.relay in the place of the one that the settings describe
 * @returns undefined: `gateway.enroll_url` is not set, and nobody enrols over MQTT
 * @throws FleetError `config_invalid`
 */
export const openEnrolment = (o: {
  readonly config: Config
  readonly groups: () => ReadonlyMap<string, EnrollmentGroup>
  readonly log: Log
  readonly metrics: Metrics
  readonly clock: Clock
  readonly relay?: Relay
}): Enrolment | undefined => {
  const { config, log, metrics, clock } = o
  const url = config.gateway.enroll_url
  const relay = o.relay ?? (url === undefined ? undefined : relayOf(config, url, log))
  if (relay === undefined) return undefined

  const answers = metrics.counter(
    'sallyport_mqtt_enrollments_total',
    'Requests that were relayed to enroll',
    ['kind', 'outcome'],
  )
  const relayed: OnRelayed = (peer, kind, { accepted, reason = 'accepted' }) => {
    answers.inc({ kind, outcome: reason })
    log.info(
      {
        door: 'mqtt',
        relayed: kind,
        accepted,
        reason,
        fingerprint: peer.leaf?.fingerprint,
        address: peer.address,
      },
      'relayed',
    )
  }
  const shares = createRelayShares(clock)
  const claims = createClaims({
    groups: o.groups,
    ask: relay.ask,
    mayAsk: shares.claim,
    relayed,
    clock,
    // no device can be called so: `/` is not in a device id
    newId: () => `claim/${newRequestId()}`,
  })
  metrics.gauge(
    'sallyport_mqtt_relay_life_seconds',
    "Until the gateway's own certificate for enroll ends",
    [],
    () => (relay.notAfter() - clock()) / SECOND,
  )
  metrics.gauge('sallyport_mqtt_claims', 'Connections that have come to enrol', [], () => claims.size())
  return {
    claims,
    local: (it) =>
      createLocalTopics({
        ...it,
        allowed: LOCAL_KINDS.device,
        mayAsk: shares.device,
        ask: relay.ask,
        relayed,
        clock,
      }),
    [Symbol.asyncDispose]: () => relay[Symbol.asyncDispose](),
  }
}
