/** The registry contract, held against SQLite: one write handle, one handle that cannot write, one file. */

import { join } from 'node:path'
import { openRegistry, openRegistryReader } from '#registry/sqlite.ts'
import { NOW } from '../support/registry.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { placeRegistry } from '../support/test-registry.ts'
import { authorityContract } from './authorities.ts'
import { groupContract } from './groups.ts'
import { registryContract, type Built } from './registry.ts'
import { requestContract } from './requests.ts'
import { revocationContract } from './revocations.ts'

const build = async (): Promise<Built> => {
  const folder = temporaryFolder()
  const path = join(folder.path, 'db', 'registry.sqlite')
  placeRegistry(path)
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
}

for (const contract of [
  registryContract,
  requestContract,
  groupContract,
  revocationContract,
  authorityContract,
])
  contract('SQLite', build)
