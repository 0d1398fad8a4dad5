/**
 * Memory of a connected MQTT client that says nothing: 5,000 of them at our door before mosquitto (its sockets to the broker included), at our door with the
 * embedded broker, at mosquitto, and at a bare `tls.createServer` that answers CONNACK and no more. Growth of the resident set, each server fresh for each round. Linux.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type BareTls, type BareTlsUp } from './support/bare-tls.ts'
import { SERVER_CORE } from './support/desk.ts'
import { HOST } from './support/home.ts'
import { CLIENT_CORE, startHelper, talkTo } from './support/helpers.ts'
import type { ClientOf, Count, Order } from './support/mqtt-orders.ts'
import { openMqttBench, type MqttBench, type MqttServerName } from './support/mqtt-servers.ts'
import { residentOf } from './support/resident.ts'
import type { Suite } from './support/suite.ts'

const ROUNDS = 3
const CONNECTIONS = 5_000
const WARM = 200
/** ClientIDs of one device */
const EACH = 1_000

/** `<device>@<n>`, so that few certificates do for many connections; mosquitto takes any ClientID. */
const clientsOf = ({ leaves }: MqttBench, from: number, count: number): readonly ClientOf[] =>
  Array.from({ length: count }, (_, at) => {
    const leaf = leaves[Math.floor((from + at) / EACH)]
    if (leaf === undefined) throw new Error('too few devices')
    return { clientId: `${leaf.id}@${(from + at) % EACH}`, cert: leaf.fullPem, key: leaf.keyPem }
  })

const grown = async (pid: number, count: number, hold: (from: number, count: number) => Promise<void>) => {
  await hold(0, WARM)
  const before = residentOf(pid)
  await hold(WARM, count)
  return (residentOf(pid) - before) / count
}

type Held = { readonly pid: number; readonly port: number; readonly name: string }

const held = async (bench: MqttBench, { pid, port, name }: Held, count: number): Promise<number> => {
  await using client = startHelper(CLIENT_CORE, 'mqtt-clients.ts')
  return await grown(pid, count, async (from, some) => {
    const order: Order = { kind: 'open', port, host: HOST, clients: clientsOf(bench, from, some) }
    const { ok, failed } = await talkTo<Order, Count>(client, order)
    if (ok !== some) throw new Error(`${name}: only ${ok} of ${some} were let in: ${failed}`)
  })
}

const ofMqtt = async (bench: MqttBench, count: number): Promise<number> => {
  const [server] = bench.servers
  if (server === undefined) throw new Error('no server')
  return await held(bench, { ...server, pid: server.program.pid }, count)
}

const ofBare = async (bench: MqttBench, count: number): Promise<number> => {
  await using bare = startHelper(SERVER_CORE, 'bare-tls.ts')
  const read = (name: string): string => readFileSync(join(bench.home, 'certs', name), 'utf8')
  const { port } = await talkTo<BareTls, BareTlsUp>(bare, {
    cert: read('server.pem'),
    key: read('private/server.key'),
    ca: [bench.pki.devices.pem],
    connack: true,
  })
  return await held(bench, { pid: bare.pid, port, name: 'bare' }, count)
}

export const suite: Suite = async ({ rounds = ROUNDS, requests = CONNECTIONS, progress }) => {
  const devices = Math.ceil((requests + WARM) / EACH)
  const mqtt = { topics: [], clientId: 'prefix', connections: EACH } as const
  const variants = {
    bare: [] as number[],
    door: [] as number[],
    embedded: [] as number[],
    mosquitto: [] as number[],
  }
  let facts: MqttBench['facts'] = {}
  for (let round = 0; round < rounds; round += 1) {
    for (const name of ['door', 'embedded', 'mosquitto'] as const satisfies readonly MqttServerName[]) {
      await using bench = await openMqttBench({ names: [name], devices, mqtt })
      facts = { ...facts, ...bench.facts }
      variants[name].push(await ofMqtt(bench, requests))
      if (name === 'door') variants.bare.push(await ofBare(bench, requests))
    }
    progress(
      `round ${round + 1} of ${rounds}: ${Object.entries(variants)
        .map(([name, values]) => `${name} ${((values.at(-1) ?? 0) / 1_024).toFixed(1)} KiB`)
        .join(', ')}`,
    )
  }
  return {
    unit: 'bytes per idle connection',
    base: 'bare',
    variants,
    facts: { rounds, connections: requests, ...facts },
  }
}
