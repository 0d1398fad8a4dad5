/**
 * Makes a PKI on disk, offline: root → devices intermediate, root → services intermediate, and server certificates from the
 * latter. Never loaded by a desk; the files it leaves are what a desk is configured with.
 */

import { createPrivateKey, createPublicKey, randomBytes, sign, type KeyObject } from 'node:crypto'
import { access, link, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isIP } from 'node:net'
import { DAY, HOUR } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import { readCertificates } from './certificate.ts'
import { checkPassphrase, encryptedKeyPem } from './encrypted-key.ts'
import { generateKey, sha256Hex, spkiDer } from './keys.ts'
import { nameDer } from './names.ts'
import { OID } from './oids.ts'
import { toPem } from './pem.ts'
import { intermediateTbs, rootTbs, serverTbs, skiOf, type Signer } from './profile.ts'
import { newSerial } from './serial.ts'
import { algorithmForKey, signedDer } from './signatures.ts'

const ROOT_LIFE = 20 * 365 * DAY
const INTERMEDIATE_LIFE = 5 * 365 * DAY
const SERVER_DAYS = 90
/** Clients refuse longer ones. */
const MAX_SERVER_DAYS = 825
/** A device whose clock is behind still accepts a PKI made a moment ago. */
const BACKDATE = 24 * HOUR

/** Paths below `certs/`. What a desk may read is outside `private/`, but for the intermediate's and the server's key. */
const FILES = {
  root: 'root.pem',
  intermediate: 'intermediate.pem',
  services: 'services.pem',
  chain: 'chain.pem',
  server: 'server.pem',
  rootKey: 'private/root.key',
  intermediateKey: 'private/intermediate.key',
  servicesKey: 'private/services.key',
  serverKey: 'private/server.key',
} as const

export type PkiPaths = { readonly [K in keyof typeof FILES]: string }

const pathsIn = (dir: string): PkiPaths =>
  Object.fromEntries(Object.entries(FILES).map(([name, path]) => [name, join(dir, path)])) as PkiPaths

type Authority = { readonly der: Uint8Array; readonly key: KeyObject; readonly signer: Signer }

const keyText = (key: KeyObject, passphrase: string | undefined): string =>
  passphrase === undefined
    ? key.export({ type: 'pkcs8', format: 'pem' }).toString()
    : encryptedKeyPem(key, passphrase)

const signTbs = (tbs: Buffer, by: { readonly key: KeyObject; readonly signer: Signer }): Buffer =>
  signedDer(tbs, by.signer.algorithm, sign(by.signer.algorithm.name, tbs, by.key))

const newCa = (names: readonly string[]): Omit<Authority, 'der'> & { readonly spki: Uint8Array } => {
  const { privateKey, publicKey } = generateKey('P-256')
  const spki = spkiDer(publicKey)
  const [organization = '', commonName = ''] = names
  const subjectDer = nameDer([
    { oid: OID.organization, text: organization },
    { oid: OID.commonName, text: commonName },
  ])
  return {
    key: privateKey,
    spki,
    signer: { subjectDer, ski: skiOf(spki), algorithm: algorithmForKey(publicKey) },
  }
}

const serverText = (
  by: Authority,
  names: readonly [string, ...string[]],
  validity: { readonly notBefore: number; readonly notAfter: number },
): { readonly cert: string; readonly key: string } => {
  const { privateKey, publicKey } = generateKey('P-256')
  const tbs = serverTbs(by.signer, { spkiDer: spkiDer(publicKey), serial: newSerial(), ...validity }, names)
  return {
    cert: toPem('CERTIFICATE', signTbs(tbs, by)) + toPem('CERTIFICATE', by.der),
    key: keyText(privateKey, undefined),
  }
}

/** With a purpose after it, within the 64 characters of a common name (RFC 5280, ub-common-name). */
const ORGANIZATION = /^[\u0020-\u007e]{1,50}$/

const HOST_NAME =
  /^(?=.{1,253}$)(?:\*\.)?[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?)*$/i

const serverNamesOf = (names: readonly string[]): readonly [string, ...string[]] => {
  const unique = [...new Set(names)]
  const bad = unique.find((name) => isIP(name) === 0 && !HOST_NAME.test(name))
  if (bad !== undefined)
    throw new FleetError('bad_request', `${JSON.stringify(bad)} is not a host name or an IP address`)
  const [first, ...rest] = unique
  if (first === undefined) throw new FleetError('bad_request', 'a server certificate needs at least one name')
  return [first, ...rest]
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  )

