/** Renewals: confirmed, withdrawn, suspected. */

import { FleetError } from '#fleet/errors.ts'
import type { RenewalMemory } from '../renewals.ts'
import type { Tools } from './verbs.ts'

const notBuilt = (): never => {
  throw new FleetError('internal', 'not built yet')
}

export const renewalVerbs = (_tools: Tools): RenewalMemory => ({
  confirmCertificate: notBuilt,
  withdrawUnconfirmed: notBuilt,
  recordCloneSuspicion: notBuilt,
  clearCloneSuspicion: notBuilt,
})
