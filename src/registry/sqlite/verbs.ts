/** What every file of verbs is given, and the shape it returns: its part of the interface. */

import type { Clock } from '#fleet/clock.ts'
import type { Registry } from '../registry.ts'
import type { Write } from './group-commit.ts'
import type { Handle } from './handle.ts'
import type { Journal } from './journal.ts'

export type Tools = {
  readonly database: Handle
  readonly journal: Journal
  /** Durable when it resolves; see group-commit.ts. */
  readonly write: Write
  /** Outside any transaction, so of what is committed; waits for a lock off the event loop. */
  readonly read: <T>(query: () => T) => Promise<T>
  readonly clock: Clock
}

export type Verbs<Names extends keyof Registry> = Pick<Registry, Names>
