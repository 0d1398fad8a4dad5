/** EST with programs that are not ours: strongSwan's `pki --estca` and `pki --est`, curl, and openssl to read what they got. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { DeviceId } from '#fleet/device-id.ts'
import { readCertificates } from '#pki/certificate.ts'
import { issuedBy } from '#pki/chain.ts'
import { startDesk, type TestDesk } from '../support/enroll-desk.ts'
import { keyPemOf, makeCsr } from '../support/pki.ts'
import { program, run, type Ran } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const strongswan = program('pki')
const openssl = program('openssl')
const curl = program('curl')

const folder = temporaryFolder()
const at = (name: string): string => join(folder.path, name)
let desk: TestDesk
let url: string
beforeAll(async () => {
  desk = await startDesk()
  url = `https://localhost:${new URL(desk.urls['devices'] ?? '').port}`
  await writeFile(at('root.pem'), desk.home.pki.root.pem)
  await writeFile(at('devices.pem'), desk.home.pki.devices.pem)
})
afterAll(async () => {
  await desk.stop()
  folder[Symbol.dispose]()
})

describe.skipIf(strongswan === undefined)('strongSwan pki', () => {
  const pki = (...args: readonly string[]): Promise<Ran> => run(strongswan as string, args)
  /** A key and a request for it, made by strongSwan too. */
  const request = async (
    name: string,
    type = ['ecdsa', '--size', '256'],
  ): Promise<{ key: string; csr: string }> => {
    const [key, csr] = [at(`${name}.key`), at(`${name}.csr`)]
    const made = await pki('--gen', '--type', ...type, '--outform', 'pem')
    await writeFile(key, made.stdout)
    const asked = await pki('--req', '--in', key, '--type', 'priv', '--dn', 'CN=swan-1', '--outform', 'pem')
    await writeFile(csr, asked.stdout)
    return { key, csr }
  }
  const est = (csr: string, ...more: readonly string[]): Promise<Ran> =>
    pki(
      '--est',
      '--url',
      url,
      '--in',
      csr,
      '--cacert',
      at('root.pem'),
      '--cacert',
      at('devices.pem'),
      '--outform',
      'pem',
      ...more,
    )
  const certificateIn = ({ stdout }: Ran) => readCertificates(stdout)[0]
  const id = 'swan-1' as DeviceId

  test('--estca fetches the root and the intermediate, and says that they are trusted', async () => {
    const ran = await pki(
      '--estca',
      '--url',
      url,
      '--cacert',
      at('root.pem'),
      '--caout',
      at('ca.pem'),
      '--outform',
      'pem',
    )
    expect(ran).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('Sub CA cert is trusted') as string,
    })
    const [root, intermediate] = await Promise.all(
      ['ca.pem', 'ca-1.pem'].map((name) => readFile(at(name), 'utf8')),
    )
    expect(readCertificates(`${root}${intermediate}`).map(({ fingerprint }) => fingerprint)).toEqual([
      desk.home.pki.root.facts.fingerprint,
      desk.home.pki.devices.facts.fingerprint,
    ])
  })

  test('--est: no password and a wrong one fail cleanly; a claim token enrols; the certificate renews itself over mTLS', async () => {
    const first = await request('first')
    for (const more of [
      [],
      ['--userpass', 'swan-1:wrong'],
      ['--userpass', `:spt1.${'a'.repeat(16)}.${'b'.repeat(43)}.${'c'.repeat(43)}`],
    ]) {
      const refused = await est(first.csr, ...more)
      expect(refused).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringContaining('HTTP 401') as string,
      })
    }
    expect(await desk.registry.findDevice(id)).toBeUndefined()

    const { text } = await desk.claim()
    const enrolled = await est(first.csr, '--userpass', `swan-1:${text}`)
    expect(enrolled).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('Issued certificate is trusted') as string,
    })
    const one = certificateIn(enrolled)
    expect(one && issuedBy(one, desk.home.pki.devices.facts)).toBe(true)
    await writeFile(at('first.pem'), enrolled.stdout)

    // lost answer: the same again gives the same
    expect(certificateIn(await est(first.csr, '--userpass', `swan-1:${text}`))?.serial).toBe(one?.serial)

    // another key with the spent token
    const second = await request('second')
    expect(await est(second.csr, '--userpass', `swan-1:${text}`)).toMatchObject({ code: 1, stdout: '' })

    const renewed = await est(second.csr, '--cert', at('first.pem'), '--key', first.key)
    expect(renewed).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("sending TLS client certificate 'CN=swan-1'") as string,
    })
    const two = certificateIn(renewed)
    expect(two).toMatchObject({ commonName: 'swan-1', sanUris: ['urn:sallyport:device:swan-1'] })
    expect(two?.serial).not.toBe(one?.serial)

    await desk.registry.setDeviceState({
      id,
      state: 'revoked',
      reason: 'keyCompromise',
      now: Date.now(),
      actor: 'operator:x',
    })
    await writeFile(at('second.pem'), renewed.stdout)
    const third = await request('third')
    const refused = await est(third.csr, '--cert', at('second.pem'), '--key', second.key)
    expect(refused).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('HTTP 403') as string,
    })
  })

  test.each([
    ['an Ed25519 key', ['ed25519']],
    ['an RSA key', ['rsa', '--size', '2048']],
    ['a P-384 key', ['ecdsa', '--size', '384']],
  ])('--est with %s', async (name, type) => {
    const { text } = await desk.claim({ deviceId: `swan-${type[0]}-${type[2] ?? ''}` as DeviceId })
    const key = at(`${name}.key`)
    await writeFile(key, (await pki('--gen', '--type', ...type, '--outform', 'pem')).stdout)
    const dn = `CN=swan-${type[0]}-${type[2] ?? ''}`
    await writeFile(
      at(`${name}.csr`),
      (await pki('--req', '--in', key, '--type', 'priv', '--dn', dn, '--outform', 'pem')).stdout,
    )
    expect(await est(at(`${name}.csr`), '--userpass', `:${text}`)).toMatchObject({ code: 0 })
  })
})

