/**
 * Connections of those who come to enrol: with a bootstrap certificate, which no device has. They have no broker, no identity, no session and
 * a short life, and touch nothing but `$sallyport/certificates/…`: docs/mqtt-enrollment.md. Not who is a device: ../admission.ts has said no.
 */

import { MINUTE, SECOND, type Clock } from '#fleet/clock.ts'
import type { EnrollmentGroup } from '#fleet/enrollment-group.ts'
import type { Peer } from '#fleet/peer.ts'
import { limitKey } from '#runtime/address-key.ts'
import { mightBeTaken } from '#trust/bootstrap-groups.ts'
import type { MqttReason } from '#wire/mqtt-codes.ts'
import { judgeClaim } from './claim-packets.ts'
import type { Connect } from './connect-packet.ts'
import { adjustConnack } from './connack-packet.ts'
import type { Decide } from './frames.ts'
import { createLocalTopics, LOCAL_KINDS, type OnRelayed } from './local-topics.ts'
import type { Property } from './properties.ts'
import type { Relay } from './relay.ts'
import type { MayAsk } from './relay-shares.ts'

/** The connection, as far as a claim's packets move it. */
export type ClaimClient = {
  /** from the door to the client; false: it does not read, and more will be held back by the connection */
  answer(bytes: Uint8Array): boolean
  /** It has said DISCONNECT: close once what is written has been sent. */
  goodbye(): void
  /** Something of it has thrown, in a turn of its own. */
  broke(error: unknown): void
  /** It has had its time, or has not used it: end it with `session_expired`. */
  expire(): void
}

export type ClaimOpening =
  /** its CONNACK is the connection's to make, log and count */
  | { readonly kind: 'refused'; readonly reason: MqttReason; readonly detail: string }
  | {
      readonly kind: 'open'
      /** written before anything else */
      readonly connack: Buffer
      /** judges every packet after CONNECT; answers by itself; `skip` or a refusal, never on to anybody */
      readonly decide: Decide
      /** bytes: the largest packet from here on */
      readonly frameLimit: number
      /** s, to be enforced × 1.5; 0: none */
      readonly keepalive: number
      /** ms: after it the connection ends with `session_expired` */
      readonly lifetime: number
      /** Once, when the connection has ended for whatever reason. */
      closed(): void
    }

export type Claims = {
  /**
   * May this client, whom admission does not know, come to enrol? An enabled group takes its certificate, revocation and all. At most a few
   * signatures are checked. Never throws: a registry that cannot be read takes nobody.
   */
  takes(peer: Peer): boolean
  /** After {@link Claims.takes} has said yes. Nothing is written before it returns. */
  open(o: { readonly connect: Connect; readonly peer: Peer; readonly client: ClaimClient }): ClaimOpening
}

/** At once, in one process: each holds a socket and little else. */
const MOST_CLAIMS = 512
/** One address may be all of a plant behind its router; a certificate that many devices share is in wrong hands sometimes. */
const SHARE_OF_ADDRESS = 16
/** Time enough for a nonce and an enrolment; who waits for an operator comes again. */
const LIFETIME = 5 * MINUTE
/** In which it asks nothing, and waits for no answer: who has made key and CSR before needs seconds. */
const IDLE = 30 * SECOND
/** s. MQTT 5 clients that ask for more, or none, are told this one. */
const KEEP_ALIVE = 120
const FRAME_LIMIT = 72 * 1024
/** More than one request at a time is refused anyway. */
const RECEIVE_MAXIMUM = 8

const refused = (reason: MqttReason, detail: string): ClaimOpening => ({ kind: 'refused', reason, detail })

