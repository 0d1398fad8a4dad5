/**
 * Memory of a connection that has made its handshake and asks for nothing: 1,000, 5,000 and 10,000 of them at our HTTPS door, at a bare `tls.createServer` with
 * the same context, and at nginx. Growth of the resident set, each server fresh for each round. Linux.
 */

import { type BareTls, type BareTlsUp } from './support/bare-tls.ts'
import { boundsAt, curveOf, growthCurve, IDLE_COUNTS } from './support/growth.ts'
import { SERVER_CORE } from './support/desk.ts'
import { openDoors, type Doors } from './support/doors.ts'
import { HOST } from './support/home.ts'
import { CLIENT_CORE, startHelper, talkTo } from './support/helpers.ts'
import type { Hold, Holding } from './support/holders.ts'
import { against, inOrderOf, type Suite } from './support/suite.ts'

/** Fewer than elsewhere: one takes a minute, and they hardly differ. The tables say so. */
const ROUNDS = 6
const BOUNDS = { sallyport: 1.1 }
/** s: longer than it takes to open them all, so that none is dropped for asking nothing */
const PATIENCE = 60

/** @returns bytes each, for each of `counts` */
const growth = async (
  { leaf }: Pick<Doors, 'leaf'>,
  pid: number,
  port: number,
  counts: readonly number[],
): Promise<readonly number[]> => {
  await using holder = startHelper(CLIENT_CORE, 'holders.ts')
  return await growthCurve(pid, counts, async (from, count) => {
    const { open } = await talkTo<Hold, Holding>(holder, {
      port,
      host: HOST,
      cert: leaf.fullPem,
      key: leaf.keyPem,
      raw: 0,
      handshaken: count,
      slow: 0,
    })
    if (open !== from + count) throw new Error(`only ${open} of ${from + count} connections were held`)
  })
}

export const suite: Suite = async ({ rounds = ROUNDS, requests, progress }) => {
  const counts = requests === undefined ? IDLE_COUNTS : [requests]
  const curve = curveOf(counts)
  let about: Pick<Doors, 'missing' | 'facts'> = { missing: {}, facts: {} }
  for (let round = 0; round < rounds; round += 1) {
    await using bench = await openDoors({ names: ['sallyport', 'nginx'], session: 0, patience: PATIENCE })
    about = bench
    await using bare = startHelper(SERVER_CORE, 'bare-tls.ts')
    const { port } = await talkTo<BareTls, BareTlsUp>(bare, {
      cert: bench.serverCert,
      key: bench.serverKey,
      ca: [bench.pki.devices.pem],
    })
    const all = [
      ...bench.doors.map(({ name, server, port: at }) => ({ name, pid: server.pid, port: at })),
      { name: 'bare', pid: bare.pid, port },
    ]
    for (const { name, pid, port: at } of inOrderOf(round, all))
      curve.add(name, await growth(bench, pid, at, counts))
    progress(`round ${round + 1} of ${rounds}: ${curve.last()}`)
  }
  return curve.results().map(({ count, variants }) => ({
    unit: `bytes per idle handshaken connection, of ${count}`,
    variants,
    ...against(variants, 'bare', boundsAt(count, BOUNDS)),
    missing: about.missing,
    facts: { rounds, connections: count, ...about.facts },
  }))
}
