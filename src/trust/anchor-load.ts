/**
 * Anchors as an operator wrote them → what may be trusted on each hostname. Every CA certificate of an anchor is itself a trust
 * anchor there (`allowPartialTrustChain`), so the chain above each one is verified here, and what does not verify is left out and
 * told. An issuer of ours under an anchor is trusted with it, whether the anchor's PEM has it or not: a rotation changes no anchor, and a
 * device may send no more than its leaf. Not the judging of leaves: anchor-paths.ts.
 */

import type { AccessSnapshot, Anchor } from '#fleet/access.ts'
import type { CertificateFacts, IssuerRecord } from '#fleet/certificate.ts'
import { readCertificate } from '#pki/certificate.ts'
import { judgeClientCa } from '#pki/client-ca.ts'
import { createChecks, isBelow, isSelfSigned, verifyChain, type Chain, type Checks } from '#pki/chain.ts'
import { fromPem, toPem } from '#pki/pem.ts'
import type { Span } from '#policy/facts.ts'
import { asRoot } from './ca-limits.ts'

/** A CA certificate that is trusted on a hostname. */
export type Authority = {
  readonly facts: CertificateFacts
  readonly anchor: string
  /** of that anchor: what is asked about certificates that are not ours */
  readonly crl: Anchor['crl']
  /** it is an issuer of ours, or stands above one: what it vouches for must be on record */
  readonly ours: boolean
  /** itself and what is above it, root last */
  readonly chain: readonly CertificateFacts[]
  /** itself where a chain ends at it, with what those above it leave: {@link asRoot} */
  readonly root: CertificateFacts
  readonly span: Span
}

type KnownIssuer = { readonly facts: CertificateFacts; readonly state: IssuerRecord['state'] }

export type HostAnchors = {
  readonly authorities: readonly Authority[]
  /** PEM, for OpenSSL */
  readonly ca: readonly string[]
}

export type LoadedAnchors = {
  readonly hosts: ReadonlyMap<string, HostAnchors>
  /** the next notBefore or notAfter of any CA certificate: from then on this is stale */
  readonly until: number
}

/** @param chain at least one */
export const spanOf = (chain: readonly CertificateFacts[]): Span => ({
  notBefore: Math.max(...chain.map(({ notBefore }) => notBefore)),
  notAfter: Math.min(...chain.map(({ notAfter }) => notAfter)),
})

/** A key is an issuer of ours, or has signed one, through others of the same anchor or of ours; dates are no matter. */
const isOurs = (
  authority: CertificateFacts,
  pool: readonly CertificateFacts[],
  issuers: readonly CertificateFacts[],
): boolean =>
  issuers.some(
    (issuer) =>
      issuer.spkiSha256 === authority.spkiSha256 || isBelow(issuer, authority, [...pool, ...issuers]),
  )

/** What of them our reader can read. */
export const readAll = (ders: readonly Uint8Array[]): CertificateFacts[] =>
  ders.flatMap((der) => {
    try {
      return [readCertificate(der)]
    } catch {
      return []
    }
  })

type Search = {
  readonly pool: readonly CertificateFacts[]
  readonly roots: readonly CertificateFacts[]
  readonly now: number
  readonly below?: number
  readonly checks?: Checks
}

/** What OpenSSL would say of a CA that is to vouch for clients, if its handshake came so far up. */
export const verifyCa = (ca: CertificateFacts, search: Search): Chain => {
  const unfit = judgeClientCa(ca)
  return unfit === undefined
    ? verifyChain({ ...search, leaf: ca, judgeCa: judgeClientCa })
    : { ok: false, problem: `"${ca.commonName ?? ca.fingerprint}" ${unfit}` }
}

/**
 * The same by the way up that leaves it most room: a CA may be cross-signed, or renewed, and what order the file has them in decides nothing.
 * Of several that leave it as much, the first.
 */
const verifyWidest = (ca: CertificateFacts, search: Search): Chain => {
  let widest = verifyCa(ca, search)
  while (widest.ok) {
    const { pathLength } = asRoot({ facts: ca, chain: widest.chain })
    if (pathLength === undefined) break
    const wider = verifyCa(ca, { ...search, below: pathLength + 1 })
    if (!wider.ok) break
    widest = wider
  }
  return widest
}

