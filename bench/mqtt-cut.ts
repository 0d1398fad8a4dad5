/**
 * How soon a revoked device is cut: of 5,000 that are connected one after another, and all at once; and a reconnect storm: all 5,000 come back together.
 * Our door with its embedded broker; one run, no rounds. Times from the commit of each in the registry, as the process that made it saw it, to the client's end of the connection.
 */

import { HOST, revokeIn } from './support/home.ts'
import { CLIENT_CORE, startHelper, talkTo } from './support/helpers.ts'
import type { ClientOf, Count, Ended, Order } from './support/mqtt-orders.ts'
import { openMqttBench, type MqttBench, type MqttServer } from './support/mqtt-servers.ts'
import { residentOf } from './support/resident.ts'
import type { Pinned } from './support/pinned.ts'
import { median, p99, type Suite } from './support/suite.ts'

const DEVICES = 5_000
/** revoked one by one */
const SINGLES = 100
/** ms */
const LIMIT_ONE = 100
const LIMIT_ALL = 2_000

const clientsOf = ({ leaves }: MqttBench): readonly ClientOf[] =>
  leaves.map(({ id, fullPem, keyPem }) => ({ clientId: id, cert: fullPem, key: keyPem }))

const enterAll = async (
  client: Pinned,
  { port }: MqttServer,
  clients: readonly ClientOf[],
): Promise<{ readonly took: number; readonly each: readonly number[] }> => {
  const began = performance.now()
  const said = await talkTo<Order, Count>(client, { kind: 'open', port, host: HOST, clients })
  if (said.ok !== clients.length) throw new Error(`${said.ok} of ${clients.length}: ${said.failed}`)
  return { took: performance.now() - began, each: said.took ?? [] }
}

/** @returns ms for each, from its own commit */
const cut = async (client: Pinned, home: string, ids: readonly string[]): Promise<readonly number[]> => {
  const ends = talkTo<Order, Ended>(client, { kind: 'ends', count: ids.length })
  const committed = await revokeIn(home, ids)
  const ended = (await ends).at
  return ids.map((id) => Math.max(0, (ended[id] ?? Infinity) - (committed.get(id) ?? 0)))
}

export const suite: Suite = async ({ requests = DEVICES, progress }) => {
  // the embedded one, since its home is the one that is revoked in; the cut is the door's either way
  await using bench = await openMqttBench({ names: ['embedded'], devices: requests })
  const [server] = bench.servers
  if (server === undefined) throw new Error('no server')
  await using client = startHelper(CLIENT_CORE, 'mqtt-clients.ts')
  const clients = clientsOf(bench)
  const before = residentOf(server.program.pid)
  const first = await enterAll(client, server, clients)
  const full = residentOf(server.program.pid)
  progress(`${requests} came in within ${(first.took / 1_000).toFixed(1)} s`)

  await talkTo<Order, Count>(client, { kind: 'drop' })
  const again = await enterAll(client, server, clients)
  progress(`and again, all together, within ${(again.took / 1_000).toFixed(1)} s`)
  const afterStorm = residentOf(server.program.pid)

  const ids = clients.map(({ clientId }) => clientId)
  const singles: number[] = []
  for (const id of ids.slice(0, SINGLES)) singles.push(...(await cut(client, bench.home, [id])))
  const all = await cut(client, bench.home, ids.slice(SINGLES))
  const waits = {
    'revoked one at a time': singles,
    [`${all.length} revoked at once`]: all,
    'TCP to CONNACK in a reconnect storm': again.each,
  }
  return {
    unit: 'ms, p99 of the devices; from the commit to the end that the client sees',
    variants: Object.fromEntries(Object.entries(waits).map(([what, each]) => [what, [p99(each)]])),
    limits: { 'revoked one at a time': LIMIT_ONE, [`${all.length} revoked at once`]: LIMIT_ALL },
    memory: { 'TCP to CONNACK in a reconnect storm': afterStorm },
    facts: {
      devices: requests,
      ...Object.fromEntries(
        Object.entries(waits).flatMap(([what, each]) => [
          [`${what}, median`, Number(median(each).toFixed(1))],
          [`${what}, worst`, Number(Math.max(...each).toFixed(1))],
        ]),
      ),
      storm_s: Number((again.took / 1_000).toFixed(1)),
      rss_before_mib: Math.round(before / 2 ** 20),
      rss_connected_mib: Math.round(full / 2 ** 20),
      ...bench.facts,
    },
  }
}
