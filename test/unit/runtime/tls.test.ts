import { constants } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { checkNoTickets, deviceContext, serverOptions } from '#runtime/tls.ts'
import { systemClock } from '#fleet/clock.ts'
import { makePki } from '../../support/pki.ts'

const pki = makePki({ now: systemClock() })
const { fullPem: cert, keyPem: key } = pki.server()

const options = (over: { ca?: readonly string[]; alpn?: readonly string[] } = {}) =>
  serverOptions({ cert, key, ca: [], handshakeTimeout: 5_000, ...over })

/** One handshake; what the client agreed on, or the code it failed with. */
const handshake = async (
  client: ConnectionOptions,
  over: { alpn?: readonly string[] } = {},
): Promise<{ socket: TLSSocket } | { code: string }> => {
  const server = createServer(options(over), (socket) => socket.end('.'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const { port } = server.address() as AddressInfo
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...client })
    socket.resume()
    await once(socket, 'close')
    return { socket }
  } catch (error) {
    return { code: String((error as NodeJS.ErrnoException).code) }
  } finally {
    server.close()
  }
}

const offered = { servername: 'localhost' }

describe('what a client may agree on', () => {
  it.each<[string, ConnectionOptions, { alpn?: readonly string[] }, string | false]>([
    ['http/1.1 when it offers both', { ALPNProtocols: ['h2', 'http/1.1'] }, {}, 'http/1.1'],
    ['nothing when it offers nothing', {}, {}, false],
    ['mqtt at a door of its own', { ALPNProtocols: ['mqtt'] }, { alpn: ['mqtt'] }, 'mqtt'],
    ['nothing at a door without ALPN', { ALPNProtocols: ['h2'] }, { alpn: [] }, false],
  ])('%s', async (_, client, over, protocol) => {
    expect(await handshake({ ...offered, ...client }, over)).toMatchObject({
      socket: { alpnProtocol: protocol },
    })
  })

  it.each<[string, ConnectionOptions]>([
    ['HTTP/2 alone', { ALPNProtocols: ['h2'] }],
    ['TLS 1.1', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }],
    ['no forward secrecy', { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' }],
    ['CBC', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' }],
    ['finite-field Diffie-Hellman', { maxVersion: 'TLSv1.2', ciphers: 'DHE-RSA-AES128-GCM-SHA256' }],
  ])('not %s', async (_, client) => {
    expect(await handshake({ ...offered, ...client })).toEqual({
      code: expect.stringMatching(/^ERR_SSL_|ECONNRESET/),
    })
  })
})

describe('anchors', () => {
  it.each<[string, readonly string[]]>([
    ['empty text', ['']],
    ['no PEM', ['garbage']],
    ['a key in its place', ['-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----']],
    ['a certificate cut short', ['-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----']],
  ])('of %s are refused, not ignored', (_, ca) => {
    const refused = expect.objectContaining({ code: 'config_invalid' })
    expect(() => options({ ca })).toThrow(refused)
    expect(() => options({ ca: [pki.root.pem, ...ca] })).toThrow(refused)
    expect(() => deviceContext({ cert, key, ca })).toThrow(refused)
  })

  it('none at all is nobody for a listener, and refused for a hostname', () => {
    expect(options().ca).toEqual([])
    expect(() => deviceContext({ cert, key, ca: [] })).toThrow(/config_invalid/)
  })

  it('several may stand in one text', () => {
    expect(options({ ca: [pki.root.pem + pki.devices.pem] }).ca).toHaveLength(2)
  })
})

it('says what Node must not be left to choose', () => {
  expect(options()).toMatchObject({
    requestCert: true,
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    handshakeTimeout: 5_000,
  })
})

// this process runs without src/runtime/openssl.cnf; with it: test/system/runtime/resumption.test.ts
it('notices that tickets are sent when the OpenSSL configuration is missing', async () => {
  expect(await checkNoTickets(options())).toBe(false)
})
