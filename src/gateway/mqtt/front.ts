/**
 * The MQTT front: policy before a broker, for connections from any listener: the TLS door and WebSockets of the HTTPS door share one. Stateless:
 * sessions live in the broker, verdicts in admission. Not a listener, and not one connection's life: ./connection.ts.
 */

import type { Duplex } from 'node:stream'
import { MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import type { Config } from '#runtime/config.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import type { Admission } from '../admission.ts'
import type { AnonymousLines } from '../anonymous-lines.ts'
import type { Live } from '../live.ts'
import type { Claims } from './claims.ts'
import { serveConnection, type Connection, type ConnectionEvents } from './connection.ts'
import { createDiscard } from './discard.ts'
import type { DoorParts } from './door-parts.ts'
import { openBrokerSocket } from './embedded/broker-socket.ts'
import { openEmbeddedBroker } from './embedded/broker.ts'
import { openEvictions, type Evicting } from './evictions.ts'
import type { Web } from './greeting.ts'
import { createHolders, type Holders } from './holders.ts'
import type { OpenLocalTopics } from './local-topics.ts'
import { openUpstream } from './open-upstream.ts'
import { createPlaces } from './places.ts'
import { createEndsSession, createWasEverCut } from './session-ends.ts'
import { createSleepers, type Sleepers } from './sleepers.ts'
import { createTakeovers } from './takeovers.ts'
import { createTally, type Tally } from './tally.ts'
import { createTimers } from './timers.ts'
import type { Upstream } from './upstream.ts'

/** ms between two hand-overs of what is counted, and between two tries to end what a broker did not end */
const FLUSH = SECOND
const RETRY = SECOND
/** QoS 2 messages of a session that have not been released: more than most clients ever send at a time. */
const LEAST_INCOMING = 4_096

export type Front = AsyncDisposable & {
  readonly upstream: Upstream
  readonly holders: Holders
  readonly tally: Tally
  /**
   * @param stream handshake done, nothing read
   * @param host by which it is judged; undefined: the client named none, and there is no default
   * @param web of a WebSocket
   */
  serve(stream: Duplex, peer: Peer, host: string | undefined, on: ConnectionEvents, web?: Web): Connection
  /** connections */
  size(): number
  /** Tells everybody that the gateway stops, and closes. */
  drain(): void
}

export type FrontOptions = {
  readonly config: Pick<Config, 'mqtt' | 'https'>
  /** `worker`: a process of `https.workers`, whose embedded broker is the gateway's */
  readonly place: 'gateway' | 'worker'
  readonly log: Log
  readonly metrics: Metrics
  readonly clock: Clock
  readonly admission: Admission
  readonly live: Live
  readonly anonymousLines: Pick<AnonymousLines, 'take'>
  /** a device was admitted with this certificate */
  sighting(fingerprint: string): void
  /** two connections take a ClientID from each other; this is the newer one's certificate */
  suspect(fingerprint: string): void
  readonly wasCut: Evicting['registry']['wasCut']
  readonly cutDevices: Evicting['registry']['cutDevices']
  readonly onChanges: Evicting['onChanges']
  readonly claims?: Claims | undefined
  readonly openLocal?: OpenLocalTopics | undefined
}

/** Says once a minute at most that messages are lost, and of whom one was. */
const createFullLog = (log: Log): ((clientId: string | undefined) => void) => {
  let quietUntil = -Infinity
  return (clientId) => {
    const now = performance.now()
    if (now < quietUntil) return
    quietUntil = now + MINUTE
    log.warn(
      { door: 'mqtt', client_id: clientId },
      'the queues of all sessions are full: the oldest messages of the largest are dropped',
    )
  }
}

/** @throws FleetError `config_invalid` */
export const openFront = async (o: FrontOptions): Promise<Front> => {
  const { config, log, metrics, clock } = o
  const { mqtt } = config
  await using opened = new AsyncDisposableStack()
  const connections = new Set<Connection>()
  const tally = createTally(metrics, () => connections.size, mqtt.log_every)
  const full = createFullLog(log)
  /** undefined: the broker is being opened, and nobody sleeps yet whose session it may end */
  let sleepers: Sleepers | undefined
  const embedded = (): Promise<Upstream> =>
    openEmbeddedBroker({
      path: mqtt.store,
      frameLimit: mqtt.frame_limit,
      subscriptions: mqtt.subscriptions,
      // what a client may have under way, the broker remembers
      limits: { incomingPerSession: Math.max(LEAST_INCOMING, mqtt.receive_maximum) },
      clock,
      log,
      dropped: (what, clientId) => {
        tally.dropped(what)
        if (what === 'evicted') full(clientId)
      },
      expired: (clientId) => sleepers?.forget(clientId),
    })
  const upstream = opened.use(await openUpstream({ ...o, embedded }))
  const holders = createHolders(createDiscard(upstream))
  const endsSession = createEndsSession(o)
  const timers = opened.use(createTimers())
  if (o.place === 'gateway') {
    // beside the broker's store, whatever broker there is
    const path = `${mqtt.store}.mark`
    const { sessionsOf } = upstream
    opened.use(openEvictions({ registry: o, onChanges: o.onChanges, holders, sessionsOf, path, log }))
    if (config.https.workers > 0 && mqtt.upstream === undefined)
      opened.use(await openBrokerSocket({ path: mqtt.broker_socket, upstream, holders, log }))
  }
  sleepers = createSleepers({ ...o, holders, endsSession })
  const parts: DoorParts = {
    mqtt,
    admission: o.admission,
    live: o.live,
    upstream,
    holders,
    sleepers,
    endsSession,
    wasEverCut: createWasEverCut(o),
    places: createPlaces(),
    takeovers: createTakeovers({ now: timers.now, log, metrics, suspect: o.suspect }),
    timers,
    tally,
    log,
    clock,
    random: Math.random,
    sighting: o.sighting,
    anonymousLine: o.anonymousLines.take,
    claims: o.claims,
    openLocal: o.openLocal,
  }

  const flushing = setInterval(tally.flush, FLUSH).unref()
  const retrying = setInterval(holders.retry, RETRY).unref()
  const drain = (): void => {
    for (const connection of connections) connection.drain()
  }
  opened.defer(() => {
    clearInterval(flushing)
    clearInterval(retrying)
    drain()
    tally.flush()
  })

  const stack = opened.move()
  return {
    upstream,
    holders,
    tally,
    serve: (stream, peer, host, on, web) => {
      const ended = (): void => {
        connections.delete(connection)
        on.ended()
      }
      const connection = serveConnection(parts, stream, peer, host, { admitted: on.admitted, ended }, web)
      connections.add(connection)
      return connection
    },
    size: () => connections.size,
    drain,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
