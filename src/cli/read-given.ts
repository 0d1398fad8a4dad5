/** A file that a command was given by its path. Not what is in it, and not a secret of this installation: #runtime/secrets.ts. */

import { closeSync, openSync, readSync } from 'node:fs'
import { resolve } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import type { Io } from './io.ts'

/** octets: what anybody gives is far below, and a device such as /dev/zero is not read for ever */
const MOST = 64 * 1_048_576
const CHUNK = 65_536

/** A pipe may be given too (`<(…)` of a shell), so nothing is asked of its size. */
const readAll = (fd: number): Buffer | undefined => {
  const chunks: Buffer[] = []
  let length = 0
  for (let got = -1; got !== 0 && length <= MOST; length += got) {
    const chunk = Buffer.allocUnsafe(CHUNK)
    got = readSync(fd, chunk, 0, CHUNK, null)
    chunks.push(chunk.subarray(0, got))
  }
  return length > MOST ? undefined : Buffer.concat(chunks)
}

/** @param path from where the command was typed. @throws FleetError `config_invalid` */
export const readGiven = ({ cwd }: Pick<Io, 'cwd'>, path: string): Buffer => {
  let fd: number | undefined
  try {
    fd = openSync(resolve(cwd, path), 'r')
    const read = readAll(fd)
    if (read !== undefined) return read
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    throw new FleetError('config_invalid', `${path} cannot be read (${code})`, { cause })
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
  throw new FleetError('config_invalid', `${path} is larger than ${MOST} octets`)
}
