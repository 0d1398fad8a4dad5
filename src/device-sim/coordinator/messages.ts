/** What the coordinator and its workers say to each other over IPC (structured clone). Everybody is ours: nothing here is checked. */

import type { Enrolled, Identity, Targets } from '../client/identity.ts'
import type { FleetEvent } from '../events.ts'
import type { Finding } from '../invariants/invariant.ts'
import type { Sample } from '../measure/measures.ts'
import type { Scenario } from '../scenario/scenario.ts'

/** What devices enrol with. All may be missing: then every device has to be in the state, or be `given`. */
export type Credentials = {
  /** unbound, with enough uses; for REST and EST */
  readonly token?: string | undefined
  /** a claim certificate, for MQTT */
  readonly claim?: Identity | undefined
  /** the enrolment group that `claim` enrols into */
  readonly group?: string | undefined
}

export type Part = {
  /** the devices whose number % `of` is `index` */
  readonly index: number
  readonly of: number
  /** what its devices are called after; default: the seed. Another one, when devices of that name are there already */
  readonly name?: string | undefined
}

export type WorkerStart = {
  readonly kind: 'start'
  readonly part: Part
  readonly scenario: Scenario
  readonly seed: string
  readonly targets: Partial<Targets>
  readonly rootPem: string | undefined
  readonly credentials: Credentials
  /** identities that were given (--certs), by number of the device; they are not enrolled and not renewed */
  readonly given: readonly Enrolled[] | undefined
  /** a target that is not a Sallyport */
  readonly foreign: boolean
  readonly stateDir: string | undefined
  readonly rounds: number | undefined
  /** of a request, with `{id}`; default: `/telemetry/<id>/<turn>` */
  readonly path: string | undefined
  /** with `{id}`; default: `devices/{id}/telemetry` */
  readonly topic: string | undefined
}

export type ToWorker =
  | WorkerStart
  /** all are ready. `startsAt`: ms since the epoch, the zero of every time of the scenario */
  | { readonly kind: 'go'; readonly startsAt: number }
  /** what was done to devices of its part */
  | { readonly kind: 'told'; readonly events: readonly FleetEvent[] }
  /** no new turns: finish what is under way, within the drain of the scenario */
  | { readonly kind: 'stop' }
  /** at once: what is under way is given up, and what was seen so far is told */
  | { readonly kind: 'end' }

export type FromWorker =
  /** every device of its part has an identity or was refused one, or need not have one yet; waits for `go` */
  | { readonly kind: 'ready' }
  /** once a second */
  | { readonly kind: 'sample'; readonly sample: Sample }
  | {
      readonly kind: 'done'
      readonly findings: readonly Finding[]
      /** devices whose copies only the operator can say to have been noticed */
      readonly unsettled: readonly string[]
      /** what ended it early, when something that is ours did */
      readonly trouble: string | undefined
    }
