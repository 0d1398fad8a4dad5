/** A judge of one promise: told of what happens, asked at the end. Its time is that of the events. Not the promises: invariant.ts. */

import type { FleetEvent, FleetEventOf } from '../events.ts'
import type { Finding } from './invariant.ts'

export type Judge = {
  /** of the kinds that it has to hear of */
  readonly on: { readonly [K in FleetEvent['kind']]?: (event: FleetEventOf<K>) => void }
  /** The load begins, after the whole fleet was waited for. @param at ms since the epoch */
  started?(at: number): void
  /**
   * Changes nothing, so that it may be asked while a run goes on.
   * @param at ms since the epoch: when nothing more is expected, for what has to have happened by then
   */
  finding(at: number): Finding
}

/** Of each device what a judge has to remember, made when there is something. */
export const createPerDevice = <T>(create: () => T) => {
  const all = new Map<string, T>()
  return {
    of(device: string): T {
      let state = all.get(device)
      if (state === undefined) all.set(device, (state = create()))
      return state
    },
    known: (device: string): T | undefined => all.get(device),
    entries: () => all.entries(),
  }
}
