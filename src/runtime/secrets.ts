/**
 * Secrets in files: read only when nobody else may read them, written so that nobody ever could and no reader sees half.
 * Not configuration: a secret's path is a setting, the secret never is.
 */

import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { writeSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { FleetError } from '#fleet/errors.ts'

const KEY_BYTES = 32
const MAX_SECRET_BYTES = 65_536

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

const explain = (path: string, error: unknown): string =>
  codeOf(error) === 'ENOENT'
    ? `${path} does not exist`
    : `${path} cannot be read: ${codeOf(error) ?? String(error)}`

/**
 * The text of a file that only its owner may read, without a trailing line break.
 * @throws FleetError `config_invalid`: missing, unreadable, not a file, larger than 64 KiB, or open to group or others
 */
export const readPrivateFile = (path: string): string => {
  let fd: number
  try {
    // a pipe in its place must not hold the process up
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (cause) {
    throw new FleetError('config_invalid', explain(path, cause), { cause })
  }
  try {
    // the open file is asked, not the path: what is checked is what is read
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw new FleetError('config_invalid', `${path} is not a file`)
    if ((stat.mode & 0o077) !== 0)
      throw new FleetError(
        'config_invalid',
        `${path} may be read by others (mode ${(stat.mode & 0o777).toString(8).padStart(4, '0')}): run chmod 600 ${path}`,
      )
    if (stat.size > MAX_SECRET_BYTES)
      throw new FleetError('config_invalid', `${path} is too large to be a secret`)
    return readFileSync(fd, 'utf8').replace(/\r?\n$/, '')
  } catch (cause) {
    if (cause instanceof FleetError) throw cause
    throw new FleetError('config_invalid', explain(path, cause), { cause })
  } finally {
    closeSync(fd)
  }
}

const decodeKey = (text: string): Buffer | undefined => {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, 'hex')
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return Buffer.from(text, 'base64')
  return undefined
}

/**
 * `secrets.key_file`: 32 bytes as hex or base64.
 * @throws FleetError `config_invalid`
 */
export const readSecretKey = (path: string): Buffer => {
  const key = decodeKey(readPrivateFile(path))
  if (key?.length !== KEY_BYTES)
    throw new FleetError('config_invalid', `${path}: expected 32 bytes as 64 hex digits or as base64`)
  return key
}

const syncFolder = (path: string): void => {
  const fd = openSync(dirname(path), 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Writes beside `path`, 0600 from the first byte and on disk, then lets `publish` give it its name. */
const writeBeside = (path: string, text: string, publish: (temporary: string) => void): void => {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    const fd = openSync(temporary, 'wx', 0o600)
    try {
      const bytes = Buffer.from(text)
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at)
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    publish(temporary)
    syncFolder(path)
  } finally {
    rmSync(temporary, { force: true })
  }
}

/** Atomic, durable, 0600. Replaces what was there. The folder must exist. */
export const writePrivateFile = (path: string, text: string): void => {
  writeBeside(path, text, (temporary) => {
    renameSync(temporary, path)
  })
}

/**
 * A new random key, never over an old one: what is sealed under it would be lost.
 * @throws FleetError `conflict` when the file exists; of several that try at once, one wins
 */
export const createSecretKey = (path: string): Buffer => {
  const key = randomBytes(KEY_BYTES)
  try {
    // link, unlike rename, refuses an existing name
    writeBeside(path, `${key.toString('hex')}\n`, (temporary) => {
      linkSync(temporary, path)
    })
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') throw new FleetError('conflict', `${path} already exists`, { cause })
    throw cause
  }
  return key
}
