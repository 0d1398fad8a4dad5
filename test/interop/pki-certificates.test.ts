/** What the CA issues, held against three programs that are not ours: OpenSSL, GnuTLS, strongSwan. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { KEY_KINDS } from '#fleet/certificate.ts'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { createPki, type PkiPaths } from '#pki/ceremony.ts'
import { encryptedKeyPem } from '#pki/encrypted-key.ts'
import { openIssuer } from '#pki/issuer.ts'
import { generateKey, spkiDer } from '#pki/keys.ts'
import { toPem } from '#pki/pem.ts'
import { certsOnly } from '#pki/pkcs7.ts'
import { readCertificates } from '#pki/certificate.ts'
import { makeCa, makePki, randomSerial } from '../support/pki.ts'
import { program, run, type Ran } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const openssl = program('openssl')
const certtool = program('certtool')
const strongswan = program('pki')

/** The real date: these programs have no other clock. */
const now = Date.now()
const folder = temporaryFolder()
const at = (name: string): string => join(folder.path, name)
let paths: PkiPaths
/** serial and file of each leaf */
const leaves = new Map<string, { serial: string; pem: string; der: string }>()
const REVOKED = 'revoked'

beforeAll(async () => {
  paths = await createPki({ dir: at('certs'), now, serverNames: ['localhost', '127.0.0.1', '::1'] })
  await using issuer = await openIssuer({
    rootPem: await readFile(paths.root, 'utf8'),
    intermediatePem: await readFile(paths.intermediate, 'utf8'),
    keyPem: await readFile(paths.intermediateKey, 'utf8'),
    statusUrl: 'http://status.test:8081',
    now,
  })
  for (const name of [...KEY_KINDS, REVOKED]) {
    const kind = KEY_KINDS.find((known) => known === name) ?? 'P-256'
    const serial = randomSerial()
    const der = await issuer.issueDevice({
      deviceId: `device-${name}` as DeviceId,
      spkiDer: spkiDer(generateKey(kind).publicKey),
      serial,
      notBefore: now - 5 * MINUTE,
      notAfter: now + 30 * DAY,
    })
    const leaf = { serial, pem: at(`${name}.pem`), der: at(`${name}.der`) }
    await writeFile(leaf.pem, toPem('CERTIFICATE', der))
    await writeFile(leaf.der, der)
    leaves.set(name, leaf)
  }
  const crl = await issuer.signCrl({
    number: BigInt(now),
    thisUpdate: now - 5 * MINUTE,
    nextUpdate: now + HOUR,
    entries: [
      { serial: leaves.get(REVOKED)?.serial ?? '', revokedAt: now - MINUTE, reason: 'keyCompromise' },
    ],
  })
  await writeFile(at('crl.pem'), toPem('X509 CRL', crl))
  await writeFile(at('crl.der'), crl)
  return () => folder[Symbol.dispose]()
})

const leafOf = (name: string): { serial: string; pem: string; der: string } => {
  const leaf = leaves.get(name)
  if (leaf === undefined) throw new Error(name)
  return leaf
}
/** With what the program said, so that a failure shows it. */
const verdict = (ran: Ran): Ran & { readonly good: boolean } => ({ ...ran, good: ran.code === 0 })
const cases = [...KEY_KINDS.map((kind) => [kind, true] as const), [REVOKED, false] as const]

