/** A run as it is at this moment: what the live view and the Prometheus endpoint are made from. Not the report: that is #wire/simulation-report.ts. */

import type { Point, SimulationReport } from '#wire/simulation-report.ts'

export type Phase =
  /** devices get their identities; load has not begun */
  | { readonly kind: 'gathering'; readonly done: number; readonly of: number }
  /** ms since the start; `duration` undefined: until it is ended */
  | { readonly kind: 'running'; readonly elapsed: number; readonly duration: number | undefined }
  /** no new turns: what is under way ends */
  | { readonly kind: 'draining'; readonly elapsed: number }

export type ActiveFault = {
  readonly kind: string
  /** how many it hits */
  readonly devices: number
  /** ms until its end; undefined: to the end of the run */
  readonly left: number | undefined
}

export type Live = {
  readonly scenario: string
  /** how many were asked for */
  readonly devices: number
  readonly workers: number
  readonly phase: Phase
  /** since the beginning, the gathering included */
  readonly totals: Pick<SimulationReport, 'measures' | 'counts' | 'refused' | 'errors'>
  /** the last whole second; undefined in the first */
  readonly last: Point | undefined
  /** those that are on now */
  readonly faults: readonly ActiveFault[]
  readonly generator: Pick<SimulationReport['generator'], 'bound' | 'reasons'>
}
