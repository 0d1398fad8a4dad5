/** Issuers from state to state, server anchors, fetched chains, imported CRLs. */

import { FleetError } from '#fleet/errors.ts'
import type { AuthorityMemory } from '../authorities.ts'
import type { Tools } from './verbs.ts'

const notBuilt = (): never => {
  throw new FleetError('internal', 'not built yet')
}

export const authorityVerbs = (_tools: Tools): AuthorityMemory => ({
  moveIssuer: notBuilt,
  serverAnchors: notBuilt,
  addServerAnchor: notBuilt,
  moveServerAnchor: notBuilt,
  trustVersion: notBuilt,
  recordTrustFetch: notBuilt,
  trustShare: notBuilt,
  keepImportedCrl: notBuilt,
  importedCrls: notBuilt,
})
