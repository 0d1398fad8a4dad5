/**
 * What those above a CA have forbidden it, for who looks at a part of its chain: a handshake ends at the first CA that an anchor holds, and
 * OpenSSL sees nothing above it; the chain of a bootstrap certificate ends at an anchor of its group. Not the chain itself: #pki/chain.ts.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import { between, createChecks, isSameCa, isSelfIssued, issuedBy } from '#pki/chain.ts'
import { judgeBootstrapCa } from '#pki/client-ca.ts'

/**
 * An authority as a root of a chain that ends there: with no more room below it than those above it leave. A CA that is self-issued takes
 * none (RFC 5280 §6.1.4 (l)).
 * @param chain itself and what is above it, root last, verified
 */
export const asRoot = ({
  facts,
  chain,
}: {
  readonly facts: CertificateFacts
  readonly chain: readonly CertificateFacts[]
}): CertificateFacts => {
  let taken = 0
  let room = Infinity
  for (const ca of chain) {
    room = Math.min(room, (ca.pathLength ?? Infinity) - taken)
    if (!isSelfIssued(ca)) taken += 1
  }
  return room === Infinity ? facts : { ...facts, pathLength: room }
}

/**
 * The anchors of a group as roots. Each is trusted for what it is, so the dates of what stands above it in the same file are no matter;
 * what that forbids is: how many CAs may follow, and to vouch for clients at all. Of several ways up the one that leaves it most.
 * @returns without those that are left nothing: they are CAs below the others, and what is wrong is found on the way there
 */
export const rootsAmong = (anchors: readonly CertificateFacts[]): readonly CertificateFacts[] => {
  // enough for each pair: nobody is to check one twice, and nobody else chose them
  const checks = createChecks(anchors.length ** 2)
  const tops = anchors.filter(
    (ca) => !anchors.some((other) => !isSameCa(ca, other) && issuedBy(ca, other, checks)),
  )
  const waysUp = (facts: CertificateFacts): readonly (readonly CertificateFacts[])[] => {
    if (tops.includes(facts)) return [[facts]]
    const ways = tops.flatMap((top) => {
      const path = between(facts, top, anchors, checks)
      return path === undefined ? [] : [[facts, ...path, top]]
    })
    // round in a circle: nobody stands above it
    return ways.length === 0 ? [[facts]] : ways
  }
  return anchors.flatMap((facts) => {
    const [most] = waysUp(facts)
      .filter(([, ...above]) => above.every((ca) => judgeBootstrapCa(ca) === undefined))
      .map((chain) => asRoot({ facts, chain }))
      .toSorted((a, b) => (b.pathLength ?? Infinity) - (a.pathLength ?? Infinity))
    return most === undefined || (most.pathLength ?? 0) < 0 ? [] : [most]
  })
}
