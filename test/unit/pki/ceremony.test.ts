import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { DAY } from '#fleet/clock.ts'
import { readCertificates } from '#pki/certificate.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import {
  createIntermediate,
  createPki,
  issueGatewayCertificate,
  issueServerCertificate,
  type PkiPaths,
} from '#pki/ceremony.ts'
import { verifyChain } from '#pki/chain.ts'
import { TAG, tlv } from '#pki/der.ts'
import { extensionDer } from '#pki/extensions.ts'
import { openIssuer } from '#pki/issuer.ts'
import { OID } from '#pki/oids.ts'
import { judgeClientLeaf, judgeGatewayLeaf } from '#policy/keys.ts'
import { makeCa, type CaOptions } from '../../support/pki.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const now = Date.UTC(2026, 10, 24, 8)
const serverNames = ['localhost', 'gate.test', '127.0.0.1', '::1', 'fe80::1:2']
const text = (path: string): Promise<string> => readFile(path, 'utf8')
const first = async (path: string) => {
  const [certificate] = readCertificates(await text(path))
  if (certificate === undefined) throw new Error('none')
  return certificate
}
const ceremony = (path: string, changes: Partial<Parameters<typeof createPki>[0]> = {}): Promise<PkiPaths> =>
  createPki({ dir: join(path, 'certs'), now, serverNames, ...changes })

describe('createPki', () => {
  test('makes a PKI that an issuer opens, and servers and devices verify by', async () => {
    using folder = temporaryFolder()
    const paths = await ceremony(folder.path, { names: { organization: 'Acme' } })
    const [root, devices, services, server] = await Promise.all(
      [paths.root, paths.intermediate, paths.services, paths.server].map(first),
    )
    expect([root, devices, services].map((ca) => ca?.commonName)).toEqual([
      'Acme Root',
      'Acme Devices',
      'Acme Services',
    ])
    expect([devices, services].map((ca) => [ca?.isCa, ca?.pathLength, ca?.extendedKeyUsage])).toEqual([
      [true, 0, [OID.clientAuth]],
      [true, 0, [OID.serverAuth, OID.clientAuth]],
    ])
    const pool = [devices, services].flatMap((ca) => ca ?? [])
    for (const leaf of [devices, services, server])
      expect(leaf && verifyChain({ leaf, pool, roots: root ? [root] : [], now }).ok).toBe(true)
    expect(await text(paths.chain)).toBe((await text(paths.intermediate)) + (await text(paths.root)))
    await using issuer = await openIssuer({
      rootPem: await text(paths.root),
      intermediatePem: await text(paths.intermediate),
      keyPem: await text(paths.intermediateKey),
      statusUrl: 'http://status.test',
      now,
    })
    expect(issuer.ski).toBe(devices?.subjectKeyId)
  })

  test('the server certificate: every name, server only, with its intermediate', async () => {
    using folder = temporaryFolder()
    const paths = await ceremony(folder.path)
    const pem = await text(paths.server)
    const [leaf, services] = readCertificates(pem)
    expect(leaf).toMatchObject({
      extendedKeyUsage: [OID.serverAuth],
      isCa: false,
      sanDns: ['localhost', 'gate.test'],
    })
    expect(services?.fingerprint).toBe((await first(paths.services)).fingerprint)
    const openssl = new X509Certificate(pem)
    expect(openssl.checkHost('gate.test')).toBe('gate.test')
    for (const address of ['127.0.0.1', '::1', 'fe80::1:2']) expect(openssl.checkIP(address)).toBe(address)
    expect(openssl.checkPrivateKey(createPrivateKey(await text(paths.serverKey)))).toBe(true)
    expect((leaf?.notAfter ?? 0) - now).toBe(90 * DAY)
  })

  test('keys are for their owner only', async () => {
    using folder = temporaryFolder()
    const paths = await ceremony(folder.path)
    const modes = await Promise.all(
      Object.values(paths).map(async (path) => [
        basename(path),
        ((await stat(path)).mode & 0o777).toString(8),
      ]),
    )
    expect(Object.fromEntries(modes)).toEqual({
      'root.pem': '644',
      'intermediate.pem': '644',
      'services.pem': '644',
      'chain.pem': '644',
      'server.pem': '644',
      'gateway.pem': '644',
      'root.key': '600',
      'intermediate.key': '600',
      'services.key': '600',
      'server.key': '600',
      'gateway.key': '600',
    })
    expect((await stat(dirname(paths.rootKey))).mode & 0o777).toBe(0o700)
    expect((await readdir(join(folder.path, 'certs'))).toSorted()).toEqual([
      'chain.pem',
      'gateway.pem',
      'intermediate.pem',
      'private',
      'root.pem',
      'server.pem',
      'services.pem',
    ])
  })

  test('a passphrase encrypts the CA keys', async () => {
    using folder = temporaryFolder()
    const paths = await ceremony(folder.path, { passphrase: 'open sesame, please' })
    for (const path of [paths.rootKey, paths.intermediateKey, paths.servicesKey]) {
      const key = await text(path)
      expect(key).toContain('BEGIN ENCRYPTED PRIVATE KEY')
      expect(createPrivateKey({ key, passphrase: 'open sesame, please' }).type).toBe('private')
    }
    const out = { cert: join(folder.path, 's.pem'), key: join(folder.path, 's.key') }
    const ask = { dir: join(folder.path, 'certs'), out, names: ['localhost'], now }
    await expect(issueServerCertificate(ask)).rejects.toMatchObject({ code: 'issuer_unusable' })
    await issueServerCertificate({ ...ask, passphrase: 'open sesame, please' })
    expect(await text(out.cert)).toContain('BEGIN CERTIFICATE')
  })

  test.each(['', 'sesame', 'a'.repeat(11), '🔑'.repeat(11)])(
    'a passphrase of %j is too short',
    async (passphrase) => {
      using folder = temporaryFolder()
      await expect(ceremony(folder.path, { passphrase })).rejects.toMatchObject({
        code: 'bad_request',
        detail: expect.stringContaining('12 characters') as string,
      })
      expect(await readdir(folder.path)).toEqual([])
    },
  )

  test.each(['root.pem', 'private/services.key', 'chain.pem'])(
    'an existing %s is not overwritten',
    async (name) => {
      using folder = temporaryFolder()
      const paths = await ceremony(folder.path)
      const before = await Promise.all(Object.values(paths).map(text))
      await expect(ceremony(folder.path)).rejects.toMatchObject({ code: 'conflict' })
      expect(await Promise.all(Object.values(paths).map(text))).toEqual(before)

      using other = temporaryFolder()
      const dir = join(other.path, 'certs')
      await ceremony(other.path)
      for (const path of await readdir(dir, { recursive: true }))
        if (path !== name && path.includes('.'))
          await import('node:fs/promises').then(({ rm }) => rm(join(dir, path)))
      await expect(ceremony(other.path)).rejects.toMatchObject({
        code: 'conflict',
        detail: expect.stringContaining(name) as string,
      })
    },
  )

  test.each(['', 'a b', 'http://x', '-a', 'a..b', 'x'.repeat(254)])(
    '%j is no server name, and nothing is made',
    async (name) => {
      using folder = temporaryFolder()
      await expect(ceremony(folder.path, { serverNames: [name] })).rejects.toMatchObject({
        code: 'bad_request',
      })
      expect(await readdir(folder.path)).toEqual([])
    },
  )

  test.each(['', 'x'.repeat(51), 'Acme\nCN=x', 'Äcme'])('%j is no organization', async (organization) => {
    using folder = temporaryFolder()
    await expect(ceremony(folder.path, { names: { organization } })).rejects.toMatchObject({
      code: 'bad_request',
    })
  })

  test('no names at all', async () => {
    using folder = temporaryFolder()
    await expect(ceremony(folder.path, { serverNames: [] })).rejects.toMatchObject({ code: 'bad_request' })
  })
})

