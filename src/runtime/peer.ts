/**
 * Reads once per connection what the TLS layer knows of the other side. Facts, not a verdict: Node's `authorized` is true on
 * resumed connections that present no certificate, so nothing here decides (see docs/admission.md).
 */

import { hash, type X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { CertificateFacts } from '#fleet/certificate.ts'
import type { Peer } from '#fleet/peer.ts'
import { readCertificate } from '#pki/certificate.ts'
import { leafOfSession } from './session-leaf.ts'

const MAX_SENT_CHAIN = 9
const MAX_REMEMBERED = 4_096

/** Reading DER again for a device that comes back every second is waste: facts depend on the bytes alone. Oldest use goes first. */
const remembered = new Map<string, CertificateFacts>()

const factsOf = (der: Uint8Array): CertificateFacts | undefined => {
  const fingerprint = hash('sha256', der, 'hex')
  const known = remembered.get(fingerprint)
  if (known !== undefined) {
    remembered.delete(fingerprint)
    remembered.set(fingerprint, known)
    return known
  }
  let facts: CertificateFacts
  try {
    facts = readCertificate(der)
  } catch {
    // OpenSSL could read it and our stricter reader could not: it is nobody's certificate
    return undefined
  }
  if (remembered.size >= MAX_REMEMBERED) remembered.delete(remembered.keys().next().value as string)
  remembered.set(fingerprint, facts)
  return facts
}

/** On Node 26: what the client sent, in order, without the leaf. Ends by itself; the bound is against a client that sends many. */
const sentAbove = (leaf: X509Certificate): Uint8Array[] => {
  const chain: Uint8Array[] = []
  for (
    let above = leaf.issuerCertificate;
    above !== undefined && chain.length < MAX_SENT_CHAIN;
    above = above.issuerCertificate
  )
    chain.push(above.raw)
  return chain
}

const serverNameOf = (name: TLSSocket['servername'] | undefined): string | undefined => {
  // false after a TLS 1.2 resumption, null or false without SNI
  if (typeof name !== 'string' || name === '') return undefined
  return name.toLowerCase().replace(/\.$/, '')
}

/** An IPv4 peer of a dual-stack listener is written as IPv4, so that one address has one spelling. '' when it is gone already. */
export const addressOf = (socket: Pick<TLSSocket, 'remoteAddress'>): string =>
  (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')

/**
 * Call once, after 'secureConnection': getPeerX509Certificate() costs 25 µs for each certificate that was sent.
 * A leaf that our reader refuses counts as not presented, and is never trusted.
 */
export const readPeer = (socket: TLSSocket): Peer => {
  const certificate = socket.getPeerX509Certificate()
  const leaf = certificate === undefined ? undefined : factsOf(certificate.raw)
  return {
    leaf,
    sentChain: certificate === undefined ? [] : sentAbove(certificate),
    trusted: leaf !== undefined && socket.authorized,
    resumed: socket.isSessionReused(),
    serverName: serverNameOf(socket.servername),
    address: addressOf(socket),
  }
}

/**
 * The same for a third of the price, for a peer that is forgotten with its connection: what was sent above the leaf, which is hardly ever
 * needed, is read when somebody asks, and there is nothing of it any more once the socket is destroyed.
 */
export const readPeerOf = (socket: TLSSocket): Peer => {
  const session = socket.getSession()
  const der = session && leafOfSession(session)
  // none was sent, or not where we look for it: Node says which
  if (der === undefined) return readPeer(socket)
  const leaf = factsOf(der)
  let sent: readonly Uint8Array[] | undefined
  return {
    leaf,
    get sentChain() {
      const certificate = sent === undefined ? socket.getPeerX509Certificate() : undefined
      sent ??= certificate === undefined ? [] : sentAbove(certificate)
      return sent
    },
    trusted: leaf !== undefined && socket.authorized,
    resumed: socket.isSessionReused(),
    serverName: serverNameOf(socket.servername),
    address: addressOf(socket),
  }
}
