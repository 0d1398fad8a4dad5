/**
 * Follows the registry: asks every few milliseconds what has changed, and tells. Not the reading of what changed.
 * It fails closed: while it cannot read, every remembered verdict is void (the epoch rises), and each new one asks the registry itself.
 */

import type { Change, RegistryReader } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'

/** ms. A door's remembered verdict may be this old, plus the time of one question (docs/no-duration.md: at most 100 ms). */
const EVERY = 40
/** So many at once means that there are more: a fleet that is revoked does not wait between its parts. */
const FULL = 1_000

export type Feed = AsyncDisposable & {
  epoch(): number
  /** Could the registry be read the last time? */
  works(): boolean
}

/**
 * @param o.cursor from where; taken by the caller before it first read what it keeps
 * @param o.onChanges told in order; what it throws or rejects with counts as a failure, and the same changes come again
 */
export const startFeed = (o: {
  readonly registry: Pick<RegistryReader, 'changesSince'>
  readonly cursor: string
  readonly log: Log
  readonly onChanges: (changes: readonly Change[]) => void | Promise<void>
  readonly every?: number
}): Feed => {
  const every = o.every ?? EVERY
  let cursor = o.cursor
  let epoch = 0
  let failing = false

  /** @returns ms until the next one */
  const step = async (): Promise<number> => {
    try {
      const { changes, cursor: next } = await o.registry.changesSince(cursor)
      if (changes.length > 0) {
        // first, so that a verdict asked for by onChanges is a new one
        epoch += 1
        await o.onChanges(changes)
      }
      cursor = next
      if (failing) o.log.info('the change feed works again')
      failing = false
      return changes.length >= FULL ? 0 : every
    } catch (err) {
      epoch += 1
      if (!failing) o.log.error({ err }, 'the change feed cannot be read')
      failing = true
      return every
    }
  }

  let stopped = false
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> = Promise.resolve()
  const turn = (): void => {
    running = step().then((wait) => {
      if (!stopped) timer = setTimeout(turn, wait)
    })
  }
  turn()

  return {
    epoch: () => epoch,
    works: () => !failing,
    async [Symbol.asyncDispose]() {
      stopped = true
      clearTimeout(timer)
      await running
    },
  }
}
