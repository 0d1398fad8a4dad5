/**
 * Path validation (RFC 5280 §6.1), the part of it that OpenSSL's verdict at the door does not cover: an issuer at start, the
 * chain above a trusted intermediate at load, a bootstrap certificate up to its group's anchors, what stands above an expired certificate,
 * server anchors. Not a replacement for OpenSSL in a handshake.
 */

import { createHash, X509Certificate } from 'node:crypto'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { criticalExtensionsOf } from './certificate.ts'
import { sameBytes } from './der.ts'
import { isStrongKey } from './keys.ts'
import { OID } from './oids.ts'
import { isStrongSignature } from './signatures.ts'

const MAX_DEPTH = 10
/** Signature checks per search, unless the caller says less. */
const MAX_CHECKS = 64
/** Links tried by name alone per search: cross-signed pools cannot make it search for long. */
const MAX_STEPS = 256

/**
 * What we process; any other critical extension (name constraints, policy constraints) refuses the chain (§4.2). What the EKU of a CA means
 * is for who asks: `judgeCa`.
 */
const PROCESSED: ReadonlySet<string> = new Set([
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectAltName,
  OID.subjectKeyId,
  OID.authorityKeyId,
  OID.crlDistributionPoints,
  OID.authorityInfoAccess,
])

export const isSelfIssued = (certificate: CertificateFacts): boolean =>
  sameBytes(certificate.subjectDer, certificate.issuerDer)

/** As {@link issuedBy}, but for the signature. */
export const mayIssue = (child: CertificateFacts, issuer: CertificateFacts): boolean =>
  sameBytes(child.issuerDer, issuer.subjectDer) &&
  issuer.isCa &&
  (issuer.keyUsage === undefined || issuer.keyUsage.includes('keyCertSign')) &&
  (child.authorityKeyId === undefined ||
    issuer.subjectKeyId === undefined ||
    child.authorityKeyId === issuer.subjectKeyId)

const isSignedBy = (child: CertificateFacts, issuer: CertificateFacts): boolean => {
  try {
    return new X509Certificate(child.der).verify(new X509Certificate(issuer.der).publicKey)
  } catch {
    return false
  }
}

/** Did the issuer's key sign the child? Each pair is checked once; 'spent': as many as allowed were checked, and not this one. */
export type Checks = (child: CertificateFacts, issuer: CertificateFacts) => boolean | 'spent'

/** @param most signature checks, for all who share it: a stranger chooses the certificates, and 1 ms each is a lot */
export const createChecks = (most: number = MAX_CHECKS): Checks => {
  const known = new Map<string, boolean>()
  return (child, issuer) => {
    const link = `${child.fingerprint} ${issuer.fingerprint}`
    const verdict = known.get(link)
    if (verdict !== undefined) return verdict
    if (known.size >= most) return 'spent'
    const signed = isSignedBy(child, issuer)
    known.set(link, signed)
    return signed
  }
}

/** Names byte for byte, key ids where both have one, the issuer a CA that may sign, and the signature. Not dates. */
export const issuedBy = (
  child: CertificateFacts,
  issuer: CertificateFacts,
  checks: Checks = isSignedBy,
): boolean => mayIssue(child, issuer) && checks(child, issuer) === true

/** A root. One that has its own name for its issuer's, and another's signature, is none: a new key under the old one (RFC 4210 §4.4). */
export const isSelfSigned = (certificate: CertificateFacts): boolean => issuedBy(certificate, certificate)

/**
 * Who signed whom, from one certificate up to another, whatever their dates: for whose it is, not whether it is good.
 * @returns what stands between the two, the lowest first; undefined: no signatures lead there
 */
export const between = (
  certificate: CertificateFacts,
  ancestor: CertificateFacts,
  pool: readonly CertificateFacts[],
): readonly CertificateFacts[] | undefined => {
  type Reached = { readonly child: CertificateFacts; readonly path: readonly CertificateFacts[] }
  const reached = new Map<string, Reached>([[certificate.fingerprint, { child: certificate, path: [] }]])
  // a Map that grows is walked to its end
  for (const { child, path } of reached.values()) {
    if (issuedBy(child, ancestor)) return path
    for (const issuer of pool)
      if (!reached.has(issuer.fingerprint) && issuedBy(child, issuer))
        reached.set(issuer.fingerprint, { child: issuer, path: [...path, issuer] })
  }
  return undefined
}

/** Does a path of signatures lead from one certificate up to the other? */
export const isBelow = (
  certificate: CertificateFacts,
  ancestor: CertificateFacts,
  pool: readonly CertificateFacts[],
): boolean => between(certificate, ancestor, pool) !== undefined

const ids = new WeakMap<CertificateFacts, string>()

/** SHA-256 of its name and its key, hex: a CA, whatever certificates it has. What it signs says the name and is verified with the key. */
export const caIdOf = (ca: CertificateFacts): string => {
  const known = ids.get(ca)
  if (known !== undefined) return known
  const id = createHash('sha256').update(ca.spkiSha256, 'hex').update(ca.subjectDer).digest('hex')
  ids.set(ca, id)
  return id
}

