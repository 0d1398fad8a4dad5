/**
 * Makes a PKI on disk, offline: root → devices intermediate, root → services intermediate, and certificates of servers and gateways from
 * the latter. Never loaded by a desk; the files it leaves are what a desk is configured with.
 */

import { createPrivateKey, createPublicKey, randomBytes, sign, type KeyObject } from 'node:crypto'
import { access, link, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isIP } from 'node:net'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { CertificateFacts } from '#fleet/certificate.ts'
import { FleetError } from '#fleet/errors.ts'
import { isGatewayId } from '#fleet/gateway-id.ts'
import { readCertificate, readCertificates } from './certificate.ts'
import { issuedBy } from './chain.ts'
import { checkPassphrase, encryptedKeyPem } from './encrypted-key.ts'
import { generateKey, sha256Hex, spkiDer } from './keys.ts'
import { attributeOf, nameDer } from './names.ts'
import { OID } from './oids.ts'
import { toPem } from './pem.ts'
import {
  gatewayTbs,
  intermediateTbs,
  rootTbs,
  serverTbs,
  skiOf,
  type Signer,
  type Subject,
} from './profile.ts'
import { newSerial } from './serial.ts'
import { algorithmForKey, signedDer } from './signatures.ts'

const ROOT_LIFE = 20 * 365 * DAY
const INTERMEDIATE_LIFE = 5 * 365 * DAY
/** Of servers' and gateways' certificates. */
const SERVER_DAYS = 90
/** Clients refuse longer ones. */
const MAX_SERVER_DAYS = 825
/** A device whose clock is behind still accepts a PKI made a moment ago. */
const BACKDATE = 24 * HOUR

