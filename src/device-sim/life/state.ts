/**
 * The keys and certificates of a simulated fleet, kept between runs so that it enrols once. One 0600 file per device, replaced
 * whole: a key and its certificate never part. Without a directory, nothing is kept.
 */

import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import type { Enrolled } from '../client/identity.ts'

/**
 * Without `enrolled`: a key that was made but has no certificate yet; the answer to its enrolment may have been lost. `candidate`: a renewed
 * certificate that no door has admitted yet; the old one stays until then.
 */
export type Kept = { readonly keyPem: string; readonly enrolled?: Enrolled; readonly candidate?: Enrolled }

export type StateStore = {
  /** of the fleet whose devices these are; a new directory takes the one given */
  seed(wanted: string | undefined): Promise<string>
  load(deviceId: string): Promise<Kept | undefined>
  keep(deviceId: string, kept: Kept): Promise<void>
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'

const newSeed = (): string => randomBytes(4).toString('hex')

/** For this process only: an enrolment that is asked again still uses the same key. */
const inMemory = (): StateStore => {
  const devices = new Map<string, Kept>()
  return {
    seed: (wanted) => Promise.resolve(wanted ?? newSeed()),
    load: (deviceId) => Promise.resolve(devices.get(deviceId)),
    keep(deviceId, kept) {
      devices.set(deviceId, kept)
      return Promise.resolve()
    },
  }
}

const inDirectory = (dir: string): StateStore => {
  const write = async (name: string, value: unknown): Promise<void> => {
    const path = join(dir, name)
    await writeFile(`${path}.tmp`, JSON.stringify(value), { mode: 0o600 })
    await rename(`${path}.tmp`, path)
  }
  const read = async (name: string): Promise<unknown> => {
    try {
      return JSON.parse(await readFile(join(dir, name), 'utf8'))
    } catch (error) {
      if (isMissing(error)) return undefined
      throw new FleetError('config_invalid', `${join(dir, name)} cannot be read: ${String(error)}`, {
        cause: error,
      })
    }
  }
  return {
    async seed(wanted) {
      const kept = (await read('fleet.json')) as { seed: string } | undefined
      if (kept !== undefined && wanted !== undefined && kept.seed !== wanted)
        throw new FleetError(
          'config_invalid',
          `${dir} holds the fleet of seed ${kept.seed}: use that seed, or another directory`,
        )
      const seed = kept?.seed ?? wanted ?? newSeed()
      if (kept === undefined) await write('fleet.json', { seed })
      return seed
    },
    load: async (deviceId) => (await read(`${deviceId}.json`)) as Kept | undefined,
    keep: (deviceId, kept) => write(`${deviceId}.json`, kept),
  }
}

export const openState = async (dir: string | undefined): Promise<StateStore> => {
  if (dir === undefined) return inMemory()
  await mkdir(dir, { recursive: true, mode: 0o700 })
  await chmod(dir, 0o700)
  return inDirectory(dir)
}
