/**
 * What happens in a run: plain data, one event for each thing that a device saw or that was done to it. Everything that counts, measures or
 * judges is a sink of these (createTally, measure/, invariants/, the demo's ledger). Not a view: that is the CLI's.
 */

import type { EnrollVia } from './scenario/scenario.ts'

export type Door = 'enroll' | 'https' | 'mqtt'

/**
 * `at`: when it began, or was done; ms since the epoch with a fraction (see `now` in clock.ts).
 * `millis`: from `at` to the answer, handshake included. In an open loop `at` is when the turn was due.
 */
export type FleetEvent = { readonly device: string; readonly at: number } & (
  | {
      readonly kind: 'enrolled'
      /** `state`: kept from an earlier run; `given`: a certificate of --certs */
      readonly via: EnrollVia | 'state' | 'given'
      readonly millis: number
      /** ms since the epoch */
      readonly notAfter: number
    }
  /** a new certificate, admitted by a door and confirmed. `notAfter`: of it; `before`: of the one that it replaces */
  | { readonly kind: 'renewed'; readonly millis: number; readonly notAfter: number; readonly before: number }
  /** the desk has answered with a new certificate; no door has seen it yet. `at`: when it was asked for */
  | { readonly kind: 'issued' }
  /** `target`: of the request; undefined for an MQTT connection */
  | {
      readonly kind: 'admitted'
      readonly door: 'https' | 'mqtt'
      readonly target?: string
      readonly millis: number
    }
  /** `reason`: see words.ts: of the problem document, `http_401`, `http_403`, or `connack_<code>`, `suback_<code>`, `puback_<code>`: what was on the wire */
  | { readonly kind: 'refused'; readonly door: Door; readonly reason: string; readonly millis: number }
  /**
   * `seq`: 1, 2, … of this device on this topic, counted over reconnects. `acknowledged`: by a PUBACK; at QoS 0 nobody says. `awaited`: it listens, so
   * that it is to hear it
   */
  | {
      readonly kind: 'published'
      readonly topic: string
      readonly seq: number
      readonly millis: number
      readonly acknowledged: boolean
      readonly awaited?: boolean
    }
  /** QoS 0 in one write: seq … seq + count - 1 */
  | {
      readonly kind: 'burst'
      readonly topic: string
      readonly seq: number
      readonly count: number
      readonly awaited?: boolean
    }
  /** `at`: when it came; `millis`: since it was due (open loop), or published */
  | { readonly kind: 'delivered'; readonly topic: string; readonly seq: number; readonly millis: number }
  /** what it published was heard by the run's own observer. `at`: when it was due, or published; `millis`: until it was heard */
  | { readonly kind: 'heard'; readonly millis: number }
  /** a delivery on a topic that is another's */
  | { readonly kind: 'stray'; readonly topic: string }
  /** it tried to listen to this, which is another's, and was refused, as it must be; a grant is a `stray` of that filter */
  | { readonly kind: 'kept_out'; readonly topic: string }
  /** MQTT: SUBSCRIBE was granted. `present`: the broker had kept the session */
  | { readonly kind: 'listening'; readonly present: boolean }
  /** the server ended an MQTT connection */
  | { readonly kind: 'cut' }
  /** an MQTT connection ended, whoever ended it; what was in flight may not come in a clean session */
  | { readonly kind: 'left' }
  /**
   * Not a verdict: an unreachable target, an origin that is down, by its own clock an invalid server certificate. `detail` begins with a word where
   * there is one (words.ts). `letIn`: ms until an answer that only an origin gives, so that the door has let it in
   */
  | { readonly kind: 'error'; readonly door: Door; readonly detail: string; readonly letIn?: number }
  /** a turn that was begun and of which no other event tells: given up at the end, or with the connection that it waited for */
  | { readonly kind: 'unanswered'; readonly door: Door }
  /** a certificate did not stand up to the device's own check */
  | { readonly kind: 'unverified'; readonly detail: string }
  /** done to it: by the operator (once the API has answered), or by the scenario */
  | { readonly kind: 'revoked' | 'suspended' | 'resumed' | 'away' | 'back' }
  /** its copy: renewed as a rival, or was admitted while the original was connected (`admitted`) or refused */
  | { readonly kind: 'cloned'; readonly rival: 'renewal' | 'connection'; readonly outcome: string }
)

export type FleetEventOf<K extends FleetEvent['kind']> = Extract<FleetEvent, { readonly kind: K }>

/** Whoever is told. Must be quick, and must not throw. */
export type Sink = (event: FleetEvent) => void
