/**
 * CRLs of foreign anchors: read once per change, their signatures checked again, asked on every request with a certificate that is not
 * ours (ours are judged by the registry's record). Not where they come from: the enroll desk fetches and keeps them.
 *
 * Needed is the CRL of the CA that signed the leaf; those of the CAs above it count when they are there. What is listed is revoked whatever
 * the reason, holds too, and also when the CRL has ended or is of a time to come: nobody comes back by that. Good by such a one is nobody.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import { caIdOf } from '#pki/chain.ts'
import { crlCovers, crlNames, crlPointsOf, crlReading, crlSignedBy, type CrlFacts } from '#pki/crl-read.ts'
import { sameBytes } from '#pki/der.ts'
import { BACKDATE } from '#policy/enrollment.ts'
import type { RevocationFacts } from '#policy/facts.ts'
import type { Authority } from './anchor-load.ts'

/** The largest that is read: some 400,000 entries. */
export const MAX_ANCHOR_CRL_BYTES = 16 * 1024 ** 2

/** One CRL as the registry keeps it. `issuer`: the CA whose CRL it is, as caIdOf has it: two names of one key have two. */
export type KeptCrl = { readonly anchor: string; readonly issuer: string; readonly der: Uint8Array }

type ReadCrl = {
  readonly der: Uint8Array
  /** undefined: it cannot be read */
  readonly facts: CrlFacts | undefined
  /** by fingerprint of a CA certificate: is it its? */
  readonly signedBy: Map<string, boolean>
}

export type AnchorCrls = ReadonlyMap<string, ReadCrl>
export const NO_CRLS: AnchorCrls = new Map()

const keyOf = (issuer: string, anchor: string): string => `${issuer} ${anchor}`

function* reading(der: Uint8Array): Generator<undefined, CrlFacts | undefined> {
  try {
    return yield* crlReading(der, MAX_ANCHOR_CRL_BYTES)
  } catch {
    return undefined
  }
}

const isSignedBy = ({ facts, signedBy }: ReadCrl, ca: CertificateFacts): boolean => {
  if (facts === undefined) return false
  const known = signedBy.get(ca.fingerprint)
  if (known !== undefined) return known
  const signed = crlSignedBy(facts, ca)
  signedBy.set(ca.fingerprint, signed)
  return signed
}

/**
 * In steps of some milliseconds, for a process that serves others meanwhile.
 * @param before what was read last: what has not changed is not read again
 * @param cas the CAs of the anchors, so that no request has to wait for a signature check; another is checked when it is met
 * @param problem told of each that cannot be used, for the log
 */
export function* crlsReading(
  records: readonly KeptCrl[],
  before: AnchorCrls,
  cas: readonly Pick<Authority, 'facts' | 'anchor'>[],
  problem: (text: string) => void,
): Generator<undefined, AnchorCrls> {
  const read = new Map<string, ReadCrl>()
  for (const { anchor, issuer, der } of records) {
    const key = keyOf(issuer, anchor)
    const known = before.get(key)
    const isSame = known !== undefined && sameBytes(known.der, der)
    const crl = isSame ? known : { der, facts: yield* reading(der), signedBy: new Map<string, boolean>() }
    read.set(key, crl)
    if (crl.facts === undefined && !isSame) problem(`a CRL of anchor "${anchor}" cannot be read`)
    for (const { facts } of cas.filter((ca) => ca.anchor === anchor && caIdOf(ca.facts) === issuer)) {
      if (crl.signedBy.has(facts.fingerprint)) continue
      if (crl.facts !== undefined && crlNames(crl.facts, facts) && !isSignedBy(crl, facts))
        problem(`a CRL of anchor "${anchor}" is not signed by the CA whose CRL it should be`)
      yield undefined
    }
  }
  return read
}

/** ms: when the next of them ends, and what was good may be unknown, or one that is dated ahead begins; Infinity: none does. */
export const nextEndOf = (crls: AnchorCrls, now: number): number =>
  Math.min(
    Infinity,
    ...[...crls.values()].flatMap(({ facts }) =>
      facts === undefined ? [] : [facts.thisUpdate - BACKDATE, facts.nextUpdate].filter((at) => at > now),
    ),
  )

const covers = (crl: CrlFacts, certificate: CertificateFacts): boolean => {
  try {
    return crlCovers(crl, certificate, crl.scope.points === undefined ? [] : crlPointsOf(certificate))
  } catch {
    return false
  }
}

/** @returns undefined: there is no CRL that speaks of it; `unknown`: there is one, and it cannot be relied on */
const saidOf = (
  certificate: CertificateFacts,
  issuer: CertificateFacts,
  crl: ReadCrl | undefined,
  now: number,
): 'good' | 'revoked' | 'unknown' | undefined => {
  if (crl === undefined) return undefined
  const { facts } = crl
  if (facts === undefined) return 'unknown'
  if (!crlNames(facts, issuer) || !covers(facts, certificate)) return undefined
  if (!isSignedBy(crl, issuer)) return 'unknown'
  if (facts.revoked.has(certificate.serial)) return 'revoked'
  return now < facts.nextUpdate && facts.thisUpdate <= now + BACKDATE ? 'good' : 'unknown'
}

/**
 * @param o.chain what is above the leaf, from the CA that signed it to the root
 * @returns `unasked` also when nothing current says anything and the anchor is `fail_open`
 */
export const revocationOf = (o: {
  readonly crls: AnchorCrls
  readonly authority: Pick<Authority, 'anchor' | 'crl'>
  readonly leaf: CertificateFacts
  readonly chain: readonly CertificateFacts[]
  readonly now: number
}): RevocationFacts => {
  const { anchor, crl } = o.authority
  if (crl === undefined) return 'unasked'
  const path = [o.leaf, ...o.chain]
  const [own = 'unknown', ...above] = path.slice(0, -1).map((each, at) => {
    const issuer = path[at + 1] as CertificateFacts
    return saidOf(each, issuer, o.crls.get(keyOf(caIdOf(issuer), anchor)), o.now)
  })
  if (above.includes('revoked')) return 'issuer_revoked'
  if (own === 'revoked') return 'revoked'
  if (own === 'good' && !above.includes('unknown')) return 'good'
  return crl.onStale === 'fail_closed' ? 'unknown' : 'unasked'
}
