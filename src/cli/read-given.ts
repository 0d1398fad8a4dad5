/** A file that a command was given by its path. Not what is in it, and not a secret of this installation: #runtime/secrets.ts. */

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import type { Io } from './io.ts'

/** @param path from where the command was typed. @throws FleetError `config_invalid` */
export const readGiven = ({ cwd }: Pick<Io, 'cwd'>, path: string): Buffer => {
  try {
    return readFileSync(resolve(cwd, path))
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unreadable'
    throw new FleetError('config_invalid', `${path} cannot be read (${code})`, { cause })
  }
}
