/**
 * What every registry must do, whatever it is made of: each verb, each named refusal and that it changes nothing, what concurrency and
 * order promise. A second implementation is held against it by one line. Not what is SQLite's own: test/unit/registry.
 */

import { afterEach, beforeEach, describe, it } from 'vitest'
import { ACTOR, claimToken } from '../support/registry.ts'
import { accessContract } from './registry/access.ts'
import { anchorCrlContract } from './registry/anchor-crls.ts'
import { credentialContract } from './registry/credentials.ts'
import { cutContract } from './registry/cuts.ts'
import { deviceListContract } from './registry/device-lists.ts'
import { deviceContract } from './registry/devices.ts'
import { feedContract } from './registry/feed.ts'
import { type Built, createGround, refused } from './registry/ground.ts'
import { issuerContract } from './registry/issuers.ts'
import { linesContract } from './registry/lines.ts'
import { movesContract } from './registry/moves.ts'
import { placesContract } from './registry/places.ts'
import { recordContract } from './registry/record.ts'
import { renewalContract } from './registry/renewals.ts'
import { repeatedUsesContract } from './registry/repeated-uses.ts'
import { reserveKindsContract } from './registry/reserve-kinds.ts'
import { reserveContract } from './registry/reserve.ts'
import { serviceTokenContract } from './registry/service-tokens.ts'
import { sessionRevocationContract } from './registry/session-revocations.ts'

export type { Built } from './registry/ground.ts'

const PARTS = [
  credentialContract,
  reserveContract,
  reserveKindsContract,
  recordContract,
  placesContract,
  linesContract,
  repeatedUsesContract,
  renewalContract,
  deviceContract,
  movesContract,
  cutContract,
  deviceListContract,
  issuerContract,
  accessContract,
  serviceTokenContract,
  sessionRevocationContract,
  anchorCrlContract,
  feedContract,
]

export const registryContract = (name: string, build: () => Promise<Built>): void => {
  describe(`registry contract: ${name}`, () => {
    let built: Built
    const at = createGround(build, () => built)

    beforeEach(async () => {
      built = await build()
    })
    afterEach(() => built[Symbol.asyncDispose]())

    for (const part of PARTS) part(at)

    it('refuses every write once it is closed', async () => {
      await at.registry[Symbol.asyncDispose]()
      await refused(at.registry.createToken(claimToken(), ACTOR), 'registry_unavailable')
    })
  })
}
