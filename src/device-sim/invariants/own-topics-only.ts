/** Nobody hears what is another's. Put to the test by each delivery, and by each filter of another that was refused as it must be. */

import { createBreaches, quoted } from './finding.ts'
import type { Judge } from './judge.ts'

export const ownTopicsOnly = (): Judge => {
  const breaches = createBreaches()
  let checked = 0
  return {
    on: {
      delivered: () => void checked++,
      kept_out: () => void checked++,
      stray({ device, topic }) {
        checked++
        breaches.add(() => `${device} was let hear ${quoted(topic)}`)
      },
    },
    finding: () => ({
      name: 'own_topics_only',
      checked,
      broken: breaches.broken,
      evidence: [...breaches.evidence],
    }),
  }
}
