/**
 * What a good client waits for a full-mTLS request while others hold 10,000 TCP connections that never start TLS, and a few hundred send a header
 * an octet a second: the p99, beside that of a quiet door, in turns. Needs taskset; Linux.
 */

import { openDoors } from './support/doors.ts'
import { HOST } from './support/home.ts'
import { CLIENT_CORE, startHelper, talkTo } from './support/helpers.ts'
import type { Hold, Holding } from './support/holders.ts'
import { p99, ROUNDS, type Suite } from './support/suite.ts'
import { inTurns } from './support/turns.ts'

const REQUESTS = 1_000
const RAW = 10_000
const SLOW = 300

export const suite: Suite = async ({ rounds = ROUNDS, requests = REQUESTS, progress }) => {
  await using bench = await openDoors({ names: ['sallyport'], session: 0 })
  const [door] = bench.doors
  if (door === undefined) throw new Error('the gateway did not start')
  await bench.load(door, 1_500)
  let held = RAW + SLOW
  let memory = 0
  const wait = async (): Promise<number> => 1_000 * p99((await bench.load(door, requests)).took)
  const crowded = async (): Promise<number> => {
    await using holder = startHelper(CLIENT_CORE, 'holders.ts')
    const { open } = await talkTo<Hold, Holding>(holder, {
      port: door.port,
      host: HOST,
      cert: bench.leaf.fullPem,
      key: bench.leaf.keyPem,
      raw: RAW,
      handshaken: 0,
      slow: SLOW,
    })
    held = Math.min(held, open)
    const waited = await wait()
    memory = bench.memory()['sallyport'] ?? 0
    return waited
  }
  const { variants } = await inTurns(
    [
      { name: 'quiet', run: wait },
      { name: 'crowded', run: crowded },
    ],
    { rounds, measure: ({ run }) => run(), progress },
  )
  return {
    unit: 'p99 of a request, µs (wall clock)',
    base: 'quiet',
    variants,
    bounds: { crowded: 3 },
    memory: { crowded: memory },
    facts: { rounds, requests_per_round: requests, held_at_least: held, ...bench.facts },
  }
}
