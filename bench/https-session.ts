/**
 * Server CPU per request with a session duration: few connections, many requests on each, the token in the cookie; our HTTPS door judges each and signs an
 * assertion for it. Beside nginx with keep-alive. Not the handshake: https-door.ts. Needs taskset; Linux.
 */

import { HOUR } from '#fleet/clock.ts'
import { openDoors } from './support/doors.ts'
import { against, ROUNDS, type Suite } from './support/suite.ts'
import { inTurns } from './support/turns.ts'

const REQUESTS = 8_000
const CONNECTIONS = 4

export const suite: Suite = async ({ rounds = ROUNDS, requests = REQUESTS, progress }) => {
  await using bench = await openDoors({ names: ['sallyport', 'nginx'], session: HOUR })
  const each = Math.ceil(requests / CONNECTIONS)
  progress('warming up')
  for (const door of bench.doors) await bench.load(door, CONNECTIONS, each)
  const { variants } = await inTurns(bench.doors, {
    rounds,
    measure: (door) => bench.cost(door, CONNECTIONS, each),
    progress,
  })
  return {
    unit: 'server CPU µs per request on a kept connection',
    variants,
    ...against(variants, 'nginx', { sallyport: 2 }),
    memory: bench.memory(),
    missing: bench.missing,
    facts: { rounds, requests_per_round: each * CONNECTIONS, ...bench.facts },
  }
}
