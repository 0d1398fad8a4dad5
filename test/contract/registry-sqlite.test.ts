/** The registry contract, held against SQLite: one write handle, one handle that cannot write, one file. */

import { join } from 'node:path'
import { openRegistry, openRegistryReader } from '#registry/sqlite.ts'
import { NOW } from '../support/registry.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { registryContract } from './registry.ts'

registryContract('SQLite', async () => {
  const folder = temporaryFolder()
  const path = join(folder.path, 'db', 'registry.sqlite')
  let now = NOW
  const registry = await openRegistry({ path, clock: () => now })
  const reader = await openRegistryReader({ path })
  return {
    registry,
    reader,
    setClock: (to) => {
      now = to
    },
    async [Symbol.asyncDispose]() {
      await reader[Symbol.asyncDispose]()
      await registry[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
})
