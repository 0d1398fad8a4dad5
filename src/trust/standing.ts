/**
 * Whose a certificate is: the facts that #policy/admission.ts judges, from the anchors of a hostname, the CRLs of foreign ones and the
 * registry's record. Not the verdict, and nothing is remembered here: the gateway does that (#gateway/anchors.ts).
 */

import type { AccessSnapshot, Anchor } from '#fleet/access.ts'
import type { CertificateFacts, IssuerRecord } from '#fleet/certificate.ts'
import type { Peer } from '#fleet/peer.ts'
import { caIdOf } from '#pki/chain.ts'
import type { RevocationFacts, Standing } from '#policy/facts.ts'
import { loadAnchors, type HostAnchors } from './anchor-load.ts'
import { explain, findPath, pathByRecord, type Path, type RecordOfIssuer } from './anchor-paths.ts'
import { revocationOf, type AnchorCrls } from './crls.ts'

/** By SHA-256 fingerprint: what the registry says of a certificate of ours. What it throws is thrown. */
export type RecordOf = (fingerprint: string) => RecordOfIssuer | undefined

/** A path on this hostname that our own signature checks have found, now or before. */
type FindPath = (leaf: CertificateFacts, peer: Peer) => Path | undefined

/** What a certificate is held against. */
type Ground = {
  /** undefined: a hostname without anchors */
  readonly host: HostAnchors | undefined
  readonly now: number
  readonly crls: AnchorCrls
  /** asked only for a leaf that is trusted */
  readonly recordOf: RecordOf
  readonly pathOf: FindPath
}

/** Worst first. */
const SEVERITY: readonly RevocationFacts[] = ['revoked', 'issuer_revoked', 'unknown', 'good', 'unasked']

/**
 * What is known of a foreign leaf: from the CRLs of its own anchor, and from those of every other anchor of the hostname that holds a CA above it, by
 * whatever certificate, or a CRL of one. That another root has signed a CA too is no way around its CRL.
 */
const revocationOn = (
  host: HostAnchors,
  { authority, chain }: Path,
  leaf: CertificateFacts,
  crls: AnchorCrls,
  now: number,
): RevocationFacts => {
  const known = [revocationOf({ crls, authority, leaf, chain, now })]
  for (const other of host.authorities) {
    if (other.crl === undefined || other.anchor === authority.anchor) continue
    const at = chain.findIndex((ca) => caIdOf(ca) === caIdOf(other.facts))
    const path = at === -1 ? chain : [...chain.slice(0, at), ...other.chain]
    const said = revocationOf({ crls, authority: other, leaf, chain: path, now })
    // an anchor that holds none of these CAs misses no CRL of them
    if (at !== -1 || said === 'revoked' || said === 'issuer_revoked') known.push(said)
  }
  return SEVERITY.find((each) => known.includes(each)) ?? 'unknown'
}

/** A certificate that was presented in a handshake. */
export const standingOf = (o: Ground & { readonly peer: Peer }): Standing => {
  const { peer, host, now } = o
  const { leaf } = peer
  if (leaf === undefined) return { kind: 'absent' }
  if (!peer.trusted || host === undefined) return { kind: 'rejected', reason: explain(leaf, peer, host, now) }
  const record = o.recordOf(leaf.fingerprint)
  const path = (record && pathByRecord(leaf, record, host)) ?? o.pathOf(leaf, peer)
  // an anchor that was removed since the handshake, or a chain that only a laxer reader accepts
  if (path === undefined) return { kind: 'rejected', reason: explain(leaf, peer, host, now) }
  const { authority, chain, span: above } = path
  const trusted = { above, anchor: authority.anchor, issuerSki: chain[0]?.subjectKeyId }
  if (record !== undefined || authority.ours) return { kind: 'ours', ...trusted, record }
  return { kind: 'foreign', ...trusted, revocation: revocationOn(host, path, leaf, o.crls, now) }
}

/** A certificate that did not come by a handshake here: our own check of the chain stands in for OpenSSL's. */
export const standingWithoutHandshake = (
  o: Ground & {
    readonly leaf: CertificateFacts
    /** DER, what came along above it */
    readonly sent: readonly Uint8Array[]
    readonly hostname: string
  },
): Standing => {
  const { leaf } = o
  const peer: Peer = {
    leaf,
    sentChain: o.sent,
    trusted: false,
    resumed: false,
    serverName: o.hostname,
    address: '',
  }
  const path = o.pathOf(leaf, peer)
  return standingOf({ ...o, peer: { ...peer, trusted: path !== undefined }, pathOf: () => path })
}

const anchorsOf = ({ anchors }: AccessSnapshot, hostname: string): readonly Anchor[] =>
  anchors.filter(({ hostnames }) => hostnames.some((name) => name.toLowerCase() === hostname))

/** Names of its anchors whose CRLs count. @param hostname lower case, no trailing dot */
export const asksForCrls = (snapshot: AccessSnapshot, hostname: string): ReadonlySet<string> =>
  new Set(
    anchorsOf(snapshot, hostname)
      .filter(({ crl }) => crl !== undefined)
      .map(({ name }) => name),
  )

/**
 * The same for whoever asks once and keeps nothing: the policy test.
 * @param o.issuers what registry.issuers() says
 * @param o.crls those of this hostname's anchors, read: {@link asksForCrls}
 * @param o.hostname lower case, no trailing dot
 */
export const standAlone = (o: {
  readonly snapshot: AccessSnapshot
  readonly issuers: readonly IssuerRecord[]
  readonly crls: AnchorCrls
  readonly leaf: CertificateFacts
  readonly sent: readonly Uint8Array[]
  readonly hostname: string
  readonly now: number
  readonly recordOf: RecordOf
}): Standing => {
  const { now, hostname } = o
  const anchors = anchorsOf(o.snapshot, hostname)
  const { hosts } = loadAnchors({ ...o.snapshot, anchors }, o.issuers, now, () => {})
  const host = hosts.get(hostname)
  return standingWithoutHandshake({
    ...o,
    host,
    pathOf: (leaf, peer) => host && findPath(leaf, peer, host, now),
  })
}
