/**
 * Which gateway speaks: by its client certificate, verified up to `enroll.relay_ca`, and by nothing else. And the other half of it: such a
 * certificate opens one route and no other, on any listener. Not what a gateway may ask: relay-api.ts.
 */

import { FleetError } from '#fleet/errors.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Clock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { createChecks, verifyChain } from '#pki/chain.ts'
import { judgeBootstrapCa } from '#pki/client-ca.ts'
import { gatewayIdOf, judgeGatewayLeaf, namesGateway } from '#policy/keys.ts'
import type { RegistryReader } from '#registry/registry.ts'
import { readAll } from '#trust/anchor-load.ts'
import { rootsAmong } from '#trust/ca-limits.ts'
import { RELAY_PATH } from '#wire/relay.ts'
import { peerOf, type App } from './http-app.ts'

/** Its own intermediate, and one more above it. */
const MOST_CHECKS = 4

/** @throws FleetError: why this peer is no gateway; `registry_unavailable` */
export type AcceptGateway = (peer: Peer | undefined) => string

type Desk = {
  readonly registry: Pick<RegistryReader, 'status'>
  /** SHA-256 of the keys that sign devices: what they signed is no gateway, whatever `enroll.relay_ca` holds */
  readonly deviceKeys: () => ReadonlySet<string>
  /** of `enroll.relay_ca`; none: nobody is a gateway */
  readonly anchors: readonly CertificateFacts[]
  /** ids of those that are shut out, `enroll.relay_deny` */
  readonly denied: ReadonlySet<string>
  readonly clock: Clock
}

const refuse = (code: FleetError['code'], detail: string): never => {
  throw new FleetError(code, detail)
}

/**
 * @param roots those of the anchors at which a chain may end
 * @returns the chain, leaf first
 */
const verify = (
  { registry, deviceKeys, anchors, clock }: Desk,
  roots: readonly CertificateFacts[],
  peer: Peer,
  leaf: CertificateFacts,
): readonly CertificateFacts[] => {
  const now = clock()
  if (now > leaf.notAfter) refuse('certificate_expired', 'the certificate of the gateway has expired')
  if (now < leaf.notBefore)
    refuse('certificate_not_yet_valid', 'the certificate of the gateway is not valid yet')
  const fault = judgeGatewayLeaf(leaf)
  if (fault !== undefined) refuse(fault, "this route is for a gateway's own client certificate")
  // whatever it calls itself
  if (registry.status(leaf.fingerprint) !== undefined)
    refuse('certificate_wrong_purpose', 'this is the certificate of a device')
  const verified = verifyChain({
    leaf,
    pool: [...readAll(peer.sentChain), ...anchors],
    roots,
    now,
    checks: createChecks(MOST_CHECKS),
    judgeCa: judgeBootstrapCa,
  })
  if (!verified.ok) return refuse('certificate_untrusted', verified.problem)
  const devices = deviceKeys()
  if (verified.chain.some(({ spkiSha256 }) => devices.has(spkiSha256)))
    refuse('certificate_untrusted', 'its issuer is one of devices')
  return verified.chain
}

/** One peer is one connection: its chain is verified once; its dates are held against the clock, and its id against those shut out, each time. */
export const createAcceptGateway = (desk: Desk): AcceptGateway => {
  const roots = rootsAmong(desk.anchors)
  const verified = new WeakMap<Peer, { readonly id: string; readonly until: number }>()
  const allowed = (id: string): string =>
    desk.denied.has(id) ? refuse('forbidden', 'this gateway is shut out (enroll.relay_deny)') : id
  return (peer) => {
    if (desk.anchors.length === 0) refuse('forbidden', 'no gateway may do this: enroll.relay_ca is not set')
    if (peer?.resumed === true) refuse('session_resumed', 'make a full handshake')
    const leaf = peer?.leaf
    if (peer === undefined || leaf === undefined)
      return refuse('certificate_required', 'present the certificate of the gateway')
    const known = verified.get(peer)
    if (known !== undefined && desk.clock() <= known.until) return allowed(known.id)
    const chain = verify(desk, roots, peer, leaf)
    const id = gatewayIdOf(leaf) as string
    verified.set(peer, { id, until: Math.min(...chain.map(({ notAfter }) => notAfter)) })
    return allowed(id)
  }
}

/** Whoever shows a gateway's certificate, or something that calls itself one, gets no other route, whatever else is shown. */
export const fenceGateways = (app: App): void => {
  app.addHook('onRequest', (request, _reply, done) => {
    const leaf = request.routeOptions.url === RELAY_PATH ? undefined : peerOf(request)?.leaf
    done(
      leaf !== undefined && namesGateway(leaf)
        ? new FleetError('credential_not_allowed', `a gateway's certificate is for ${RELAY_PATH} alone`)
        : undefined,
    )
  })
}
