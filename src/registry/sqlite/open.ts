/** The enroll desk's registry: opens, migrates, and puts the verbs together. The only writer of the file. */

import type { Clock } from '#fleet/clock.ts'
import type { Registry } from '../registry.ts'
import { accessVerbs } from './access.ts'
import { anchorCrlVerbs } from './anchor-crls.ts'
import { authorityVerbs } from './authorities.ts'
import { claimTokenVerbs, operatorTokenVerbs } from './credentials.ts'
import { deviceVerbs } from './devices.ts'
import { enrollmentVerbs } from './enrollments.ts'
import { fleetListVerbs } from './fleet-lists.ts'
import { createGroupCommit } from './group-commit.ts'
import { type Handle, openReadHandle, openWriteHandle } from './handle.ts'
import { issuanceVerbs } from './issuance.ts'
import { issuerVerbs } from './issuers.ts'
import { createJournal } from './journal.ts'
import { assertionKeyVerbs, auditVerbs, idempotencyVerbs } from './keepsakes.ts'
import { migrate, MIGRATIONS, readMigrations } from './migrate.ts'
import { patiently } from './patience.ts'
import { createQuestions } from './questions.ts'
import { renewalVerbs } from './renewals.ts'
import { requestVerbs } from './requests.ts'
import { restoreVerbs } from './restores.ts'
import { revocationVerbs } from './revocations.ts'
import { serviceTokenVerbs } from './service-tokens.ts'
import { sessionRevocationVerbs } from './session-revocations.ts'
import type { Tools } from './verbs.ts'

/** Another process may be migrating the same file, ms. */
const OPEN_PATIENCE = 10_000

const openAndMigrate = (path: string) => {
  const migrations = readMigrations(MIGRATIONS)
  return patiently(() => {
    const database = openWriteHandle(path)
    try {
      migrate(database, migrations)
      return database
    } catch (error) {
      database.close()
      throw error
    }
  }, OPEN_PATIENCE)
}

/**
 * The last handle to close deletes -wal and -shm unless it cannot write. Without them a gateway under its own uid, which may make no
 * files here, could not start while this desk is down; so a handle that cannot write closes last.
 */
const closeKeepingWal = (database: Handle, path: string): void => {
  try {
    const last = openReadHandle(path)
    last.prepare('select 1 from access_version').get()
    database.close()
    last.close()
  } catch {
    database.close()
  }
}

/**
 * @param o.path made, with its directory, when it does not exist
 * @throws FleetError: `registry_unavailable` when it cannot be opened; `config_invalid` when the file's schema is newer than this code
 */
export const openRegistry = async (o: {
  readonly path: string
  readonly clock: Clock
  /** Called after each commit, with the number of verbs that shared it. */
  readonly onCommit?: (verbs: number) => void
}): Promise<Registry> => {
  const database = await openAndMigrate(o.path)
  const journal = createJournal(database)
  const commits = createGroupCommit(database, {
    keep: journal.keep,
    settle: (verbs) => {
      journal.settle(verbs)
      if (verbs > 0) o.onCommit?.(verbs)
    },
  })
  const tools: Tools = {
    database,
    journal,
    write: commits.write,
    read: patiently,
    clock: o.clock,
  }
  return {
    ...createQuestions(database),
    ...claimTokenVerbs(tools),
    ...operatorTokenVerbs(tools),
    ...issuanceVerbs(tools),
    ...deviceVerbs(tools),
    ...issuerVerbs(tools),
    ...renewalVerbs(tools),
    ...requestVerbs(tools),
    ...enrollmentVerbs(tools),
    ...revocationVerbs(tools),
    ...authorityVerbs(tools),
    ...fleetListVerbs(tools),
    ...restoreVerbs(tools),
    ...accessVerbs(tools),
    ...serviceTokenVerbs(tools),
    ...sessionRevocationVerbs(tools),
    ...anchorCrlVerbs(tools),
    ...assertionKeyVerbs(tools),
    ...idempotencyVerbs(tools),
    ...auditVerbs(tools),
    async [Symbol.asyncDispose]() {
      await commits[Symbol.asyncDispose]()
      closeKeepingWal(database, o.path)
    },
  }
}
