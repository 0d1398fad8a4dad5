/** What is common to how devices live, whatever door they use: what the run may ask of one. */

import type { Taker } from '../load/open.ts'

/** In a closed loop `run` takes the turns; in an open loop it only keeps the device ready for those it is given. */
export type Life = Taker & {
  /** Ends when it is to stop and nothing is under way, or after its turns. Rejects only for what is ours. */
  run(): Promise<void>
  /** there is a new certificate to be tried */
  onCandidate(): void
  /** What is under way is given up; it says goodbye. @returns false: it has nobody to say it to, and has to be ended */
  hurry(): boolean
}
