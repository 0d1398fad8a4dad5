/**
 * What is given out to trust: the chain of the fleet's certificates, and the roots that servers are verified with. Each has a version
 * that rises with its contents, and who fetched which is counted: a rotation waits for them. Kept in memory, made again after each
 * change of a state. Not the routes: trust-api.ts, est.ts. Not the rotation: rotate.ts.
 */

import { hash } from 'node:crypto'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { Peer } from '#fleet/peer.ts'
import { readCertificate, readCertificates } from '#pki/certificate.ts'
import { verifyChain } from '#pki/chain.ts'
import { toPem } from '#pki/pem.ts'
import type { AnchorState, ServerAnchor, TrustKind } from '#registry/authorities.ts'
import type { Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { LiveIssuers } from './issuers.ts'
import { acceptHolder } from './renew-device.ts'
import { createSerially } from './serially.ts'

/** `etag`: of version and contents, for after a restored backup the same number may stand for others. */
export type Bundle = {
  readonly version: number
  readonly ders: readonly Uint8Array[]
  readonly pem: string
  readonly etag: string
}

export interface Trust {
  current(kind: TrustKind): Bundle
  /** After a change of a state, of an issuer or an anchor. @throws `registry_unavailable` */
  refresh(): Promise<void>
  /**
   * It was handed to this peer. Counted for a device of ours, on a connection with its own certificate, and for nobody else: whoever
   * fetches without one is served all the same. Never throws.
   */
  fetched(peer: Peer | undefined, kind: TrustKind, version: number): Promise<void>
  anchors(): readonly ServerAnchor[]
  /** Hex: the root that claim tokens name, see {@link pinOf}. */
  rootSha256(): string
  /** Does the certificate that this desk presents lead to that anchor? */
  presents(fingerprint: string): boolean
  /** And to no other that is given out? Then it cannot be done without. */
  leansOn(fingerprint: string): boolean
}

const ORDER: readonly AnchorState[] = ['active', 'retiring', 'offered']

/** The ones that are given out: active first, newest first among equals. */
const givenOut = (anchors: readonly ServerAnchor[]): readonly ServerAnchor[] =>
  ORDER.flatMap((state) => anchors.filter((anchor) => anchor.state === state).toReversed())

const bundleOf = (version: number, ders: readonly Uint8Array[]): Bundle => {
  const pem = ders.map((der) => toPem('CERTIFICATE', der)).join('')
  return { version, ders, pem, etag: `"${version}-${hash('sha256', pem).slice(0, 16)}"` }
}

/** Does this server certificate, with what it sends along, verify to that anchor now? */
const leadsTo = (chain: readonly CertificateFacts[], anchor: ServerAnchor, now: number): boolean => {
  const [leaf, ...pool] = chain
  return leaf !== undefined && verifyChain({ leaf, pool, roots: [readCertificate(anchor.der)], now }).ok
}

/**
 * Which root a claim token names while there are several. A client takes the one with that hash out of `/v1/trust.pem` and verifies the
 * server against it alone, so it must be one that this desk's certificate leads to: the active one when it does, else another one that
 * is given out and does (an anchor is activated first, the servers' certificates are replaced after). The active one when none does.
 */
const pinOf = (
  anchors: readonly ServerAnchor[],
  chain: readonly CertificateFacts[],
  now: number,
): string | undefined =>
  (givenOut(anchors).find((anchor) => leadsTo(chain, anchor, now)) ?? givenOut(anchors)[0])?.fingerprint

/** What this desk presents; [] when our reader cannot read it (OpenSSL could). */
const readAll = (pem: string): readonly CertificateFacts[] => {
  try {
    return readCertificates(pem)
  } catch {
    return []
  }
}

/**
 * The first anchor is the configured root, at the first start; from then on they are the operators' to rotate.
 * @param o.root `ca.root`. @param o.presented PEM of what this desk's listeners present now
 */
export const openTrust = async (o: {
  readonly registry: Registry
  readonly issuers: LiveIssuers
  readonly root: CertificateFacts
  readonly presented: () => string
  readonly clock: Clock
  readonly log: Log
}): Promise<Trust> => {
  const { registry, issuers, root, clock, log } = o
  if ((await registry.serverAnchors()).length === 0)
    await registry.addServerAnchor(
      { fingerprint: root.fingerprint, der: root.der, state: 'active' },
      clock(),
      'system',
    )

  let anchors: readonly ServerAnchor[] = []
  let bundles: Readonly<Record<TrustKind, Bundle>>
  let pin: { readonly presented: string; readonly sha256: string } | undefined
  let counting = true

  const read = async (): Promise<void> => {
    // the version first: what changes in between is then given out under the old number, and soon again under the new one
    const server = await registry.trustVersion('server')
    const all = await registry.serverAnchors()
    anchors = all
    // the issuers read theirs in the same order, and nothing is awaited between the two: a version of later would be counted as the
    // fetch of an issuer that was not in it
    const chain = issuers.chainVersion()
    const roots = new Map(
      [root, ...issuers.all().map((issuer) => issuer.root)].map((each) => [each.fingerprint, each]),
    )
    bundles = {
      chain: bundleOf(chain, [...issuers.offered(), ...[...roots.values()].map(({ der }) => der)]),
      server: bundleOf(
        server,
        givenOut(all).map(({ der }) => der),
      ),
    }
    pin = undefined
  }
  await read()

  /** One after the other: what was read first must not come last. */
  const serially = createSerially()
  const refresh = (): Promise<void> => serially(read)

  const chainNow = (): readonly CertificateFacts[] => readAll(o.presented())
  return {
    current: (kind) => bundles[kind],
    refresh,
    fetched: async (peer, kind, version) => {
      if (peer?.leaf === undefined) return
      try {
        const { deviceId } = acceptHolder({ registry, clock }, peer)
        await registry.recordTrustFetch(deviceId, kind, version, clock())
        counting = true
      } catch (error) {
        // a refusal is no device of ours, which is served and not counted; what is broken is said once
        if (error instanceof FleetError && error.code !== 'registry_unavailable') return
        if (counting) log.warn({ err: error }, 'fetches of trust anchors are not counted now')
        counting = false
      }
    },
    anchors: () => anchors,
    rootSha256: () => {
      const presented = o.presented()
      if (pin?.presented !== presented)
        pin = { presented, sha256: pinOf(anchors, chainNow(), clock()) ?? root.fingerprint }
      return pin.sha256
    },
    presents: (fingerprint) => {
      const anchor = anchors.find((known) => known.fingerprint === fingerprint)
      return anchor !== undefined && leadsTo(chainNow(), anchor, clock())
    },
    leansOn: (fingerprint) => {
      const leading = givenOut(anchors).filter((anchor) => leadsTo(chainNow(), anchor, clock()))
      return leading.length === 1 && leading[0]?.fingerprint === fingerprint
    },
  }
}