/** One CA under two issuers: no link of its own path (RFC 4158 §2.4.2), or there are circles. */
export const isSameCa = (a: CertificateFacts, b: CertificateFacts): boolean =>
  a.spkiSha256 === b.spkiSha256 && sameBytes(a.subjectDer, b.subjectDer)

const named = ({ commonName, fingerprint }: CertificateFacts): string => `"${commonName ?? fingerprint}"`

/** `below`: how many CA certificates that are not self-issued stand below this one (§6.1.4 (l), (m)). */
const problemOf = (certificate: CertificateFacts, now: number, below: number): string | undefined => {
  const name = named(certificate)
  if (now < certificate.notBefore)
    return `${name} is not valid before ${new Date(certificate.notBefore).toISOString()}`
  if (now > certificate.notAfter) return `${name} expired at ${new Date(certificate.notAfter).toISOString()}`
  if (certificate.pathLength !== undefined && below > certificate.pathLength)
    return `${name} allows ${certificate.pathLength} certificates below it, and there are ${below}`
  const { weakness } = certificate.key
  if (weakness !== undefined) return `${name} has a weak key: it ${weakness}`
  if (!isStrongKey(certificate.key)) return `${name} has a weak key`
  const unknown = criticalExtensionsOf(certificate.der).find((oid) => !PROCESSED.has(oid))
  if (unknown !== undefined) return `${name} has a critical extension ${unknown} that is not understood here`
  return undefined
}

export type Chain =
  | { readonly ok: true; readonly chain: readonly CertificateFacts[] }
  | { readonly ok: false; readonly problem: string }

/**
 * From `leaf` through `pool` to one of `roots`, which are trusted for what they are. A leaf may itself be a CA.
 *
 * A path is found by names and key ids, and only one that ends at a root is verified, from the top: what a stranger signed with keys of
 * his own never costs a signature check.
 * @param o.now ms since the epoch; dates of every certificate, the root's too, are held against it
 * @param o.below how many CAs are to have room below the leaf
 * @param o.judgeCa of each certificate above the leaf, the root too: what is wrong with it for this caller; a path without it may be found
 * @returns `chain`: leaf first, root last; or the problem of the path that came nearest
 */
export const verifyChain = (o: {
  readonly leaf: CertificateFacts
  readonly pool: readonly CertificateFacts[]
  readonly roots: readonly CertificateFacts[]
  readonly now: number
  readonly below?: number
  readonly checks?: Checks
  readonly judgeCa?: (ca: CertificateFacts) => string | undefined
}): Chain => {
  const { checks = createChecks() } = o
  let steps = 0
  let nearest: { depth: number; problem: string } = { depth: -1, problem: '' }
  const fail = (depth: number, problem: string): undefined => {
    if (depth >= nearest.depth) nearest = { depth, problem }
  }
  const tooMany = (): undefined => fail(MAX_DEPTH + 1, 'there are too many possible chains')
  const rootPrints = new Set(o.roots.map((root) => root.fingerprint))
  // a root that the pool has too is what the caller says of it
  const issuers = [...o.roots, ...o.pool.filter(({ fingerprint }) => !rootPrints.has(fingerprint))]

  const verified = (path: readonly CertificateFacts[]): readonly CertificateFacts[] | undefined => {
    for (let at = path.length - 1; at > 0; at -= 1) {
      const [child, issuer] = [path[at - 1] as CertificateFacts, path[at] as CertificateFacts]
      const signed = checks(child, issuer)
      if (signed === 'spent') return tooMany()
      if (!signed) return fail(path.length, `${named(child)} is not signed by "${issuer.commonName ?? ''}"`)
    }
    return path
  }

  const extend = (
    path: readonly CertificateFacts[],
    below: number,
  ): readonly CertificateFacts[] | undefined => {
    const last = path.at(-1) as CertificateFacts
    const depth = path.length
    const own = problemOf(last, o.now, below)
    if (own !== undefined) return fail(depth, own)
    const unfit = depth === 1 ? undefined : o.judgeCa?.(last)
    if (unfit !== undefined) return fail(depth, `${named(last)} ${unfit}`)
    if (rootPrints.has(last.fingerprint)) return verified(path)
    if (!isStrongSignature(last.signatureAlgorithm))
      return fail(depth, `${named(last)} is signed with ${last.signatureAlgorithm}`)
    if (depth === MAX_DEPTH) return fail(depth, `the chain is longer than ${MAX_DEPTH}`)
    fail(depth, `${named(last)} is not issued by a certificate that is known here`)
    // a CA at the bottom counts: it is here as an issuer, and its leaves are still to come
    const next = below + (last.isCa && !isSelfIssued(last) ? 1 : 0)
    for (const issuer of issuers) {
      if (!mayIssue(last, issuer) || path.some((seen) => isSameCa(seen, issuer))) continue
      steps += 1
      if (steps > MAX_STEPS) return tooMany()
      const found = extend([...path, issuer], next)
      if (found !== undefined) return found
    }
    return undefined
  }

  const chain = extend([o.leaf], o.below ?? 0)
  return chain === undefined ? { ok: false, problem: nearest.problem } : { ok: true, chain }
}
