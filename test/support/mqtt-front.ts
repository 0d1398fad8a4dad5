/**
 * The MQTT door without its listener: connections over streams in memory, the real embedded broker, and an admission that the test
 * tells what to say. Who a client is, is the CN of a peer made up here.
 */

import { duplexPair } from 'node:stream'
import type { Denial } from '#fleet/denial.ts'
import { systemClock } from '#fleet/clock.ts'
import type { TopicRule } from '#fleet/access.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Peer } from '#fleet/peer.ts'
import type { Admission } from '#gateway/admission.ts'
import { createLive, type LiveControl } from '#gateway/live.ts'
import { serveConnection } from '#gateway/mqtt/connection.ts'
import type { DoorParts } from '#gateway/mqtt/door-parts.ts'
import { openEmbeddedBroker } from '#gateway/mqtt/embedded/broker.ts'
import type { MemoryLimits } from '#gateway/mqtt/embedded/memory.ts'
import { createHolders } from '#gateway/mqtt/holders.ts'
import { createSleepers } from '#gateway/mqtt/sleepers.ts'
import { createTally, type Tally } from '#gateway/mqtt/tally.ts'
import type { Upstream } from '#gateway/mqtt/upstream.ts'
import type { Ask, Decision } from '#policy/decision.ts'
import { topicsOf } from '#policy/topics.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { mqttClient, type MqttClient } from './mqtt-client.ts'
import { application } from './registry.ts'

export type FakeAdmission = Admission & {
  /** by device id */
  readonly denied: Map<string, Denial>
  rules: readonly TopicRule[]
  /** what was judged, and what was recorded */
  readonly asked: Ask[]
  readonly recorded: { readonly ask: Ask; readonly decision: Decision }[]
  /** what the feed does when something has changed */
  changed(): void
}

export const createFakeAdmission = (): FakeAdmission => {
  let epoch = 0
  const admission: FakeAdmission = {
    denied: new Map(),
    rules: [],
    asked: [],
    recorded: [],
    changed: () => {
      epoch++
    },
    epoch: () => epoch,
    whoIs: (peer) => judge(peer, undefined),
    record: (_, ask, decision) => void admission.recorded.push({ ask, decision }),
    judgeTopics: (peer, host) => ({
      standing: judge(peer, undefined),
      judge: (act, topic) => admission.judge(peer, { door: 'mqtt', host, act, topic }),
    }),
    judge: (peer, ask) => {
      admission.asked.push(ask)
      return judge(peer, ask)
    },
  }
  /** @param ask undefined: of no topic */
  const judge = (peer: Peer, ask: Ask | undefined): Decision => {
    const { leaf } = peer
    const id = leaf?.commonName
    if (leaf === undefined || id === undefined) return { allow: false, reason: 'certificate_required' }
    const identity = { kind: 'device', id: id as DeviceId, group: 'lamps', tags: {} } as const
    const deny = (reason: Denial): Decision => ({ allow: false, reason, identity })
    const reason = admission.denied.get(id)
    if (reason !== undefined) return deny(reason)
    if (ask?.door === 'https') return deny('no_application')
    if (ask?.act === 'connect' && ask.clientId !== id) return deny('client_id_mismatch')
    if (ask !== undefined && ask.act !== 'connect')
      if (!topicsOf(admission.rules, identity)(ask.act, ask.topic)) return deny('topic_denied')
    return {
      allow: true,
      identity,
      application: application(),
      policy: 'valid',
      notAfter: leaf.notAfter,
      plan: { duration: 0, binding: 'certificate' },
    }
  }
  return admission
}

export const fakePeer = (id: string | undefined, notAfter = Number.MAX_SAFE_INTEGER): Peer => ({
  leaf:
    id === undefined
      ? undefined
      : ({ commonName: id, fingerprint: `of ${id}`, notAfter } as CertificateFacts),
  sentChain: [],
  trusted: id !== undefined,
  resumed: false,
  serverName: 'a.test',
  address: '192.0.2.1',
})

export type Front = AsyncDisposable & {
  readonly admission: FakeAdmission
  readonly live: LiveControl
  readonly log: Record<string, unknown>[]
  readonly tally: Tally
  readonly sightings: string[]
  /** connections that have not ended */
  readonly open: number
  metrics(): Promise<string>
  /** a stream to the door, as a device; nothing said yet */
  dial(
    id: string | undefined,
    o?: { readonly notAfter?: number; readonly host?: string | undefined },
  ): MqttClient
  /** and CONNECT with its CONNACK */
  enter(id: string, over?: Parameters<MqttClient['connect']>[0]): Promise<MqttClient>
  sweep(now: number): void
}

export const openFront = async (
  over: Partial<DoorParts> & {
    readonly makeUpstream?: () => Promise<Upstream>
    readonly memory?: Partial<MemoryLimits>
  } = {},
): Promise<Front> => {
  const log: Record<string, unknown>[] = []
  const metrics = createMetrics('gateway')
  const connections = new Set<ReturnType<typeof serveConnection>>()
  const tally = createTally(metrics, () => connections.size)
  const frameLimit = over.frameLimit ?? 256 * 1024
  const upstream =
    (await over.makeUpstream?.()) ??
    (await openEmbeddedBroker({
      frameLimit,
      clock: over.clock ?? systemClock,
      dropped: tally.dropped,
      expired: () => {},
      ...(over.memory === undefined ? {} : { limits: over.memory }),
    }))
  const admission = createFakeAdmission()
  const live = createLive()
  const sightings: string[] = []
  const holders = createHolders(upstream)
  const parts: DoorParts = {
    admission,
    live,
    upstream,
    holders,
    sleepers: createSleepers(admission, live, holders),
    tally,
    log: createLog('gateway', 'debug', {
      write: (line) => void log.push(JSON.parse(line) as Record<string, unknown>),
    }),
    clock: systemClock,
    random: () => 0.5,
    sighting: (fingerprint) => void sightings.push(fingerprint),
    anonymousLine: () => true,
    connectTimeout: 10_000,
    connectLimit: 4_096,
    frameLimit,
    maxConnection: 86_400_000,
    handshakePer: 'connection',
    ...over,
  }
  const streams = new Set<MqttClient>()
  const dial: Front['dial'] = (id, o = {}) => {
    const [near, far] = duplexPair()
    // as a socket does
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
    const host = 'host' in o ? o.host : 'a.test'
    const connection = serveConnection(parts, far, fakePeer(id, o.notAfter), host, {
      admitted: () => {},
      ended: () => connections.delete(connection),
    })
    connections.add(connection)
    const client = mqttClient(near)
    streams.add(client)
    return client
  }
  return {
    admission,
    live,
    log,
    tally,
    sightings,
    get open() {
      return connections.size
    },
    metrics: () => {
      tally.flush()
      return metrics.text()
    },
    dial,
    enter: async (id, packet) => {
      const client = dial(id)
      const code = await client.connect({ clientId: id, ...packet })
      if (code !== 0) throw new Error(`CONNACK ${code}`)
      return client
    },
    sweep: (now) => {
      for (const connection of connections) connection.sweep(now)
    },
    async [Symbol.asyncDispose]() {
      for (const client of streams) client[Symbol.dispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}
