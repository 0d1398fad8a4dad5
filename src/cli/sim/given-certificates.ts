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
import { basename, join, resolve } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
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

/** undefined: it has none, which is usual where names are in subjectAltName */
const commonNameOf = (leaf: X509Certificate): string | undefined => /^CN=(.+)$/m.exec(leaf.subject)?.[1]

type Files = {
  readonly certificate: string
  readonly key: string
  readonly root?: string
  /** of the file without its ending, or of the directory */
  readonly name: string
}

/** It stands in a path, and in what is sent. */
const nameOf = ({ name }: Files): string => name.replaceAll(/[^A-Za-z0-9._~:-]/g, '_').slice(0, 64)

/** An identity without the name by which it is called: that hangs on the others. */
type Found = Omit<Enrolled, 'deviceId'> & {
  readonly commonName: string | undefined
  readonly fileName: string
}

const identityIn = (files: Files, rootPem: string | undefined): Found => {
  const [leaf, ...above] = certificatesOf(files.certificate, readBounded(files.certificate))
  const keyPem = readBounded(files.key)
  if (!leaf.checkPrivateKey(keyOf(files.key, keyPem)))
    return refuse(files.key, `is not the key of ${files.certificate}`)
  const notAfter = Date.parse(leaf.validTo)
  const ownRoot = files.root !== undefined && existsSync(files.root) ? readBounded(files.root) : ''
  return {
    commonName: commonNameOf(leaf),
    fileName: nameOf(files),
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
const identityInState = (path: string, rootPem: string | undefined): Found | undefined => {
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
  const { deviceId, ...kept } = enrolled as Enrolled
  certificatesOf(path, kept.certificatePem)
  keyOf(path, kept.keyPem)
  const own = { rootPem: rootPem ?? kept.rootPem, renewAfter: Number.MAX_SAFE_INTEGER }
  return { ...kept, ...own, commonName: deviceId, fileName: deviceId }
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
  return existsSync(key)
    ? { certificate, key, root: join(dir, 'root.pem'), name: basename(resolve(dir)) }
    : refuse(dir, 'holds no key.pem')
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
  if (existsSync(key))
    return { certificate, key, root: join(dir, 'root.pem'), name: name.replace(ENDING, '') }
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

/** How devices are called. `for-mqtt`: by their common names, which are their ClientIDs. `for-https`: by those, where they have one of their own */
type Naming = 'for-mqtt' | 'for-https'

/** Every device has a name, and no two the same. @throws `config_invalid` */
const createNames = (naming: Naming): ((it: Found, path: string) => Enrolled) => {
  const taken = new Map<string, string>()
  return ({ commonName, fileName, ...rest }, path) => {
    if (naming === 'for-mqtt' && commonName === undefined)
      return refuse(path, 'the certificate has no common name, which over MQTT is the ClientID')
    const names = [commonName, naming === 'for-https' ? fileName : undefined].filter(
      (name) => name !== undefined,
    )
    const deviceId = names.find((name) => !taken.has(name))
    if (deviceId === undefined)
      return refuse(path, `is of the same name as ${taken.get(names[0] as string)}: ${names[0]}`)
    taken.set(deviceId, path)
    return { deviceId, ...rest }
  }
}

type Reading = {
  /** of `--ca`; default: root.pem beside the certificates, `''` where there is none */
  readonly rootPem?: string | undefined
  /** not more than so many are read; default: all */
  readonly most?: number | undefined
  /** default: for-mqtt */
  readonly named?: Naming | undefined
  /** what was read until then is all there is */
  readonly signal?: AbortSignal | undefined
}

/**
 * The first of them by the names of their files, so that the same directory is the same fleet. A large one takes seconds; a Ctrl-C is heard meanwhile.
 * @throws `config_invalid` with the file's name: no identity, a key of another certificate, two of one name, too many
 */
export const readGivenCertificates = async (dir: string, o: Reading = {}): Promise<readonly Enrolled[]> => {
  const { rootPem, most = Infinity, named = 'for-mqtt', signal } = o
  const entries = entriesOf(dir)
  const isState = entries.some(({ name }) => name === 'fleet.json')
  const shared = createShared()
  const nameFor = createNames(named)
  const read = (entry: Dirent, path: string): Found | undefined => {
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
    await nextTurn()
    if (signal?.aborted === true) return identities
    const path = join(dir, entry.name)
    const found = read(entry, path)
    if (found === undefined) continue
    if (identities.length === MOST_DEVICES) return refuse(dir, `holds more than ${MOST_DEVICES} identities`)
    const { chainPem, rootPem: root } = found
    identities.push(nameFor({ ...found, chainPem: shared(chainPem), rootPem: shared(root) }, path))
  }
  if (identities.length > 0) return identities
  // the directory of one device
  const own = filesIn(dir)
  if (own !== undefined) return [nameFor(identityIn(own, rootPem), dir)]
  return refuse(
    dir,
    'holds no identity: expected directories with cert.pem and key.pem, NAME.pem with NAME.key, or a --state directory',
  )
}