/** Everything is written beside its place first and then linked, the root last: a PKI whose root is there is whole. */
const publish = async (dir: string, texts: Readonly<Record<keyof PkiPaths, string>>): Promise<PkiPaths> => {
  const paths = pathsIn(dir)
  await mkdir(dir, { recursive: true })
  await mkdir(join(dir, 'private'), { recursive: true, mode: 0o700 })
  const there = (
    await Promise.all(Object.values(paths).map(async (path) => ((await exists(path)) ? path : '')))
  ).filter(Boolean)
  if (there.length > 0)
    throw new FleetError('conflict', `there is a PKI already, or a part of one: ${there.join(', ')}`)
  const draft = await mkdtemp(join(dir, '.ceremony-'))
  try {
    await mkdir(join(draft, 'private'), { mode: 0o700 })
    const names = (Object.keys(FILES) as (keyof PkiPaths)[]).toSorted(
      (a, b) => Number(a === 'root') - Number(b === 'root'),
    )
    for (const name of names) {
      const mode = FILES[name].startsWith('private/') ? 0o600 : 0o644
      await writeFile(join(draft, FILES[name]), texts[name], { mode, flag: 'wx', flush: true })
    }
    // link, not rename: it never replaces what came into being meanwhile
    for (const name of names) await link(join(draft, FILES[name]), paths[name])
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  return paths
}

/**
 * @param o.dir `certs/`. Made when missing; nothing in it is overwritten
 * @param o.passphrase encrypts the three CA keys (encrypted-key.ts); the server key is for a desk and stays plain
 * @param o.serverNames host names and addresses of the development server certificate
 * @throws conflict when any of the files exists; bad_request for names that cannot be, or a passphrase that is too short
 */
export const createPki = async (o: {
  readonly dir: string
  readonly now: number
  readonly names?: { readonly organization?: string }
  readonly passphrase?: string
  readonly serverNames: readonly string[]
}): Promise<PkiPaths> => {
  const organization = o.names?.organization ?? 'Sallyport'
  if (!ORGANIZATION.test(organization))
    throw new FleetError('bad_request', 'an organization has 1 to 50 printable characters of ASCII')
  const serverNames = serverNamesOf(o.serverNames)
  if (o.passphrase !== undefined) checkPassphrase(o.passphrase)
  const notBefore = o.now - BACKDATE

  const root = newCa([organization, `${organization} Root`])
  const rootSubject = { spkiDer: root.spki, serial: newSerial(), notBefore, notAfter: o.now + ROOT_LIFE }
  const rootDer = signTbs(rootTbs(root.signer, rootSubject), root)

  const intermediate = (purpose: 'devices' | 'services', name: string): Authority => {
    const ca = newCa([organization, `${organization} ${name}`])
    const subject = { spkiDer: ca.spki, serial: newSerial(), notBefore, notAfter: o.now + INTERMEDIATE_LIFE }
    return { ...ca, der: signTbs(intermediateTbs(root.signer, subject, ca.signer.subjectDer, purpose), root) }
  }
  const devices = intermediate('devices', 'Devices')
  const services = intermediate('services', 'Services')
  const server = serverText(services, serverNames, { notBefore, notAfter: o.now + SERVER_DAYS * DAY })

  const rootPem = toPem('CERTIFICATE', rootDer)
  const intermediatePem = toPem('CERTIFICATE', devices.der)
  return publish(o.dir, {
    root: rootPem,
    intermediate: intermediatePem,
    services: toPem('CERTIFICATE', services.der),
    chain: intermediatePem + rootPem,
    server: server.cert,
    rootKey: keyText(root.key, o.passphrase),
    intermediateKey: keyText(devices.key, o.passphrase),
    servicesKey: keyText(services.key, o.passphrase),
    serverKey: server.key,
  })
}

type Written = { readonly path: string; readonly text: string; readonly mode: number }

/** Each file whole or not at all; all are on disk before the first takes its place, so that key and certificate part for an instant only. */
const replaceAll = async (files: readonly Written[]): Promise<void> => {
  const suffix = `.${randomBytes(6).toString('hex')}.new`
  try {
    for (const { path, text, mode } of files) {
      await mkdir(dirname(path), { recursive: true, mode: mode === 0o600 ? 0o700 : 0o755 })
      await writeFile(path + suffix, text, { mode, flag: 'wx', flush: true })
    }
    for (const { path } of files) await rename(path + suffix, path)
  } finally {
    for (const { path } of files) await rm(path + suffix, { force: true })
  }
}

/**
 * A server certificate with a new key from the services intermediate in `dir`. `out.cert`: leaf, then the intermediate.
 * @throws bad_request for a name or life that cannot be; not_found without a services intermediate; issuer_unusable when its key does not open, does not fit, or it ends too soon
 */
export const issueServerCertificate = async (o: {
  readonly dir: string
  readonly out: { readonly cert: string; readonly key: string }
  readonly names: readonly string[]
  readonly now: number
  readonly days?: number
  readonly passphrase?: string
}): Promise<void> => {
  const names = serverNamesOf(o.names)
  const days = o.days ?? SERVER_DAYS
  if (!Number.isInteger(days) || days < 1 || days > MAX_SERVER_DAYS)
    throw new FleetError('bad_request', `a server certificate lives 1 to ${MAX_SERVER_DAYS} days`)
  const paths = pathsIn(o.dir)
  const [certificatePem, keyPem] = await Promise.all([
    readFile(paths.services, 'utf8'),
    readFile(paths.servicesKey, 'utf8'),
  ]).catch((cause: unknown) => {
    throw new FleetError('not_found', `no services intermediate and key in ${o.dir}`, { cause })
  })
  const [certificate] = readCertificates(certificatePem)
  let key: KeyObject
  try {
    key = createPrivateKey(o.passphrase === undefined ? keyPem : { key: keyPem, passphrase: o.passphrase })
  } catch (cause) {
    throw new FleetError('issuer_unusable', 'the services key cannot be opened; is the passphrase right?', {
      cause,
    })
  }
  const publicKey = createPublicKey(key)
  if (certificate?.subjectKeyId === undefined || sha256Hex(spkiDer(publicKey)) !== certificate.spkiSha256)
    throw new FleetError('issuer_unusable', 'the services key does not belong to the services intermediate')
  if (o.now > certificate.notAfter)
    throw new FleetError(
      'issuer_unusable',
      `the services intermediate expired at ${new Date(certificate.notAfter).toISOString()}`,
    )
  const signer = {
    subjectDer: certificate.subjectDer,
    ski: certificate.subjectKeyId,
    algorithm: algorithmForKey(publicKey),
  }
  const validity = {
    notBefore: o.now - HOUR,
    notAfter: Math.min(o.now + days * DAY, certificate.notAfter),
  }
  const made = serverText({ der: certificate.der, key, signer }, names, validity)
  await replaceAll([
    { path: o.out.key, text: made.key, mode: 0o600 },
    { path: o.out.cert, text: made.cert, mode: 0o644 },
  ])
}
