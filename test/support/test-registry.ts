/** A registry of its own for one test: a file in a temporary folder, with a clock that the test moves. */

import { join } from 'node:path'
import type { Clock } from '#fleet/clock.ts'
import { openRegistry } from '#registry/sqlite.ts'
import type { Registry } from '#registry/registry.ts'
import { temporaryFolder } from './temporary.ts'

export type TestRegistry = AsyncDisposable & {
  readonly registry: Registry
  readonly path: string
  readonly clock: Clock
  /** ms; may be negative */
  pass(ms: number): void
}

export const openTestRegistry = async (now = Date.UTC(2026, 10, 24, 12)): Promise<TestRegistry> => {
  let at = now
  const clock = () => at
  await using opened = new AsyncDisposableStack()
  const folder = opened.use(temporaryFolder())
  const path = join(folder.path, 'registry.sqlite')
  const registry = opened.use(await openRegistry({ path, clock }))
  const owned = opened.move()
  return {
    registry,
    path,
    clock,
    pass: (ms) => {
      at += ms
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
