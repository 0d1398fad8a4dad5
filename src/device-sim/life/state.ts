/**
 * The keys and certificates of a simulated fleet, kept between runs so that it enrols once. One 0600 file per device, replaced
 * whole: a key and its certificate never part. Without a directory, nothing is kept.
 */

import { randomBytes } from 'node:crypto'
import { mkdirSync, statSync } from 'node:fs'
import { chmod, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FleetError } from '#fleet/errors.ts'
import type { Enrolled } from '../client/identity.ts'
import { createGate } from '../waiting.ts'

/**
 * Without `enrolled`: a key that was made but has no certificate yet; the answer to its enrolment may have been lost. `candidate`: a renewed
 * certificate that no door has admitted yet; the old one stays until then.
 */
export type Kept = { readonly keyPem: string; readonly enrolled?: Enrolled; readonly candidate?: Enrolled }

export type StateStore = {
  /** of the fleet whose devices these are; a new directory takes the one given */
  seed(wanted: string | undefined): Promise<string>
  /** What its devices are called after: the seed, or what has been kept. @param chosen is kept from now on */
  name(seed: string, chosen?: string): Promise<string>
  /** @throws `config_invalid`, naming the file: it holds no key, and is left as it is, for it may have been a good one */
  load(deviceId: string): Promise<Kept | undefined>
  /** @throws `internal`, naming the file: it could not be written, and is as it was */
  keep(deviceId: string, kept: Kept): Promise<void>
  /** A sentence, as long as something is not kept that should be: the next run will not have it. undefined: all is there */
  unwritten(): string | undefined
}

/** Files that are open at once: ten thousand devices ask at the same moment. */
const OPEN = 64

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error)

const TEXTS = ['keyPem', 'certificatePem', 'chainPem', 'rootPem', 'serial', 'deviceId'] as const
const TIMES = ['notAfter', 'renewAfter'] as const

const isEnrolled = (value: unknown): boolean => {
  const fields = (typeof value === 'object' ? value : undefined) as Partial<Enrolled> | undefined | null
  return (
    TEXTS.every((name) => typeof fields?.[name] === 'string') &&
    TIMES.every((name) => typeof fields?.[name] === 'number')
  )
}
const isKept = (value: unknown): value is Kept => {
  if (typeof value !== 'object' || value === null) return false
  const { keyPem, enrolled, candidate } = value as Partial<Kept>
  return (
    typeof keyPem === 'string' &&
    (enrolled === undefined || isEnrolled(enrolled)) &&
    (candidate === undefined || isEnrolled(candidate))
  )
}

const WHY_NOT: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota is used up',
  EROFS: 'the file system is read-only',
}

const FLEET = 'fleet.json'
type FleetFile = { readonly seed: string; readonly name?: string }
/** both go into the names of files */
const isFleetFile = (value: unknown): value is FleetFile => {
  const { seed, name = seed } = (value ?? {}) as { readonly seed?: unknown; readonly name?: unknown }
  return (
    typeof seed === 'string' &&
    /^[a-z0-9]{1,32}$/.test(seed) &&
    typeof name === 'string' &&
    /^[a-z0-9]{1,32}(\.\d{1,4})?$/.test(name)
  )
}

const newSeed = (): string => randomBytes(4).toString('hex')

/** For this process only: an enrolment that is asked again still uses the same key. */
const inMemory = (): StateStore => {
  const devices = new Map<string, Kept>()
  return {
    seed: (wanted) => Promise.resolve(wanted ?? newSeed()),
    name: (seed, chosen) => Promise.resolve(chosen ?? seed),
    load: (deviceId) => Promise.resolve(devices.get(deviceId)),
    keep(deviceId, kept) {
      devices.set(deviceId, kept)
      return Promise.resolve()
    },
    unwritten: () => undefined,
  }
}

