/**
 * Who asks to enrol, as far as it can be told before a byte of the body is read: a claim token is judged, a certificate that no group takes
 * is refused, one that is good and nothing at all are let through to where the rest of the request is known. So nobody without a credential
 * costs more than a look-up, unless a group has said that it takes such.
 */

import type { Peer } from '#fleet/peer.ts'
import { checkBootstrap } from './bootstrap.ts'
import type { Claim } from './claim.ts'
import { authenticateClaim } from './credentials.ts'
import type { IssuanceDeps } from './issuance.ts'
import { checkStranger, isTaken } from './stranger.ts'

/** Did a certificate come along that may be somebody's bootstrap certificate? One of ours is none: it renews. */
export const isBootstrapPeer = ({ registry }: IssuanceDeps, peer: Peer | undefined): peer is Peer =>
  peer?.leaf !== undefined &&
  isTaken(registry.groups(), 'bootstrap') &&
  registry.status(peer.leaf.fingerprint) === undefined

/**
 * @param o.authorized an Authorization header was sent: then its token counts, and nothing else
 * @param o.token in that header; undefined: it is of another scheme
 * @param o.group that is known already, by a label; undefined: any
 * @returns undefined: by what the connection and the request say, {@link checkStranger} has let it through
 * @throws `credential_required`, `rate_limited`, and those of {@link authenticateClaim} and {@link checkBootstrap}
 */
export const authenticateAsker = async (
  deps: IssuanceDeps,
  o: {
    readonly authorized: boolean
    readonly token: string | undefined
    readonly peer: Peer | undefined
    readonly group?: string | undefined
    readonly address: string
  },
): Promise<Claim | undefined> => {
  if (o.authorized) return authenticateClaim(deps, o.token, o.address)
  if (isBootstrapPeer(deps, o.peer)) await checkBootstrap(deps, o.peer)
  else checkStranger(deps, o.address, o.group)
  return undefined
}
