/** Where `trust` finds the roots that devices verify servers with. */

import type { TrustAnchor } from '#wire/rest.ts'
import type { Collection } from '../rotating.ts'

export const TRUST_ANCHORS: Collection<TrustAnchor> = {
  words: 'trust',
  path: '/v1/trust-anchors',
  what: 'server anchor',
  argument: 'fingerprint',
  idOf: ({ fingerprint }) => fingerprint,
}
