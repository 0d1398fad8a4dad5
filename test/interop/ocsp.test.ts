/** OCSP as others read it: OpenSSL by POST and GET, GnuTLS, curl. And the CRL beside it: OpenSSL, GnuTLS and strongSwan with the revocation check on. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { toPem } from '#pki/pem.ts'
import { program, run, type Ran } from '../support/programs.ts'
import { randomSerial } from '../support/pki.ts'
import { openStatusDesk, type StatusDesk, type StatusDevice } from '../support/status-desk.ts'
import { temporaryFolder } from '../support/temporary.ts'

const openssl = program('openssl')
const certtool = program('certtool')
const ocsptool = program('ocsptool')
const strongswan = program('pki')
const curl = program('curl')

const folder = temporaryFolder()
const at = (name: string): string => join(folder.path, name)
const STATES = ['good', 'revoked', 'held'] as const
type State = (typeof STATES)[number]

let desk: StatusDesk
const devices = new Map<State, StatusDevice>()
const never = randomSerial()
const deviceOf = (state: State): StatusDevice => devices.get(state) as StatusDevice

beforeAll(async () => {
  // these programs have no other clock
  desk = await openStatusDesk({ now: Date.now() })
  for (const state of STATES) {
    const device = await desk.device()
    devices.set(state, device)
    await writeFile(at(`${state}.pem`), device.pem)
  }
  await desk.set(deviceOf('revoked').id, 'revoked', 'keyCompromise')
  await desk.set(deviceOf('held').id, 'suspended', 'certificateHold')
  await writeFile(at('root.pem'), desk.pki.root.pem)
  await writeFile(at('issuer.pem'), desk.pki.devices.pem)
})
afterAll(async () => {
  await desk[Symbol.asyncDispose]()
  folder[Symbol.dispose]()
})

const SAYS: Readonly<Record<State, RegExp>> = {
  good: /: good\n/,
  revoked: /: revoked\n(?:.*\n)*?\tReason: keyCompromise\n/,
  held: /: revoked\n(?:.*\n)*?\tReason: certificateHold\n/,
}

describe.skipIf(openssl === undefined)('openssl ocsp', () => {
  /** The root is all it trusts: the responder's certificate has to earn its place. */
  const ocsp = (...args: readonly string[]): Promise<Ran> =>
    run(openssl as string, ['ocsp', '-issuer', at('issuer.pem'), '-CAfile', at('root.pem'), ...args])
  const asked = ['-url']

  for (const hash of ['-sha1', '-sha256'])
    for (const nonce of ['-nonce', '-no_nonce'])
      test.each(STATES)(`POST ${hash} ${nonce}: %s`, async (state) => {
        const ran = await ocsp(hash, nonce, '-cert', at(`${state}.pem`), ...asked, `${desk.url}/ocsp`)
        expect(ran).toMatchObject({
          code: 0,
          stderr: expect.stringContaining('Response verify OK') as string,
        })
        expect(ran.stderr).not.toContain('WARNING')
        expect(ran.stdout).toMatch(SAYS[state])
      })

  test('a serial that was never issued is unknown, beside others in one request', async () => {
    const ran = await ocsp(
      '-cert',
      at('good.pem'),
      '-serial',
      `0x${never}`,
      '-cert',
      at('revoked.pem'),
      ...asked,
      `${desk.url}/ocsp`,
    )
    expect(ran.stderr).toContain('Response verify OK')
    expect(ran.stdout).toMatch(SAYS.good)
    expect(ran.stdout).toMatch(SAYS.revoked)
    expect(ran.stdout.toLowerCase()).toContain(`0x${never}: unknown`)
  })

  test.each(STATES)('GET, as written by openssl and fetched: %s', async (state) => {
    await ocsp('-no_nonce', '-cert', at(`${state}.pem`), '-reqout', at('request.der'))
    const text = encodeURIComponent((await readFile(at('request.der'))).toString('base64'))
    const reply = await fetch(`${desk.url}/ocsp/${text}`)
    expect(Object.fromEntries(reply.headers)).toMatchObject({ 'content-type': 'application/ocsp-response' })
    await writeFile(at('response.der'), Buffer.from(await reply.arrayBuffer()))
    const ran = await ocsp('-no_nonce', '-cert', at(`${state}.pem`), '-respin', at('response.der'))
    expect(ran.stderr).toContain('Response verify OK')
    expect(ran.stdout).toMatch(SAYS[state])
  })

  test("the responder's certificate is delegated, short-lived, and not itself to be checked", async () => {
    const ran = await ocsp('-cert', at('good.pem'), '-resp_text', ...asked, `${desk.url}/ocsp`)
    expect(ran.stdout).toContain('OCSP Signing')
    expect(ran.stdout).toContain('OCSP No Check')
    expect(ran.stdout).toContain('CA:FALSE')
    expect(ran.stdout).not.toMatch(/Time: .*\.\d/)
  })

  test('another CA does not vouch for it', async () => {
    await writeFile(at('other.pem'), desk.pki.other.root.pem)
    const ran = await run(openssl as string, [
      'ocsp',
      '-issuer',
      at('issuer.pem'),
      '-CAfile',
      at('other.pem'),
      '-cert',
      at('good.pem'),
      ...asked,
      `${desk.url}/ocsp`,
    ])
    expect(ran.stderr).toContain('Response Verify Failure')
  })

  test('of another CA it does not speak', async () => {
    await writeFile(at('stranger.pem'), desk.pki.other.devices.pem)
    const ran = await run(openssl as string, [
      'ocsp',
      '-issuer',
      at('stranger.pem'),
      '-CAfile',
      at('other.pem'),
      '-cert',
      at('good.pem'),
      ...asked,
      `${desk.url}/ocsp`,
    ])
    expect(ran.stdout + ran.stderr).toContain('unauthorized (6)')
  })
})

