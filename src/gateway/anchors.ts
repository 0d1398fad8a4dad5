/**
 * The anchors of each hostname: what OpenSSL trusts during a handshake there, whose a trusted leaf is, and why an untrusted one was
 * refused. Loaded once per version of the access snapshot, per set of issuers, and again when a date in a chain passes.
 * Not whose a certificate is: #trust/standing.ts; here it is remembered. Not the verdict: #policy/admission.ts.
 */

import type { SecureContext } from 'node:tls'
import type { AccessSnapshot } from '#fleet/access.ts'
import type { CertificateFacts, IssuerRecord } from '#fleet/certificate.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { sameBytes } from '#pki/der.ts'
import type { Standing } from '#policy/facts.ts'
import { inTurns } from '#runtime/in-turns.ts'
import { loadAnchors, type HostAnchors, type LoadedAnchors } from '#trust/anchor-load.ts'
import { findPath, type Path } from '#trust/anchor-paths.ts'
import { crlsReading, nextEndOf, NO_CRLS, type KeptCrl } from '#trust/crls.ts'
import { standingOf, standingWithoutHandshake, type RecordOf } from '#trust/standing.ts'
import { nameOfCa, type NamedCa } from './named-cas.ts'

/** Paths remembered per hostname; the oldest goes first. */
const MAX_REMEMBERED = 4_096

/** A hostname's anchors, with what was made from them so far. */
type Host = HostAnchors & {
  readonly paths: Map<string, Path>
  context: SecureContext | undefined
  /** the same, with CAs that are only named */
  naming: { readonly named: readonly NamedCa[]; readonly context: SecureContext } | undefined
}

type Current = Omit<LoadedAnchors, 'hosts'> & {
  readonly snapshot: AccessSnapshot
  readonly issuers: readonly IssuerRecord[]
  readonly hosts: ReadonlyMap<string, Host>
}

export type Anchors = {
  /** What registry.issuers() says. Until it is called, every anchor is foreign, and a record is still a record. */
  setIssuers(issuers: readonly IssuerRecord[]): void
  /**
   * What registry.anchorCrls() says. A large one is read in turns, and those of before are in force until all are: nothing urgent should wait
   * for it. Of calls that overlap the last one counts. Never rejects: what cannot be read is told, and is no CRL.
   * @returns ms: when one of them ends, and a verdict that was given by it has to be given again; Infinity: none does
   */
  setCrls(records: readonly KeptCrl[]): Promise<number>
  /**
   * Cached. undefined: a hostname without anchors, where nobody is trusted. Never throws.
   * @param o.named CAs that clients are told of, and that are not trusted; the same array as long as they are the same
   * @param o.asTold of a name that is known, by what was read last ({@link Anchors.refresh}); default: the registry is asked. The verdict is not made of it.
   */
  contextFor(
    hostname: string,
    o?: { readonly named?: readonly NamedCa[]; readonly asTold?: boolean },
  ): SecureContext | undefined
  /** Access has changed: reads it again. What that throws is thrown. */
  refresh(): void
  /** PEM of what is trusted there, and of what is only named; empty when nothing is. Never throws. */
  caFor(hostname: string, named?: readonly NamedCa[]): readonly string[]
  /** Forget contexts: the certificate that this server presents has changed. */
  forgetContexts(): void
  /** @param recordOf asked only for a leaf that OpenSSL trusted; what it throws is thrown */
  standing(snapshot: AccessSnapshot, peer: Peer, hostname: string, recordOf: RecordOf): Standing
  /** Of a certificate that was in a handshake here once and is not in this one. Its issuer is known from an anchor, or from that time. */
  standingOfRecorded(
    snapshot: AccessSnapshot,
    leaf: CertificateFacts,
    hostname: string,
    recordOf: RecordOf,
  ): Standing
  /** DER of the verified certificates between a trusted leaf and its root, in TLS order, the root left out. Never throws. */
  chainAbove(peer: Peer, hostname: string): readonly Uint8Array[]
}

/** A name that is trusted here is named already. */
const withNames = (host: HostAnchors | undefined, named: readonly NamedCa[]): readonly string[] => {
  const { ca, authorities } = host ?? { ca: [], authorities: [] }
  const trusted = new Set(authorities.map(({ facts }) => nameOfCa(facts)))
  return [...ca, ...named.filter(({ name }) => !trusted.has(name)).map(({ pem }) => pem)]
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
  let crls = NO_CRLS
  let crlCalls = 0

  const currentFor = (snapshot: AccessSnapshot): Current => {
    const now = o.clock()
    if (current?.snapshot !== snapshot || current.issuers !== issuers || now >= current.until) {
      const { hosts, until } = loadAnchors(snapshot, issuers, now, o.problem)
      const fresh = [...hosts].map(([name, host]): [string, Host] => [
        name,
        { ...host, paths: new Map(), context: undefined, naming: undefined },
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

  const lastRead = (): Current | undefined =>
    current?.issuers === issuers && o.clock() < current.until ? current : latest()

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
  const pathOn = (host: Host | undefined) => (leaf: CertificateFacts, peer: Peer) =>
    host && pathOf(leaf, peer, host)

  return {
    setIssuers: (records) => {
      issuers = records
    },
    setCrls: async (records) => {
      crlCalls += 1
      const call = crlCalls
      const cas = [...(latest()?.hosts.values() ?? [])].flatMap(({ authorities }) => authorities)
      const read = await inTurns(crlsReading(records, crls, cas, o.problem))
      if (call === crlCalls) crls = read
      return nextEndOf(crls, o.clock())
    },
    contextFor: (hostname, { named = [], asTold = false } = {}) => {
      // a name that nobody had told of is asked for all the same
      const told = asTold ? lastRead()?.hosts.get(hostname) : undefined
      const host = told ?? latest()?.hosts.get(hostname)
      if (host === undefined) return undefined
      if (named.length === 0) {
        host.context ??= o.makeContext(host.ca)
        return host.context
      }
      if (host.naming?.named !== named)
        host.naming = { named, context: o.makeContext(withNames(host, named)) }
      return host.naming.context
    },
    refresh: () => void currentFor(o.snapshot()),
    caFor: (hostname, named = []) => withNames(latest()?.hosts.get(hostname), named),
    forgetContexts: () => {
      for (const host of current?.hosts.values() ?? []) {
        host.context = undefined
        host.naming = undefined
      }
    },
    standing: (snapshot, peer, hostname, recordOf) => {
      const host = currentFor(snapshot).hosts.get(hostname)
      return standingOf({ peer, host, now: o.clock(), crls, recordOf, pathOf: pathOn(host) })
    },
    standingOfRecorded: (snapshot, leaf, hostname, recordOf) => {
      const host = currentFor(snapshot).hosts.get(hostname)
      return standingWithoutHandshake({
        leaf,
        sent: [],
        hostname,
        host,
        now: o.clock(),
        crls,
        recordOf,
        pathOf: pathOn(host),
      })
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
      // the last one is the root
      return chain.slice(0, -1).map(({ der }) => der)
    },
  }
}
