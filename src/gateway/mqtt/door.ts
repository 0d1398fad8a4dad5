/**
 * The MQTT door: a TLS listener, and a policy-enforcing front before a broker (docs/architecture.md). Stateless: sessions live in the broker, verdicts
 * in admission. Not a connection's life, which is ./connection.ts.
 */

import type { Socket } from 'node:net'
import { isIP } from 'node:net'
import { createSecureContext, createServer, type SecureContext, type TLSSocket } from 'node:tls'
import { MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import type { Config } from '#runtime/config.ts'
import { listen, urlFor } from '#runtime/listen.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import { addressOf, readPeer } from '#runtime/peer.ts'
import type { Admission } from '../admission.ts'
import type { AnonymousLines } from '../anonymous-lines.ts'
import type { Contexts } from '../contexts.ts'
import { createCrowd } from '../crowd.ts'
import type { Live } from '../live.ts'
import { serveConnection, type Connection } from './connection.ts'
import type { DoorParts } from './door-parts.ts'
import { openEmbeddedBroker } from './embedded/broker.ts'
import { createHolders } from './holders.ts'
import { createSleepers } from './sleepers.ts'
import { createTally } from './tally.ts'

/** ms between two looks at what has no timer of its own */
const SWEEP = SECOND
/** ms for clients to read what they were sent, when the door closes; for those who were not admitted */
const DRAIN = 2 * SECOND
const GRACE = 250

export type MqttDoor = AsyncDisposable & {
  /** `mqtts://…` */
  readonly url: string
}

export type MqttDoorOptions = {
  readonly config: Pick<Config, 'gateway' | 'mqtt' | 'limits'>
  readonly log: Log
  readonly metrics: Metrics
  readonly clock: Clock
  readonly admission: Admission
  readonly live: Live
  readonly anonymousLines: Pick<AnonymousLines, 'take'>
  /** `server`: its default context is for clients without SNI, and trusts whom `mqtt.default_hostname` trusts */
  readonly contexts: Pick<Contexts, 'server' | 'contextFor' | 'onReload'>
  /** a device was admitted with this certificate */
  sighting(fingerprint: string): void
}

/** Says once a minute at most that messages are lost, and of whom one was. */
const createFullLog = (log: Log, clock: Clock): ((clientId: string | undefined) => void) => {
  let quietUntil = 0
  return (clientId) => {
    const now = clock()
    if (now < quietUntil) return
    quietUntil = now + MINUTE
    log.warn(
      { door: 'mqtt', client_id: clientId },
      'the queues of all sessions are full: the oldest messages of the largest are dropped',
    )
  }
}

/** A literal address is not a name (RFC 6066 §3), though some clients send it as one. */
const nameIn = (serverName: string | undefined): string | undefined =>
  serverName === undefined || isIP(serverName) !== 0 ? undefined : serverName

/** @throws FleetError `config_invalid` when the port is taken */
export const openMqttDoor = async (o: MqttDoorOptions): Promise<MqttDoor> => {
  const { config, log, metrics, clock, contexts } = o
  const { mqtt, limits } = config
  const connections = new Set<Connection>()
  const tally = createTally(metrics, () => connections.size)
  const full = createFullLog(log, clock)
  const upstream = await openEmbeddedBroker({
    frameLimit: mqtt.frame_limit,
    clock,
    dropped: (what, clientId) => {
      tally.dropped(what)
      if (what === 'evicted') full(clientId)
    },
    expired: (clientId) => sleepers.forget(clientId),
  })
  const holders = createHolders(upstream)
  const sleepers = createSleepers(o.admission, o.live, holders)
  const parts: DoorParts = {
    admission: o.admission,
    live: o.live,
    upstream,
    holders,
    sleepers,
    tally,
    log,
    clock,
    random: Math.random,
    sighting: o.sighting,
    anonymousLine: o.anonymousLines.take,
    connectTimeout: mqtt.connect_timeout,
    connectLimit: mqtt.connect_limit,
    frameLimit: mqtt.frame_limit,
    maxConnection: mqtt.max_connection,
    handshakePer: mqtt.handshake_per,
  }

  /** For a name that is nobody's: not the default context, whose anchors are another host's. Made anew with the server's certificate. */
  const makeNobody = (options: typeof contexts.server): SecureContext =>
    createSecureContext({ ...options, ca: [] })
  let nobody = makeNobody(contexts.server)

  const contextFor = (serverName: string): SecureContext => {
    const name = nameIn(serverName) ?? mqtt.default_hostname
    try {
      return (name === undefined ? undefined : contexts.contextFor(name)) ?? nobody
    } catch {
      // nobody is trusted now; CONNECT is answered with the reason
      return nobody
    }
  }

  const server = createServer({
    ...contexts.server,
    // a client without ALPN is let in too; one that offers only other protocols is not (RFC 7301 §3.2)
    ALPNProtocols: ['mqtt'],
    SNICallback: (serverName, done) => done(null, contextFor(serverName)),
  })
  contexts.onReload((options) => {
    server.setSecureContext(options)
    nobody = makeNobody(options)
  })

  const crowd = createCrowd({
    most: limits.max_connections,
    dropped: () => tally.ended('max_connections'),
  })
  server.on('connection', (raw: Socket) => crowd.enter(raw))
  server.on('tlsClientError', (error, socket) => {
    tally.ended('handshake_failed')
    log.debug({ door: 'mqtt', err: error, address: addressOf(socket) }, 'handshake failed')
    socket.destroy()
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    socket.setNoDelay(true)
    const read = readPeer(socket)
    const serverName = nameIn(read.serverName)
    const connection = serveConnection(
      parts,
      socket,
      { ...read, serverName },
      serverName ?? mqtt.default_hostname,
      {
        admitted: () => crowd.admit(socket),
        ended: () => connections.delete(connection),
      },
    )
    connections.add(connection)
  })

  const sweep = setInterval(() => {
    const now = clock()
    for (const connection of connections) connection.sweep(now)
    tally.flush()
  }, SWEEP).unref()

  const at = await listen(server, config.gateway.mqtts_listen).catch(async (error: unknown) => {
    clearInterval(sweep)
    await upstream[Symbol.asyncDispose]()
    throw error
  })

  return {
    url: urlFor('mqtts', at.host, at.port),
    async [Symbol.asyncDispose]() {
      clearInterval(sweep)
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve())
      })
      for (const connection of connections) connection.drain()
      const grace = setTimeout(crowd.dismiss, GRACE)
      // whatever is left then: clients that do not read
      const deadline = setTimeout(crowd.close, DRAIN)
      await closed
      clearTimeout(grace)
      clearTimeout(deadline)
      await upstream[Symbol.asyncDispose]()
      tally.flush()
    },
  }
}
