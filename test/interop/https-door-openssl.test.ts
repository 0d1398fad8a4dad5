/** The HTTPS door as OpenSSL's own client sees it. Not ours on either end of the argument: what it prints is believed. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openDoorHarness, type DoorHarness } from '../support/https-door.ts'
import { program, run, type Ran } from '../support/programs.ts'
import { requestText } from '../support/raw-https.ts'
import { temporaryFolder } from '../support/temporary.ts'

const openssl = program('openssl')

describe.skipIf(openssl === undefined)('openssl s_client', () => {
  let door: DoorHarness
  const folder = temporaryFolder()
  const at = (name: string): string => join(folder.path, name)
  beforeAll(async () => {
    door = await openDoorHarness()
    const lamp = await door.device('lamp-1')
    writeFileSync(at('cert.pem'), lamp.fullPem)
    writeFileSync(at('key.pem'), lamp.keyPem, { mode: 0o600 })
    writeFileSync(at('root.pem'), door.pki.root.pem)
  })
  afterAll(async () => {
    await door[Symbol.asyncDispose]()
    folder[Symbol.dispose]()
  })

  const client = (args: readonly string[], input = requestText('/')): Promise<Ran> =>
    run(
      openssl as string,
      ['s_client', '-connect', `127.0.0.1:${door.port}`, '-servername', 'a.test', '-ign_eof', ...args],
      { input },
    )
  const certificate = (): string[] => ['-cert', at('cert.pem'), '-key', at('key.pem')]

  test('TLS 1.2: six connections, none reused', async () => {
    const { stdout } = await client(['-tls1_2', '-reconnect', ...certificate()])
    expect(stdout).not.toMatch(/^Reused/m)
    expect(stdout.match(/^New, /gm)?.length).toBe(6)
  })

  test.each(['-tls1_2', '-tls1_3'])(
    '%s: a session kept, then shown without the certificate: not resumed, 403',
    async (version) => {
      const first = await client([version, '-sess_out', at('session.pem'), ...certificate()])
      expect(first.stdout).toContain('200 OK')
      const kept = await run(openssl as string, ['sess_id', '-in', at('session.pem'), '-noout'])
      // TLS 1.3 without a ticket has nothing to keep
      if (kept.code !== 0) return
      const second = await client([version, '-sess_in', at('session.pem')])
      expect(second.stdout).not.toMatch(/^Reused/m)
      expect(second.stdout).toContain('certificate_required')
    },
  )

  test('TLS 1.3: no early data', async () => {
    writeFileSync(at('early.txt'), requestText('/'))
    const first = await client(['-tls1_3', '-sess_out', at('early.pem'), ...certificate()])
    expect(first.stdout).toMatch(/Max Early Data: 0|New, TLSv1\.3/)
    const second = await client(['-tls1_3', '-sess_in', at('early.pem'), '-early_data', at('early.txt')])
    expect(second.stdout).not.toContain('Early data was accepted')
  })

  test('the CA list names this hostname’s anchors, and nothing to who guesses another name', async () => {
    const names = async (serverName: string): Promise<string> => {
      const { stdout } = await client(['-tls1_2', '-servername', serverName])
      return (
        /Acceptable client certificate CA names\n([\s\S]*?)\n(?:Client Certificate Types|Requested)/.exec(
          stdout,
        )?.[1] ?? ''
      )
    }
    expect((await names('a.test')).split('\n').sort()).toEqual(['CN = Test Devices', 'CN = Test Root'])
    expect(await names('b.test')).toBe('CN = Test Root')
    expect(await names('c.test')).toBe('')
  })

  test('renegotiation is refused', async () => {
    const { stdout, stderr } = await run(
      openssl as string,
      [
        's_client',
        '-connect',
        `127.0.0.1:${door.port}`,
        '-servername',
        'a.test',
        '-tls1_2',
        ...certificate(),
      ],
      { input: 'R\n' },
    )
    expect(stdout + stderr).toMatch(/RENEGOTIATING/)
    expect(stdout + stderr).toMatch(/no renegotiation|handshake failure|alert/i)
  })

  test('the door’s own chain verifies for its name', async () => {
    const server = await client([
      '-CAfile',
      at('root.pem'),
      '-verify_hostname',
      'localhost',
      ...certificate(),
    ])
    expect(server.stdout).toContain('Verify return code: 0 (ok)')
  })
})
