/** CPU of a whole visit: full mutual-TLS handshake, CONNECT, CONNACK, DISCONNECT. Our door and its peers as in mqtt.ts, interleaved rounds. */

import { cpuOfTree } from './support/cpu.ts'
import { SERVER_CORE } from './support/desk.ts'
import { SERVER_HANDSHAKE, startFloor } from './support/floor.ts'
import { HOST } from './support/home.ts'
import { CLIENT_CORE, startHelper, talkTo } from './support/helpers.ts'
import type { Count, Order } from './support/mqtt-orders.ts'
import { openMqttBench, type MqttServer, type MqttServerName } from './support/mqtt-servers.ts'
import { against, COMPILED, ROUNDS, type Suite } from './support/suite.ts'
import { inTurns } from './support/turns.ts'

const VISITS = 600
const AT_ONCE = 4
/** of a peer, which has been compiled before */
const WARM = 300
const NAMES = ['mosquitto', 'door', 'embedded', 'haproxy'] as const satisfies readonly MqttServerName[]

export const suite: Suite = async ({ rounds = ROUNDS, requests = VISITS, progress }) => {
  await using bench = await openMqttBench({ names: NAMES, devices: AT_ONCE })
  await using client = startHelper(CLIENT_CORE, 'mqtt-clients.ts')
  const clients = bench.leaves.map(({ id, fullPem, keyPem }) => ({
    clientId: id,
    cert: fullPem,
    key: keyPem,
  }))
  const visit = async ({ port, name, program }: MqttServer, count: number): Promise<number> => {
    const before = cpuOfTree(program.pid)
    const order: Order = { kind: 'visits', port, host: HOST, clients, count }
    const { ok, failed } = await talkTo<Order, Count>(client, order)
    if (ok !== count) throw new Error(`${name}: ${ok} of ${count} visits: ${failed}`)
    return (cpuOfTree(program.pid) - before) / count
  }
  await using floor = startFloor(SERVER_CORE, SERVER_HANDSHAKE)
  for (const server of bench.servers)
    await visit(server, server.name === 'door' || server.name === 'embedded' ? COMPILED : WARM)
  const { variants, floors } = await inTurns(bench.servers, {
    rounds,
    measure: (server) => visit(server, requests),
    floor,
    progress,
  })
  return {
    unit: 'server CPU µs per connect + CONNACK + DISCONNECT (door, haproxy: without the broker behind)',
    variants,
    ...against(variants, 'mosquitto', { door: 1 }),
    floor: { what: floor.what, values: floors },
    memory: bench.memory(),
    missing: bench.missing,
    facts: { rounds, visits_per_round: requests, ...bench.facts },
  }
}
