/**
 * MQTT over WebSocket at the HTTPS door (MQTT 5 §6): which Upgrade is one, who may have it, and its bytes to the front that serves the MQTT door
 * too. Not the frames: websocket-stream.ts. Not MQTT: ../mqtt/front.ts.
 *
 * A refusal that cannot depend on the ClientID is told in HTTP, with its reason; what depends on it is CONNACK's.
 */

import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws'
import { MQTT_DEFAULTS, type Application } from '#fleet/access.ts'
import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { nameOf } from '#policy/admission.ts'
import type { Ask, Decision, Denied } from '#policy/decision.ts'
import type { Canonical } from '#policy/target.ts'
import type { Admission } from '../admission.ts'
import type { Front } from '../mqtt/front.ts'
import type { Web } from '../mqtt/greeting.ts'
import type { Connection, Exchange, Turn } from './connection.ts'
import { denialError } from './details.ts'
import type { Envelope } from './envelope.ts'
import type { Refusals } from './refusals.ts'
import { HSTS } from './response-headers.ts'
import { groupOf, shareIsTaken, type Shares } from './shares.ts'
import { CLOSE, WebSocketStream } from './websocket-stream.ts'
import { webSocketKey } from './websocket.ts'

const PATH = '/mqtt'
/** MQTT 5 §6 [MQTT-6.0.0-3]; 3.1's `mqttv3.1` is nobody's standard */
const SUBPROTOCOL = 'mqtt'
/** RFC 6455 §4.4 */
const VERSION = '13'

/** Frames of one message: a client may cut it as it likes, not into single octets. */
const MOST_FRAGMENTS = 1_024
/** Pieces of TCP in which one frame may arrive. */
const MOST_CHUNKS = 16_384
/** Answers to pings that the client has not taken; more come from nobody who reads. */
const MOST_PONGS = 256
/** ms that a client has to answer a Close frame. */
const CLOSE_TIMEOUT = 1_000
/** ms between two looks whether the client is there at all. */
const PROBE_AFTER = 30_000

const TOKENS = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*$/

/** Is it among them? Not in a list that is malformed, or that names one twice (RFC 6455 §4.1). */
const offersMqtt = (protocols: string | undefined): boolean => {
  if (protocols === undefined || !TOKENS.test(protocols)) return false
  const offered = protocols.split(/[ \t]*,[ \t]*/)
  return offered.includes(SUBPROTOCOL) && new Set(offered).size === offered.length
}

export type MqttWebSocketDeps = {
  readonly admission: Pick<Admission, 'judge' | 'record'>
  readonly shares: Shares
  /** undefined: there is none now */
  readonly applicationNamed: (name: string) => Application | undefined
}

/** A request as exchange.ts has read it. */
type Asked = {
  readonly connection: Connection
  readonly turn: Turn
  readonly requestId: string
  readonly envelope: Envelope
  readonly target: Canonical
  readonly refusals: Refusals
}

export type MqttWebSockets = {
  /** @returns undefined: it is none, and a request like any other; else its exchange, or that it is over already */
  take(deps: MqttWebSocketDeps, asked: Asked): { readonly exchange: Exchange | undefined } | undefined
}

/** The handshakes have been judged, so none of them fails in here. The types know neither of the last two. */
type Options = ServerOptions & { readonly closeTimeout: number; readonly maxPendingAutoPongs: number }

/** Does the host have an application that is reachable so, whoever asks? */
const servesWebSockets = ({ applicationNamed }: MqttWebSocketDeps, decision: Decision): boolean => {
  const application = decision.allow ? decision.application : applicationNamed(decision.application ?? '')
  const mqtt = application?.mqtt
  return mqtt !== undefined && (mqtt.websocket ?? MQTT_DEFAULTS.websocket)
}

/** No Duration is a handshake for each connection of MQTT: it is the first thing on it, or nothing. */
const denialOf = (decision: Decision, before: number): Denied | undefined => {
  // which ClientID it will be, CONNECT says
  if (!decision.allow && decision.reason !== 'client_id_mismatch') return decision
  if (before === 0) return undefined
  const { identity, application } = decision
  const name = typeof application === 'string' ? application : application?.name
  return {
    allow: false,
    reason: 'handshake_not_fresh',
    ...(identity === undefined ? {} : { identity }),
    ...(name === undefined ? {} : { application: name }),
  }
}

