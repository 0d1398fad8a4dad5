/** The root's CRL as `sallyport ca crl` makes it, held against programs that are not ours: the whole chain is checked for revocation. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DAY, HOUR, MINUTE } from '#fleet/clock.ts'
import type { DeviceId } from '#fleet/device-id.ts'
import { createPki, type PkiPaths } from '#pki/ceremony.ts'
import { readCertificates } from '#pki/certificate.ts'
import { openIssuer } from '#pki/issuer.ts'
import { generateKey, spkiDer } from '#pki/keys.ts'
import { toPem } from '#pki/pem.ts'
import { readRoot, signRootCrl } from '#pki/root-crl.ts'
import { randomSerial } from '../support/pki.ts'
import { program, run } from '../support/programs.ts'
import { temporaryFolder } from '../support/temporary.ts'

const openssl = program('openssl')
const certtool = program('certtool')
const strongswan = program('pki')

/** The real date: these programs have no other clock. */
const now = Date.now()
const STATUS_URL = 'http://status.test:8081'
const folder = temporaryFolder()
const at = (name: string): string => join(folder.path, name)
/** With and without a CRL distribution point in the intermediates. */
const KINDS = ['named', 'unnamed'] as const
const paths = new Map<string, PkiPaths>()
const pathsOf = (kind: string): PkiPaths => paths.get(kind) as PkiPaths

beforeAll(async () => {
  for (const kind of KINDS) {
    const made = await createPki({
      dir: at(kind),
      now,
      serverNames: ['localhost'],
      ...(kind === 'named' ? { statusUrl: STATUS_URL } : {}),
    })
    paths.set(kind, made)
    await using issuer = await openIssuer({
      rootPem: await readFile(made.root, 'utf8'),
      intermediatePem: await readFile(made.intermediate, 'utf8'),
      keyPem: await readFile(made.intermediateKey, 'utf8'),
      statusUrl: STATUS_URL,
      now,
    })
    const der = await issuer.issueDevice({
      deviceId: 'lamp' as DeviceId,
      spkiDer: spkiDer(generateKey('P-256').publicKey),
      serial: randomSerial(),
      notBefore: now - 5 * MINUTE,
      notAfter: now + DAY,
    })
    await writeFile(at(`${kind}-leaf.pem`), toPem('CERTIFICATE', der))
    const crl = await issuer.signCrl({
      number: 1n,
      thisUpdate: now - 5 * MINUTE,
      nextUpdate: now + HOUR,
      entries: [],
    })
    const root = readRoot(await readFile(made.root, 'utf8'))
    const keyPem = await readFile(made.rootKey, 'utf8')
    const first = await signRootCrl({ root, keyPem, revoke: [], now, ttl: 90 * DAY })
    const [intermediate] = readCertificates(await readFile(made.intermediate, 'utf8'))
    const revoked = await signRootCrl({
      root,
      keyPem,
      previous: first.der,
      revoke: [{ serial: intermediate?.serial ?? '', reason: 'cACompromise' }],
      now,
      ttl: 90 * DAY,
    })
    await writeFile(at(`${kind}-good.pem`), toPem('X509 CRL', crl) + toPem('X509 CRL', first.der))
    await writeFile(at(`${kind}-revoked.pem`), toPem('X509 CRL', crl) + toPem('X509 CRL', revoked.der))
    await writeFile(at(`${kind}-root-good.der`), first.der)
    await writeFile(at(`${kind}-root-revoked.der`), revoked.der)
    await writeFile(at(`${kind}-issuer.der`), crl)
  }
})
afterAll(() => folder[Symbol.dispose]())

const cases = KINDS.flatMap((kind) => [[kind, 'good'] as const, [kind, 'revoked'] as const])

describe.skipIf(openssl === undefined)('OpenSSL', () => {
  test.each(cases)('verify -x509_strict -crl_check_all: CDP %s, intermediate %s', async (kind, state) => {
    const { root, intermediate } = pathsOf(kind)
    const ran = await run(openssl as string, [
      'verify',
      '-x509_strict',
      '-crl_check_all',
      '-CAfile',
      root,
      '-untrusted',
      intermediate,
      '-CRLfile',
      at(`${kind}-${state}.pem`),
      at(`${kind}-leaf.pem`),
    ])
    expect({ ...ran, good: ran.code === 0 }).toMatchObject({ good: state === 'good' })
    if (state === 'revoked') expect(ran.stderr).toContain('error 23 at 1 depth lookup: certificate revoked')
  })

  test('x509: the intermediate names where its root is', async () => {
    const ran = await run(openssl as string, [
      'x509',
      '-in',
      pathsOf('named').intermediate,
      '-noout',
      '-text',
    ])
    expect(ran.stdout).toMatch(/URI:http:\/\/status\.test:8081\/crl\/[0-9a-f]{40}\.crl/)
    // a CA with it would be a responder of the root's
    expect(ran.stdout).not.toContain('OCSP Signing')
  })
})

describe.skipIf(certtool === undefined)('GnuTLS', () => {
  test.each(cases)('certtool --verify: CDP %s, intermediate %s', async (kind, state) => {
    const { root, intermediate } = pathsOf(kind)
    const chain = (await readFile(at(`${kind}-leaf.pem`), 'utf8')) + (await readFile(intermediate, 'utf8'))
    await writeFile(at('chain.pem'), chain)
    const ran = await run(certtool as string, [
      '--verify',
      '--load-ca-certificate',
      root,
      '--load-crl',
      at(`${kind}-${state}.pem`),
      '--infile',
      at('chain.pem'),
    ])
    expect({ ...ran, good: ran.code === 0 }).toMatchObject({ good: state === 'good' })
  })
})

describe.skipIf(strongswan === undefined)('strongSwan', () => {
  test.each(cases)('pki --verify: CDP %s, intermediate %s', async (kind, state) => {
    const { root, intermediate } = pathsOf(kind)
    const ran = await run(strongswan as string, [
      '--verify',
      '--in',
      at(`${kind}-leaf.pem`),
      '--cacert',
      root,
      '--cacert',
      intermediate,
      '--crl',
      at(`${kind}-issuer.der`),
      '--crl',
      at(`${kind}-root-${state}.der`),
    ])
    expect({ ...ran, good: ran.code === 0 }).toMatchObject({ good: state === 'good' })
  })
})
