/**
 * What those above a CA have forbidden it, for who looks at a part of its chain: a handshake ends at the first CA that an anchor holds, and
 * OpenSSL sees nothing above it; the chain of a bootstrap certificate ends at an anchor of its group. Not the chain itself: #pki/chain.ts.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import { createChecks, isSameCa, isSelfIssued, issuedBy } from '#pki/chain.ts'
import { judgeBootstrapCa } from '#pki/client-ca.ts'

/** @param above what its issuer leaves, of which a CA that is self-issued takes none (RFC 5280 §6.1.4 (l)) */
const roomBelow = (ca: CertificateFacts, above = Infinity): number =>
  Math.min(ca.pathLength ?? Infinity, above - (isSelfIssued(ca) ? 0 : 1))

const withRoom = (facts: CertificateFacts, room: number): CertificateFacts =>
  room === Infinity ? facts : { ...facts, pathLength: room }

/**
 * An authority as a root of a chain that ends there: with no more room below it than those above it leave.
 * @param chain itself and what is above it, root last, verified
 */
export const asRoot = ({
  facts,
  chain,
}: {
  readonly facts: CertificateFacts
  readonly chain: readonly CertificateFacts[]
}): CertificateFacts =>
  withRoom(
    facts,
    chain.reduceRight((room, ca) => roomBelow(ca, room), Infinity),
  )

/**
 * The anchors of a group as roots. Each is trusted for what it is, so the dates of what stands above it in the same file are no matter;
 * what that forbids is: how many CAs may follow, and to vouch for clients at all. Of several ways up the one that leaves it most.
 * @returns without those that are left nothing: they are CAs below the others, and what is wrong is found on the way there
 */
export const rootsAmong = (anchors: readonly CertificateFacts[]): readonly CertificateFacts[] => {
  // enough for each pair: nobody is to check one twice, and nobody else chose them
  const checks = createChecks(anchors.length ** 2)
  const links = anchors.map((ca) => ({
    ca,
    issuers: anchors.filter((other) => !isSameCa(ca, other) && issuedBy(ca, other, checks)),
  }))
  const rooms = new Map(
    links.flatMap(({ ca, issuers }) => (issuers.length === 0 ? [[ca, roomBelow(ca)] as const] : [])),
  )
  // from the top down, until no way up leaves anybody more: a circle never does
  for (let isOver = false; !isOver;) {
    isOver = true
    for (const { ca, issuers } of links)
      for (const issuer of issuers) {
        const [above, before] = [rooms.get(issuer), rooms.get(ca)]
        if (above === undefined) continue
        const room = judgeBootstrapCa(issuer) === undefined ? roomBelow(ca, above) : -Infinity
        if (before !== undefined && room <= before) continue
        rooms.set(ca, room)
        isOver = false
      }
  }
  return anchors.flatMap((ca) => {
    // round in a circle, or below one: nobody stands at the top
    const room = rooms.get(ca) ?? roomBelow(ca)
    return room < 0 ? [] : [withRoom(ca, room)]
  })
}
