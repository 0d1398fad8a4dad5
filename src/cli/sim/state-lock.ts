/** The directory of `--state`, for one run at a time. Not what is in it: device-sim/life/state.ts. */

import { join } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import { makeStateDirectory } from '#device-sim/index.ts'
import { lockFile } from '../up/lock.ts'

const refuse = (detail: string, cause?: unknown): never => {
  throw new FleetError('config_invalid', detail, { cause })
}

/**
 * Two runs would renew each other's certificates.
 * @throws `config_invalid`: another run has it, or it is no place for keys
 */
export const lockState = (dir: string): Disposable => {
  makeStateDirectory(dir)
  try {
    return lockFile(join(dir, 'run.pid'), (pid, path) =>
      refuse(
        `--state ${dir}: another run is at work with it (process ${pid}). Wait for it, or take another directory. ` +
          `If process ${pid} is something else, remove ${path}.`,
      ),
    )
  } catch (error) {
    if (error instanceof FleetError) throw error
    const why = (error as NodeJS.ErrnoException).code ?? String(error)
    return refuse(`--state ${dir} cannot be written into (${why})`, error)
  }
}
