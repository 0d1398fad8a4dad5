/**
 * USE CASE: a device enrols or renews over MQTT, through a gateway that is only a pipe. What the gateway says is believed in nothing but where
 * the device is, and that no further than its own share of the limits: the certificate is verified here, its key's signature over this very
 * request too, and then the use cases of REST decide, as if the device stood here. Not the wire: relay-api.ts.
 */

import { isIP } from 'node:net'
import { FleetError } from '#fleet/errors.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Peer } from '#fleet/peer.ts'
import { readCertificate, readCertificates } from '#pki/certificate.ts'
import { verifyChain } from '#pki/chain.ts'
import { csrDerOf } from '#pki/csr.ts'
import { fromPem } from '#pki/pem.ts'
import type { ProvedKind, RelayedRequest, RelayRequest } from '#wire/relay.ts'
import { authenticateBootstrap } from './bootstrap.ts'
import { enrollDevice, type Waiting } from './enroll-device.ts'
import { acceptCsrInTurn, type IssuanceDeps, type Issued } from './issuance.ts'
import type { FailureLimits } from './limits.ts'
import type { Nonces } from './relay-nonce.ts'
import { checkProof } from './relay-proof.ts'
import { acceptRenewer, renewFor } from './renew-device.ts'

/**
 * `failuresAt`: of one gateway, by itself. What it says of addresses can keep nobody out who does not come through it, let nobody in who has
 * failed elsewhere, and make no room in anybody else's table.
 */
export type RelayDeps = Omit<IssuanceDeps, 'failures'> & {
  readonly nonces: Nonces
  readonly failuresAt: (gateway: string) => FailureLimits
}

/** A leaf and nine above it: as many as a handshake is read for (#runtime/peer.ts). */
const MOST_CERTIFICATES = 10

export type NonceGiven = { readonly nonce: string; readonly expires: number }

/** As many as ids in certificates of `enroll.relay_ca`. */
export const eachGateway = (open: () => FailureLimits): RelayDeps['failuresAt'] => {
  const known = new Map<string, FailureLimits>()
  return (gateway) => {
    const own = known.get(gateway) ?? open()
    known.set(gateway, own)
    return own
  }
}

/** One gateway's. */
type Deps = IssuanceDeps & { readonly nonces: Nonces }

type Shown = Peer & { readonly leaf: CertificateFacts }

/** The device, as the gateway shows it. `trusted` is nobody's verdict yet. @throws `bad_request` */
const shownBy = ({ certificate, address }: RelayRequest): Shown => {
  if (isIP(address) === 0) throw new FleetError('bad_request', 'address: not an IP address')
  const [first, ...sentChain] = fromPem(certificate, 'CERTIFICATE')
  if (first === undefined || sentChain.length >= MOST_CERTIFICATES)
    throw new FleetError('bad_request', `certificate: 1 to ${MOST_CERTIFICATES} of them`)
  const leaf = readCertificate(first)
  return { leaf, sentChain, trusted: false, resumed: false, serverName: undefined, address }
}

/** What OpenSSL would say of it at this desk: signed by an issuer on record, up to a root of this desk, and all of it valid now. */
const isOurs = async ({ registry, issuers, clock }: Deps, leaf: CertificateFacts): Promise<boolean> => {
  const ours = issuers.all()
  const pool = [
    ...(await registry.issuers()).map(({ der }) => readCertificate(der)),
    ...ours.flatMap(({ chainPem }) => readCertificates(chainPem)),
  ]
  return verifyChain({ leaf, pool, roots: ours.map(({ root }) => root), now: clock() }).ok
}

/** @returns the CSR, DER: it is the device that asks for it, now. @throws `token_invalid`, `token_expired`, `bad_csr`, `rate_limited` */
const proved = (
  deps: Deps,
  { leaf, address }: Shown,
  kind: ProvedKind,
  request: RelayedRequest,
): Uint8Array => {
  try {
    const nonce = deps.nonces.take(request.nonce, leaf.fingerprint, kind)
    const csr = csrDerOf(request.csr)
    checkProof({ leaf, csr, nonce, group: request.group, signature: request.signature })
    return csr
  } catch (error) {
    deps.failures.check(address)
    deps.failures.failed(address)
    throw error
  }
}

const create = async (
  deps: Deps,
  peer: Shown,
  request: RelayedRequest,
  requestId: string,
): Promise<Issued | Waiting> => {
  const der = proved(deps, peer, 'create', request)
  const { group, device_id: deviceId } = request
  // only this one: nobody gets here by a list or by an operator's yes alone
  const claim = await authenticateBootstrap(deps, peer, group)
  const csr = await acceptCsrInTurn(der)
  // it is not signed, and a gateway could write any: it may say again what the CSR says, which is
  if (deviceId !== undefined && deviceId !== csr.commonName)
    throw new FleetError(
      'device_id_mismatch',
      "over MQTT it is the CSR's common name that says what the device is called",
    )
  return enrollDevice(deps, claim, { csr, deviceId, group, peer, address: peer.address, requestId })
}

const renew = async (deps: Deps, peer: Shown, request: RelayedRequest): Promise<Issued | Waiting> => {
  const csr = proved(deps, peer, 'renew', request)
  if (request.group !== undefined) throw new FleetError('bad_request', 'group: a renewal names none')
  const trusted = deps.registry.status(peer.leaf.fingerprint) !== undefined && (await isOurs(deps, peer.leaf))
  const renewer = acceptRenewer(deps, { ...peer, trusted })
  return renewFor(deps, renewer, { csr, deviceId: request.device_id })
}

/**
 * @param gateway its id, proved
 * @param requestId as in our log
 * @throws FleetError: `bad_request`, `token_invalid` and `token_expired` (nonce, signature), and all that REST says of the same
 */
export const relayEnrollment = async (
  deps: RelayDeps,
  gateway: string,
  ask: RelayRequest,
  requestId: string,
): Promise<NonceGiven | Issued | Waiting> => {
  const peer = shownBy(ask)
  const { kind, request } = ask
  if (kind === 'nonce') {
    if (request !== undefined)
      throw new FleetError('bad_request', 'request: a nonce is asked for without one')
    if (ask.for === undefined) throw new FleetError('bad_request', 'for: what is the nonce for?')
    return deps.nonces.give(peer.leaf.fingerprint, ask.for)
  }
  if (ask.for !== undefined) throw new FleetError('bad_request', 'for: goes with a nonce alone')
  if (request === undefined) throw new FleetError('bad_request', 'request: is missing')
  const within = { ...deps, failures: deps.failuresAt(gateway) }
  return kind === 'create' ? create(within, peer, request, requestId) : renew(within, peer, request)
}
