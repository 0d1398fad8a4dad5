/**
 * Reads what the gateway has to say and applies it by this desk's own rules: the inbox is the exposed desk's word, so it can make a
 * device "seen", and by that confirm a certificate which this desk has handed out and is waiting to hear of; end the sessions of
 * a name, since whoever holds a token of it may; and put a device under suspicion (clone-reports.ts); nothing more (docs/lifecycle.md). Not the file: that is #registry/inbox.ts.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Clock } from '#fleet/clock.ts'
import { isHolder } from '#fleet/session.ts'
import type { InboxEntry, InboxReader, Logout, Registry } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'
import type { CloneReports } from './clone-reports.ts'
import { withdrawUnconfirmed } from './withdraw-unconfirmed.ts'

const EVERY = 1_000
const BATCH = 1_000
/** Between two batches, ms: a gateway that was taken over and writes without end costs this desk one write in so long. */
const BREATH = 50
/** In one go: twice as many entries as an honest gateway keeps. One that writes without end does not keep the rest of a round from its turn. */
const MOST_BATCHES = 200
const SHA256 = /^[0-9a-f]{64}$/

/** The registry knows what to do with unknown fingerprints and times to come; what has no sane shape does not get that far. */
const SANE: Readonly<Record<InboxEntry['kind'], (entry: InboxEntry) => boolean>> = {
  seen: ({ subject }) => SHA256.test(subject),
  logout: ({ subject, door }) => door === 'https' && isHolder(subject),
  clone: ({ subject, door }) => door === 'mqtt' && SHA256.test(subject),
}

const isSane = (entry: InboxEntry): boolean =>
  Object.hasOwn(SANE, entry.kind) && Number.isSafeInteger(entry.at) && entry.at > 0 && SANE[entry.kind](entry)

const sightingOf = ({ subject, at }: InboxEntry) => ({ fingerprint: subject, at })

const logoutOf = ({ subject, at }: InboxEntry): Logout => ({ holder: subject, at })

type Deps = {
  readonly registry: Registry
  readonly inbox: InboxReader
  readonly clock: Clock
  readonly log: Log
  readonly suspect: CloneReports
  /** batches in one go; for tests */
  readonly most?: number
}

/**
 * All there is now, or until `signal`. A file that starts over while it is read is left for the next time: following it could go on
 * for ever.
 * @returns entries applied
 */
export const drainInbox = async (
  { registry, inbox, clock, log, suspect, most = MOST_BATCHES }: Deps,
  signal?: AbortSignal,
): Promise<number> => {
  let applied = 0
  for (let batch = 1; ; batch += 1) {
    const { entries, cursor, malformed, forward } = await inbox.read(await registry.inboxCursor(), BATCH)
    const sane = entries.filter(isSane)
    const bad = malformed + entries.length - sane.length
    if (bad > 0) log.warn({ malformed: bad }, 'entries of the gateway inbox were skipped')
    if (cursor !== undefined && (entries.length > 0 || malformed > 0)) {
      // before the cursor moves: a suspicion that comes twice is one
      await suspect(sane.filter(({ kind }) => kind === 'clone').map(({ subject }) => subject))
      await registry.recordSightings(
        sane.filter(({ kind }) => kind === 'seen').map(sightingOf),
        cursor,
        clock(),
        sane.filter(({ kind }) => kind === 'logout').map(logoutOf),
      )
    }
    applied += sane.length
    const full = entries.length + malformed >= BATCH
    if (!full || batch >= most || !(batch === 1 || forward)) return applied
    await pause(BREATH, undefined, { signal }).catch(() => undefined)
    if (signal?.aborted ?? false) return applied
  }
}

/**
 * Until disposed. A failure is logged and tried again: sightings are not worth stopping a CA for.
 * Certificates that were not confirmed are withdrawn here and only after a reading that did not fail: a device that was let in while
 * this desk was down, or could not read, has confirmed its certificate, and must not lose it for that.
 */
export const followInbox = (deps: Deps): AsyncDisposable => {
  const stop = new AbortController()
  const round = async (): Promise<void> => {
    await drainInbox(deps, stop.signal)
    await withdrawUnconfirmed(deps, stop.signal)
  }
  const follow = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await round().catch((error: unknown) =>
        deps.log.warn(
          { err: error },
          'the gateway inbox cannot be read, or what follows from it not be written',
        ),
      )
      await pause(EVERY, undefined, { signal: stop.signal }).catch(() => undefined)
    }
  }
  const following = follow()
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await following
    },
  }
}