describe('issueServerCertificate', () => {
  const inFolder = async (path: string) => {
    const paths = await ceremony(path)
    const out = { cert: join(path, 'out', 'gate.pem'), key: join(path, 'out', 'private', 'gate.key') }
    return { paths, out, ask: { dir: join(path, 'certs'), out, names: ['gate.test'], now } }
  }

  test('a new key each time; key 0600; leaf and intermediate', async () => {
    using folder = temporaryFolder()
    const { ask, out } = await inFolder(folder.path)
    await issueServerCertificate({ ...ask, days: 7 })
    const before = await text(out.key)
    await issueServerCertificate({ ...ask, days: 7 })
    expect(await text(out.key)).not.toBe(before)
    expect((await stat(out.key)).mode & 0o777).toBe(0o600)
    const [leaf, services] = readCertificates(await text(out.cert))
    expect(leaf).toMatchObject({ commonName: 'gate.test', notAfter: now + 7 * DAY })
    expect(services?.commonName).toBe('Sallyport Services')
    expect(
      new X509Certificate(await text(out.cert)).checkPrivateKey(createPrivateKey(await text(out.key))),
    ).toBe(true)
    expect(createPublicKey(await text(out.key)).asymmetricKeyType).toBe('ec')
    expect(await readdir(dirname(out.cert))).toEqual(['gate.pem', 'private'])
  })

  test('never beyond the intermediate', async () => {
    using folder = temporaryFolder()
    const { ask, out, paths } = await inFolder(folder.path)
    const { notAfter } = await first(paths.services)
    await issueServerCertificate({ ...ask, now: notAfter - DAY })
    expect((await first(out.cert)).notAfter).toBe(notAfter)
    await expect(issueServerCertificate({ ...ask, now: notAfter + 1 })).rejects.toMatchObject({
      code: 'issuer_unusable',
    })
  })

  test.each([0, -1, 1.5, 826, Number.NaN])('not for %d days', async (days) => {
    using folder = temporaryFolder()
    const { ask } = await inFolder(folder.path)
    await expect(issueServerCertificate({ ...ask, days })).rejects.toMatchObject({ code: 'bad_request' })
  })

  test('without a PKI, or with a key of another', async () => {
    using folder = temporaryFolder()
    using other = temporaryFolder()
    const { ask, paths } = await inFolder(folder.path)
    await expect(issueServerCertificate({ ...ask, dir: folder.path })).rejects.toMatchObject({
      code: 'not_found',
    })
    await writeFile(paths.servicesKey, await text((await ceremony(other.path)).servicesKey))
    await expect(issueServerCertificate(ask)).rejects.toMatchObject({ code: 'issuer_unusable' })
  })
})

