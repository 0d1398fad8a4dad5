/** What the operator routes are given, and who is asking. Not the routes. */

import type { Actor, OperatorToken } from '#fleet/credentials.ts'
import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Registry } from '#registry/registry.ts'
import type { AnchorCrls } from './anchor-crls/open.ts'
import type { AssertionKeys } from './assertion-keys.ts'
import type { FailureLimits } from './limits.ts'
import type { Authorities } from './rotate.ts'

export type OperatorApiDeps = {
  readonly registry: Registry
  readonly clock: Clock
  /** of operator tokens, by address: not the same as those of claim tokens */
  readonly failures: FailureLimits
  /** hex SHA-256 of the root that servers are verified with now: another one after a rotation */
  readonly rootSha256: () => string
  /** is there a secret that calls of webhooks are signed with? */
  readonly webhooksReady: boolean
  /** https.session_duration, ms: what the policy test takes for it */
  readonly sessionDuration: number
  /** what a device is told to enrol at */
  readonly enrollUrl: string
  /** issuers and server anchors, and how they are rotated */
  readonly authorities: Authorities
  /** what the gateway signs assertions and session tokens with */
  readonly signingKeys: Pick<AssertionKeys, 'list' | 'rotate'>
  readonly anchorCrls: Pick<AnchorCrls, 'state' | 'upload'>
}

/** Who did it, for the audit. Only behind a role, so there is one. */
export const actorOf = (request: { readonly operator: OperatorToken | undefined }): Actor => {
  if (request.operator === undefined) throw new FleetError('credential_required', 'send an operator token')
  return `operator:${request.operator.id}`
}
