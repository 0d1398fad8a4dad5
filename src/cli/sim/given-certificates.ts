/**
 * `--certs DIR`: identities that somebody made elsewhere, for a target that is not ours. Three shapes: a directory for each device with
 * cert.pem (or full.pem) and key.pem, as `device enroll` leaves it; NAME.pem or NAME.crt beside NAME.key; the directory of `--state`.
 * Whatever is wrong is said with the file's name; nothing is skipped in silence.
 */

import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto'
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  openSync,
  opendirSync,
  readSync,
  statSync,
  type Dirent,
} from 'node:fs'
import { basename, join } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import type { Enrolled } from '#device-sim/index.ts'

const MOST_DEVICES = 100_000
/** octets: a chain of RSA certificates is a tenth of it */
const MOST_PEM = 262_144
/** entries of a directory: certificate and key each, and what lies about */
const MOST_ENTRIES = 3 * MOST_DEVICES

const refuse = (path: string, why: string, cause?: unknown): never => {
  throw new FleetError('config_invalid', `--certs: ${path}: ${why}`, { cause })
}

/** of all files, one after the other */
const room = Buffer.alloc(MOST_PEM + 1)

/** Never more than {@link MOST_PEM} of it, whatever it says of its size. */
const readBounded = (path: string): string => {
  let fd: number
  try {
    // a pipe that nobody writes to is not waited for
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    return refuse(path, `cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`, error)
  }
  try {
    if (!fstatSync(fd).isFile()) return refuse(path, 'is no file')
    let length = 0
    for (let got = -1; got !== 0 && length < room.length; length += got)
      got = readSync(fd, room, length, room.length - length, null)
    if (length > MOST_PEM) return refuse(path, `is larger than ${MOST_PEM} octets`)
    return room.toString('utf8', 0, length)
  } finally {
    closeSync(fd)
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g

const certificatesOf = (path: string, pem: string): readonly [X509Certificate, ...X509Certificate[]] => {
  const [leaf, ...above] = (pem.match(CERTIFICATE) ?? []).map((text) => {
    try {
      return new X509Certificate(text)
    } catch (error) {
      return refuse(path, 'holds a certificate that cannot be read', error)
    }
  })
  if (leaf === undefined) return refuse(path, 'holds no certificate in PEM')
  return [leaf, ...above]
}

const keyOf = (path: string, pem: string): KeyObject => {
  try {
    return createPrivateKey(pem)
  } catch (error) {
    const locked = pem.includes('ENCRYPTED')
    return refuse(
      path,
      locked ? 'the key is encrypted; give it without a passphrase' : 'holds no private key in PEM',
      error,
    )
  }
}

/** As the client sends it: also its MQTT ClientID. */
const commonNameOf = (path: string, leaf: X509Certificate): string => {
  const name = /^CN=(.+)$/m.exec(leaf.subject)?.[1]
  if (name === undefined) return refuse(path, 'the certificate has no common name, which is the ClientID')
  return name
}

type Files = { readonly certificate: string; readonly key: string; readonly root?: string }

const identityIn = (files: Files, rootPem: string | undefined): Enrolled => {
  const [leaf, ...above] = certificatesOf(files.certificate, readBounded(files.certificate))
  const keyPem = readBounded(files.key)
  if (!leaf.checkPrivateKey(keyOf(files.key, keyPem)))
    return refuse(files.key, `is not the key of ${files.certificate}`)
  const notAfter = Date.parse(leaf.validTo)
  const ownRoot = files.root !== undefined && existsSync(files.root) ? readBounded(files.root) : ''
  return {
    deviceId: commonNameOf(files.certificate, leaf),
    keyPem,
    certificatePem: leaf.toString(),
    chainPem: above.map(String).join(''),
    rootPem: rootPem ?? ownRoot,
    notAfter,
    // somebody else's: it is not renewed here
    renewAfter: Number.MAX_SAFE_INTEGER,
    serial: leaf.serialNumber.toLowerCase(),
  }
}

const isText = (value: unknown, key: string): boolean =>
  typeof (value as Record<string, unknown>)[key] === 'string'

/** A file of `--state`. @returns undefined: this device has no certificate yet, or the file is another's */
const identityInState = (path: string, rootPem: string | undefined): Enrolled | undefined => {
  let value: unknown
  try {
    value = JSON.parse(readBounded(path))
  } catch (error) {
    if (error instanceof FleetError) throw error
    return refuse(path, 'is no JSON', error)
  }
  if (typeof value !== 'object' || value === null) return undefined
  const { enrolled } = value as { enrolled?: unknown }
  if (typeof enrolled !== 'object' || enrolled === null) return undefined
  if (
    !['deviceId', 'keyPem', 'certificatePem', 'chainPem', 'rootPem', 'serial'].every((key) =>
      isText(enrolled, key),
    )
  )
    return refuse(path, 'is no device of a --state directory')
  const kept = enrolled as Enrolled
  certificatesOf(path, kept.certificatePem)
  keyOf(path, kept.keyPem)
  return { ...kept, rootPem: rootPem ?? kept.rootPem, renewAfter: Number.MAX_SAFE_INTEGER }
}

/** In order of their names, so that the same directory is the same fleet. */
const entriesOf = (dir: string): readonly Dirent[] => {
  const entries: Dirent[] = []
  try {
    using open = opendirSync(dir)
    for (let entry = open.readSync(); entry !== null; entry = open.readSync()) {
      if (entries.length === MOST_ENTRIES) return refuse(dir, `holds more than ${MOST_ENTRIES} entries`)
      entries.push(entry)
    }
  } catch (error) {
    if (error instanceof FleetError) throw error
    return refuse(dir, `cannot be read (${(error as NodeJS.ErrnoException).code ?? String(error)})`, error)
  }
  return entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

const filesIn = (dir: string): Files | undefined => {
  // full.pem holds the intermediates too
  const certificate = ['full.pem', 'cert.pem'].map((name) => join(dir, name)).find(existsSync)
  const key = join(dir, 'key.pem')
  if (certificate === undefined)
    return existsSync(key) ? refuse(dir, 'holds a key.pem, and no cert.pem or full.pem') : undefined
  return existsSync(key) ? { certificate, key, root: join(dir, 'root.pem') } : refuse(dir, 'holds no key.pem')
}

/** also by a link */
const isDirectory = (entry: Dirent, path: string): boolean =>
  entry.isDirectory() ||
  (entry.isSymbolicLink() && statSync(path, { throwIfNoEntry: false })?.isDirectory() === true)

const ENDING = /\.(?:pem|crt)$/

/** of the directory of one device */
const OWN_NAMES = ['full.pem', 'cert.pem']

/** A CA's own is no device's, and may lie about. */
const isLeaf = (path: string): boolean => {
  const pem = readBounded(path)
  return pem.includes('-----BEGIN CERTIFICATE-----') && !certificatesOf(path, pem)[0].ca
}

const filesBeside = (dir: string, name: string): Files | undefined => {
  const certificate = join(dir, name)
  const key = join(dir, name.replace(ENDING, '.key'))
  if (existsSync(key)) return { certificate, key, root: join(dir, 'root.pem') }
  return !OWN_NAMES.includes(name) && isLeaf(certificate)
    ? refuse(certificate, `is the certificate of a device, and its key is not beside it (${basename(key)})`)
    : undefined
}

/** One copy of a text that all have. */
const createShared = (): ((text: string) => string) => {
  const texts = new Map<string, string>()
  return (text) => {
    const one = texts.get(text) ?? text
    texts.set(one, one)
    return one
  }
}

/**
 * The first of them by the names of their files, so that the same directory is the same fleet.
 * @param o.rootPem of `--ca`; default: root.pem beside the certificates, `''` where there is none
 * @param o.most not more than so many are read; default: all
 * @throws `config_invalid` with the file's name: no identity, a key of another certificate, two of one name, too many
 */
export const readGivenCertificates = (
  dir: string,
  o: { readonly rootPem?: string | undefined; readonly most?: number | undefined } = {},
): readonly Enrolled[] => {
  const { rootPem, most = Infinity } = o
  const entries = entriesOf(dir)
  const isState = entries.some(({ name }) => name === 'fleet.json')
  const shared = createShared()
  const found = new Map<string, string>()
  const read = (entry: Dirent, path: string): Enrolled | undefined => {
    if (isState)
      return entry.name.endsWith('.json') && entry.name !== 'fleet.json'
        ? identityInState(path, rootPem)
        : undefined
    const files = isDirectory(entry, path)
      ? filesIn(path)
      : ENDING.test(entry.name)
        ? filesBeside(dir, entry.name)
        : undefined
    return files === undefined ? undefined : identityIn(files, rootPem)
  }
  const identities: Enrolled[] = []
  for (const entry of entries) {
    if (identities.length >= most) break
    const path = join(dir, entry.name)
    const identity = read(entry, path)
    if (identity === undefined) continue
    const { deviceId, chainPem, rootPem: root } = identity
    const other = found.get(deviceId)
    if (other !== undefined) return refuse(path, `is of the same name as ${other}: ${deviceId}`)
    found.set(deviceId, path)
    if (found.size > MOST_DEVICES) return refuse(dir, `holds more than ${MOST_DEVICES} identities`)
    identities.push({ ...identity, chainPem: shared(chainPem), rootPem: shared(root) })
  }
  if (identities.length > 0) return identities
  // the directory of one device
  const own = filesIn(dir)
  if (own !== undefined) return [identityIn(own, rootPem)]
  return refuse(
    dir,
    'holds no identity: expected directories with cert.pem and key.pem, NAME.pem with NAME.key, or a --state directory',
  )
}
