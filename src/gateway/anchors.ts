/**
 * The anchors of each hostname: what OpenSSL trusts during a handshake there, whose a trusted leaf is, and why an untrusted one was
 * refused. Loaded once per version of the access snapshot, per set of issuers, and again when a date in a chain passes.
 * Not the verdict: #policy/admission.ts.
 */

import type { SecureContext } from 'node:tls'
import type { AccessSnapshot } from '#fleet/access.ts'
import type { CertificateFacts, IssuerRecord } from '#fleet/certificate.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import type { Standing } from '#policy/admission.ts'
import { isRoot, loadAnchors, sameBytes, type HostAnchors, type LoadedAnchors } from './anchor-load.ts'
import { explain, findPath, pathByRecord, type Path, type RecordOfIssuer } from './anchor-paths.ts'

/** Paths remembered per hostname; the oldest goes first. */
const MAX_REMEMBERED = 4_096

/** A hostname's anchors, with what was made from them so far. */
type Host = HostAnchors & {
  readonly paths: Map<string, Path>
  context: SecureContext | undefined
}

type Current = Omit<LoadedAnchors, 'hosts'> & {
  readonly snapshot: AccessSnapshot
  readonly issuers: readonly IssuerRecord[]
  readonly hosts: ReadonlyMap<string, Host>
}

export type Anchors = {
  /** What registry.issuers() says. Until it is called, every anchor is foreign, and a record is still a record. */
  setIssuers(issuers: readonly IssuerRecord[]): void
  /** Cached. undefined: a hostname without anchors, where nobody is trusted. Never throws. */
  contextFor(hostname: string): SecureContext | undefined
  /** PEM of what is trusted there; empty when nothing is. Never throws. */
  caFor(hostname: string): readonly string[]
  /** Forget contexts: the certificate that this server presents has changed. */
  forgetContexts(): void
  /** @param recordOf asked only for a leaf that OpenSSL trusted; what it throws is thrown */
  standing(
    snapshot: AccessSnapshot,
    peer: Peer,
    hostname: string,
    recordOf: (fingerprint: string) => RecordOfIssuer | undefined,
  ): Standing
  /** DER of the verified certificates between a trusted leaf and its root, in TLS order, the root left out. Never throws. */
  chainAbove(peer: Peer, hostname: string): readonly Uint8Array[]
}

/**
 * @param o.snapshot registry.access: the same object as long as nothing has changed
 * @param o.makeContext #runtime/tls.ts deviceContext with the certificate of this server
 * @param o.problem told once per load, for the log
 */
export const createAnchors = (o: {
  readonly snapshot: () => AccessSnapshot
  readonly clock: Clock
  readonly makeContext: (ca: readonly string[]) => SecureContext
  readonly problem: (text: string) => void
}): Anchors => {
  let issuers: readonly IssuerRecord[] = []
  let current: Current | undefined

  const currentFor = (snapshot: AccessSnapshot): Current => {
    const now = o.clock()
    if (current?.snapshot !== snapshot || current.issuers !== issuers || now >= current.until) {
      const { hosts, until } = loadAnchors(snapshot, issuers, now, o.problem)
      const fresh = [...hosts].map(([name, host]): [string, Host] => [
        name,
        { ...host, paths: new Map(), context: undefined },
      ])
      current = { snapshot, issuers, until, hosts: new Map(fresh) }
    }
    return current
  }

  /** For handshakes: when the registry cannot be read, admission refuses anyway, with its own reason. */
  const latest = (): Current | undefined => {
    try {
      return currentFor(o.snapshot())
    } catch {
      return current
    }
  }

  const pathOf = (leaf: CertificateFacts, peer: Peer, host: Host): Path | undefined => {
    const known = host.paths.get(leaf.fingerprint)
    if (known !== undefined) return known
    const path = findPath(leaf, peer, host, o.clock())
    // remembered only when found: what a client sends along may differ the next time
    if (path !== undefined) {
      if (host.paths.size >= MAX_REMEMBERED) host.paths.delete(host.paths.keys().next().value as string)
      host.paths.set(leaf.fingerprint, path)
    }
    return path
  }

  return {
    setIssuers: (records) => {
      issuers = records
    },
    contextFor: (hostname) => {
      const host = latest()?.hosts.get(hostname)
      if (host === undefined) return undefined
      host.context ??= o.makeContext(host.ca)
      return host.context
    },
    caFor: (hostname) => latest()?.hosts.get(hostname)?.ca ?? [],
    forgetContexts: () => {
      for (const host of current?.hosts.values() ?? []) host.context = undefined
    },
    standing: (snapshot, peer, hostname, recordOf) => {
      const { leaf } = peer
      const host = currentFor(snapshot).hosts.get(hostname)
      if (leaf === undefined) return { kind: 'absent' }
      if (!peer.trusted || host === undefined)
        return { kind: 'rejected', reason: explain(leaf, peer, host, o.clock()) }
      const record = recordOf(leaf.fingerprint)
      const path = (record && pathByRecord(leaf, record, host)) ?? pathOf(leaf, peer, host)
      // an anchor that was removed since the handshake, or a chain that only a laxer reader accepts
      if (path === undefined) return { kind: 'rejected', reason: explain(leaf, peer, host, o.clock()) }
      const { authority, span: above } = path
      return record !== undefined || authority.ours
        ? { kind: 'ours', above, record }
        : { kind: 'foreign', above, anchor: authority.anchor }
    },
    chainAbove: (peer, hostname) => {
      // the verdict was given a moment ago, by these very anchors
      const host = current?.hosts.get(hostname)
      const { leaf } = peer
      if (host === undefined || leaf === undefined || !peer.trusted) return []
      const direct = host.authorities.find(
        ({ facts }) =>
          leaf.authorityKeyId !== undefined &&
          facts.subjectKeyId === leaf.authorityKeyId &&
          sameBytes(facts.subjectDer, leaf.issuerDer),
      )
      const chain = direct?.chain ?? pathOf(leaf, peer, host)?.chain ?? []
      return chain.filter((facts) => !isRoot(facts)).map(({ der }) => der)
    },
  }
}