const inDirectory = (dir: string): StateStore => {
  const gate = createGate(OPEN)
  /** whose last writing failed, and why */
  const failed = new Map<string, string>()
  const write = (name: string, value: unknown): Promise<void> =>
    gate(async () => {
      const path = join(dir, name)
      try {
        await writeFile(`${path}.tmp`, JSON.stringify(value), { mode: 0o600 })
        await rename(`${path}.tmp`, path)
        failed.delete(name)
      } catch (error) {
        // on a full disk what was written of it is in the way
        await rm(`${path}.tmp`, { force: true }).catch(() => {})
        failed.set(name, codeOf(error))
        throw new FleetError('internal', `${path} cannot be written: ${codeOf(error)}`, { cause: error })
      }
    })
  const unreadable = (name: string, why: string, cause?: unknown): FleetError =>
    new FleetError('config_invalid', `${join(dir, name)} cannot be read: ${why}`, { cause })
  const read = (name: string): Promise<unknown> =>
    gate(async () => {
      try {
        const path = join(dir, name)
        // copied, or restored by a program that keeps no modes: there is a private key in it
        await chmod(path, 0o600)
        return JSON.parse(await readFile(path, 'utf8'))
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return undefined
        throw unreadable(name, error instanceof SyntaxError ? 'it is no JSON' : codeOf(error), error)
      }
    })
  const fleet = async (): Promise<FleetFile | undefined> => {
    const kept = await read(FLEET)
    if (kept === undefined || isFleetFile(kept)) return kept
    throw unreadable(FLEET, 'it holds no seed of 1 to 32 of a-z 0-9')
  }
  return {
    async seed(wanted) {
      const kept = await fleet()
      if (kept !== undefined && wanted !== undefined && kept.seed !== wanted)
        throw new FleetError(
          'config_invalid',
          `${dir} holds the fleet of seed ${kept.seed}: use that seed, or another directory`,
        )
      const seed = kept?.seed ?? wanted ?? newSeed()
      if (kept === undefined) await write(FLEET, { seed })
      return seed
    },
    async name(seed, chosen) {
      const kept = (await fleet())?.name ?? seed
      if (chosen === undefined || chosen === kept) return kept
      await write(FLEET, { seed, name: chosen })
      return chosen
    },
    async load(deviceId) {
      const name = `${deviceId}.json`
      const kept = await read(name)
      if (kept === undefined) return undefined
      if (!isKept(kept)) throw unreadable(name, 'it holds no device')
      for (const { deviceId: whose } of [kept.enrolled, kept.candidate].filter((each) => each !== undefined))
        if (whose !== deviceId) throw unreadable(name, `it holds the certificate of ${JSON.stringify(whose)}`)
      return kept
    },
    keep: (deviceId, kept) => write(`${deviceId}.json`, kept),
    unwritten() {
      const [first] = failed
      if (first === undefined) return undefined
      const [name, code] = first
      const why = WHY_NOT[code] ?? code
      const others = failed.size === 1 ? '' : `, nor ${failed.size - 1} others there`
      return `${join(dir, name)} could not be written${others}: ${why}`
    },
  }
}

/** Written by others than its owner, and without the rule of /tmp, that everybody removes only what is his: keys could be exchanged there. */
const OTHERS_WRITE = 0o022
const STICKY = 0o1000

/**
 * Makes it, for its owner alone; one that was there is left as it is.
 * @throws `config_invalid`: it cannot be made, is no directory, or others may write into it
 */
export const makeStateDirectory = (dir: string): void => {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
  } catch (error) {
    const why =
      { EEXIST: 'it is no directory', ENOTDIR: 'it is no directory' }[codeOf(error)] ?? codeOf(error)
    throw new FleetError('config_invalid', `--state ${dir} cannot be made: ${why}`, { cause: error })
  }
  const { mode } = statSync(dir)
  if ((mode & OTHERS_WRITE) !== 0 && (mode & STICKY) === 0)
    throw new FleetError(
      'config_invalid',
      `--state ${dir}: others may write into it, and it is to hold private keys. \`chmod go-w ${dir}\`, or take another directory`,
    )
}

/** @throws `config_invalid`: {@link makeStateDirectory} */
export const openState = async (dir: string | undefined): Promise<StateStore> => {
  if (dir === undefined) return inMemory()
  makeStateDirectory(dir)
  return inDirectory(dir)
}
