/**
 * TLS contexts in which resumption and renegotiation are impossible: the ONLY file that sets these options. Every listener
 * that may read a client certificate, on either desk, takes its options here. Not the reading of the certificate: peer.ts.
 *
 * OpenSSL's verdict on the chain is collected and never enforced here (`rejectUnauthorized: false`): admission decides, so that
 * a client without a good certificate gets a reason and not a mute TLS failure.
 */

import { constants, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import {
  connect,
  createSecureContext,
  createServer,
  type SecureContext,
  type SecureContextOptions,
  type TlsOptions,
} from 'node:tls'
import type { AddressInfo } from 'node:net'
import { FleetError } from '#fleet/errors.ts'

// No session ids or tickets (TLS 1.2) and no tickets that could be redeemed (TLS 1.3); no second handshake that could swap the
// client certificate under a verdict already given.
const SECURE_OPTIONS = constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION

// AEAD with forward secrecy only. The security level is said here, so that no OPENSSL_CONF can lower it: level 2 refuses RSA
// below 2048 bits and SHA-1 signatures, in handshakes and in chains.
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  '@SECLEVEL=2',
].join(':')

// The last two are never chosen for key agreement by a sane client, but without them a P-384 or P-521 client certificate kills a
// TLS 1.2 handshake (RFC 8422 §5.1.1: the list also limits the curves of certificates).
const CURVES = 'X25519MLKEM768:X25519:P-256:P-384:P-521'

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/**
 * Each certificate by itself. Node accepts garbage silently as an empty store, and `undefined` or '' as "every public root":
 * neither can come out of here.
 */
const parseAnchors = (pems: readonly string[]): string[] =>
  pems.flatMap((pem) => {
    const blocks = pem.match(PEM_CERTIFICATE) ?? []
    if (blocks.length === 0) throw new FleetError('config_invalid', 'a trust anchor holds no PEM certificate')
    for (const block of blocks) {
      try {
        void new X509Certificate(block)
      } catch (cause) {
        throw new FleetError('config_invalid', 'a trust anchor holds a certificate that cannot be read', {
          cause,
        })
      }
    }
    return blocks
  })

type Identity = { readonly cert: string; readonly key: string }

const contextOptions = ({ cert, key }: Identity, ca: string[]): SecureContextOptions => ({
  cert,
  key,
  ca,
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  ciphers: CIPHERS,
  ecdhCurve: CURVES,
  honorCipherOrder: true,
  secureOptions: SECURE_OPTIONS,
})

/**
 * Would OpenSSL serve with these, by the rules of this file? It reads the whole chain, and weighs the key, which a look at the leaf does not.
 * @throws FleetError `config_invalid`
 */
export const checkIdentity = (identity: Identity): void => {
  try {
    createSecureContext(contextOptions(identity, []))
  } catch (cause) {
    throw new FleetError('config_invalid', 'tls.cert or tls.key cannot be served with', { cause })
  }
}

/**
 * For `tls.createServer`, `https.createServer` and fastify's `https`.
 * @param o.cert PEM, leaf first. @param o.key PEM
 * @param o.ca PEM anchors for clients; `[]`: nobody is trusted (the default context of a listener that chooses by SNI)
 * @param o.handshakeTimeout ms
 * @param o.alpn default `['http/1.1']`: HTTP/2 has no limit of requests per connection. `[]`: no ALPN.
 * @throws FleetError `config_invalid` for an anchor that cannot be read
 */
export const serverOptions = (o: {
  readonly cert: string
  readonly key: string
  readonly ca: readonly string[]
  readonly handshakeTimeout: number
  readonly alpn?: readonly string[]
}): TlsOptions => {
  const alpn = o.alpn ?? ['http/1.1']
  return {
    ...contextOptions(o, parseAnchors(o.ca)),
    requestCert: true,
    rejectUnauthorized: false,
    handshakeTimeout: o.handshakeTimeout,
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
  }
}

/**
 * For SNICallback: one hostname's anchors, intermediates included. The chain above an anchor is not looked at during the
 * handshake (`allowPartialTrustChain`, −81 µs), so whoever loads it verifies it, and admission checks its dates.
 * Costs 400 µs and 45 KB: cache it. Node ignores `allowPartialTrustChain` anywhere but in a context returned by SNICallback.
 * @throws FleetError `config_invalid` when there is no anchor, or one cannot be read
 */
export const deviceContext = (o: {
  readonly cert: string
  readonly key: string
  readonly ca: readonly string[]
}): SecureContext => {
  const ca = parseAnchors(o.ca)
  if (ca.length === 0) throw new FleetError('config_invalid', 'a hostname has no trust anchor')
  return createSecureContext({ ...contextOptions(o, ca), allowPartialTrustChain: true })
}

/**
 * Boot self-test: does a TLS 1.3 client of this very process get no session ticket? False when the process was started without
 * src/runtime/openssl.cnf; tickets sent are still useless then (see SECURE_OPTIONS), so this is a warning, not a stop.
 * @param options as made by {@link serverOptions}
 */
export const checkNoTickets = async (options: TlsOptions): Promise<boolean> => {
  const server = createServer(options, (socket) => socket.end('.'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const { port } = server.address() as AddressInfo
    const client = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, minVersion: 'TLSv1.3' })
    let tickets = 0
    client.on('session', () => {
      tickets += 1
    })
    // tickets follow the handshake and come before the first byte, so at the end all have been seen
    client.resume()
    await once(client, 'close')
    return tickets === 0
  } finally {
    server.close()
  }
}
