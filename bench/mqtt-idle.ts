/**
 * Memory of a connected MQTT client that says nothing: 1,000, 5,000 and up to 10,000 of them at our door before mosquitto (its sockets to the broker included), at
 * our door with the embedded broker, at mosquitto, and at a bare `tls.createServer` that answers CONNACK and no more. Growth of the resident set, each server
 * fresh for each round. Linux.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type BareTls, type BareTlsUp } from './support/bare-tls.ts'
import { SERVER_CORE } from './support/desk.ts'
import { boundsAt, curveOf, growthCurve, IDLE_COUNTS, WARM } from './support/growth.ts'
import { HOST } from './support/home.ts'
import { CLIENT_CORE, startHelper, talkTo } from './support/helpers.ts'
import type { ClientOf, Count, Order } from './support/mqtt-orders.ts'
import { openMqttBench, type MqttBench, type MqttServerName } from './support/mqtt-servers.ts'
import { against, inOrderOf, type Suite } from './support/suite.ts'

/** Fewer than elsewhere: one takes more than two minutes, and they hardly differ. The tables say so. */
const ROUNDS = 3
/** ClientIDs of one device */
const EACH = 1_000
const BOUNDS = { door: 1.2 }
const SERVERS = ['embedded', 'door', 'mosquitto'] as const satisfies readonly MqttServerName[]
/** for what a program has open beside the connections that are counted */
const SPARE = WARM + 200

/** The door has two descriptors a connection: so many as this process, and what it starts, may open. */
const mostConnections = (): number => {
  const [, hard = ''] = /^Max open files\s+\S+\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  return hard === 'unlimited' ? Infinity : Math.floor(Number(hard) / 2) - SPARE
}

/** `<device>@<n>`, so that few certificates do for many connections; mosquitto takes any ClientID. */
const clientsOf = ({ leaves }: MqttBench, from: number, count: number): readonly ClientOf[] =>
  Array.from({ length: count }, (_, at) => {
    const leaf = leaves[Math.floor((from + at) / EACH)]
    if (leaf === undefined) throw new Error('too few devices')
    return { clientId: `${leaf.id}@${(from + at) % EACH}`, cert: leaf.fullPem, key: leaf.keyPem }
  })

type Held = { readonly pid: number; readonly port: number; readonly name: string }

const growth = async (
  bench: MqttBench,
  { pid, port, name }: Held,
  counts: readonly number[],
): Promise<readonly number[]> => {
  await using client = startHelper(CLIENT_CORE, 'mqtt-clients.ts')
  return await growthCurve(pid, counts, async (from, some) => {
    const order: Order = { kind: 'open', port, host: HOST, clients: clientsOf(bench, from, some) }
    const { ok, failed } = await talkTo<Order, Count>(client, order)
    if (ok !== some) throw new Error(`${name}: only ${ok} of ${some} were let in: ${failed}`)
  })
}

const ofBare = async (bench: MqttBench, counts: readonly number[]): Promise<readonly number[]> => {
  await using bare = startHelper(SERVER_CORE, 'bare-tls.ts')
  const read = (name: string): string => readFileSync(join(bench.home, 'certs', name), 'utf8')
  const { port } = await talkTo<BareTls, BareTlsUp>(bare, {
    cert: read('server.pem'),
    key: read('private/server.key'),
    ca: [bench.pki.devices.pem],
    connack: true,
  })
  return await growth(bench, { pid: bare.pid, port, name: 'bare' }, counts)
}

export const suite: Suite = async ({ rounds = ROUNDS, requests, progress }) => {
  const most = mostConnections()
  const counts = (requests === undefined ? IDLE_COUNTS : [requests]).map((count) => Math.min(count, most))
  const devices = Math.ceil((Math.max(...counts) + WARM) / EACH)
  const mqtt = { topics: [], clientId: 'prefix', connections: EACH } as const
  const curve = curveOf(counts)
  let missing: MqttBench['missing'] = {}
  let facts: MqttBench['facts'] = {}
  for (let round = 0; round < rounds; round += 1) {
    for (const name of inOrderOf(round, ['bare', ...SERVERS] as const)) {
      await using bench = await openMqttBench({ names: name === 'bare' ? [] : [name], devices, mqtt })
      facts = { ...facts, ...bench.facts }
      missing = { ...missing, ...bench.missing }
      for (const server of bench.servers)
        curve.add(name, await growth(bench, { ...server, pid: server.program.pid }, counts))
      if (name === 'bare') curve.add(name, await ofBare(bench, counts))
    }
    progress(`round ${round + 1} of ${rounds}: ${curve.last()}`)
  }
  return curve.results().map(({ count, variants }) => ({
    unit: `bytes per idle connection, of ${count}`,
    variants,
    ...against(variants, 'bare', boundsAt(count, BOUNDS)),
    missing,
    facts: { rounds, connections: count, ...facts },
  }))
}
