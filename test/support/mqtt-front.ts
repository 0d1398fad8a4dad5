/**
 * The MQTT door without its listener: connections over streams in memory, the real embedded broker, and an admission that the test
 * tells what to say. Who a client is, is the CN of a peer made up here.
 */

import { duplexPair } from 'node:stream'
import { systemClock } from '#fleet/clock.ts'
import { createLive, type LiveControl } from '#gateway/live.ts'
import { serveConnection } from '#gateway/mqtt/connection.ts'
import type { DoorParts } from '#gateway/mqtt/door-parts.ts'
import { openEmbeddedBroker } from '#gateway/mqtt/embedded/broker.ts'
import type { MemoryLimits } from '#gateway/mqtt/embedded/memory.ts'
import { createDiscard } from '#gateway/mqtt/discard.ts'
import type { Web } from '#gateway/mqtt/greeting.ts'
import { createHolders, type Holders } from '#gateway/mqtt/holders.ts'
import { createPlaces } from '#gateway/mqtt/places.ts'
import { createEndsSession, createWasEverCut } from '#gateway/mqtt/session-ends.ts'
import { createSleepers } from '#gateway/mqtt/sleepers.ts'
import { createTakeovers } from '#gateway/mqtt/takeovers.ts'
import { createTally, type Tally } from '#gateway/mqtt/tally.ts'
import { createTimers } from '#gateway/mqtt/timers.ts'
import type { Upstream } from '#gateway/mqtt/upstream.ts'
import type { Config } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { createFakeAdmission, fakePeer, type FakeAdmission } from './fake-admission.ts'
import { mqttClient, type MqttClient } from './mqtt-client.ts'

export { createFakeAdmission, fakePeer, type FakeAdmission }

export type Front = AsyncDisposable & {
  readonly admission: FakeAdmission
  readonly live: LiveControl
  readonly log: Record<string, unknown>[]
  readonly tally: Tally
  readonly sightings: string[]
  /** certificates that were suspected */
  readonly suspects: string[]
  readonly holders: Holders
  /** connections that have not ended */
  readonly open: number
  metrics(): Promise<string>
  /** a stream to the door, as a device; nothing said yet */
  dial(
    id: string | undefined,
    o?: {
      readonly notAfter?: number
      readonly host?: string | undefined
      readonly version?: 3 | 4 | 5
      readonly web?: Web
    },
  ): MqttClient
  /** and CONNECT with its CONNACK */
  enter(id: string, over?: Parameters<MqttClient['connect']>[0]): Promise<MqttClient>
}

/** Settings as their defaults are, where connections are short. */
const MQTT_SETTINGS: Config['mqtt'] = {
  default_hostname: 'a.test',
  max_connection: 86_400_000,
  handshake_per: 'connection',
  connect_timeout: 10_000,
  connect_limit: 4_096,
  frame_limit: 256 * 1024,
  receive_maximum: 256,
  topic_alias_maximum: 16,
  subscriptions: 100,
  packets_per_second: 1_000_000,
  bytes_per_second: 1024 ** 3,
  denied_per_minute: 100,
  max_keepalive: undefined,
  connections_per_address: 60_000,
  server_reference: undefined,
  log_every: 0,
  store: '/nowhere/broker.sqlite',
  broker_socket: '/nowhere/broker.sock',
  upstream: undefined,
  upstream_engine: 'mqtt',
  upstream_ca: undefined,
  upstream_cert: undefined,
  upstream_key: undefined,
  upstream_username: undefined,
  upstream_password_file: undefined,
  upstream_proxy_protocol: 'off',
  upstream_timeout: 5_000,
}

export const openFront = async (
  over: Partial<Omit<DoorParts, 'mqtt'>> & {
    readonly mqtt?: Partial<Config['mqtt']>
    readonly makeUpstream?: () => Promise<Upstream>
    readonly memory?: Partial<MemoryLimits>
  } = {},
): Promise<Front> => {
  const log: Record<string, unknown>[] = []
  const metrics = createMetrics('gateway')
  const connections = new Set<ReturnType<typeof serveConnection>>()
  const tally = createTally(metrics, () => connections.size)
  const mqtt = { ...MQTT_SETTINGS, ...over.mqtt }
  const clock = over.clock ?? systemClock
  const upstream =
    (await over.makeUpstream?.()) ??
    (await openEmbeddedBroker({
      frameLimit: mqtt.frame_limit,
      clock,
      log: { info: () => {}, warn: () => {} },
      dropped: tally.dropped,
      expired: () => {},
      ...(over.memory === undefined ? {} : { limits: over.memory }),
    }))
  const admission = createFakeAdmission()
  const live = createLive()
  const sightings: string[] = []
  const suspects: string[] = []
  const holders = createHolders(createDiscard(upstream))
  const timers = createTimers()
  const lines = createLog('gateway', 'debug', {
    write: (line) => void log.push(JSON.parse(line) as Record<string, unknown>),
  })
  const endsSession = createEndsSession(admission)
  const parts: DoorParts = {
    admission,
    live,
    upstream,
    holders,
    sleepers: createSleepers({ admission, live, holders, endsSession, log: lines, metrics }),
    tally,
    endsSession,
    wasEverCut: createWasEverCut(admission),
    places: createPlaces(),
    takeovers: createTakeovers({
      now: timers.now,
      log: lines,
      metrics,
      suspect: (fingerprint) => void suspects.push(fingerprint),
    }),
    timers,
    log: lines,
    clock,
    random: () => 0.5,
    sighting: (fingerprint) => void sightings.push(fingerprint),
    anonymousLine: () => true,
    claims: undefined,
    openLocal: undefined,
    ...over,
    mqtt,
  }
  const streams = new Set<MqttClient>()
  const dial: Front['dial'] = (id, o = {}) => {
    const [near, far] = duplexPair()
    // as a socket does
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    const host = 'host' in o ? o.host : 'a.test'
    const on = { admitted: () => {}, ended: () => connections.delete(connection) }
    const connection = serveConnection(parts, far, fakePeer(id, o.notAfter), host, on, o.web)
    connections.add(connection)
    const client = mqttClient(near, o.version)
    streams.add(client)
    return client
  }
  return {
    admission,
    live,
    log,
    tally,
    sightings,
    suspects,
    holders,
    get open() {
      return connections.size
    },
    metrics: () => {
      tally.flush()
      return metrics.text()
    },
    dial,
    enter: async (id, packet) => {
      const version = (packet?.protocolVersion ?? 4) as 3 | 4 | 5
      const client = dial(id, { version })
      const code = await client.connect({ clientId: id, ...packet })
      if (code !== 0) throw new Error(`CONNACK ${code}`)
      return client
    },
    async [Symbol.asyncDispose]() {
      for (const client of streams) client[Symbol.dispose]()
      await upstream[Symbol.asyncDispose]()
      timers[Symbol.dispose]()
    },
  }
}
