import { once } from 'node:events'
import { X509Certificate } from 'node:crypto'
import { createServer, connect, type ConnectionOptions, type TLSSocket, type Server } from 'node:tls'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '#fleet/clock.ts'
import type { Peer } from '#fleet/peer.ts'
import { readPeer, readPeerOf } from '#runtime/peer.ts'
import { leafOfSession } from '#runtime/session-leaf.ts'
import { deviceContext, serverOptions } from '#runtime/tls.ts'
import { makePki } from '../../support/pki.ts'

type TlsIdentity = { readonly cert: string; readonly key: string }

const pki = makePki({ now: systemClock() })
const identity = (leaf: { fullPem: string; keyPem: string }): TlsIdentity => ({
  cert: leaf.fullPem,
  key: leaf.keyPem,
})
const ours = identity(pki.server())
const device = identity(pki.device({ id: 'd1' }))
const stranger = identity(pki.device({ id: 'd1', by: pki.other.devices }))

let server: Server
let port: number
/** of the connection before */
let session: Buffer | undefined
const peers: ((peer: Peer) => void)[] = []

beforeAll(async () => {
  const known = deviceContext({ ...ours, ca: [pki.devices.pem] })
  server = createServer(
    {
      ...serverOptions({ ...ours, ca: [], handshakeTimeout: 5_000 }),
      SNICallback: (name, done) => {
        done(null, name.toLowerCase().startsWith('door.test') ? known : undefined)
      },
    },
    (socket) => {
      const peer = readPeerOf(socket)
      // whatever is asked below is asked of both
      expect({ ...peer, sentChain: peer.sentChain }).toEqual(readPeer(socket))
      session = socket.getSession()
      peers.shift()?.(peer)
      socket.end('.')
    },
  )
  server.listen(0)
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
afterAll(() => {
  server.close()
})

const seenBy = async (options: ConnectionOptions): Promise<Peer> => {
  const { promise, resolve } = Promise.withResolvers<Peer>()
  peers.push(resolve)
  const client = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options })
  client.resume()
  await once(client, 'close')
  return promise
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('over %s', (version) => {
  const at = (servername: string, identity: Partial<TlsIdentity> = {}): Promise<Peer> =>
    seenBy({ servername, minVersion: version, maxVersion: version, ...identity })

  it('a device of ours', async () => {
    const peer = await at('door.test', device)
    expect(peer).toMatchObject({
      trusted: true,
      resumed: false,
      serverName: 'door.test',
      address: '127.0.0.1',
    })
    expect(peer.leaf?.commonName).toBe('d1')
    expect(peer.sentChain.map((der) => Buffer.from(der))).toEqual([
      Buffer.from(new X509Certificate(pki.devices.pem).raw),
    ])
  })

  it('one that sends its leaf alone: the anchor is the intermediate', async () => {
    expect(
      await at('door.test', { ...device, cert: device.cert.replace(pki.devices.pem, '') }),
    ).toMatchObject({ trusted: true, sentChain: [] })
  })

  it('one of another CA, with the same name', async () => {
    const peer = await at('door.test', stranger)
    expect(peer).toMatchObject({ trusted: false, leaf: { commonName: 'd1' } })
    expect(peer.sentChain).toHaveLength(1)
  })

  it('one that shows nothing', async () => {
    expect(await at('door.test')).toMatchObject({ leaf: undefined, trusted: false, sentChain: [] })
  })

  it('a server name nobody has anchors for', async () => {
    expect(await at('other.test', device)).toMatchObject({ trusted: false, leaf: { commonName: 'd1' } })
  })

  it('no server name', async () => {
    expect(await at('', device)).toMatchObject({ serverName: undefined, trusted: false })
  })

  it('a server name in capitals, with a dot', async () => {
    expect(await at('DOOR.Test.', device)).toMatchObject({ serverName: 'door.test', trusted: true })
  })

  it('twelve certificates above the leaf', async () => {
    const long = device.cert + pki.root.pem + pki.other.root.pem.repeat(10)
    const peer = await at('door.test', { ...device, cert: long })
    expect(peer.leaf?.commonName).toBe('d1')
    expect(peer.sentChain.length).toBeLessThanOrEqual(9)
  })

  it('the session that OpenSSL holds has the leaf where we look for it', async () => {
    const leaf = pki.device({ id: 'd3' })
    await at('door.test', identity(leaf))
    const octets = Buffer.from(session as Buffer)
    expect(leafOfSession(session as Buffer)).toEqual(Buffer.from(leaf.der))
    expect(session?.every((octet) => octet === 0)).toBe(true)
    // cut off anywhere before the leaf's last octet, there is none
    const end = octets.indexOf(leaf.der) + leaf.der.length
    for (let length = 0; length < end; length += 1)
      expect(leafOfSession(Buffer.from(octets.subarray(0, length)))).toBeUndefined()
    // every other first octet of a field or of its length, too
    const begin = octets.indexOf(leaf.der)
    for (let place = 0; place < begin; place += 1) {
      const other = Buffer.from(octets)
      other[place] = 0xff ^ (other[place] as number)
      const found = leafOfSession(other)
      if (found !== undefined) expect(found).toEqual(Buffer.from(leaf.der))
    }
    await at('door.test')
    expect(leafOfSession(session as Buffer)).toBeUndefined()
  })

  it.each(['P-384', 'P-521', 'Ed25519', 'RSA'] as const)('a %s key', async (kind) => {
    expect(await at('door.test', identity(pki.device({ id: 'd2', kind })))).toMatchObject({
      trusted: true,
      leaf: { key: { kind } },
    })
  })
})

describe('what Node gives us', () => {
  const fake = (over: object): TLSSocket =>
    ({
      getPeerX509Certificate: () => undefined,
      isSessionReused: () => false,
      authorized: true,
      servername: false,
      remoteAddress: undefined,
      ...over,
    }) as unknown as TLSSocket

  it('a leaf that only OpenSSL can read is nobody, and not trusted', () => {
    const leaf = { raw: Buffer.from('3003020101', 'hex'), issuerCertificate: undefined }
    expect(readPeer(fake({ getPeerX509Certificate: () => leaf }))).toMatchObject({
      leaf: undefined,
      trusted: false,
    })
  })

  it('`authorized` without a certificate is not trust (a resumed session says so)', () => {
    expect(readPeer(fake({ isSessionReused: () => true }))).toMatchObject({
      leaf: undefined,
      trusted: false,
      resumed: true,
      serverName: undefined,
    })
  })

  it.each([
    ['none', undefined],
    ['in another encoding', Buffer.from('30030201ff', 'hex')],
    ['empty', Buffer.alloc(0)],
  ])('a session that does not say who it is (%s): Node is asked', (_, given) => {
    const { raw } = new X509Certificate(pki.device({ id: 'd4' }).certPem)
    const leaf = { raw, issuerCertificate: undefined }
    const peer = readPeerOf(fake({ getSession: () => given, getPeerX509Certificate: () => leaf }))
    expect(peer).toMatchObject({ leaf: { commonName: 'd4' }, trusted: true, sentChain: [] })
  })

  it('what was sent above the leaf is read when somebody asks, once', async () => {
    await seenBy({ servername: 'door.test', ...device })
    const held = Buffer.from(session as Buffer)
    let asked = 0
    const getPeerX509Certificate = (): object => {
      asked += 1
      return { issuerCertificate: { raw: pki.devices.der } }
    }
    const peer = readPeerOf(fake({ getSession: () => held, getPeerX509Certificate }))
    expect([peer.leaf?.commonName, asked]).toEqual(['d1', 0])
    expect([peer.sentChain, peer.sentChain, asked]).toEqual([[pki.devices.der], [pki.devices.der], 1])
  })

  it('a chain without end is cut at nine', () => {
    const endless = { raw: new X509Certificate(pki.root.pem).raw, issuerCertificate: undefined as unknown }
    endless.issuerCertificate = endless
    expect(readPeer(fake({ getPeerX509Certificate: () => endless })).sentChain).toHaveLength(9)
  })

  it.each([
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:10.0.0.1', '10.0.0.1'],
    ['::ffff:0:1', '::ffff:0:1'],
    ['2001:db8::1', '2001:db8::1'],
    [undefined, ''],
  ])('address %s → %s', (remoteAddress, address) => {
    expect(readPeer(fake({ remoteAddress })).address).toBe(address)
  })

  it('facts are read once for the same bytes', () => {
    const raw = new X509Certificate(pki.root.pem).raw
    const twice = [1, 2].map(() =>
      readPeer(fake({ getPeerX509Certificate: () => ({ raw: Buffer.from(raw) }) })),
    )
    expect(twice[0]?.leaf).toBe(twice[1]?.leaf)
  })
})
