/**
 * Memory of a connection that has made its handshake and asks for nothing: 5,000 of them at our HTTPS door, at a bare `tls.createServer` with the
 * same context, and at nginx. Growth of the resident set, each server fresh for each round. Linux.
 */

import { type BareTls, type BareTlsUp } from './support/bare-tls.ts'
import { SERVER_CORE } from './support/desk.ts'
import { openDoors, type Doors } from './support/doors.ts'
import { HOST } from './support/home.ts'
import { CLIENT_CORE, startHelper, talkTo } from './support/helpers.ts'
import type { Hold, Holding } from './support/holders.ts'
import { residentOf } from './support/resident.ts'
import type { Suite } from './support/suite.ts'

const ROUNDS = 3
const CONNECTIONS = 5_000
const WARM = 200

const growth = async (
  { leaf }: Pick<Doors, 'leaf'>,
  pid: number,
  port: number,
  count: number,
): Promise<number> => {
  const hold = (handshaken: number): Hold => ({
    port,
    host: HOST,
    cert: leaf.fullPem,
    key: leaf.keyPem,
    raw: 0,
    handshaken,
    slow: 0,
  })
  await using warm = startHelper(CLIENT_CORE, 'holders.ts')
  await talkTo<Hold, Holding>(warm, hold(WARM))
  await using holder = startHelper(CLIENT_CORE, 'holders.ts')
  const before = residentOf(pid)
  const { open } = await talkTo<Hold, Holding>(holder, hold(count))
  if (open !== count) throw new Error(`only ${open} of ${count} connections were held`)
  return (residentOf(pid) - before) / count
}

export const suite: Suite = async ({ rounds = ROUNDS, requests = CONNECTIONS, progress }) => {
  const variants = { bare: [] as number[], sallyport: [] as number[], nginx: [] as number[] }
  for (let round = 0; round < rounds; round += 1) {
    await using bench = await openDoors({ names: ['sallyport', 'nginx'], session: 0 })
    for (const { name, port, server } of bench.doors)
      if (name !== 'haproxy') variants[name].push(await growth(bench, server.pid, port, requests))
    await using bare = startHelper(SERVER_CORE, 'bare-tls.ts')
    const { port } = await talkTo<BareTls, BareTlsUp>(bare, {
      cert: bench.serverCert,
      key: bench.serverKey,
      ca: [bench.pki.devices.pem],
    })
    variants.bare.push(await growth(bench, bare.pid, port, requests))
    progress(
      `round ${round + 1} of ${rounds}: ${Object.entries(variants)
        .map(([name, values]) => `${name} ${((values.at(-1) ?? 0) / 1_024).toFixed(1)} KiB`)
        .join(', ')}`,
    )
  }
  return {
    unit: 'bytes per idle handshaken connection',
    base: 'bare',
    variants,
    facts: { rounds, connections: requests, node: process.version },
  }
}
