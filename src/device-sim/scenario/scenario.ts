/**
 * What a simulated fleet is asked to do, as data: what a scenario file says after it was read and checked. Not the file's own form
 * (#wire/scenario.ts) nor how it is read (read.ts), and not how anything is done: nobody who runs it knows a scenario by name.
 */

import type { KeyKind } from '#fleet/certificate.ts'
import type { GivenRevocationReason } from '#fleet/revocation-reason.ts'
import type { KeyAgreement } from '#wire/scenario.ts'

/** Relative: `{https: 3, mqtt: 1}` is three of four. */
export type Weights<K extends string> = Readonly<Record<K, number>>

export type EnrollVia = 'rest' | 'est' | 'mqtt'

export type Load =
  /** each device waits `pace` × (1 ± `jitter`) ms after an answer before it asks again: a slow server is asked less */
  | { readonly kind: 'closed'; readonly pace: number; readonly jitter: number }
  /** so many turns a second of the whole fleet, whatever the answers take: latency counts from when a turn was due */
  | { readonly kind: 'open'; readonly rate: number; readonly arrivals: 'constant' | 'poisson' }

/** On which devices: a share of the fleet, chosen by the seed; at least one. */
type Devices = { readonly share: number }
/** ms after the start of the run; `lasts` undefined: at once, or to the end */
type When = { readonly at: number; readonly lasts: number | undefined }

export type Fault = When &
  Devices &
  (
    | {
        /** the network of these devices: made in this process, below TLS */
        readonly kind: 'link'
        /** ms each way, ± `jitter` ms */
        readonly delay: number
        readonly jitter: number
        /** of segments, each sent again after a timeout, as TCP would; 0 to 1 */
        readonly loss: number
        /** nothing passes either way, and no end is seen */
        readonly halfOpen: boolean
        /** ms between two small pieces of what is sent until the handshake is done; 0: at once */
        readonly slowHandshake: number
      }
    /** away altogether: no connection, no request; back at the end of it */
    | { readonly kind: 'offline' }
    /** every connection dropped without a word, and made again at once */
    | { readonly kind: 'reconnect' }
    /** asks for a new certificate now, whatever renew_after says */
    | { readonly kind: 'renew'; readonly newKey: boolean }
    /** somebody has copied key and certificate, and uses them from elsewhere */
    | { readonly kind: 'clone'; readonly rival: 'renewal' | 'connection' }
    | { readonly kind: 'revoke'; readonly reason: GivenRevocationReason }
    /** resumed at the end of it */
    | { readonly kind: 'suspend' }
    /** a step of the issuing CA's rotation; concerns nobody in particular, so `share` is 1 */
    | {
        readonly kind: 'rotate'
        readonly step: 'distribute' | 'activate' | 'retire'
        readonly force: boolean
      }
  )

export type FaultKind = Fault['kind']

/** Faults that go on until their end, or that of the run; the others are done once. */
export const LASTING_FAULTS: readonly FaultKind[] = ['link', 'offline', 'suspend']

/** Faults that the coordinator brings about with the operator API; the others are the devices' own. */
export const OPERATOR_FAULTS: readonly FaultKind[] = ['revoke', 'suspend', 'rotate']

export type Scenario = {
  /** of the file, without its ending */
  readonly name: string
  readonly summary: string
  readonly devices: number
  /** ms over which the devices come, evenly */
  readonly ramp: number
  /** ms of load, the ramp included; undefined: until it is ended */
  readonly duration: number | undefined
  readonly load: Load
  /** octets of a request's body and of a message */
  readonly payload: number
  readonly doors: Weights<'https' | 'mqtt'>
  readonly enroll: Weights<EnrollVia>
  readonly keys: Weights<KeyKind>
  /** group whose key share they send to the HTTPS and the MQTT door */
  readonly keyAgreement: KeyAgreement
  /** of each certificate, such as `30s`: asked of the operator's claim token; undefined: what the server gives */
  readonly certificateTtl: string | undefined
  /** ms between two questions whether to renew (GET /v1/renewal); undefined: renew_after of the certificate alone says so */
  readonly adviceEvery: number | undefined
  readonly mqtt: {
    /** 4 is MQTT 3.1.1 */
    readonly version: 4 | 5
    readonly qos: 0 | 1
    /** false: the session stays at the broker while the device is away */
    readonly clean: boolean
    /** seconds */
    readonly keepalive: number
    /** to its own topics, so that it hears what it says */
    readonly subscribe: boolean
  }
  /** the clocks of a share of the devices are wrong by something between `from` and `to` ms */
  readonly clocks: { readonly share: number; readonly from: number; readonly to: number }
  readonly timeline: readonly Fault[]
  /** names of drills that run beside the fleet */
  readonly drills: readonly string[]
  readonly bounds: {
    /** ms after the operator's answer from which nothing of a revoked device may get in */
    readonly revokedWithin: number
    /** ms at the end for what is under way: deliveries, renewals */
    readonly drain: number
  }
  /** as `https.p99<500ms`; see assertions.ts */
  readonly assertions: readonly string[]
}
