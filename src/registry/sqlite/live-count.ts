/** How many certificates of each issuer could still be used. No index has it: it is asked by people, once in a while. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { RegistryReader } from '../registry.ts'
import type { Handle } from './handle.ts'
import { patiently } from './patience.ts'

/** Rows counted in one turn of the event loop: a fleet has millions. */
const CHUNK = 5_000

type Row = { readonly ski: string; readonly count: number }

export const createLiveCount = (database: Handle): RegistryReader['liveCertificates'] => {
  const last = database.prepare<[], number | null>('select max(number) from certificates').pluck()
  const live = database.prepare<[number, number, number], Row>(`
    select issuer_ski as ski, count(*) as count from certificates
    where number > +? and number <= +? and state in ('pending', 'live') and not_after >= +? group by issuer_ski`)
  return async (now) => {
    const counts = new Map<string, number>()
    const end = (await patiently(() => last.get())) ?? 0
    for (let after = 0; after < end; after += CHUNK) {
      const rows = await patiently(() => live.all(after, after + CHUNK, now))
      for (const { ski, count } of rows) counts.set(ski, (counts.get(ski) ?? 0) + count)
      await nextTurn()
    }
    return counts
  }
}
