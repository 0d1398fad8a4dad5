/** Every certificate that came from the desk in this run stood up to the device's own check. Those that were kept or given were not asked for. */

import { createBreaches, quoted } from './finding.ts'
import type { Judge } from './judge.ts'

export const certificatesVerify = (): Judge => {
  const breaches = createBreaches()
  let checked = 0
  return {
    on: {
      enrolled({ via }) {
        if (via !== 'state' && via !== 'given') checked++
      },
      renewed: () => void checked++,
      unverified({ device, detail }) {
        checked++
        breaches.add(() => `${device}: ${quoted(detail)}`)
      },
    },
    finding: () => ({
      name: 'certificates_verify',
      checked,
      broken: breaches.broken,
      evidence: [...breaches.evidence],
    }),
  }
}
