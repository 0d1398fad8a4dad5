/** Registered devices and blocked keys. */

import { FleetError } from '#fleet/errors.ts'
import type { FleetListMemory } from '../fleet-lists.ts'
import type { Tools } from './verbs.ts'

const notBuilt = (): never => {
  throw new FleetError('internal', 'not built yet')
}

export const fleetListVerbs = (_tools: Tools): FleetListMemory => ({
  registerDevices: notBuilt,
  blockKeys: notBuilt,
  unblockKey: notBuilt,
  listBlockedKeys: notBuilt,
})
