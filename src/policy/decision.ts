/** One decision, two doors: what may be asked of admission, and what it answers. A third door is one member of {@link Ask}. */

import type { Application, TopicAct } from '#fleet/access.ts'
import type { Denial } from '#fleet/denial.ts'
import type { DeviceId } from '#fleet/device-id.ts'

/** `host`: lower case, no port, no trailing dot. `target`: the raw request target, origin-form. */
export type Ask =
  | { readonly door: 'https'; readonly host: string; readonly method: string; readonly target: string }
  | { readonly door: 'mqtt'; readonly host: string; readonly act: 'connect'; readonly clientId: string }
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

export type Decision =
  | {
      readonly allow: true
      readonly identity: Identity
      readonly application: Application
      readonly policy: string
      /** ms: the last moment at which the leaf and everything above it are valid. Whoever keeps this decision asks again after it. */
      readonly notAfter: number
    }
  /** `identity`: who it was, when that much is sure; for the log only */
  | { readonly allow: false; readonly reason: Denial; readonly identity?: Identity }

/** The ladder climbed once for everything but the topic. As good as any decision: until the next change, and until `notAfter`. */
export type TopicJudge = {
  /** on everything but the topic; a denial here is every topic's */
  readonly standing: Decision
  /** What the whole ladder says of this topic: `standing`, or `topic_denied`. For `subscribe` a filter, without `$share/<group>/`. */
  judge(act: TopicAct, topic: string): Decision
}
