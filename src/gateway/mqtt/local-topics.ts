/**
 * `$sallyport/…` on one connection: what a client may ask of the door itself, and the answers, which go to that connection only and never to
 * a broker. docs/mqtt-enrollment.md says what is asked and answered. Not what becomes of it: ./relay.ts.
 */

import { MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { toPem } from '#pki/pem.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'
import {
  replyTopics,
  REQUEST_TOPICS,
  RELAY_KINDS,
  type ProvedKind,
  type RelayedRequest,
  type RelayKind,
  type RelayRequest,
} from '#wire/relay.ts'
import type { Level } from './packets.ts'
import { writeProperties } from './properties.ts'
import { makePublish } from './publish-packet.ts'
import { refusalOf, type Relay, type Relayed } from './relay.ts'
import type { MayAsk } from './relay-shares.ts'

/** Of one connection. Nothing is kept for the next one. */
export type LocalTopics = {
  /**
   * SUBSCRIBE of a filter that begins with `$sallyport/`. true: from now on what is answered to that topic goes to the client, QoS 0 (so the
   * SUBACK says 0). Only the reply topics, spelled out: false (`topic_denied`) for anything else, wildcards and `$share/` too.
   */
  grants(filter: string): boolean
  /** UNSUBSCRIBE of the same. @returns whether it was subscribed to (MQTT 5: else 0x11) */
  forget(filter: string): boolean
  /**
   * PUBLISH to a topic that begins with `$sallyport/`, of any QoS; whoever calls acknowledges it. Never forwarded, whatever this says.
   * @param payload copied before it returns
   * @param o.correlation MQTT 5 Correlation Data, copied before it returns; undefined: none
   * @returns undefined: taken (an answer follows, if somebody has subscribed to it); else why not
   */
  publish(
    topic: string,
    payload: Uint8Array,
    o: { readonly correlation: Uint8Array | undefined },
  ): MqttReason | undefined
  /** The connection has ended: nothing is answered any more. */
  close(): void
}

/** The connection, as far as they need it. */
type Connection = {
  readonly peer: Peer
  readonly level: Level
  /** one whole PUBLISH in that level, from the door to the client: goes out with the door's other answers, not judged */
  readonly answer: (bytes: Buffer) => void
  /** something has thrown, in a turn of its own */
  readonly broke: (error: unknown) => void
}

export type OpenLocalTopics = (o: Connection) => LocalTopics

/** Requests of one connection in a minute: a nonce and an enrolment, a few times over. */
const PER_MINUTE = 20
/** Bytes of a request: a CSR and what goes with it. */
const LARGEST_PAYLOAD = 64 * 1024

const KIND_OF: ReadonlyMap<string, RelayKind> = new Map(
  RELAY_KINDS.map((kind) => [REQUEST_TOPICS[kind], kind]),
)
const REPLY_TOPICS: ReadonlySet<string> = new Set(
  RELAY_KINDS.flatMap((kind) => Object.values(replyTopics(kind))),
)

/** `kinds`: what may be asked. `proves`: what its nonces are for */
export type LocalKinds = { readonly kinds: ReadonlySet<RelayKind>; readonly proves: ProvedKind }

/** Who is allowed what. A device has its certificate already; a claim's renewal is enroll's to refuse. */
export const LOCAL_KINDS = {
  device: { kinds: new Set(['nonce', 'renew']), proves: 'renew' },
  claim: { kinds: new Set(RELAY_KINDS), proves: 'create' },
} as const satisfies Record<string, LocalKinds>

const bad = (detail: string): FleetError => new FleetError('bad_request', detail)

/** JSON as it came; that its fields are what they should be is enroll's to say. @throws FleetError */
const requestOf = (
  kind: RelayKind,
  proves: ProvedKind,
  payload: Uint8Array,
): Pick<RelayRequest, 'for' | 'request'> => {
  if (payload.length > LARGEST_PAYLOAD)
    throw new FleetError('body_too_large', `a request has at most ${LARGEST_PAYLOAD} bytes`)
  if (kind === 'nonce') {
    if (payload.length > 0) throw bad('a nonce is asked for with an empty payload')
    return { for: proves }
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
  } catch {
    throw bad('the payload is not JSON in UTF-8')
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw bad('the payload is not an object')
  return { request: parsed as RelayedRequest }
}

/** Told of each request once it has been answered. `reason`: of a refusal */
export type OnRelayed = (peer: Peer, kind: RelayKind, relayed: Relayed) => void

/**
 * @param o.allowed what may be asked on this connection
 * @param o.mayAsk asked before each request: of what this one has in the process
 * @param o.relayed for the log and the metrics
 */
export const createLocalTopics = (
  o: Connection & {
    readonly allowed: LocalKinds
    readonly mayAsk: MayAsk
    readonly ask: Relay['ask']
    readonly relayed: OnRelayed
    readonly clock: Clock
  },
): LocalTopics => {
  const { peer, level, clock } = o
  const { kinds, proves } = o.allowed
  const wanted = new Set<string>()
  let closed = false
  let busy = false
  let minute = 0
  let spent = 0
  /** what the client showed in its handshake: not to be had any more when its socket is gone */
  let certificate: string | undefined

  const reply = (kind: RelayKind, { accepted, body }: Relayed, correlation: Buffer | undefined): void => {
    const topics = replyTopics(kind)
    const topic = accepted ? topics.accepted : topics.rejected
    if (closed || !wanted.has(topic)) return
    const properties =
      correlation === undefined
        ? {}
        : { properties: writeProperties([{ name: 'correlationData', value: correlation }]) }
    o.answer(makePublish({ level, topic, payload: body, ...(level === 5 ? properties : {}) }))
  }

  /** @returns ms until it may */
  const mustWait = (): number => {
    const now = clock()
    if (now - minute >= MINUTE || now < minute) {
      minute = now
      spent = 0
    }
    spent += 1
    return spent > PER_MINUTE ? MINUTE : o.mayAsk(peer)
  }

  const ask = async (kind: RelayKind, payload: Uint8Array): Promise<Relayed> => {
    if (busy) return refusalOf(new FleetError('rate_limited', 'one request at a time', { retryAfter: 1 }))
    const wait = mustWait()
    if (wait > 0) {
      const retryAfter = Math.ceil(wait / SECOND)
      return refusalOf(new FleetError('rate_limited', 'too many requests: ask again later', { retryAfter }))
    }
    busy = true
    try {
      const { leaf, address } = peer
      if (leaf === undefined) throw new FleetError('certificate_required', 'present a certificate')
      certificate ??= [leaf.der, ...peer.sentChain].map((der) => toPem('CERTIFICATE', der)).join('')
      return await o.ask({ kind, certificate, address, ...requestOf(kind, proves, payload) })
    } catch (error) {
      return refusalOf(
        error instanceof FleetError ? error : new FleetError('internal', 'see the log', { cause: error }),
      )
    } finally {
      busy = false
    }
  }

  return {
    grants: (filter) => {
      if (!REPLY_TOPICS.has(filter)) return false
      wanted.add(filter)
      return true
    },
    forget: (filter) => wanted.delete(filter),
    publish: (topic, payload, { correlation }) => {
      const kind = KIND_OF.get(topic)
      if (kind === undefined || !kinds.has(kind)) return 'topic_denied'
      // who does not listen to the answer gets none, and no certificate either
      if (!wanted.has(replyTopics(kind).accepted)) return undefined
      const kept = correlation === undefined ? undefined : Buffer.from(correlation)
      // read before this returns, up to the first await
      void ask(kind, payload)
        .then((relayed) => {
          o.relayed(peer, kind, relayed)
          reply(kind, relayed, kept)
        })
        // nobody else would catch it, and it would be the end of the gateway
        .catch(o.broke)
      return undefined
    },
    close: () => {
      closed = true
    },
  }
}
