/**
 * The gateway's registry: a handle that cannot write, over a file that may not be there yet, and that an operator may replace by a
 * backup while we run. Not the questions: questions.ts.
 */

import { statSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { FleetError } from '#fleet/errors.ts'
import type { RegistryReader } from '../registry.ts'
import { asFleetError, unavailable } from './failures.ts'
import { type Handle, openReadHandle } from './handle.ts'
import { isMigrated, type Migration, MIGRATIONS, readMigrations } from './migrate.ts'
import { createQuestions, type Questions } from './questions.ts'

/** The enroll desk makes the file; both desks start at the same time. */
const FILE_PATIENCE = 10_000
const LOOK_EVERY = 50

type Opened = { readonly file: string; readonly database: Handle; readonly questions: Questions }

/** Which file the path leads to now: another one after `mv backup.sqlite sallyport.sqlite`. */
const fileAt = (path: string): string => {
  const found = statSync(path, { throwIfNoEntry: false })
  return found === undefined ? '' : `${found.dev}:${found.ino}`
}

/** @throws FleetError: `registry_unavailable` while there is no file or no schema; `config_invalid` when it is not ours to read */
const openNow = (path: string, migrations: readonly Migration[]): Opened => {
  // looked up before it is opened: if it is replaced in between, the next look sees another file
  const file = fileAt(path)
  if (file === '') throw unavailable('the registry does not exist yet')
  let database: Handle | undefined
  try {
    database = openReadHandle(path)
    if (!isMigrated(database, migrations)) throw unavailable('the registry is not migrated yet')
    return { file, database, questions: createQuestions(database) }
  } catch (error) {
    database?.close()
    throw asFleetError(error)
  }
}

const isUnavailable = (error: unknown): boolean =>
  error instanceof FleetError && error.code === 'registry_unavailable'

const waitAndOpen = async (
  path: string,
  migrations: readonly Migration[],
  patience: number,
): Promise<Opened> => {
  const giveUpAt = performance.now() + patience
  for (;;) {
    try {
      return openNow(path, migrations)
    } catch (error) {
      if (!isUnavailable(error) || performance.now() + LOOK_EVERY > giveUpAt) throw error
    }
    await pause(LOOK_EVERY)
  }
}

/**
 * @param o.patience ms to wait for the file and its schema
 * @throws FleetError: `registry_unavailable` when they do not come; `config_invalid` when the schema is newer than this code
 */
export const openRegistryReader = async (o: {
  readonly path: string
  readonly patience?: number
}): Promise<RegistryReader> => {
  const migrations = readMigrations(MIGRATIONS)
  let opened: Opened | undefined = await waitAndOpen(o.path, migrations, o.patience ?? FILE_PATIENCE)
  /** whose changes were last told */
  let told = opened.file
  let closed = false

  const close = (): void => {
    opened?.database.close()
    opened = undefined
  }
  const questions = (): Questions => {
    if (opened === undefined) throw unavailable('the registry is closed')
    return opened.questions
  }
  /** The verdicts of a file that is no longer the registry are worth nothing, so until the new one is readable there are none. */
  const followFile = (): Questions => {
    if (!closed && opened?.file !== fileAt(o.path)) {
      close()
      opened = openNow(o.path, migrations)
    }
    return questions()
  }

  return {
    status: (fingerprint) => questions().status(fingerprint),
    access: (about) => questions().access(about),
    serviceToken: (clientId) => questions().serviceToken(clientId),
    sessionRevocations: () => questions().sessionRevocations(),
    groups: () => questions().groups(),
    wasCut: (deviceId, since) => questions().wasCut(deviceId, since),
    cutDevices: async (since, after, limit) => followFile().cutDevices(since, after, limit),
    issuers: async () => followFile().issuers(),
    anchorCrls: async () => followFile().anchorCrls(),
    liveCertificates: async (now) => followFile().liveCertificates(now),
    assertionKeys: async () => followFile().assertionKeys(),
    cursor: async () => followFile().cursor(),
    changesSince: async (cursor) => {
      const now = followFile()
      // in another file a cursor may fit and the devices be others: what is issued is not told in the feed
      const changes = await now.changesSince(opened?.file === told ? cursor : '')
      told = opened?.file ?? told
      return changes
    },
    async [Symbol.asyncDispose]() {
      closed = true
      close()
    },
  }
}
