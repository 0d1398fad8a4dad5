/** Every kind of device key, as a client certificate, in both TLS versions, against the contexts that the desks use. */

import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { KEY_KINDS, type KeyKind } from '#fleet/certificate.ts'
import { DAY, MINUTE } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import type { Peer } from '#fleet/peer.ts'
import { readCsr } from '#pki/csr.ts'
import { sha256Hex } from '#pki/keys.ts'
import { toPem } from '#pki/pem.ts'
import { readPeer } from '#runtime/peer.ts'
import { deviceContext, serverOptions } from '#runtime/tls.ts'
import { keyPemOf, makeCsr, makePki, randomSerial } from '../support/pki.ts'

const now = Date.now()
const pki = makePki({ now })
const { fullPem: cert, keyPem: key } = pki.server(['localhost'])

/** How a listener trusts: by its root, or by the intermediate in the context of a server name. */
const LISTENERS = {
  'the enrol desk': serverOptions({
    cert,
    key,
    ca: [pki.root.pem, pki.devices.pem],
    handshakeTimeout: 10_000,
  }),
  'the gateway': {
    ...serverOptions({ cert, key, ca: [], handshakeTimeout: 10_000 }),
    SNICallback: (_: string, done: (error: null, context: ReturnType<typeof deviceContext>) => void) =>
      done(null, deviceContext({ cert, key, ca: [pki.devices.pem] })),
  },
}
type Listener = keyof typeof LISTENERS

const opened = new AsyncDisposableStack()
const ports = new Map<string, number>()
const peers: Peer[] = []
const waiting: (() => void)[] = []
const clients = new Map<
  KeyKind,
  { readonly cert: string; readonly key: string; readonly fingerprint: string }
>()

beforeAll(async () => {
  for (const [name, options] of Object.entries(LISTENERS)) {
    const server = createServer(options, (socket: TLSSocket) => {
      peers.push(readPeer(socket))
      waiting.shift()?.()
      socket.end()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    ports.set(name, (server.address() as AddressInfo).port)
    opened.defer(() => void server.close())
  }
  const issuer = opened.use(await pki.openIssuer())
  for (const kind of KEY_KINDS) {
    // the way a device goes: request, facts, certificate
    const csr = makeCsr({ kind, commonName: `device-${kind}` })
    const der = await issuer.issueDevice({
      deviceId: `device-${kind}` as DeviceId,
      spkiDer: readCsr(csr.pem).spkiDer,
      serial: randomSerial(),
      notBefore: now - 5 * MINUTE,
      notAfter: now + DAY,
    })
    clients.set(kind, {
      cert: toPem('CERTIFICATE', der) + pki.devices.pem,
      key: keyPemOf(csr.privateKey),
      fingerprint: sha256Hex(der),
    })
  }
})
afterAll(() => opened.disposeAsync())

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const
const cases = Object.keys(LISTENERS).flatMap((listener) =>
  VERSIONS.flatMap((version) => KEY_KINDS.map((kind) => [listener as Listener, version, kind] as const)),
)

describe('a certificate of ours is read and trusted', () => {
  test.each(cases)('by %s in %s with a %s key', async (listener, version, kind) => {
    const client = clients.get(kind)
    const seen = new Promise<void>((resolve) => waiting.push(resolve))
    const socket = connect({
      port: ports.get(listener) ?? 0,
      host: '127.0.0.1',
      servername: 'localhost',
      ca: pki.root.pem,
      minVersion: version,
      maxVersion: version,
      ...(client === undefined ? {} : { cert: client.cert, key: client.key }),
    })
    let protocol: string | null = null
    socket.once('secureConnect', () => (protocol = socket.getProtocol()))
    socket.resume()
    await Promise.all([once(socket, 'close'), seen])
    expect(protocol).toBe(version)
    const peer = peers.pop()
    expect(peer).toMatchObject({ trusted: true, resumed: false, serverName: 'localhost' })
    expect(peer?.leaf).toMatchObject({ fingerprint: client?.fingerprint, key: { kind } })
  })
})
