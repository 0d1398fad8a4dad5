/** One decision, two doors: what may be asked of admission, and what it answers. A third door is one member of {@link Ask}. */

import type { Application, TopicAct } from '#fleet/access.ts'
import type { Denial } from '#fleet/denial.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { TokenBinding } from '#fleet/session.ts'

/**
 * `host`: lower case, no port, no trailing dot. `target`: the raw request target, origin-form. `origin`: the Origin field, when there is one.
 * `authority`: the Host field, lower case, with its port; default `host`. `upgrade`: does it ask for a WebSocket? `first`: is it the first
 * request since the handshake? (default yes) `handshakeAt`: ms, when that was; undefined: a session is not older than its token. `running`: it was let in
 * before, and is being answered: the end of its session is not its own. (default no)
 * `clientId`: as in CONNECT; empty where the server may choose. `websocket`: it came by the HTTPS door, and only then `origin` and `authority` say anything.
 */
export type Ask =
  | {
      readonly door: 'https'
      readonly host: string
      readonly method: string
      readonly target: string
      readonly authority?: string
      readonly origin?: string
      readonly upgrade?: boolean
      readonly first?: boolean
      readonly handshakeAt?: number
      readonly running?: boolean
    }
  | {
      readonly door: 'mqtt'
      readonly host: string
      readonly act: 'connect'
      readonly clientId: string
      readonly websocket?: boolean
      readonly authority?: string
      readonly origin?: string
    }
  | {
      readonly door: 'mqtt'
      readonly host: string
      readonly act: TopicAct
      readonly topic: string
    }

export type Identity =
  | {
      readonly kind: 'device'
      readonly id: DeviceId
      readonly group: string
      readonly tags: Readonly<Record<string, string>>
    }
  /** a certificate under an anchor that is not ours; `name`: its CN */
  | { readonly kind: 'foreign'; readonly anchor: string; readonly name: string }
  /** no certificate, and the secret of a service token; HTTPS only */
  | { readonly kind: 'service'; readonly id: string; readonly name: string }
  /** let in by a bypass policy, whoever it is; HTTPS only */
  | { readonly kind: 'none' }

/** `duration`: ms; 0 is No Duration. */
export type SessionPlan = { readonly duration: number; readonly binding: TokenBinding }

/** A session token that was found good. Times: ms. `id`: its `jti`. `fingerprint`: of the certificate that it was made for. */
export type Session = {
  readonly id: string
  readonly issuedAt: number
  readonly expiresAt: number
  readonly fingerprint: string
}

export type Decision =
  | {
      readonly allow: true
      readonly identity: Identity
      readonly application: Application
      readonly policy: string
      /**
       * ms: the last moment at which the leaf and everything above it are valid, the session or the service token is, and time alone does not
       * change what the policies say. Whoever keeps this decision asks again after it. Infinity where nothing ends.
       */
      readonly notAfter: number
      readonly plan: SessionPlan
      /** the session that the client came with */
      readonly session?: Session
      /** name of the report-only policy that would have refused */
      readonly wouldDeny?: string
    }
  /**
   * For the log only: `identity`: who it was, when that much is sure; `application`; `policy`: the one that said no, when one did; `wouldAllow`:
   * name of the report-only policy that would have let it in.
   */
  | {
      readonly allow: false
      readonly reason: Denial
      readonly identity?: Identity
      readonly application?: string
      readonly policy?: string
      readonly wouldAllow?: string
    }

export type Allowed = Extract<Decision, { allow: true }>
export type Denied = Extract<Decision, { allow: false }>

/** The ladder climbed once for everything but the topic. As good as any decision: until the next change, and until `notAfter`. */
export type TopicJudge = {
  /** on everything but the topic; a denial here is every topic's */
  readonly standing: Decision
  /** What the whole ladder says of this topic: `standing`, or `topic_denied`. For `subscribe` a filter, without `$share/<group>/`. */
  judge(act: TopicAct, topic: string): Decision
}