/** Told only after admission, so that a stranger hears first that he is one. */
const refusalOf = ({ turn: { request } }: Asked): FleetError | undefined => {
  if (request.headers['sec-websocket-version'] !== VERSION)
    return new FleetError('upgrade_required', `Sec-WebSocket-Version ${VERSION} is spoken here`)
  if (webSocketKey(request) === undefined)
    return new FleetError('bad_request', 'Sec-WebSocket-Key is missing, or not one')
  return undefined
}

const webOf = ({ origin, authority }: Envelope): Web => ({
  websocket: true,
  authority,
  ...(origin === undefined ? {} : { origin }),
})

/**
 * @param o.largest octets of a message: of the largest packet
 * @param o.isDraining does the door take nobody new?
 */
export const createMqttWebSockets = (o: {
  readonly front: Pick<Front, 'serve'>
  readonly largest: number
  readonly clock: Clock
  readonly isDraining: () => boolean
}): MqttWebSockets => {
  const options: Options = {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    handleProtocols: () => SUBPROTOCOL,
    maxPayload: o.largest,
    maxFragments: MOST_FRAGMENTS,
    maxBufferedChunks: MOST_CHUNKS,
    maxPendingAutoPongs: MOST_PONGS,
    closeTimeout: CLOSE_TIMEOUT,
  }
  const server = new WebSocketServer(options)
  server.on('headers', (headers) => {
    headers.push(HSTS.join(': '))
  })

  const serve = (socket: WebSocket, { connection, envelope }: Asked): WebSocketStream => {
    const { host } = envelope
    const { peer, socket: carrier } = connection
    const stream = new WebSocketStream(socket, {
      carrier,
      clock: o.clock,
      closeCode: () => (o.isDraining() ? CLOSE.goingAway : CLOSE.normal),
    })
    o.front.serve(stream, peer, host, { admitted: () => {}, ended: () => {} }, webOf(envelope))
    return stream
  }

  const open = (asked: Asked, share: Disposable): Exchange => {
    const { connection, turn } = asked
    const { socket } = connection
    turn.response.detachSocket(socket)
    connection.tunnel()
    socket.setKeepAlive(true, PROBE_AFTER)
    // called at once, or never: then the socket is gone
    let stream: WebSocketStream | undefined
    try {
      server.handleUpgrade(turn.request, socket, Buffer.from(turn.early ?? []), (webSocket) => {
        stream = serve(webSocket, asked)
      })
    } catch (error) {
      // nobody can be told in HTTP any more
      socket.destroy()
      share[Symbol.dispose]()
      throw error
    }
    return {
      isNamed: true,
      // who may, how long and how slowly, is the front's business
      patience: Infinity,
      get notAfter() {
        return stream?.deadline ?? Infinity
      },
      recheck: () => {
        stream?.late()
      },
      broken: () => {},
      closed: () => {
        share[Symbol.dispose]()
      },
    }
  }

  /** @returns undefined when it is over already */
  const judged = (
    deps: MqttWebSocketDeps,
    asked: Asked,
    ask: Ask,
    decision: Decision,
  ): Exchange | undefined => {
    const { connection, requestId, refusals } = asked
    const no = denialOf(decision, connection.before)
    if (no !== undefined) {
      deps.admission.record(connection.peer, ask, no, requestId)
      return refusals.denied(denialError(no.reason))
    }
    const refusal = refusalOf(asked)
    if (refusal !== undefined) return refusals.notServed(refusal, true)
    const { identity = { kind: 'none' } } = decision
    const share = deps.shares.take(nameOf(identity), groupOf(identity))
    return share === undefined ? refusals.notServed(shareIsTaken(), true) : open(asked, share)
  }

  return {
    take: (deps, asked) => {
      const { connection, turn, envelope, target } = asked
      const { host } = envelope
      if (turn.early === undefined || !target.ok || target.target !== PATH) return undefined
      if (!offersMqtt(turn.request.headers['sec-websocket-protocol'])) return undefined
      const ask: Ask = {
        door: 'mqtt',
        host,
        act: 'connect',
        clientId: '',
        ...webOf(envelope),
      }
      const decision = deps.admission.judge(connection.peer, ask)
      return servesWebSockets(deps, decision) ? { exchange: judged(deps, asked, ask, decision) } : undefined
    },
  }
}
