/** Single certificates: found, listed, revoked. */

import { FleetError } from '#fleet/errors.ts'
import type { RevocationMemory } from '../revocations.ts'
import type { Tools } from './verbs.ts'

const notBuilt = (): never => {
  throw new FleetError('internal', 'not built yet')
}

export const revocationVerbs = (_tools: Tools): RevocationMemory => ({
  serialStatus: notBuilt,
  findCertificate: notBuilt,
  listCertificates: notBuilt,
  revokeCertificate: notBuilt,
  revokeGroupPart: notBuilt,
})
