/** The attacker had a handshake once, or has one now, and wants more out of it than the one request it was for. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { beforeAll, describe, expect, test } from 'vitest'
import type { DeviceFiles, Fleet } from '../../../support/fleet.ts'
import { mqttClient } from '../../../support/mqtt-client.ts'
import { makeCsr } from '../../../support/pki.ts'
import { program } from '../../../support/programs.ts'
import { as, ask, speak } from '../attacker.ts'

/** @param given the fleet that is attacked, once it is up */
export const handshakeAttacks = (given: () => Fleet): void => {
  let fleet: Fleet
  let lamp: DeviceFiles
  let gone: DeviceFiles
  beforeAll(async () => {
    fleet = given()
    ;[lamp, gone] = [await fleet.enroll('lamp-1'), await fleet.enroll('gone-1')]
    const pem = fleet.rootPem + lamp.chainPem
    await fleet.operator.call('PUT', '/v1/anchors/second', { body: { pem, hostnames: ['second.test'] } })
  })

  type Version = 'TLSv1.2' | 'TLSv1.3'
  type Listener = 'https' | 'mqtts' | 'devices'
  const VERSIONS: readonly Version[] = ['TLSv1.2', 'TLSv1.3']
  const LISTENERS: readonly Listener[] = ['https', 'mqtts', 'devices']
  const portOf = (listener: Listener): number => Number(new URL(fleet.urls[listener]).port)

  const open = async (
    listener: Listener,
    version: Version,
    o: { device?: DeviceFiles; session?: Buffer; servername?: string } = {},
  ): Promise<TLSSocket> => {
    const socket = connect({
      host: '127.0.0.1',
      port: portOf(listener),
      servername: o.servername ?? 'localhost',
      rejectUnauthorized: false,
      minVersion: version,
      maxVersion: version,
      ...(o.session === undefined ? {} : { session: o.session }),
      ...(o.device === undefined ? {} : { key: as(o.device).keyPem, cert: as(o.device).fullPem }),
    })
    await once(socket, 'secureConnect')
    return socket
  }

  // one key: a certificate has few successors
  const lampCsr = makeCsr({ commonName: 'lamp-1' }).pem

  /** Says what the listener speaks, and waits for its answer: what the server gives away by then, it gives away. */
  const use = async (listener: Listener, socket: TLSSocket): Promise<string> => {
    if (listener === 'mqtts') {
      using client = mqttClient(socket)
      return String(await client.connect({ clientId: 'lamp-1' }))
    }
    const renew = listener === 'devices'
    const body = renew ? JSON.stringify({ csr: lampCsr }) : ''
    const head = renew
      ? `POST /v1/renew HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`
      : 'GET / HTTP/1.1'
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
    socket.write(`${head}\r\nHost: ${socket.servername}\r\nConnection: close\r\n\r\n${body}`)
    await once(socket, 'close')
    return /"reason": ?"(\w+)"/.exec(text)?.[1] ?? text.slice(9, 12)
  }

  /** Every session that a connection of this kind leaves its client with. */
  const sessionsOf = async (listener: Listener, version: Version, device: DeviceFiles): Promise<Buffer[]> => {
    const socket = await open(listener, version, { device })
    const found: Buffer[] = []
    socket.on('session', (session: Buffer) => found.push(session))
    const early = socket.getSession()
    await use(listener, socket)
    return [...found, ...(early === undefined ? [] : [early])]
  }

  const NOBODY: Record<Listener, string> = {
    https: 'certificate_required',
    mqtts: '5',
    devices: 'certificate_required',
  }
  const rows = VERSIONS.flatMap((version) => LISTENERS.map((listener) => [version, listener] as const))

  describe.each(rows)('%s, a session from %s', (version, from) => {
    test('is none, and not a ticket either', async () => {
      const socket = await open(from, version, { device: lamp })
      let tickets = 0
      socket.on('session', () => (tickets += 1))
      expect(socket.getTLSTicket()).toBeUndefined()
      expect(await use(from, socket)).toMatch(/^(200|201|0)$/)
      if (version === 'TLSv1.3') expect(tickets).toBe(0)
    })

    test.each(LISTENERS)(
      'without the certificate opens nothing at %s, by this name or another',
      async (to) => {
        for (const session of await sessionsOf(from, version, lamp))
          for (const servername of ['localhost', 'second.test', 'LOCALHOST']) {
            const socket = await open(to, version, { session, servername })
            expect(socket.isSessionReused()).toBe(false)
            expect(await use(to, socket)).toMatch(
              new RegExp(`^(${NOBODY[to]}|no_application|host_mismatch|421)$`),
            )
          }
      },
    )
  })

  test('a session from before the revocation opens nothing after it', async () => {
    const before = (
      await Promise.all(
        rows.map(async ([version, listener]) =>
          (await sessionsOf(listener, version, gone)).map((session) => ({ version, session })),
        ),
      )
    ).flat()
    await fleet.operator.call('POST', '/v1/devices/gone-1/revoke')
    for (const { version, session } of before)
      for (const listener of LISTENERS) {
        const socket = await open(listener, version, { session, device: gone })
        expect(socket.isSessionReused()).toBe(false)
        expect(await use(listener, socket)).toMatch(/^(certificate_revoked|device_revoked|5)$/)
      }
  })

  const openssl = program('openssl')
  describe.skipIf(openssl === undefined).each(LISTENERS)(
    'a second handshake on one connection to %s',
    (listener) => {
      test.each(['mine', 'nobody'] as const)('as %s: refused, TLS 1.2', async (who) => {
        const certificate = who === 'mine' ? ['-key', lamp.files.key, '-cert', lamp.files.full] : []
        const child = spawn(openssl as string, [
          's_client',
          '-connect',
          `127.0.0.1:${portOf(listener)}`,
          '-servername',
          'localhost',
          '-tls1_2',
          '-msg',
          ...certificate,
        ])
        let text = ''
        child.stdout.setEncoding('latin1').on('data', (chunk: string) => {
          if (!text.includes('Verify return code') && (text + chunk).includes('Verify return code'))
            child.stdin.write('R\n')
          text += chunk
        })
        child.stderr.setEncoding('latin1').on('data', (chunk: string) => (text += chunk))
        await once(child, 'close')
        expect(text).toContain('RENEGOTIATING')
        expect(text.match(/<<< .*ServerHello\n/g)).toHaveLength(1)
        expect(text.match(/<<< .*Finished/g)).toHaveLength(1)
      })
    },
  )

  describe.each(LISTENERS)('a handshake at %s that others could listen in on', (listener) => {
    test.each<[string, ConnectionOptions]>([
      ['TLS 1.0', { minVersion: 'TLSv1', maxVersion: 'TLSv1' }],
      ['TLS 1.1', { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1' }],
      ['CBC', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' }],
      ['CBC and SHA-1', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES256-SHA:AES128-SHA' }],
      ['no forward secrecy', { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256:AES256-GCM-SHA384' }],
      [
        'nobody on the other side',
        { maxVersion: 'TLSv1.2', ciphers: 'AECDH-AES128-SHA:ADH-AES128-GCM-SHA256' },
      ],
      ['no encryption', { maxVersion: 'TLSv1.2', ciphers: 'eNULL' }],
      ['HTTP/2 only', { ALPNProtocols: ['h2'] }],
    ])('%s: none', async (_, options) => {
      const ciphers = `${options.ciphers ?? 'ALL'}:@SECLEVEL=0`
      const socket = connect({
        host: '127.0.0.1',
        port: portOf(listener),
        servername: 'localhost',
        rejectUnauthorized: false,
        ...options,
        ciphers,
      })
      await expect(once(socket, 'secureConnect')).rejects.toMatchObject({
        code: expect.stringMatching(/^ERR_SSL|ECONNRESET/) as string,
      })
      socket.destroy()
    })
  })

  describe('one connection to the HTTPS door, one request', () => {
    const one = (target: string, ...lines: readonly string[]): string =>
      `${[`GET ${target} HTTP/1.1`, 'Host: localhost', ...lines].join('\r\n')}\r\n\r\n`
    const post = (lines: readonly string[], body: string): string =>
      `${['POST /first HTTP/1.1', 'Host: localhost', ...lines].join('\r\n')}\r\n\r\n${body}`
    const second = one('/second')
    const disguises: readonly [string, string][] = [
      ['pipelined', one('/first') + second],
      ['five of them', one('/first') + second.repeat(5)],
      ['keep-alive', one('/first', 'Connection: keep-alive') + second],
      ['Connection: close', one('/first', 'Connection: close') + second],
      [
        'HTTP/1.0 keep-alive',
        `GET /first HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n${second}`,
      ],
      ['in the body of a GET', one('/first', `Content-Length: 0`) + second],
      ['after a chunked body', post(['Transfer-Encoding: chunked'], `0\r\n\r\n${second}`)],
      [
        'a length beside chunks',
        post([`Content-Length: ${second.length + 5}`, 'Transfer-Encoding: chunked'], `0\r\n\r\n${second}`),
      ],
      [
        'chunks beside a length',
        post(['Transfer-Encoding: chunked', 'Content-Length: 5'], `0\r\n\r\n${second}`),
      ],
      ['chunked by another name', post(['Transfer-Encoding: xchunked', 'Content-Length: 0'], second)],
      [
        'chunked after a tab',
        post(['Transfer-Encoding:\tchunked', 'Content-Length: 0'], `0\r\n\r\n${second}`),
      ],
      ['chunked, identity', post(['Transfer-Encoding: chunked, identity'], `0\r\n\r\n${second}`)],
      [
        'identity and chunked',
        post(['Transfer-Encoding: identity', 'Transfer-Encoding: chunked'], `0\r\n\r\n${second}`),
      ],
      ['chunked folded', post(['Transfer-Encoding:\r\n chunked', 'Content-Length: 0'], `0\r\n\r\n${second}`)],
      [
        'a space before the colon',
        post(['Transfer-Encoding : chunked', 'Content-Length: 0'], `0\r\n\r\n${second}`),
      ],
      ['vertical tab', post(['Transfer-Encoding: \vchunked', 'Content-Length: 0'], `0\r\n\r\n${second}`)],
      ['two lengths', post(['Content-Length: 0', `Content-Length: ${second.length}`], second)],
      ['two lengths in one', post([`Content-Length: 0, ${second.length}`], second)],
      ['a length with a plus', post(['Content-Length: +0'], second)],
      ['a negative length', post(['Content-Length: -1'], second)],
      ['a length in hex', post(['Content-Length: 0x0'], second)],
      ['a length beyond all numbers', post(['Content-Length: 18446744073709551616'], second)],
      ['a length after NUL', post(['Content-Length: 0\0'], second)],
      ['a chunk size with an underscore', post(['Transfer-Encoding: chunked'], `0_0\r\n\r\n${second}`)],
      [
        'a chunk size beyond all numbers',
        post(['Transfer-Encoding: chunked'], `${'f'.repeat(17)}\r\n${second}`),
      ],
      [
        'a chunk extension with a line feed',
        post(['Transfer-Encoding: chunked'], `1;a\nb\r\nx\r\n0\r\n\r\n${second}`),
      ],
      ['chunks ended by line feeds', post(['Transfer-Encoding: chunked'], `0\n\n${second}`)],
      ['a trailer that is a request', post(['Transfer-Encoding: chunked'], `0\r\nX: y\r\n\r\n${second}`)],
      ['the body of a GET', one('/first', `Content-Length: ${second.length}`) + second],
      [
        'the chunked body of a GET',
        one('/first', 'Transfer-Encoding: chunked') +
          `${second.length.toString(16)}\r\n${second}\r\n0\r\n\r\n`,
      ],
      [
        'a body without its length, which Connection names',
        post(['Connection: close, Content-Length', `Content-Length: ${second.length}`], second),
      ],
      [
        'a body without its chunks, which Connection names',
        post(
          ['Connection: Transfer-Encoding', 'Transfer-Encoding: chunked'],
          `${second.length.toString(16)}\r\n${second}\r\n0\r\n\r\n`,
        ),
      ],
      [
        'a body that is shorter than it says',
        post([`Content-Length: ${second.length}`, 'Connection: close'], second),
      ],
      [
        'HTTP/1.0 with chunks',
        `POST /first HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${second}`,
      ],
      ['bare line feeds', `GET /first HTTP/1.1\nHost: localhost\n\n${second}`],
      ['bare carriage returns', `GET /first HTTP/1.1\rHost: localhost\r\r${second}`],
      ['a folded header', one('/first', 'X: a', ' GET /second HTTP/1.1') + second],
      ['a header with a carriage return', one('/first', 'X: a\rGET /second HTTP/1.1') + second],
      ['NUL in a header', one('/first', 'X: \0') + second],
      ['a header without a colon', one('/first', 'X') + second],
      ['a header without a name', one('/first', ': x') + second],
      ['Upgrade', one('/first', 'Connection: Upgrade', 'Upgrade: websocket') + second],
      [
        'Upgrade to h2c',
        one(
          '/first',
          'Connection: Upgrade, HTTP2-Settings',
          'Upgrade: h2c',
          'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA',
        ) + second,
      ],
      ['Expect', post(['Expect: 100-continue', 'Content-Length: 2'], `hi${second}`)],
      ['Expect something else', post(['Expect: 200-ok', 'Content-Length: 2'], `hi${second}`)],
      ['the HTTP/2 preface', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${second}`],
      ['HTTP/0.9', `GET /first\r\n${second}`],
      ['an empty line before', `\r\n\r\n${one('/first')}${second}`],
      ['spaces in the request line', `GET  /first  HTTP/1.1\r\nHost: localhost\r\n\r\n${second}`],
      ['a space before the method', ` GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n${second}`],
      ['CONNECT', `CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\n${second}`],
      ['a PROXY line', `PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n${one('/first')}${second}`],
      ['the public keys first', one('/cdn-cgi/access/certs') + second],
      ['a refused one first', one('/a/../b') + second],
      ['a HEAD with a body', `HEAD /first HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n${second}`],
      ['a request in the query', one(`/first?x=%0d%0a%0d%0a${encodeURIComponent(second)}`) + second],
      ['a method of its own', `GET\t/first HTTP/1.1\r\nHost: localhost\r\n\r\n${second}`],
    ]
    test('however the second one is disguised, the origin sees one at most, and never the second', async () => {
      const found: Record<string, unknown> = {}
      for (const [name, bytes] of disguises) {
        await fleet.resetSeen()
        const heard = await speak(fleet.urls.https, Buffer.from(bytes, 'latin1'), { who: as(lamp) })
        const { total, items } = await fleet.seen()
        const targets = items.map(({ target }) => target)
        const answers = heard.raw.match(/HTTP\/1\.1 (?!100)\d{3} /g)?.length ?? 0
        if (total > 1 || answers > 1 || targets.some((one) => one.startsWith('/second')))
          found[name] = { targets, answers, raw: heard.raw }
        if (answers === 1 && !/\r\nconnection: close\r\n/i.test(heard.raw))
          found[`${name}, not closed`] = heard.raw
      }
      expect(found).toEqual({})
    })

    test('the good half of that is served: the door is not just deaf', async () => {
      await fleet.resetSeen()
      expect((await speak(fleet.urls.https, disguises[0]?.[1] ?? '', { who: as(lamp) })).status).toBe(200)
      expect((await fleet.seen()).total).toBe(1)
    })

    test('an assertion that the origin was given opens nothing', async () => {
      await fleet.resetSeen()
      await ask(fleet.urls.https, '/', { who: as(lamp) })
      const assertion = (await fleet.seen()).items[0]?.assertion ?? ''
      expect(assertion).toMatch(/^eyJ/)
      for (const header of [
        `Cf-Access-Jwt-Assertion: ${assertion}`,
        `Cookie: CF_Authorization=${assertion}`,
        `cf-access-token: ${assertion}`,
        `Authorization: Bearer ${assertion}`,
      ]) {
        expect((await ask(fleet.urls.https, '/', { headers: [header] })).reason).toBe('certificate_required')
        expect((await ask(fleet.urls.operator, '/v1/devices', { headers: [header] })).status).toBe(401)
        expect(
          (await ask(fleet.urls.devices, '/v1/renew', { headers: [header], body: { csr: 'x' } })).reason,
        ).toBe('certificate_required')
      }
    })
  })

  test('a connection to enroll that outlives its device gives it nothing more', async () => {
    const device = await fleet.enroll('late-1')
    const socket = await open('devices', 'TLSv1.3', { device })
    await fleet.operator.call('POST', '/v1/devices/late-1/revoke')
    expect(await use('devices', socket)).toMatch(/^(certificate_revoked|device_revoked)$/)
  })
}