describe.skipIf(openssl === undefined)('OpenSSL', () => {
  const verify = (...args: readonly string[]) => run(openssl as string, ['verify', '-x509_strict', ...args])

  test.each(cases)('verify -x509_strict -crl_check -purpose sslclient: %s → %s', async (name, good) => {
    const chain = ['-CAfile', paths.root, '-untrusted', paths.intermediate, '-CRLfile', at('crl.pem')]
    const ran = await verify('-crl_check', '-purpose', 'sslclient', ...chain, leafOf(name).pem)
    expect(verdict(ran)).toMatchObject({ good })
    if (!good) expect(ran.stderr).toContain('certificate revoked')
  })

  test('verify -crl_check, after the status URL was changed, of certificates from before and after', async () => {
    const [old, next] = ['http://old.test', 'http://next.test:8081']
    const open = async (statusUrl: string) =>
      openIssuer({
        rootPem: await readFile(paths.root, 'utf8'),
        intermediatePem: await readFile(paths.intermediate, 'utf8'),
        keyPem: await readFile(paths.intermediateKey, 'utf8'),
        statusUrl,
        now,
      })
    const dates = { notBefore: now - 5 * MINUTE, notAfter: now + 30 * DAY }
    const leaf = async (statusUrl: string, name: string): Promise<string> => {
      await using issuer = await open(statusUrl)
      const der = await issuer.issueDevice({
        deviceId: name as DeviceId,
        spkiDer: spkiDer(generateKey('P-256').publicKey),
        serial: randomSerial(),
        ...dates,
      })
      await writeFile(at(`${name}.pem`), toPem('CERTIFICATE', der))
      return at(`${name}.pem`)
    }
    const checked = [await leaf(old, 'before'), await leaf(next, 'after')]
    const strangers = await leaf('http://stranger.test', 'stranger')
    await using issuer = await open(next)
    const crl = await issuer.signCrl({
      number: 1n,
      thisUpdate: now - 5 * MINUTE,
      nextUpdate: now + HOUR,
      entries: [],
      statusUrlsBefore: [`${old}/`, next],
    })
    await writeFile(at('changed.pem'), toPem('X509 CRL', crl))
    const chain = ['-CAfile', paths.root, '-untrusted', paths.intermediate, '-CRLfile', at('changed.pem')]
    for (const path of checked)
      expect(verdict(await verify('-crl_check', ...chain, path))).toMatchObject({ good: true })
    expect((await verify('-crl_check', ...chain, strangers)).stderr).toContain('different CRL scope')
  })

  test('pkey opens a CA key under its passphrase', async () => {
    const passphrase = 'düster und lang genug'
    await writeFile(at('sealed.key'), encryptedKeyPem(generateKey('P-256').privateKey, passphrase))
    const pkey = (pass: string) =>
      run(openssl as string, ['pkey', '-in', at('sealed.key'), '-passin', `pass:${pass}`, '-noout', '-check'])
    expect(await pkey(passphrase)).toMatchObject({ code: 0 })
    expect(verdict(await pkey('another one, just as long'))).toMatchObject({ good: false })
  })

  test.each([
    ['the server certificate for its name', 'sslserver', ['-verify_hostname', 'localhost'], true],
    ['and for its IPv6 address', 'sslserver', ['-verify_ip', '::1'], true],
    ['not for another name', 'sslserver', ['-verify_hostname', 'other.test'], false],
    ['never as a client', 'sslclient', [], false],
  ] as const)('%s', async (_, purpose, more, good) => {
    const ran = await verify(
      '-purpose',
      purpose,
      ...more,
      '-CAfile',
      paths.root,
      '-untrusted',
      paths.services,
      paths.server,
    )
    expect(verdict(ran)).toMatchObject({ good })
  })

  test('a device certificate is no server certificate, even to those who trust the root', async () => {
    const ran = await verify(
      '-purpose',
      'sslserver',
      '-CAfile',
      paths.root,
      '-untrusted',
      paths.intermediate,
      leafOf('P-256').pem,
    )
    expect(ran.stderr).toMatch(/unsupported certificate purpose|unsuitable certificate purpose/)
  })

  test('the devices intermediate cannot make a server certificate, nor a CA', async () => {
    const pki = makePki({ now })
    await writeFile(at('root.pem'), pki.root.pem)
    await writeFile(at('devices.pem'), pki.devices.pem)
    const chain = ['-CAfile', at('root.pem'), '-untrusted', at('devices.pem')]
    await writeFile(at('server.pem'), pki.device({ shape: 'serverAuthOnly' }).certPem)
    expect((await verify('-purpose', 'sslserver', ...chain, at('server.pem'))).code).not.toBe(0)
    const evil = makeCa({ name: 'Evil', now, by: pki.devices })
    await writeFile(at('devices.pem'), pki.devices.pem + evil.pem)
    await writeFile(at('leaf.pem'), pki.device({ by: evil }).certPem)
    expect((await verify(...chain, at('leaf.pem'))).stderr).toContain('path length constraint exceeded')
  })

  test('reads the profile as the contract says it', async () => {
    const ran = await run(openssl as string, ['x509', '-in', leafOf('P-256').pem, '-noout', '-text'])
    for (const line of [
      'Subject: CN = device-P-256',
      'X509v3 Basic Constraints: critical\n                CA:FALSE',
      'X509v3 Key Usage: critical\n                Digital Signature',
      'X509v3 Extended Key Usage: \n                TLS Web Client Authentication',
      'URI:urn:sallyport:device:device-P-256',
      'URI:http://status.test:8081/crl/',
      'CA Issuers - URI:http://status.test:8081/issuer/',
    ])
      expect(ran.stdout).toContain(line)
  })

  test('pkcs7 -print_certs reads a certs-only answer, in order', async () => {
    const pems = (
      await Promise.all(
        [leafOf('P-256').pem, paths.intermediate, paths.root].map((path) => readFile(path, 'utf8')),
      )
    ).join('')
    const der = certsOnly(readCertificates(pems).map((facts) => facts.der))
    await writeFile(at('certs.p7'), der)
    const ran = await run(openssl as string, [
      'pkcs7',
      '-inform',
      'DER',
      '-in',
      at('certs.p7'),
      '-print_certs',
    ])
    expect(ran.stdout.match(/subject=.*/g)).toEqual([
      'subject=CN = device-P-256',
      'subject=O = Sallyport, CN = Sallyport Devices',
      'subject=O = Sallyport, CN = Sallyport Root',
    ])
    expect(readCertificates(ran.stdout).map(({ fingerprint }) => fingerprint)).toEqual(
      readCertificates(pems).map(({ fingerprint }) => fingerprint),
    )
  })
})

describe.skipIf(certtool === undefined)('GnuTLS certtool', () => {
  test.each(cases)('--verify with the CRL: %s → %s', async (name, good) => {
    await writeFile(
      at('chain-in.pem'),
      `${await readFile(leafOf(name).pem, 'utf8')}${await readFile(paths.intermediate, 'utf8')}`,
    )
    const args = [
      '--verify',
      '--load-ca-certificate',
      paths.root,
      '--load-crl',
      at('crl.pem'),
      '--infile',
      at('chain-in.pem'),
    ]
    const ran = await run(certtool as string, [...args, '--verify-purpose', '1.3.6.1.5.5.7.3.2'])
    expect(verdict(ran)).toMatchObject({ good })
  })

  test('--verify-crl', async () => {
    const args = ['--verify-crl', '--load-ca-certificate', paths.intermediate, '--infile', at('crl.pem')]
    const ran = await run(certtool as string, args)
    expect(ran).toMatchObject({ code: 0 })
    expect(ran.stdout).toContain('Verified')
  })
})

describe.skipIf(strongswan === undefined)('strongSwan pki', () => {
  test.each(cases)('--verify with the CRL: %s → %s', async (name, good) => {
    const chain = ['--cacert', paths.root, '--cacert', paths.intermediate]
    const ran = await run(strongswan as string, [
      '--verify',
      '--in',
      leafOf(name).der,
      ...chain,
      '--crl',
      at('crl.der'),
    ])
    expect(verdict(ran)).toMatchObject({ good })
  })
})
