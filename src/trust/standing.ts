/**
 * Whose a certificate is: the facts that #policy/admission.ts judges, from the anchors of a hostname, the CRLs of foreign ones and the
 * registry's record. Not the verdict, and nothing is remembered here: the gateway does that (#gateway/anchors.ts).
 */

import type { AccessSnapshot } from '#fleet/access.ts'
import type { CertificateFacts, IssuerRecord } from '#fleet/certificate.ts'
import type { Peer } from '#fleet/peer.ts'
import type { Standing } from '#policy/facts.ts'
import { loadAnchors, type HostAnchors } from './anchor-load.ts'
import { explain, findPath, pathByRecord, type Path, type RecordOfIssuer } from './anchor-paths.ts'
import { readAnchorCrls, revocationOf, type AnchorCrls, type KeptCrl } from './crls.ts'

/** By SHA-256 fingerprint: what the registry says of a certificate of ours. What it throws is thrown. */
export type RecordOf = (fingerprint: string) => RecordOfIssuer | undefined

/** A path on this hostname that our own signature checks have found, now or before. */
type FindPath = (leaf: CertificateFacts, peer: Peer) => Path | undefined

/**
 * @param o.host undefined: a hostname without anchors
 * @param o.recordOf asked only for a leaf that is trusted
 */
export const standingOf = (o: {
  readonly peer: Peer
  readonly host: HostAnchors | undefined
  readonly now: number
  readonly crls: AnchorCrls
  readonly recordOf: RecordOf
  readonly pathOf: FindPath
}): Standing => {
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
  return {
    kind: 'foreign',
    ...trusted,
    revocation: revocationOf({ crls: o.crls, authority, leaf, chain, now }),
  }
}

/** A certificate that did not come by a handshake here: our own check of the chain stands in for OpenSSL's. */
export const standingWithoutHandshake = (o: {
  readonly leaf: CertificateFacts
  /** DER, what came along above it */
  readonly sent: readonly Uint8Array[]
  readonly hostname: string
  readonly host: HostAnchors | undefined
  readonly now: number
  readonly crls: AnchorCrls
  readonly recordOf: RecordOf
  readonly pathOf: FindPath
}): Standing => {
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

/**
 * The same for whoever asks once and keeps nothing: the policy test.
 * @param o.issuers what registry.issuers() says
 * @param o.crls what registry.anchorCrls() says; only those of this hostname's anchors are read
 * @param o.hostname lower case, no trailing dot
 */
export const standAlone = (o: {
  readonly snapshot: AccessSnapshot
  readonly issuers: readonly IssuerRecord[]
  readonly crls: readonly KeptCrl[]
  readonly leaf: CertificateFacts
  readonly sent: readonly Uint8Array[]
  readonly hostname: string
  readonly now: number
  readonly recordOf: RecordOf
}): Standing => {
  const { now, hostname } = o
  const anchors = o.snapshot.anchors.filter(({ hostnames }) =>
    hostnames.some((name) => name.toLowerCase() === hostname),
  )
  const asked = new Set(anchors.filter(({ crl }) => crl !== undefined).map(({ name }) => name))
  const { hosts } = loadAnchors({ ...o.snapshot, anchors }, o.issuers, now, () => {})
  const host = hosts.get(hostname)
  return standingWithoutHandshake({
    ...o,
    host,
    crls: readAnchorCrls(o.crls.filter(({ anchor }) => asked.has(anchor))),
    pathOf: (leaf, peer) => host && findPath(leaf, peer, host, now),
  })
}