describe('the certificate of a gateway', () => {
  const inFolder = async (path: string) => {
    const paths = await ceremony(path, { gatewayId: 'gw-1' })
    const out = { cert: join(path, 'out/gw.pem'), key: join(path, 'out/private/gw.key') }
    return { paths, out, ask: { dir: join(path, 'certs'), out, id: 'gw-2', now } }
  }

  test('a client only, with its id in its URI, under the services CA; the ceremony makes the first', async () => {
    using folder = temporaryFolder()
    const { paths, out, ask } = await inFolder(folder.path)
    await issueGatewayCertificate(ask)
    const root = await first(paths.root)
    for (const [path, id] of [
      [paths.gateway, 'gw-1'],
      [out.cert, 'gw-2'],
    ] as const) {
      const [leaf, services] = readCertificates(await text(path)) as [CertificateFacts, CertificateFacts]
      expect(leaf).toMatchObject({
        commonName: id,
        sanUris: [`urn:sallyport:gateway:${id}`],
        sanDns: [],
        extendedKeyUsage: [OID.clientAuth],
        isCa: false,
        notAfter: now + 90 * DAY,
      })
      expect(judgeGatewayLeaf(leaf)).toBeUndefined()
      expect(judgeClientLeaf(leaf)).toBe('certificate_wrong_purpose')
      expect(verifyChain({ leaf, pool: [services], roots: [root], now }).ok).toBe(true)
      expect((await stat(path === out.cert ? out.key : paths.gatewayKey)).mode & 0o777).toBe(0o600)
    }
  })

  test.each(['', 'GW', 'a b', '-a', 'a'.repeat(64), 'a/b'])('not for the id %j', async (id) => {
    using folder = temporaryFolder()
    const { ask } = await inFolder(folder.path)
    await expect(issueGatewayCertificate({ ...ask, id })).rejects.toMatchObject({ code: 'bad_request' })
    using other = temporaryFolder()
    if (id !== '')
      await expect(ceremony(other.path, { gatewayId: id })).rejects.toMatchObject({ code: 'bad_request' })
  })

  test('not from a services CA of before, which may make servers only', async () => {
    using folder = temporaryFolder()
    const { paths, ask } = await inFolder(folder.path)
    const root = makeCa({ name: 'Old Root', now })
    const old = makeCa({
      name: 'Old Services',
      now,
      by: root,
      pathLength: 0,
      extendedKeyUsage: [OID.serverAuth],
    })
    await writeFile(paths.services, old.pem)
    await writeFile(paths.servicesKey, old.keyPem)
    await expect(issueGatewayCertificate(ask)).rejects.toMatchObject({ code: 'issuer_unusable' })
    await issueServerCertificate({ ...ask, names: ['localhost'] })
  })
})

