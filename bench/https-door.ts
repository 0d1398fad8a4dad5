/**
 * Server CPU per full-mTLS No-Duration request: our HTTPS door beside nginx and haproxy, interleaved rounds, the same leaf, chain and X25519, a full
 * handshake each (method: docs/performance.md). Needs taskset; Linux.
 */

import { openDoors } from './support/doors.ts'
import { against, COMPILED, ROUNDS, type Suite } from './support/suite.ts'
import { inTurns } from './support/turns.ts'

const REQUESTS = 600
/** of a peer, which has been compiled before */
const WARM = 300
const BOUNDS = { nginx: 0.95, haproxy: 0.85 }

export const suite: Suite = async ({ rounds = ROUNDS, requests = REQUESTS, progress }) => {
  await using bench = await openDoors({ names: ['sallyport', 'nginx', 'haproxy'], session: 0 })
  progress('warming up')
  for (const door of bench.doors) await bench.load(door, door.name === 'sallyport' ? COMPILED : WARM)
  const { variants, floors } = await inTurns(bench.doors, {
    rounds,
    measure: (door) => bench.cost(door, requests),
    floor: bench.floor,
    progress,
  })
  const shared = {
    unit: 'server CPU µs per full-mTLS request',
    variants,
    floor: { what: bench.floor.what, values: floors },
    memory: bench.memory(),
    missing: bench.missing,
    facts: { rounds, requests_per_round: requests, ...bench.facts },
  }
  const beside = Object.entries(BOUNDS)
    .filter(([peer]) => variants[peer] !== undefined)
    .map(([peer, sallyport]) => ({ ...shared, ...against(variants, peer, { sallyport }) }))
  return beside.length > 0 ? beside : shared
}
