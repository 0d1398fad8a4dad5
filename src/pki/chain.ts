/**
 * Path validation (RFC 5280 §6.1), the part of it that OpenSSL's verdict at the door does not cover: an issuer at start, the
 * chain above a trusted intermediate at load. Not a replacement for OpenSSL in a handshake.
 */

import { X509Certificate } from 'node:crypto'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { criticalExtensionsOf } from './certificate.ts'
import { isStrongKey } from './keys.ts'
import { OID } from './oids.ts'
import { isStrongSignature } from './signatures.ts'

const MAX_DEPTH = 10
/** Signature checks per call: cross-signed pools cannot make it search for long. */
const MAX_CHECKS = 64

/** What we process; any other critical extension (name constraints, policy constraints) refuses the chain (§4.2). */
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

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

const isSelfIssued = (certificate: CertificateFacts): boolean =>
  sameBytes(certificate.subjectDer, certificate.issuerDer)

/** Everything but the signature. */
const mayIssue = (child: CertificateFacts, issuer: CertificateFacts): boolean =>
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

/** Names byte for byte, key ids where both have one, the issuer a CA that may sign, and the signature. Not dates. */
export const issuedBy = (child: CertificateFacts, issuer: CertificateFacts): boolean =>
  mayIssue(child, issuer) && isSignedBy(child, issuer)

/** `below`: how many CA certificates that are not self-issued stand below this one (§6.1.4 (l), (m)). */
const problemOf = (certificate: CertificateFacts, now: number, below: number): string | undefined => {
  const name = `"${certificate.commonName ?? certificate.fingerprint}"`
  if (now < certificate.notBefore)
    return `${name} is not valid before ${new Date(certificate.notBefore).toISOString()}`
  if (now > certificate.notAfter) return `${name} expired at ${new Date(certificate.notAfter).toISOString()}`
  if (certificate.pathLength !== undefined && below > certificate.pathLength)
    return `${name} allows ${certificate.pathLength} certificates below it, and there are ${below}`
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
 * @param o.now ms since the epoch; dates of every certificate, the root's too, are held against it
 * @returns `chain`: leaf first, root last; or the problem of the path that came nearest
 */
export const verifyChain = (o: {
  readonly leaf: CertificateFacts
  readonly pool: readonly CertificateFacts[]
  readonly roots: readonly CertificateFacts[]
  readonly now: number
}): Chain => {
  let checks = 0
  let nearest: { depth: number; problem: string } = { depth: -1, problem: '' }
  const fail = (depth: number, problem: string): undefined => {
    if (depth >= nearest.depth) nearest = { depth, problem }
  }
  const rootPrints = new Set(o.roots.map((root) => root.fingerprint))

  const extend = (
    path: readonly CertificateFacts[],
    below: number,
  ): readonly CertificateFacts[] | undefined => {
    const last = path.at(-1) as CertificateFacts
    const depth = path.length
    const own = problemOf(last, o.now, below)
    if (own !== undefined) return fail(depth, own)
    if (rootPrints.has(last.fingerprint)) return path
    if (!isStrongSignature(last.signatureAlgorithm))
      return fail(depth, `"${last.commonName ?? last.fingerprint}" is signed with ${last.signatureAlgorithm}`)
    if (depth === MAX_DEPTH) return fail(depth, `the chain is longer than ${MAX_DEPTH}`)
    fail(depth, `"${last.commonName ?? last.fingerprint}" is not issued by a certificate that is known here`)
    // a CA at the bottom counts: it is here as an issuer, and its leaves are still to come
    const next = below + (last.isCa && !isSelfIssued(last) ? 1 : 0)
    for (const issuer of [...o.roots, ...o.pool]) {
      if (!mayIssue(last, issuer) || path.some((seen) => seen.fingerprint === issuer.fingerprint)) continue
      checks += 1
      if (checks > MAX_CHECKS) return fail(MAX_DEPTH + 1, 'there are too many possible chains')
      if (!isSignedBy(last, issuer)) {
        fail(depth, `"${last.commonName ?? last.fingerprint}" is not signed by "${issuer.commonName ?? ''}"`)
        continue
      }
      const found = extend([...path, issuer], next)
      if (found !== undefined) return found
    }
    return undefined
  }

  const chain = extend([o.leaf], 0)
  return chain === undefined ? { ok: false, problem: nearest.problem } : { ok: true, chain }
}
