/** Enrolments that an operator decides. */

import { FleetError } from '#fleet/errors.ts'
import type { RequestMemory } from '../requests.ts'
import type { Tools } from './verbs.ts'

const notBuilt = (): never => {
  throw new FleetError('internal', 'not built yet')
}

export const requestVerbs = (_tools: Tools): RequestMemory => ({
  openRequest: notBuilt,
  findRequest: notBuilt,
  findRequestOf: notBuilt,
  hasOpenRequest: notBuilt,
  listRequests: notBuilt,
  decideRequest: notBuilt,
  expireRequests: notBuilt,
})