const readAnchor = (
  anchor: Anchor,
  issuers: readonly CertificateFacts[],
  now: number,
  problem: (text: string) => void,
): { readonly authorities: readonly Authority[]; readonly all: readonly CertificateFacts[] } => {
  let all: CertificateFacts[]
  try {
    all = fromPem(anchor.pem, 'CERTIFICATE').map((der) => readCertificate(der))
  } catch (cause) {
    problem(`anchor "${anchor.name}" cannot be read: ${String(cause)}`)
    return { authorities: [], all: [] }
  }
  const roots = all.filter(isSelfSigned)
  const checks = createChecks(all.length ** 2)
  const authorities = all.flatMap((facts): Authority[] => {
    if (!facts.isCa) {
      problem(`anchor "${anchor.name}" holds a certificate that is not a CA's: it is left out`)
      return []
    }
    const verified = verifyWidest(facts, { pool: all, roots, now, checks })
    if (!verified.ok) {
      problem(`anchor "${anchor.name}" holds a certificate that is left out: ${verified.problem}`)
      return []
    }
    const { chain } = verified
    const { name, crl } = anchor
    const ours = isOurs(facts, all, issuers)
    return [{ facts, anchor: name, crl, ours, chain, root: asRoot({ facts, chain }), span: spanOf(chain) }]
  })
  return { authorities, all }
}

/**
 * Issuers of ours that this anchor does not hold, and that verify to it. Also those whose certificates are not admitted any more, so that
 * the reason is the record's; not prepared ones, which have none.
 */
const issuersUnder = (
  anchor: Anchor,
  authorities: readonly Authority[],
  issuers: readonly KnownIssuer[],
  now: number,
  problem: (text: string) => void,
): readonly Authority[] => {
  const pool = issuers.map(({ facts }) => facts)
  const roots = authorities.map(({ root }) => root)
  const held = new Set(roots.map(({ spkiSha256 }) => spkiSha256))
  return issuers.flatMap(({ facts, state }): Authority[] => {
    if (state === 'prepared' || held.has(facts.spkiSha256)) return []
    const verified = verifyCa(facts, { pool, roots, now })
    if (!verified.ok) {
      // most are of another anchor, or have ended: only what nobody would guess is told
      if (judgeClientCa(facts) !== undefined && roots.some((root) => isBelow(facts, root, pool)))
        problem(`an issuer of ours under anchor "${anchor.name}" is left out: ${verified.problem}`)
      return []
    }
    const top = authorities[roots.indexOf(verified.chain.at(-1) as CertificateFacts)]
    if (top === undefined) return []
    const chain = [...verified.chain.slice(0, -1), ...top.chain]
    const { name, crl } = anchor
    return [
      { facts, anchor: name, crl, ours: true, chain, root: asRoot({ facts, chain }), span: spanOf(chain) },
    ]
  })
}

const nextDate = (certificates: readonly CertificateFacts[], now: number): number =>
  Math.min(
    Infinity,
    ...certificates.flatMap(({ notBefore, notAfter }) => [notBefore, notAfter + 1]).filter((at) => at > now),
  )

/**
 * @param issuers what registry.issuers() says
 * @param now ms; what is outside its dates then is left out
 */
export const loadAnchors = (
  snapshot: AccessSnapshot,
  issuers: readonly IssuerRecord[],
  now: number,
  problem: (text: string) => void,
): LoadedAnchors => {
  const ours = issuers.flatMap(({ der, state }) => readAll([der]).map((facts) => ({ facts, state })))
  const known = ours.map(({ facts }) => facts)
  const drafts = new Map<string, Authority[]>()
  const seen: CertificateFacts[] = [...known]
  for (const anchor of snapshot.anchors) {
    const { authorities: held, all } = readAnchor(anchor, known, now, problem)
    const authorities = [...held, ...issuersUnder(anchor, held, ours, now, problem)]
    seen.push(...all)
    for (const hostname of new Set(anchor.hostnames.map((name) => name.toLowerCase())))
      drafts.set(hostname, [...(drafts.get(hostname) ?? []), ...authorities])
  }
  const hosts = new Map<string, HostAnchors>()
  for (const [hostname, authorities] of drafts) {
    if (authorities.length === 0) continue
    const ders = new Map(authorities.map(({ facts }) => [facts.fingerprint, facts.der]))
    hosts.set(hostname, { authorities, ca: [...ders.values()].map((der) => toPem('CERTIFICATE', der)) })
  }
  return { hosts, until: nextDate(seen, now) }
}
