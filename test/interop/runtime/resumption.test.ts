import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '#fleet/clock.ts'
import { makePki } from '../../support/pki.ts'
import { program, run } from '../../support/programs.ts'
import { temporaryFolder } from '../../support/temporary.ts'
import { OPENSSL_CONFIG, startTls, type TlsProcess } from '../../support/tls-process.ts'

const openssl = program('openssl')

const certs = temporaryFolder()
const at = (name: string): string => join(certs.path, name)
const pki = makePki({ now: systemClock() })
const device = pki.device({ id: 'd1' })
const identity = ['-cert', at('d1.pem'), '-key', at('d1.key'), '-cert_chain', at('intermediate.pem')]
beforeAll(async () => {
  await pki.writeTo(certs.path)
  writeFileSync(at('d1.pem'), device.certPem)
  writeFileSync(at('d1.key'), device.keyPem, { mode: 0o600 })
})
afterAll(() => {
  certs[Symbol.dispose]()
})

describe.skipIf(openssl === undefined).each([
  { name: 'with the OpenSSL configuration', config: OPENSSL_CONFIG },
  { name: 'without it', config: undefined },
])('openssl s_client at our listener $name', ({ config }) => {
  let server: TlsProcess
  beforeAll(async () => {
    server = await startTls(certs.path, 'ours', config)
  })
  afterAll(() => {
    server[Symbol.dispose]()
  })

  /** `input`: what is typed; `R` renegotiates. */
  const client = async (args: readonly string[], input: string): Promise<string> => {
    const to = ['s_client', '-connect', `127.0.0.1:${server.port}`, '-servername', 'localhost']
    const { stdout, stderr } = await run(openssl as string, [...to, ...args], { input })
    return stdout + stderr
  }
  const handshakes = (output: string): string[] => output.match(/^(New|Reused), TLS/gm) ?? []

  it('-tls1_2 -reconnect makes six full handshakes', async () => {
    expect(handshakes(await client(['-tls1_2', '-reconnect', ...identity], ''))).toEqual(
      Array(6).fill('New, TLS'),
    )
    const seen = await server.connections(6)
    expect(seen.every(({ resumed, trusted }) => trusted && !resumed)).toBe(true)
  })

  it.each(['-tls1_2', '-tls1_3'])(
    '%s -sess_out, then -sess_in without the certificate, is nobody',
    async (version) => {
      const session = at(`session${version}.pem`)
      await client([version, '-sess_out', session, ...identity], 'Q\n')
      // TLS 1.3 without tickets leaves no session to come back with
      const again = existsSync(session) ? ['-sess_in', session] : []
      if (version === '-tls1_3' && config !== undefined) expect(again).toEqual([])
      expect(handshakes(await client([version, ...again], 'Q\n'))).toEqual(['New, TLS'])
      expect(await server.connections(2)).toEqual([
        expect.objectContaining({ commonName: 'd1', trusted: true, resumed: false }),
        expect.not.objectContaining({ trusted: true }),
      ])
    },
  )

  it('cannot renegotiate, with another certificate or the same', async () => {
    const output = await client(['-tls1_2', ...identity], 'R\n')
    expect(output).toContain('RENEGOTIATING')
    expect(output).toContain('no renegotiation')
    expect(await server.connections(1)).toHaveLength(1)
    expect(await server.error()).toMatch(/^ERR_SSL/)
  })
})
