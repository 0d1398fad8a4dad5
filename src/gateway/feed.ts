/**
 * Follows the registry: asks every few milliseconds what has changed, and tells. Not the reading of what changed.
 * It fails closed: while it cannot read, every remembered verdict is void (the epoch rises), and each new one asks the registry itself.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Change, RegistryReader } from '#registry/registry.ts'
import type { Log } from '#runtime/log.ts'

/** ms. A door's remembered verdict may be this old, plus the time of one question (DESIGN §3: at most 100 ms). */
const EVERY = 25

export type Feed = AsyncDisposable & {
  epoch(): number
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
  const stop = new AbortController()
  let cursor = o.cursor
  let epoch = 0
  let failing = false

  const step = async (): Promise<void> => {
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
    } catch (err) {
      epoch += 1
      if (!failing) o.log.error({ err }, 'the change feed cannot be read')
      failing = true
    }
  }

  const run = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await step()
      await pause(o.every ?? EVERY, undefined, { signal: stop.signal }).catch(() => {})
    }
  }
  const running = run()

  return {
    epoch: () => epoch,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}