/** Paths below `certs/`. What a desk may read is outside `private/`, but for the intermediate's, the server's and the gateway's key. */
const FILES = {
  root: 'root.pem',
  intermediate: 'intermediate.pem',
  services: 'services.pem',
  chain: 'chain.pem',
  server: 'server.pem',
  gateway: 'gateway.pem',
  rootKey: 'private/root.key',
  intermediateKey: 'private/intermediate.key',
  servicesKey: 'private/services.key',
  serverKey: 'private/server.key',
  gatewayKey: 'private/gateway.key',
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

type Validity = { readonly notBefore: number; readonly notAfter: number }
type LeafText = { readonly cert: string; readonly key: string }

/** Leaf, then its intermediate; and a key that no passphrase protects: a desk starts by itself. */
const leafText = (by: Authority, validity: Validity, write: (subject: Subject) => Buffer): LeafText => {
  const { privateKey, publicKey } = generateKey('P-256')
  const tbs = write({ spkiDer: spkiDer(publicKey), serial: newSerial(), ...validity })
  return {
    cert: toPem('CERTIFICATE', signTbs(tbs, by)) + toPem('CERTIFICATE', by.der),
    key: keyText(privateKey, undefined),
  }
}

const serverText = (by: Authority, names: readonly [string, ...string[]], validity: Validity): LeafText =>
  leafText(by, validity, (subject) => serverTbs(by.signer, subject, names))

const gatewayText = (by: Authority, id: string, validity: Validity): LeafText =>
  leafText(by, validity, (subject) => gatewayTbs(by.signer, subject, id))

export const FIRST_GATEWAY = 'gateway'

const gatewayIdOf = (id: string): string => {
  if (isGatewayId(id)) return id
  throw new FleetError(
    'bad_request',
    'the id of a gateway has 1 to 63 of a-z 0-9 - and begins with a letter or digit',
  )
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
 * @param o.passphrase encrypts the three CA keys (encrypted-key.ts); those of server and gateway are for a desk and stay plain
 * @param o.serverNames host names and addresses of the development server certificate
 * @param o.gatewayId of the first gateway's certificate; {@link FIRST_GATEWAY} by default
 * @throws conflict when any of the files exists; bad_request for names that cannot be, or a passphrase that is too short
 */
export const createPki = async (o: {
  readonly dir: string
  readonly now: number
  readonly names?: { readonly organization?: string }
  readonly passphrase?: string
  readonly serverNames: readonly string[]
  readonly gatewayId?: string | undefined
  /** `http://…` without a trailing slash: where intermediates say that the root's CRL is; undefined: they say nothing */
  readonly statusUrl?: string | undefined
}): Promise<PkiPaths> => {
  const organization = o.names?.organization ?? 'Sallyport'
  if (!ORGANIZATION.test(organization))
    throw new FleetError('bad_request', 'an organization has 1 to 50 printable characters of ASCII')
  const serverNames = serverNamesOf(o.serverNames)
  const gatewayId = gatewayIdOf(o.gatewayId ?? FIRST_GATEWAY)
  if (o.passphrase !== undefined) checkPassphrase(o.passphrase)
  const notBefore = o.now - BACKDATE

  const root = newCa([organization, `${organization} Root`])
  const rootSubject = { spkiDer: root.spki, serial: newSerial(), notBefore, notAfter: o.now + ROOT_LIFE }
  const rootDer = signTbs(rootTbs(root.signer, rootSubject), root)

  const intermediate = (purpose: 'devices' | 'services', name: string): Authority => {
    const ca = newCa([organization, `${organization} ${name}`])
    const subject = { spkiDer: ca.spki, serial: newSerial(), notBefore, notAfter: o.now + INTERMEDIATE_LIFE }
    const tbs = intermediateTbs(root.signer, subject, ca.signer.subjectDer, purpose, o.statusUrl)
    return { ...ca, der: signTbs(tbs, root) }
  }
  const devices = intermediate('devices', 'Devices')
  const services = intermediate('services', 'Services')
  const leafValidity = { notBefore, notAfter: o.now + SERVER_DAYS * DAY }
  const server = serverText(services, serverNames, leafValidity)
  const gateway = gatewayText(services, gatewayId, leafValidity)

  const rootPem = toPem('CERTIFICATE', rootDer)
  const intermediatePem = toPem('CERTIFICATE', devices.der)
  return publish(o.dir, {
    root: rootPem,
    intermediate: intermediatePem,
    services: toPem('CERTIFICATE', services.der),
    chain: intermediatePem + rootPem,
    server: server.cert,
    gateway: gateway.cert,
    rootKey: keyText(root.key, o.passphrase),
    intermediateKey: keyText(devices.key, o.passphrase),
    servicesKey: keyText(services.key, o.passphrase),
    serverKey: server.key,
    gatewayKey: gateway.key,
  })
}

/** Each whole or not at all, in this order, over nothing. @throws conflict */
const linkAll = async (files: readonly Written[]): Promise<void> => {
  for (const { path, text, mode } of files) {
    const draft = `${path}.${randomBytes(6).toString('hex')}.new`
    try {
      await writeFile(draft, text, { mode, flag: 'wx', flush: true })
      // link, not rename: it never replaces what came into being meanwhile
      await link(draft, path)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause
      throw new FleetError('conflict', `${path} exists, and is not overwritten`, { cause })
    } finally {
      await rm(draft, { force: true })
    }
  }
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

/** A CA of before, from its files. @throws issuer_unusable: its key does not open, does not fit, or it has ended */
const openAuthority = (
  what: string,
  o: {
    readonly certificatePem: string
    readonly keyPem: string
    readonly passphrase?: string
    readonly now: number
  },
): Authority & { readonly facts: CertificateFacts } => {
  const [facts] = readCertificates(o.certificatePem)
  let key: KeyObject
  try {
    key = createPrivateKey(
      o.passphrase === undefined ? o.keyPem : { key: o.keyPem, passphrase: o.passphrase },
    )
  } catch (cause) {
    // never what OpenSSL said: it may quote the file
    throw new FleetError(
      'issuer_unusable',
      `the key of the ${what} cannot be opened; is the passphrase right?`,
      { cause },
    )
  }
  const publicKey = createPublicKey(key)
  if (facts?.subjectKeyId === undefined || sha256Hex(spkiDer(publicKey)) !== facts.spkiSha256)
    throw new FleetError('issuer_unusable', `the key does not belong to the ${what}`)
  if (o.now > facts.notAfter)
    throw new FleetError(
      'issuer_unusable',
      `the ${what} expired at ${new Date(facts.notAfter).toISOString()}`,
    )
  const { der, subjectDer, subjectKeyId: ski } = facts
  return { facts, der, key, signer: { subjectDer, ski, algorithm: algorithmForKey(publicKey) } }
}

export type NewIntermediate = {
  /** subject key id, hex */
  readonly ski: string
  readonly commonName: string
  readonly notAfter: number
  readonly certificate: string
  readonly key: string
}

/** RFC 5280, ub-common-name */
const MOST_NAME = 64

/** Like the first one's, and different from every other: `Acme Devices 3f0c9a1e`. */
const nameOfIntermediate = (root: CertificateFacts, ski: string): readonly [string, string] => {
  const whole = root.commonName?.replace(/ Root$/, '') ?? 'Sallyport'
  const organization = attributeOf(root.subjectDer, OID.organization) ?? whole
  const suffix = ` Devices ${ski.slice(0, 8)}`
  return [organization.slice(0, MOST_NAME), whole.slice(0, MOST_NAME - suffix.length) + suffix]
}

/**
 * A further devices intermediate under a root that exists: `<dir>/<ski>.pem` and `<ski>.key`. The certificate comes last: where it is,
 * its key is. Nothing is overwritten.
 * @param o.dir `ca.issuers`; made when missing
 * @param o.passphrase opens the root's key, when it is encrypted, and encrypts the new one
 * @throws issuer_unusable: the root's key does not open or fit, or the root has ended, or is no root; bad_request: a passphrase that is too short
 */
export const createIntermediate = async (o: {
  readonly dir: string
  readonly rootPem: string
  readonly rootKeyPem: string
  readonly now: number
  readonly rootPassphrase?: string
  readonly passphrase?: string
  /** as of {@link createPki} */
  readonly statusUrl?: string | undefined
}): Promise<NewIntermediate> => {
  if (o.passphrase !== undefined) checkPassphrase(o.passphrase)
  const root = openAuthority('root', {
    certificatePem: o.rootPem,
    keyPem: o.rootKeyPem,
    now: o.now,
    ...(o.rootPassphrase === undefined ? {} : { passphrase: o.rootPassphrase }),
  })
  if (!issuedBy(root.facts, root.facts))
    throw new FleetError('issuer_unusable', 'the root is not a self-signed CA certificate')
  const notBefore = Math.max(o.now - BACKDATE, root.facts.notBefore)
  const notAfter = Math.min(o.now + INTERMEDIATE_LIFE, root.facts.notAfter)

  const { privateKey, publicKey } = generateKey('P-256')
  const spki = spkiDer(publicKey)
  const ski = skiOf(spki)
  const [organization, commonName] = nameOfIntermediate(root.facts, ski)
  const subjectDer = nameDer([
    { oid: OID.organization, text: organization },
    { oid: OID.commonName, text: commonName },
  ])
  const subject = { spkiDer: spki, serial: newSerial(), notBefore, notAfter }
  const der = signTbs(intermediateTbs(root.signer, subject, subjectDer, 'devices', o.statusUrl), root)
  // what was made can be read, and was signed by this root
  if (!issuedBy(readCertificate(der), root.facts))
    throw new FleetError('issuer_unusable', 'the root did not sign the new intermediate')

  await mkdir(o.dir, { recursive: true, mode: 0o700 })
  const files = { certificate: join(o.dir, `${ski}.pem`), key: join(o.dir, `${ski}.key`) }
  await linkAll([
    { path: files.key, text: keyText(privateKey, o.passphrase), mode: 0o600 },
    { path: files.certificate, text: toPem('CERTIFICATE', der), mode: 0o644 },
  ])
  return { ski, commonName, notAfter, ...files }
}

type LeafOrder = {
  readonly dir: string
  readonly out: { readonly cert: string; readonly key: string }
  readonly now: number
  readonly days?: number
  readonly passphrase?: string
}

/** A leaf with a new key from the services intermediate in `dir`, in the place of the one before. */
const issueLeaf = async (
  o: LeafOrder,
  what: string,
  make: (services: Authority & { readonly facts: CertificateFacts }, validity: Validity) => LeafText,
): Promise<void> => {
  const days = o.days ?? SERVER_DAYS
  if (!Number.isInteger(days) || days < 1 || days > MAX_SERVER_DAYS)
    throw new FleetError('bad_request', `a ${what} certificate lives 1 to ${MAX_SERVER_DAYS} days`)
  const paths = pathsIn(o.dir)
  const [certificatePem, keyPem] = await Promise.all([
    readFile(paths.services, 'utf8'),
    readFile(paths.servicesKey, 'utf8'),
  ]).catch((cause: unknown) => {
    throw new FleetError('not_found', `no services intermediate and key in ${o.dir}`, { cause })
  })
  const services = openAuthority('services intermediate', { ...o, certificatePem, keyPem })
  const made = make(services, {
    notBefore: o.now - HOUR,
    notAfter: Math.min(o.now + days * DAY, services.facts.notAfter),
  })
  await replaceAll([
    { path: o.out.key, text: made.key, mode: 0o600 },
    { path: o.out.cert, text: made.cert, mode: 0o644 },
  ])
}

/**
 * A server certificate with a new key from the services intermediate in `dir`. `out.cert`: leaf, then the intermediate.
 * @throws bad_request for a name or life that cannot be; not_found without a services intermediate; issuer_unusable when its key does not open, does not fit, or it ends too soon
 */
export const issueServerCertificate = async (
  o: LeafOrder & { readonly names: readonly string[] },
): Promise<void> => {
  const names = serverNamesOf(o.names)
  await issueLeaf(o, 'server', (services, validity) => serverText(services, names, validity))
}

/** May this services intermediate make certificates of gateways? One of before there were any may not. */
export const mayIssueGateways = ({ extendedKeyUsage }: CertificateFacts): boolean =>
  extendedKeyUsage?.includes(OID.clientAuth) === true

/**
 * The same for a gateway's own client certificate. @param o.id of the gateway
 * @throws as {@link issueServerCertificate}; also issuer_unusable: {@link mayIssueGateways}
 */
export const issueGatewayCertificate = async (o: LeafOrder & { readonly id: string }): Promise<void> => {
  const id = gatewayIdOf(o.id)
  await issueLeaf(o, 'gateway', (services, validity) => {
    if (!mayIssueGateways(services.facts))
      throw new FleetError(
        'issuer_unusable',
        'this services intermediate is of before there were gateway certificates: it may issue those of servers only',
      )
    return gatewayText(services, id, validity)
  })
}
