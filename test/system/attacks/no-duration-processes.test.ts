/**
 * No Duration across processes: two workers of one door on one port, and enroll's listener for devices. What one process gives away must not
 * be taken by the other. The door in one process: no-duration.test.ts.
 */

import { once } from 'node:events'
import { connect } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startFleet, type DeviceFiles, type Fleet } from '../../support/fleet.ts'
import { program, run, type Ran } from '../../support/programs.ts'
import { as, ask } from './attacker.ts'

let fleet: Fleet
let lamp: DeviceFiles
beforeAll(async () => {
  fleet = await startFleet({ env: { SALLYPORT_HTTPS_WORKERS: '2' } })
  lamp = await fleet.enroll('lamp-1')
})
afterAll(() => fleet[Symbol.asyncDispose]())

const GET = 'GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
const portOf = (listener: 'https' | 'devices'): number => Number(new URL(fleet.urls[listener]).port)

const openssl = program('openssl')
describe.skipIf(openssl === undefined)('openssl s_client', () => {
  const client = (listener: 'https' | 'devices', args: readonly string[], input = GET): Promise<Ran> =>
    run(
      openssl as string,
      [
        's_client',
        '-connect',
        `127.0.0.1:${portOf(listener)}`,
        '-servername',
        'localhost',
        '-ign_eof',
        ...args,
      ],
      { input },
    )
  const certificate = (): string[] => ['-cert', lamp.files.full, '-key', lamp.files.key]

  describe.each(['https', 'devices'] as const)('%s', (listener) => {
    test('TLS 1.2: six connections, none is a continuation of another', async () => {
      const { stdout } = await client(listener, ['-tls1_2', '-reconnect', ...certificate()])
      expect(stdout).not.toMatch(/^Reused/m)
      expect(stdout.match(/^New, /gm)?.length).toBe(6)
    })

    test.each(['-tls1_2', '-tls1_3'])(
      '%s: a session kept opens nothing without its certificate',
      async (version) => {
        const kept = `${fleet.home}/${listener}${version}.pem`
        await client(listener, [version, '-sess_out', kept, ...certificate()])
        if ((await run(openssl as string, ['sess_id', '-in', kept, '-noout'])).code !== 0) return
        // more often than there are workers
        for (let n = 0; n < 4; n += 1) {
          const { stdout } = await client(listener, [version, '-sess_in', kept])
          expect(stdout).not.toMatch(/^Reused/m)
          expect(stdout).not.toMatch(/^HTTP\/1\.1 200/m)
        }
      },
    )
  })
})

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s: sessions that Node kept', (version) => {
  const use = async (session: Buffer | undefined, who: DeviceFiles | undefined) => {
    const found: Buffer[] = []
    const socket = connect({
      host: '127.0.0.1',
      port: portOf('https'),
      servername: 'localhost',
      rejectUnauthorized: false,
      minVersion: version,
      maxVersion: version,
      ...(session === undefined ? {} : { session }),
      ...(who === undefined ? {} : { key: as(who).keyPem, cert: as(who).fullPem }),
    })
    let text = ''
    socket.on('session', (one: Buffer) => found.push(one))
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
    await once(socket, 'secureConnect')
    const reused = socket.isSessionReused()
    const early = socket.getSession()
    socket.write(GET)
    await once(socket, 'close')
    return { reused, text, sessions: early === undefined ? found : [...found, early] }
  }

  test('from either worker, at either worker: none', async () => {
    const sessions: Buffer[] = []
    for (let n = 0; n < 6; n += 1) {
      const first = await use(undefined, lamp)
      expect(first.text).toMatch(/^HTTP\/1\.1 200 /)
      sessions.push(...first.sessions)
    }
    const { total } = await fleet.seen()
    for (const session of sessions) {
      const { reused, text } = await use(session, undefined)
      expect([reused, text.slice(9, 12)]).toEqual([false, '403'])
    }
    expect((await fleet.seen()).total).toBe(total)
  })
})

test('a revocation bites at both workers, at once', async () => {
  const gone = await fleet.enroll('gone-1')
  const status = async (): Promise<number> => (await ask(fleet.urls.https, '/', { who: as(gone) })).status
  for (let n = 0; n < 4; n += 1) expect(await status()).toBe(200)
  await fleet.operator.call('POST', '/v1/devices/gone-1/revoke')
  const after = await Promise.all(Array.from({ length: 12 }, status))
  expect(after.filter((one) => one !== 403)).toEqual([])
})

test('a token that one worker has made ends at the other too, at once', async () => {
  await fleet.operator
    .call('PUT', '/v1/applications/sessions', {
      body: {
        hostnames: ['localhost'],
        https: { path: '/session/*', origin: fleet.urls.origin },
        session_duration: '1h',
        token_binding: 'none',
        policies: ['devices'],
      },
    })
    .catch(async () => {
      const { items } = await fleet.operator.call<{ items: { name: string }[] }>('GET', '/v1/policies')
      await fleet.operator.call('PUT', '/v1/applications/sessions', {
        body: {
          hostnames: ['localhost'],
          https: { path: '/session/*', origin: fleet.urls.origin },
          session_duration: '1h',
          token_binding: 'none',
          policies: items.map(({ name }) => name),
        },
      })
    })
  const first = await ask(fleet.urls.https, '/session/x', { who: as(lamp) })
  const token = /CF_Authorization=([^;]+)/.exec(first.headers['set-cookie'] ?? '')?.[1] ?? ''
  expect(token).toMatch(/^eyJ/)
  const headers = [`Cookie: CF_Authorization=${token}`]
  const status = async (): Promise<number> => (await ask(fleet.urls.https, '/session/x', { headers })).status
  // 401: this origin believes another application's assertions only
  for (let n = 0; n < 6; n += 1) expect(await status()).not.toBe(403)
  const out = await ask(fleet.urls.https, '/cdn-cgi/access/logout', { headers })
  expect(out.status).toBe(200)
  const after = await Promise.all(
    Array.from({ length: 12 }, () => ask(fleet.urls.https, '/session/x', { headers })),
  )
  expect(after.filter(({ reason }) => reason !== 'session_expired')).toEqual([])
})
