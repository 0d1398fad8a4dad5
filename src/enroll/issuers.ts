/** The issuers of this desk: one that signs, and those whose CRLs and OCSP answers it still makes. Not their states: #registry. */

import { FleetError } from '#fleet/errors.ts'
import type { Issuer } from '#pki/issuer.ts'

export interface Issuers {
  /** Signs new certificates. @throws `issuer_unusable`: none is active now */
  active(): Issuer
  /** Each whose key can be used from here, the active one first. */
  all(): readonly Issuer[]
}

export const createIssuers = (issuers: readonly Issuer[]): Issuers => ({
  active: () => {
    const [first] = issuers
    if (first === undefined) throw new FleetError('issuer_unusable', 'there is no active issuing CA')
    return first
  },
  all: () => issuers,
})
