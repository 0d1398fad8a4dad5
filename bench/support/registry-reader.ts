/** A process that opens one registry, asks it for so many devices and certificates, and says what memory it takes then. Not how long that took: bench/registry.ts. */

import { openRegistry } from '#registry/sqlite.ts'
import { NOW } from '../../test/support/registry.ts'
import { fingerprintOf, idOf, spread } from './registry-fleet.ts'
import { residentOf } from './resident.ts'

export type Read = { readonly path: string; readonly size: number; readonly count: number }
/** bytes */
export type Reading = { readonly resident: number }

process.once('message', ({ path, size, count }: Read) => {
  void (async () => {
    await using registry = await openRegistry({ path, clock: () => NOW })
    for (const n of spread(count, size)) {
      registry.status(fingerprintOf(n))
      await registry.findDevice(idOf(n))
    }
    const reading: Reading = { resident: residentOf(process.pid) }
    process.send?.(reading)
  })()
})
process.on('disconnect', () => process.exit())
