/**
 * Server CPU per full-mTLS No-Duration request: our HTTPS door beside nginx and haproxy, interleaved rounds, the same leaf, chain and X25519, a full
 * handshake each (method: docs/performance.md). Needs nginx, haproxy and taskset; Linux.
 */

import { inTurns, openDoors } from './support/doors.ts'
import type { Suite } from './support/suite.ts'

const ROUNDS = 12
const REQUESTS = 600
/** Requests until V8 has compiled what it will compile: half of that time goes to compiling. */
const WARM = 4_000

export const suite: Suite = async ({ rounds = ROUNDS, requests = REQUESTS, progress }) => {
  await using bench = await openDoors({ names: ['sallyport', 'nginx', 'haproxy'], session: 0 })
  progress('warming up')
  for (const door of bench.doors) await bench.load(door, door.name === 'sallyport' ? WARM : 300)
  const variants = await inTurns(bench, rounds, (door) => bench.cost(door, requests), progress)
  return {
    unit: 'server CPU µs per full-mTLS request',
    base: 'nginx',
    variants,
    facts: { rounds, requests_per_round: requests, ...bench.facts },
  }
}