/** Against what admission would say of a will, an authentication method, a session without a name. */
const problemOf = ({ level, clientId, clean, will, v5 }: Connect): ClaimOpening | undefined => {
  if (will !== undefined) return refused('topic_denied', 'who comes to enrol has no will')
  if (v5?.authenticationMethod !== undefined) return refused('unsupported', 'an authentication method')
  // [MQTT-3.1.3-8]; MQTT 3.1 knows no empty one
  if (clientId === '' && level < 5 && (level === 3 || !clean))
    return refused('client_id_mismatch', 'an empty ClientID asks for a clean session')
  return undefined
}

/** What only MQTT 5 can be told: that there is nothing here but requests and answers (MQTT 5 §3.2.2.3). */
const NOT_HERE: readonly Property[] = (
  [
    'retainAvailable',
    'wildcardSubscriptionAvailable',
    'subscriptionIdentifiersAvailable',
    'sharedSubscriptionAvailable',
  ] as const
).map((name) => ({ name, value: 0 }))

const connackFor = (
  { level, clientId, keepalive: asked }: Connect,
  keepalive: number,
  newId: () => string,
): Buffer =>
  adjustConnack({ sessionPresent: false, code: 0, properties: NOT_HERE }, level, {
    assignedClientId: clientId === '' ? newId() : undefined,
    serverKeepAlive: keepalive === asked ? undefined : keepalive,
    sessionExpiry: 0,
    topicAliasMaximum: 0,
    receiveMaximum: RECEIVE_MAXIMUM,
    maximumPacketSize: FRAME_LIMIT,
  })

/**
 * @param o.groups of the registry; the same map as long as nothing has changed. May throw
 * @param o.mayAsk of the share that those who come to enrol have
 * @param o.newId for who names none; unlike any device's
 */
export const createClaims = (o: {
  readonly groups: () => ReadonlyMap<string, EnrollmentGroup>
  readonly ask: Relay['ask']
  readonly mayAsk: MayAsk
  readonly relayed: OnRelayed
  readonly clock: Clock
  readonly newId: () => string
  readonly most?: number
}): Claims & { size(): number } => {
  const { most = MOST_CLAIMS, clock } = o
  const mostOfOne = Math.ceil(most / SHARE_OF_ADDRESS)
  let open = 0
  const byAddress = new Map<string, number>()
  const count = (key: string, by: 1 | -1): void => {
    open += by
    const left = (byAddress.get(key) ?? 0) + by
    if (left > 0) byAddress.set(key, left)
    else byAddress.delete(key)
  }
  return {
    size: () => open,
    takes: (peer) => {
      const { leaf, resumed } = peer
      if (leaf === undefined || resumed) return false
      return mightBeTaken(o.groups, { peer, leaf }, clock())
    },
    open: ({ connect, peer, client }) => {
      const problem = problemOf(connect)
      if (problem !== undefined) return problem
      const key = limitKey(peer.address)
      if (open >= most || (byAddress.get(key) ?? 0) >= mostOfOne)
        return refused('quota_exceeded', 'too many come to enrol at once')
      count(key, 1)
      const { level, keepalive: asked } = connect
      const keepalive = level < 5 ? asked : Math.min(asked || KEEP_ALIVE, KEEP_ALIVE)
      const expire = (): void => client.expire()
      let idle = setTimeout(expire, IDLE).unref()
      let closed = false
      const ask: Relay['ask'] = async (request) => {
        clearTimeout(idle)
        const relayed = await o.ask(request)
        if (!closed) idle = setTimeout(expire, IDLE).unref()
        return relayed
      }
      const { relayed, mayAsk } = o
      const allowed = LOCAL_KINDS.claim
      const { answer, broke } = client
      const local = createLocalTopics({ peer, level, allowed, mayAsk, ask, relayed, clock, answer, broke })
      return {
        kind: 'open',
        connack: connackFor(connect, keepalive, o.newId),
        decide: judgeClaim({ local, level, client, clock }),
        frameLimit: FRAME_LIMIT,
        keepalive,
        lifetime: LIFETIME,
        closed: () => {
          closed = true
          clearTimeout(idle)
          count(key, -1)
          local.close()
        },
      }
    },
  }
}
