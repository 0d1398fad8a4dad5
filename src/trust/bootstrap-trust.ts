/**
 * What a group trusts bootstrap certificates by, read once: anchors and revocation lists. And the one question about a chain that leads
 * to such an anchor: is any of it revoked? Not the chain itself: that is #pki/chain.ts.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import type { BootstrapTrust, EnrollmentGroup } from '#fleet/enrollment-group.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificates } from '#pki/certificate.ts'
import { crlCovers, crlNames, crlPointsOf, crlSignedBy, readCrls, type CrlFacts } from '#pki/crl-read.ts'
import { toPem } from '#pki/pem.ts'
import { rootsAmong } from './ca-limits.ts'

export type Trust = {
  readonly anchors: readonly CertificateFacts[]
  /** those at which a chain may end, with what those above them leave */
  readonly roots: readonly CertificateFacts[]
  /** undefined: revocation is not looked at */
  readonly crls: readonly CrlFacts[] | undefined
}

/** @throws `bad_request`: which PEM, and what is wrong with it */
export const readBootstrapTrust = ({ anchors, crls }: BootstrapTrust): Trust => {
  const read = <T>(what: string, reader: () => T): T => {
    try {
      return reader()
    } catch (error) {
      if (!(error instanceof FleetError) || error.code !== 'bad_request') throw error
      throw new FleetError('bad_request', `bootstrap.${what}: ${error.detail}`, { cause: error })
    }
  }
  const all = read('anchors', () => readCertificates(anchors))
  let roots: Trust['roots'] | undefined
  return {
    anchors: all,
    // signature checks: not for who only names the anchors in a handshake
    get roots() {
      return (roots ??= rootsAmong(all))
    },
    crls: crls === undefined ? undefined : read('crls', () => readCrls(crls)),
  }
}

const known = new WeakMap<BootstrapTrust, Trust>()

/** As {@link readBootstrapTrust}, once for each that is on record. */
export const trustOf = (trust: BootstrapTrust): Trust => {
  const before = known.get(trust)
  if (before !== undefined) return before
  const read = readBootstrapTrust(trust)
  known.set(trust, read)
  return read
}

/** A handshake names each, and that is some 100 bytes of it. */
const MOST_NAMED = 64

/**
 * The CAs that clients are told of in a handshake (RFC 8446 §4.2.4, RFC 5246 §7.4.4), beside our own: many send no certificate of a CA that
 * was not named. What they send is trusted by its group, and by nothing else. Those of enabled groups, each once, at most {@link MOST_NAMED}.
 */
export const anchorsToName = (groups: ReadonlyMap<string, EnrollmentGroup>): readonly CertificateFacts[] => {
  const anchors = new Map<string, CertificateFacts>()
  for (const { enabled, credentials, bootstrap } of groups.values()) {
    if (!enabled || bootstrap === undefined || !credentials.includes('bootstrap')) continue
    for (const anchor of trustOf(bootstrap).anchors) anchors.set(anchor.fingerprint, anchor)
  }
  return [...anchors.values()].slice(0, MOST_NAMED)
}

/** {@link anchorsToName}, PEM: for a listener whose TLS layer may trust them too, because nobody takes a verdict from it. */
export const namedAnchors = (groups: ReadonlyMap<string, EnrollmentGroup>): readonly string[] =>
  anchorsToName(groups).map(({ der }) => toPem('CERTIFICATE', der))

/** Signatures of lists that were found good; a bad one costs a check each time, and only for who has a chain to an anchor. */
const signed = new WeakMap<CrlFacts, Set<string>>()

const isSigned = (crl: CrlFacts, ca: CertificateFacts): boolean => {
  const by = signed.get(crl)
  if (by?.has(ca.fingerprint) === true) return true
  if (!crlSignedBy(crl, ca)) return false
  // as many as CAs that stand below an anchor and have the name of the list's issuer
  signed.set(crl, (by ?? new Set<string>()).add(ca.fingerprint))
  return true
}

/** The newest of those with one scope: what a CA takes back (a hold) is taken back. */
const newest = (crls: readonly CrlFacts[]): readonly CrlFacts[] => {
  const byScope = new Map<string, CrlFacts>()
  for (const crl of crls) {
    const scope = JSON.stringify(crl.scope)
    const other = byScope.get(scope)
    if (other === undefined || crl.number > other.number) byScope.set(scope, crl)
  }
  return [...byScope.values()]
}

export type Revocation = 'good' | 'revoked' | { readonly missing: string }

/**
 * Fail closed: with lists given, each CA of the chain must have one that is signed by it, current, and speaks of what stands below it.
 * @param chain verified: leaf first, anchor last
 */
export const revocationOf = (
  chain: readonly CertificateFacts[],
  crls: readonly CrlFacts[] | undefined,
  now: number,
): Revocation => {
  if (crls === undefined) return 'good'
  for (const [at, ca] of chain.entries()) {
    const child = chain[at - 1]
    if (child === undefined) continue
    const points = crlPointsOf(child)
    const speaking = newest(
      crls.filter((crl) => crlNames(crl, ca) && crlCovers(crl, child, points) && isSigned(crl, ca)),
    )
    if (speaking.some(({ revoked }) => revoked.has(child.serial))) return 'revoked'
    const isCurrent = (crl: CrlFacts): boolean => crl.thisUpdate <= now && now <= crl.nextUpdate
    if (!speaking.some(isCurrent)) return { missing: ca.commonName ?? ca.fingerprint }
  }
  return 'good'
}
