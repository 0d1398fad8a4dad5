/**
 * The reader's verbs over one handle: what both desks may ask. Not the opening of it, nor what to do when the file is replaced: that
 * is open-reader.ts.
 */

import type { AssertionAlgorithm, AssertionKey, RegistryReader } from '../registry.ts'
import { createAnchorCrls } from './anchor-crls.ts'
import { createCuts } from './cuts.ts'
import { createLook, type Look } from './doors.ts'
import { asFleetError } from './failures.ts'
import { createFeed } from './feed.ts'
import type { Handle } from './handle.ts'
import { createLiveCount } from './live-count.ts'
import { patiently } from './patience.ts'
import { ISSUER_COLUMNS, type IssuerRow, toIssuer } from './rows.ts'
import { createServiceTokenByClient } from './service-tokens.ts'
import { createRevokedSessions } from './session-revocations.ts'
import { createGroupsReader, createSnapshots } from './snapshot.ts'

export type Questions = Omit<RegistryReader, typeof Symbol.asyncDispose>

type AssertionKeyRow = {
  readonly kid: string
  readonly algorithm: AssertionAlgorithm
  readonly public_jwk: string
  readonly sealed: Buffer
  readonly certificate: string
  readonly created_at: number
}

const toAssertionKey = (row: AssertionKeyRow): AssertionKey => ({
  kid: row.kid,
  algorithm: row.algorithm,
  publicJwk: row.public_jwk,
  sealed: row.sealed,
  certificate: row.certificate,
  createdAt: row.created_at,
})

/** A door cannot wait: a lock is `registry_unavailable` at once. */
const atOnce =
  <A extends unknown[], T>(ask: (...args: A) => T) =>
  (...args: A): T => {
    try {
      return ask(...args)
    } catch (error) {
      throw asFleetError(error)
    }
  }

export const createQuestions = (database: Handle): Questions => {
  const issuers = database.prepare<[], IssuerRow>(`select ${ISSUER_COLUMNS} from issuers order by rowid`)
  const assertionKeys = database.prepare<[], AssertionKeyRow>('select * from assertion_keys order by number')
  const feed = createFeed(database)
  const look = createLook(database)
  const snapshots = createSnapshots(database)
  const revokedSessions = createRevokedSessions(database)
  const groups = createGroupsReader(database)
  const cuts = createCuts(database)

  /** The last look, while the turn that it was made in lasts: a request asks three things, and each look is two locks. */
  let seen: (Look & { readonly fingerprint: string }) | undefined
  const forget = (): void => {
    seen = undefined
  }
  const lookAt = (fingerprint: string): Look => {
    if (seen?.fingerprint === fingerprint) return seen
    seen = { ...look(fingerprint), fingerprint }
    queueMicrotask(forget)
    return seen
  }

  return {
    status: atOnce((fingerprint) => lookAt(fingerprint).status),
    access: atOnce((about) => snapshots(about === undefined ? seen?.accessStamp : lookAt(about).accessStamp)),
    serviceToken: atOnce(createServiceTokenByClient(database)),
    sessionRevocations: atOnce(() => revokedSessions(seen?.revocationsStamp)),
    groups: atOnce(() => groups(seen?.accessStamp)),
    wasCut: atOnce(cuts.wasCut),
    cutDevices: cuts.cutDevices,
    issuers: () => patiently(() => issuers.all().map(toIssuer)),
    anchorCrls: createAnchorCrls(database),
    liveCertificates: createLiveCount(database),
    assertionKeys: () => patiently(() => assertionKeys.all().map(toAssertionKey)),
    cursor: () => patiently(() => feed.cursor()),
    changesSince: (cursor) => patiently(() => feed.changesSince(cursor)),
  }
}
