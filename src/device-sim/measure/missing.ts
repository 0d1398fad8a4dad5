/**
 * Turns of which there is no latency, though somebody waited: they were dropped, failed, or were never answered. In a rank they come after all that were
 * measured, for how long they would have taken nobody knows. In a closed loop an error ends the wait as an answer does; only silence is missing.
 * Not the percentiles: histograms.ts; not what is said of them: scenario/judge.ts.
 */

import { total, type CountsByDoor } from './counts.ts'
import type { Counter, Measure } from './measures.ts'

type Seen = { readonly counts: Partial<Readonly<Record<Counter, number>>>; readonly errors: CountsByDoor }

/** How many, by measure. A dropped turn is nobody's: it counts at both doors. */
export const missingOf = (
  load: 'open' | 'closed',
  { counts, errors }: Seen,
): Partial<Record<Measure, number>> => {
  const count = (name: Counter): number => counts[name] ?? 0
  const failed = (door: string): number => total(errors[door] ?? {})
  const silent = {
    https: count('unanswered_https'),
    publish: count('unanswered_mqtt'),
    delivery: count('unanswered_mqtt') + count('lost'),
  }
  if (load === 'closed') return silent
  const cutShort = Math.max(0, count('published') - count('acknowledged'))
  return {
    https: silent.https + count('dropped') + failed('https'),
    publish: silent.publish + count('dropped') + failed('mqtt') + cutShort,
    // an error of this door is an attempt to connect: the turns that waited for it are delivered later, or lost
    delivery: silent.delivery + count('dropped'),
    connect: failed('mqtt'),
  }
}