describe.skipIf(ocsptool === undefined)('GnuTLS ocsptool', () => {
  test.each(STATES)('--ask: %s', async (state) => {
    const ran = await run(
      ocsptool as string,
      [
        `--ask=${desk.url}/ocsp`,
        '--nonce',
        '--load-cert',
        at(`${state}.pem`),
        '--load-issuer',
        at('issuer.pem'),
        '--load-trust',
        at('issuer.pem'),
      ],
      { input: '' },
    )
    expect(ran.stdout).toContain('Verifying OCSP Response: Success')
    expect(ran.stdout).toContain(`Certificate Status: ${state === 'good' ? 'good' : 'revoked'}`)
  })
})

describe.skipIf(curl === undefined || openssl === undefined)('curl', () => {
  test('GET, and again with the ETag', async () => {
    await run(openssl as string, [
      'ocsp',
      '-issuer',
      at('issuer.pem'),
      '-cert',
      at('good.pem'),
      '-no_nonce',
      '-reqout',
      at('c.der'),
    ])
    const url = `${desk.url}/ocsp/${encodeURIComponent((await readFile(at('c.der'))).toString('base64'))}`
    const first = await run(curl as string, ['-sS', '-D-', '-o', at('c.out'), url])
    expect(first.stdout).toMatch(/^HTTP\/1\.1 200 /)
    expect(first.stdout).toMatch(/^cache-control: max-age=\d+, public, no-transform, must-revalidate\r$/im)
    const [, etag = ''] = /^etag: (.*)\r$/im.exec(first.stdout) ?? []
    const again = await run(curl as string, ['-sS', '-D-', '-H', `If-None-Match: ${etag}`, url])
    expect(again.stdout).toMatch(/^HTTP\/1\.1 304 /)
  })
})

describe('the CRL, fetched from where the certificate says', () => {
  beforeAll(async () => {
    await vi.waitFor(async () => {
      const reply = await fetch(`${desk.url}/crl/${desk.issuer.ski}.crl`)
      const der = Buffer.from(await reply.arrayBuffer())
      for (const state of ['revoked', 'held'] as const)
        expect(der.includes(Buffer.from(deviceOf(state).serial, 'hex'))).toBe(true)
      await writeFile(at('crl.pem'), toPem('X509 CRL', der))
      await writeFile(at('crl.der'), der)
    })
  })
  const cases = STATES.map((state) => [state, state === 'good'] as const)

  test.skipIf(openssl === undefined).each(cases)(
    'openssl verify -crl_check: %s → %s',
    async (state, good) => {
      const ran = await run(openssl as string, [
        'verify',
        '-x509_strict',
        '-crl_check',
        '-purpose',
        'sslclient',
        '-CAfile',
        at('root.pem'),
        '-untrusted',
        at('issuer.pem'),
        '-CRLfile',
        at('crl.pem'),
        at(`${state}.pem`),
      ])
      expect({ ...ran, good: ran.code === 0 }).toMatchObject({ good })
    },
  )

  test.skipIf(strongswan === undefined).each(cases)('pki --verify --crl: %s → %s', async (state, good) => {
    const ran = await run(strongswan as string, [
      '--verify',
      '--in',
      at(`${state}.pem`),
      '--cacert',
      at('root.pem'),
      '--cacert',
      at('issuer.pem'),
      '--crl',
      at('crl.der'),
    ])
    expect({ ...ran, good: ran.code === 0 }).toMatchObject({ good })
  })

  test.skipIf(certtool === undefined).each(cases)(
    'certtool --verify --load-crl: %s → %s',
    async (state, good) => {
      await writeFile(at('chain.pem'), deviceOf(state).pem + desk.pki.devices.pem)
      const ran = await run(certtool as string, [
        '--verify',
        '--load-ca-certificate',
        at('root.pem'),
        '--load-crl',
        at('crl.pem'),
        '--infile',
        at('chain.pem'),
      ])
      expect({ ...ran, good: ran.code === 0 }).toMatchObject({ good })
    },
  )
})
