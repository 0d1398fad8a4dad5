import { once } from 'node:events'
import { connect, type ConnectionOptions } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '#fleet/clock.ts'
import { makePki } from '../../support/pki.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { OPENSSL_CONFIG, startTls, type TlsProcess } from '../../support/tls-process.ts'

const certs = temporaryFolder()
const pki = makePki({ now: systemClock() })
const device = pki.device({ id: 'd1' })
const identity = { cert: device.fullPem, key: device.keyPem }
beforeAll(() => pki.writeTo(certs.path))
afterAll(() => {
  certs[Symbol.dispose]()
})

type Version = 'TLSv1.2' | 'TLSv1.3'

/** One connection to its end; the last session the server offered, and whether the client believes it resumed. */
const visit = async (
  port: number,
  version: Version,
  options: ConnectionOptions,
): Promise<{ sessions: Buffer[]; reused: boolean }> => {
  const socket = connect({
    host: '127.0.0.1',
    port,
    servername: 'localhost',
    rejectUnauthorized: false,
    minVersion: version,
    maxVersion: version,
    ...options,
  })
  const sessions: Buffer[] = []
  socket.on('session', (session) => sessions.push(session))
  // the greeting comes after any ticket
  await once(socket, 'data')
  const reused = socket.isSessionReused()
  // TLS 1.2 without a ticket: the session id, which a store would redeem
  const held = socket.getSession()
  if (held !== undefined) sessions.push(held)
  socket.end()
  await once(socket, 'close')
  return { sessions, reused }
}

describe.each([
  { name: 'with the OpenSSL configuration', config: OPENSSL_CONFIG, noTickets: true },
  { name: 'without it', config: undefined, noTickets: false },
  { name: 'with one that does not exist', config: '/nonexistent/openssl.cnf', noTickets: false },
])('our listener $name', ({ config, noTickets }) => {
  let server: TlsProcess
  beforeAll(async () => {
    server = await startTls(certs.path, 'ours', config)
  })
  afterAll(() => {
    server[Symbol.dispose]()
  })

  it(`knows at boot that tickets are ${noTickets ? 'not ' : ''}sent`, () => {
    expect(server.noTickets).toBe(noTickets)
  })

  it.each<Version>(['TLSv1.2', 'TLSv1.3'])('never resumes %s', async (version) => {
    const { sessions } = await visit(server.port, version, identity)
    expect(await server.connections(1)).toEqual([
      expect.objectContaining({ protocol: version, commonName: 'd1', trusted: true, resumed: false }),
    ])
    // again with each session, with and without the certificate
    for (const session of sessions)
      for (const again of [{ session }, { session, ...identity }])
        expect((await visit(server.port, version, again)).reused).toBe(false)
    const seen = await server.connections(sessions.length * 2)
    expect(seen.every(({ resumed }) => !resumed)).toBe(true)
    expect(seen.filter(({ commonName }) => commonName === undefined)).toHaveLength(sessions.length)
    expect(seen.filter(({ trusted }) => trusted)).toHaveLength(sessions.length)
  })
})

// what makes the tests above tests: the same client does resume at a stock listener, and is taken for the device without its key
describe('a stock Node listener', () => {
  it.each<Version>(['TLSv1.2', 'TLSv1.3'])('does resume %s', async (version) => {
    using server = await startTls(certs.path, 'stock', undefined)
    const { sessions } = await visit(server.port, version, identity)
    const session = sessions.at(-1) as Buffer
    expect((await visit(server.port, version, { session })).reused).toBe(true)
    const [, again] = await server.connections(2)
    expect(again).toMatchObject({ resumed: true, commonName: 'd1', trusted: true })
  })
})