describe.skipIf(curl === undefined || openssl === undefined)('curl and openssl', () => {
  const ask = (...args: readonly string[]): Promise<Ran> =>
    run(curl as string, ['-sS', '--fail-with-body', '--cacert', at('root.pem'), ...args])
  /** What `base64 -d | openssl pkcs7 -inform DER -print_certs` makes of it. */
  const subjects = async (base64: string): Promise<readonly string[]> => {
    const decoded = Buffer.from(base64, 'base64')
    const ran = await run(openssl as string, ['pkcs7', '-inform', 'DER', '-print_certs', '-noout'], {
      input: decoded,
    })
    return ran.stdout.match(/(?<=subject=).*/g) ?? []
  }

  test('cacerts, wrapped for a client that names itself: openssl base64 -d reads it as it is', async () => {
    const ran = await ask(`${url}/.well-known/est/cacerts`)
    expect(await subjects(ran.stdout)).toEqual(['CN = Test Devices', 'CN = Test Root'])
    await writeFile(at('cacerts.b64'), ran.stdout)
    const decoded = await run(openssl as string, [
      'base64',
      '-d',
      '-in',
      at('cacerts.b64'),
      '-out',
      at('cacerts.p7'),
    ])
    expect(decoded.code).toBe(0)
    const printed = await run(openssl as string, [
      'pkcs7',
      '-inform',
      'DER',
      '-in',
      at('cacerts.p7'),
      '-print_certs',
      '-noout',
    ])
    expect(printed.stdout).toContain('subject=CN = Test Root')
  })

  test('simpleenroll and simplereenroll', async () => {
    const { text } = await desk.claim()
    const csr = makeCsr({ commonName: 'curl-1' })
    await writeFile(at('curl.b64'), csr.der.toString('base64'))
    await writeFile(at('curl.key'), keyPemOf(csr.privateKey))
    const type = ['-H', 'Content-Type: application/pkcs10', '--data-binary', `@${at('curl.b64')}`]
    const ran = await ask('-u', `curl-1:${text}`, ...type, `${url}/.well-known/est/simpleenroll`)
    expect(await subjects(ran.stdout)).toEqual(['CN = curl-1'])

    const p7 = await run(openssl as string, ['pkcs7', '-inform', 'DER', '-print_certs'], {
      input: Buffer.from(ran.stdout, 'base64'),
    })
    await writeFile(at('curl.pem'), p7.stdout)
    const again = await ask(
      '--cert',
      at('curl.pem'),
      '--key',
      at('curl.key'),
      ...type,
      `${url}/.well-known/est/simplereenroll`,
    )
    expect(await subjects(again.stdout)).toEqual(['CN = curl-1'])

    const without = await ask(...type, `${url}/.well-known/est/simplereenroll`)
    expect(without).toMatchObject({ code: 22, stderr: expect.stringContaining('403') as string })
  })
})
