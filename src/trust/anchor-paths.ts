/**
 * From a leaf up to an authority of its hostname: which one it is, and, when OpenSSL refused, whether it was ours all the same. Our own
 * signature checks, bounded, on certificates that a stranger may have sent. Not a replacement for OpenSSL's verdict.
 */

import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Denial } from '#fleet/denial.ts'
import type { Peer } from '#fleet/peer.ts'
import { createChecks, issuedBy, verifyChain, type Checks } from '#pki/chain.ts'
import { judgeClientCa } from '#pki/client-ca.ts'
import { sameBytes } from '#pki/der.ts'
import type { DeviceRecord, Span } from '#policy/facts.ts'
import { judgeClientLeaf, judgeKey } from '#policy/keys.ts'
import { readAll, spanOf, type Authority, type HostAnchors } from './anchor-load.ts'

/** A client's own intermediates may not be slow to verify with. */
const MAX_SENT_RSA_BITS = 4_096

/** Signature checks per refusal: the right way up is one or two of them, and a stranger makes us look for it once per handshake. */
const MAX_CHECKS = 4
/** The same for a leaf that OpenSSL trusts: as long a chain as OpenSSL may have taken. */
const MAX_CHECKS_TRUSTED = 16

/** How a leaf reaches an authority: `chain` is everything above the leaf, root last. */
export type Path = {
  readonly authority: Authority
  readonly chain: readonly CertificateFacts[]
  readonly span: Span
}

export type RecordOfIssuer = DeviceRecord & { readonly issuerSki: string }

/**
 * What the client sent above its leaf, as far as it is readable, cheap to verify with and fit to stand there. One of each: the same CA twice
 * proves nothing.
 */
const sentAbove = (peer: Peer, at: number): CertificateFacts[] => {
  const cheap = readAll(peer.sentChain).filter(
    (facts) =>
      judgeKey(facts.key) === undefined &&
      (facts.key.kind !== 'RSA' || facts.key.bits <= MAX_SENT_RSA_BITS) &&
      facts.notBefore <= at &&
      at <= facts.notAfter &&
      judgeClientCa(facts) === undefined,
  )
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
  const distinct = new Map<string, CertificateFacts>()
  for (const facts of cheap) {
    const { spkiSha256, subjectDer, issuerDer, authorityKeyId, pathLength } = facts
    // the issuer too: a CA that is cross-signed is sent once for each root. And its room: one that was renewed may be sent as it was
    const what = `${spkiSha256} ${hex(subjectDer)} ${hex(issuerDer)} ${authorityKeyId} ${pathLength}`
    if (!distinct.has(what)) distinct.set(what, facts)
  }
  return [...distinct.values()]
}

/** @param at ms: the time at which every certificate of the path must be valid */
export const findPath = (
  leaf: CertificateFacts,
  peer: Peer,
  host: HostAnchors,
  at: number,
  checks: Checks = createChecks(MAX_CHECKS_TRUSTED),
): Path | undefined => {
  const roots = host.authorities.map(({ root }) => root)
  // each of which is fit: those of the host were looked at when they were loaded
  const verified = verifyChain({ leaf, checks, pool: sentAbove(peer, at), roots, now: at })
  if (!verified.ok) return undefined
  const sent = verified.chain.slice(1, -1)
  const authority = host.authorities[roots.indexOf(verified.chain.at(-1) as CertificateFacts)]
  if (authority === undefined) return undefined
  const chain = [...sent, ...authority.chain]
  return { authority, chain, span: spanOf(chain) }
}

/** Why OpenSSL refused: its own error names only the last fault, and is the same for a real expired device and a forged one. */
export const explain = (
  leaf: CertificateFacts,
  peer: Peer,
  host: HostAnchors | undefined,
  now: number,
): Denial => {
  if (host === undefined) return 'certificate_untrusted'
  const at = now < leaf.notBefore ? leaf.notBefore : now > leaf.notAfter ? leaf.notAfter : now
  const checks = createChecks(MAX_CHECKS)
  // really signed under this hostname's anchors, at a time when leaf and issuer were both valid: then the fault is the leaf's own
  const really =
    host.authorities.some(({ facts }) => issuedBy(leaf, facts, checks)) ||
    findPath(leaf, peer, host, at, checks) !== undefined
  if (!really) return 'certificate_untrusted'
  if (now < leaf.notBefore) return 'certificate_not_yet_valid'
  if (now > leaf.notAfter) return 'certificate_expired'
  return judgeClientLeaf(leaf) ?? 'certificate_untrusted'
}

/** The usual case without any signature check of ours: OpenSSL has made it, and the record says which issuer it was. */
export const pathByRecord = (
  leaf: CertificateFacts,
  record: RecordOfIssuer,
  host: HostAnchors,
): Path | undefined => {
  const authority = host.authorities.find(
    ({ facts }) => facts.subjectKeyId === record.issuerSki && sameBytes(facts.subjectDer, leaf.issuerDer),
  )
  return authority === undefined ? undefined : { authority, chain: authority.chain, span: authority.span }
}
