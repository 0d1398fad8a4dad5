/**
 * The MQTT door: a TLS listener before the front. Who may come in, which context a server name gets, and how it stops in order. Not what is done
 * with a connection: ./front.ts.
 */

import type { Socket } from 'node:net'
import { isIPv4, isIPv6 } from 'node:net'
import { createSecureContext, createServer, type SecureContext, type TLSSocket } from 'node:tls'
import { MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { limitKey } from '#runtime/address-key.ts'
import type { Config } from '#runtime/config.ts'
import { listen, urlFor } from '#runtime/listen.ts'
import type { Log } from '#runtime/log.ts'
import type { Metrics } from '#runtime/metrics.ts'
import { addressOf, readPeerOf } from '#runtime/peer.ts'
import type { Contexts } from '../contexts.ts'
import { createCrowd } from '../crowd.ts'
import { createRates } from '../rates.ts'
import type { Front } from './front.ts'

/** ms for clients to read what they were sent, when the door closes; for those who were not admitted */
const DRAIN = 2 * SECOND
const GRACE = 250
/** ms of silence after which the kernel asks whether a client is still there: one without a keep-alive of its own is not held for ever */
const TCP_KEEP_ALIVE = MINUTE

export type MqttDoor = AsyncDisposable & {
  /** `mqtts://…` */
  readonly url: string
}

export type MqttDoorOptions = {
  readonly config: Pick<Config, 'gateway' | 'mqtt' | 'limits'>
  readonly log: Log
  readonly metrics: Metrics
  readonly clock: Clock
  readonly front: Pick<Front, 'serve' | 'drain' | 'tally'>
  /** `server`: its default context is for clients without SNI, and trusts whom `mqtt.default_hostname` trusts */
  readonly contexts: Pick<Contexts, 'server' | 'contextFor' | 'onReload'>
}

/** The colon is looked for first, for `isIPv6` is a long pattern. */
const isAddress = (text: string): boolean => isIPv4(text) || (text.includes(':') && isIPv6(text))

/** A literal address is not a name (RFC 6066 §3), though some clients send it as one. */
const nameIn = (serverName: string | undefined): string | undefined =>
  serverName === undefined || isAddress(serverName) ? undefined : serverName

const peerOf = (socket: TLSSocket): Peer => {
  const read = readPeerOf(socket)
  const serverName = nameIn(read.serverName)
  return serverName === read.serverName ? read : { ...read, serverName }
}

/** @throws FleetError `config_invalid` when the port is taken */
export const openMqttDoor = async (o: MqttDoorOptions): Promise<MqttDoor> => {
  const { config, log, contexts, front } = o
  const { mqtt, limits } = config
  const { tally } = front
  const refused = o.metrics.counter(
    'sallyport_connections_refused_total',
    'Connections of an address that had too many in a minute',
    ['door'],
  )

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
  const arrivals = createRates({ perMinute: mqtt.connections_per_address, clock: o.clock })
  server.on('connection', (raw: Socket) => {
    if (arrivals.take(limitKey(addressOf(raw))) > 0) {
      refused.inc({ door: 'mqtt' })
      raw.destroy()
      return
    }
    raw.setKeepAlive(true, TCP_KEEP_ALIVE)
    crowd.enter(raw)
  })
  server.on('tlsClientError', (error, socket) => {
    tally.ended('handshake_failed')
    log.debug({ door: 'mqtt', err: error, address: addressOf(socket) }, 'handshake failed')
    socket.destroy()
  })
  server.on('secureConnection', (socket: TLSSocket) => {
    try {
      socket.setNoDelay(true)
      const peer = peerOf(socket)
      front.serve(socket, peer, peer.serverName ?? mqtt.default_hostname, {
        admitted: () => crowd.admit(socket),
        ended: () => {},
      })
    } catch (err) {
      // a certificate that OpenSSL reads and we do not, say: the end of this connection alone
      tally.ended('internal')
      log.error({ door: 'mqtt', err, address: addressOf(socket) }, 'a connection could not be served')
      socket.destroy()
    }
  })

  const at = await listen(server, config.gateway.mqtts_listen)
  server.on('error', (err) => {
    log.error({ door: 'mqtt', err }, 'the MQTT listener failed')
  })

  let closed: Promise<void> | undefined
  const close = async (): Promise<void> => {
    closed ??= new Promise<void>((resolve) => {
      server.close(() => resolve())
    })
    front.drain()
    const grace = setTimeout(crowd.dismiss, GRACE)
    // whatever is left then: clients that do not read
    const deadline = setTimeout(crowd.close, DRAIN)
    await closed
    clearTimeout(grace)
    clearTimeout(deadline)
  }
  return { url: urlFor('mqtts', at.host, at.port), [Symbol.asyncDispose]: close }
}
