/** What the coordinator and its workers say to each other over IPC (structured clone). Everybody is ours: nothing here is checked. */

import type { Identity, Targets } from '../client/identity.ts'
import type { FleetEvent } from '../events.ts'
import type { Finding } from '../invariants/invariant.ts'
import type { Sample } from '../measure/measures.ts'
import type { Scenario } from '../scenario/scenario.ts'
import type { GivenBatch } from './given.ts'

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
  /** a target that is not a Sallyport */
  readonly foreign: boolean
  readonly stateDir: string | undefined
  /** nobody of the fleet has been here: that one of its devices is enrolled already says that it is somebody else's */
  readonly fresh: boolean
  readonly rounds: number | undefined
  /** of a request, with `{id}`; default: `/telemetry/<id>/<turn>` */
  readonly path: string | undefined
  readonly method: 'GET' | 'POST' | undefined
  /** with `{id}`; default: `devices/{id}/telemetry` */
  readonly topic: string | undefined
}

export type ToWorker =
  /** any number of them, before the start */
  | GivenBatch
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
  /** devices of that name are enrolled already, by somebody whose keys are not here */
  | { readonly kind: 'taken'; readonly device: string }
  /** once a second, also while the fleet gathers */
  | { readonly kind: 'sample'; readonly sample: Sample }
  | {
      readonly kind: 'done'
      readonly findings: readonly Finding[]
      /** devices whose copies only the operator can say to have been noticed */
      readonly unsettled: readonly string[]
      /** how many devices each fault of the timeline befell, by its index; of the operator's own 0 */
      readonly struck: readonly number[]
      /** what ended it early, when something that is ours did */
      readonly trouble: string | undefined
      /** of the state: a sentence, when something of it is not kept that should be */
      readonly unwritten?: string | undefined
    }