describe('createIntermediate', () => {
  const rootWith = (o: Partial<CaOptions>) => {
    const { pem, keyPem } = makeCa({ name: 'Own Root', now, ...o })
    return { rootPem: pem, rootKeyPem: keyPem }
  }
  const further = async (
    paths: PkiPaths,
    changes: Partial<Parameters<typeof createIntermediate>[0]> = {},
  ): ReturnType<typeof createIntermediate> =>
    createIntermediate({
      dir: join(dirname(paths.root), 'issuers'),
      rootPem: await text(paths.root),
      rootKeyPem: await text(paths.rootKey),
      now,
      ...changes,
    })

  test('makes one that an issuer opens, under the same root, with a name and a serial of its own', async () => {
    using folder = temporaryFolder()
    const paths = await ceremony(folder.path, { names: { organization: 'Acme' } })
    const [one, two] = [await further(paths), await further(paths)]
    const made = await Promise.all([paths.intermediate, one.certificate, two.certificate].map(first))
    expect(made.map(({ commonName }) => commonName)).toEqual([
      'Acme Devices',
      `Acme Devices ${one.ski.slice(0, 8)}`,
      `Acme Devices ${two.ski.slice(0, 8)}`,
    ])
    for (const of of [(each: (typeof made)[0]) => each.serial, (each: (typeof made)[0]) => each.spkiSha256])
      expect(new Set(made.map(of)).size).toBe(3)
    expect(
      made.map(({ pathLength, extendedKeyUsage, keyUsage }) => [pathLength, extendedKeyUsage, keyUsage]),
    ).toEqual(made.map(() => [0, [OID.clientAuth], ['keyCertSign', 'cRLSign']]))
    await using issuer = await openIssuer({
      rootPem: await text(paths.root),
      intermediatePem: await text(one.certificate),
      keyPem: await text(one.key),
      statusUrl: 'http://status.test',
      now,
    })
    expect([issuer.ski, basename(one.certificate), basename(one.key)]).toEqual([
      one.ski,
      `${one.ski}.pem`,
      `${one.ski}.key`,
    ])
    const root = await first(paths.root)
    expect(one.notAfter).toBeLessThanOrEqual(root.notAfter)
  })

  test('its key is 0600, and under the passphrase when there is one; nothing is left beside', async () => {
    using folder = temporaryFolder()
    const passphrase = 'correct horse battery'
    const paths = await ceremony(folder.path, { passphrase })
    const made = await further(paths, { rootPassphrase: passphrase, passphrase })
    expect((await stat(made.key)).mode & 0o777).toBe(0o600)
    expect((await stat(dirname(made.key))).mode & 0o777).toBe(0o700)
    expect(await text(made.key)).toContain('ENCRYPTED PRIVATE KEY')
    expect(createPrivateKey({ key: await text(made.key), passphrase }).asymmetricKeyType).toBe('ec')
    expect((await readdir(dirname(made.key))).toSorted()).toEqual(
      [basename(made.key), basename(made.certificate)].toSorted(),
    )
  })

  test('does not outlive its root', async () => {
    using folder = temporaryFolder()
    const paths = await ceremony(folder.path)
    const late = (await first(paths.root)).notAfter - 100 * DAY
    expect((await further(paths, { now: late })).notAfter).toBe((await first(paths.root)).notAfter)
  })

  test.each<
    [string, (paths: PkiPaths) => Promise<Partial<Parameters<typeof createIntermediate>[0]>>, string, RegExp]
  >([
    [
      'a key that is not the root\u2019s',
      async (paths) => ({ rootKeyPem: await text(paths.intermediateKey) }),
      'issuer_unusable',
      /does not belong to the root/,
    ],
    [
      'a key that is none',
      () => Promise.resolve({ rootKeyPem: 'hello' }),
      'issuer_unusable',
      /cannot be opened/,
    ],
    [
      'an intermediate in place of the root',
      async (paths) => ({
        rootPem: await text(paths.intermediate),
        rootKeyPem: await text(paths.intermediateKey),
      }),
      'issuer_unusable',
      /not a self-signed/,
    ],
    [
      'a root that has ended',
      () => Promise.resolve({ now: now + 30_000 * DAY }),
      'issuer_unusable',
      /expired/,
    ],
    [
      'a root that may not make one for clients',
      () => Promise.resolve(rootWith({ extendedKeyUsage: [OID.serverAuth] })),
      'issuer_unusable',
      /"Own Root" may not issue client certificates: its extended key usage does not name clientAuth/,
    ],
    [
      'a root for some names',
      () =>
        Promise.resolve(
          rootWith({ extraExtensions: [extensionDer(OID.nameConstraints, false, tlv(TAG.sequence))] }),
        ),
      'issuer_unusable',
      /"Own Root" has name constraints/,
    ],
    [
      'a root that may have no CA below it',
      () => Promise.resolve(rootWith({ pathLength: 0 })),
      'issuer_unusable',
      /"Own Root" allows 0 certificates below it/,
    ],
    [
      'a passphrase that is too short',
      () => Promise.resolve({ passphrase: 'short' }),
      'bad_request',
      /12 characters/,
    ],
  ])('refuses %s, and writes nothing', async (_, changes, code, detail) => {
    using folder = temporaryFolder()
    const paths = await ceremony(folder.path)
    await expect(further(paths, await changes(paths))).rejects.toMatchObject({
      code,
      detail: expect.stringMatching(detail),
    })
    expect(await readdir(join(dirname(paths.root)))).not.toContain('issuers')
  })
})
