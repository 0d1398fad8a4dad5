/**
 * CPU per MQTT message and delivery: our door alone (before mosquitto, whose own cost is another row), our door with the embedded broker, mosquitto
 * terminating the same mutual TLS, haproxy doing that before mosquitto. Interleaved rounds; 128 bytes; MQTT 3.1.1 (method: docs/performance.md).
 */

import { cpuOfTree } from './support/cpu.ts'
import { HOST } from './support/home.ts'
import { CLIENT_CORE, startHelper, talkTo } from './support/helpers.ts'
import { STALLED, type ClientOf, type Count, type Order } from './support/mqtt-orders.ts'
import {
  openMqttBench,
  type MqttBench,
  type MqttServer,
  type MqttServerName,
} from './support/mqtt-servers.ts'
import type { Pinned } from './support/pinned.ts'
import { against, inOrderOf, ROUNDS, type Suite, type SuiteResult } from './support/suite.ts'

/** per variant and round: about half a second of each server */
const MESSAGES = 60_000
const BYTES = 128
const NAMES = ['mosquitto', 'door', 'embedded', 'haproxy'] as const satisfies readonly MqttServerName[]

/** `door`: the most that it may cost, to mosquitto. */
type Shape = {
  readonly what: string
  readonly qos: 0 | 1
  readonly publishers: number
  readonly receivers: number
  readonly door: number
}
/** The same, of the embedded broker, in all shapes. */
const EMBEDDED = 1.6

const SHAPES: readonly Shape[] = [
  { what: 'QoS 0, 20 to 1, per message', qos: 0, publishers: 20, receivers: 1, door: 1 },
  { what: 'QoS 1, 20 to 1, per message', qos: 1, publishers: 20, receivers: 1, door: 0.8 },
  { what: 'QoS 0, 1 to 40, per delivery', qos: 0, publishers: 1, receivers: 40, door: 0.8 },
  { what: 'QoS 1, 1 to 40, per delivery', qos: 1, publishers: 1, receivers: 40, door: 0.8 },
]

const order = (client: Pinned, what: Order): Promise<Count> => talkTo<Order, Count>(client, what)

const check = (name: string, wanted: number, { ok, failed }: Count): void => {
  if (ok !== wanted || failed !== undefined) throw new Error(`${name}: ${ok} of ${wanted}: ${failed}`)
}

const clientsFor = (
  { leaves }: MqttBench,
  { qos, publishers, receivers }: Shape,
): { readonly clients: readonly ClientOf[]; readonly from: readonly string[] } => {
  const clients = leaves.slice(0, publishers + receivers).map(({ id, fullPem, keyPem }, at) => ({
    clientId: id,
    cert: fullPem,
    key: keyPem,
    ...(at < receivers ? { filter: 'bench/#', qos } : {}),
  }))
  return { clients, from: clients.slice(receivers).map(({ clientId }) => clientId) }
}

/** By server, and by what is behind it. */
type Costs = Record<string, number[]>

const behindName = (name: MqttServerName): string => `behind ${name === 'door' ? 'the door' : name}`
const namesOf = ({ name, behind }: MqttServer): readonly string[] =>
  behind === undefined ? [name] : [name, behindName(name)]

/** @returns false: the broker has stopped in the middle; nothing is kept of it */
const measure = async (
  bench: MqttBench,
  client: Pinned,
  server: MqttServer,
  shape: Shape,
  messages: number,
  costs: Costs | undefined,
): Promise<boolean> => {
  const { clients, from } = clientsFor(bench, shape)
  const { port, name, program, behind } = server
  check(name, clients.length, await order(client, { kind: 'open', port, host: HOST, clients }))
  const { qos, receivers, publishers } = shape
  const each = Math.ceil(messages / receivers / publishers)
  const publish = { from, topic: 'bench/one', qos, each, receivers, window: 2_000, batch: 10, bytes: BYTES }
  const before = [program, behind].map((of) => (of === undefined ? 0 : cpuOfTree(of.pid)))
  const deliveries = each * publishers * receivers
  const count = await order(client, { kind: 'publish', ...publish })
  const isWhole = count.failed !== STALLED
  if (isWhole) check(name, deliveries, count)
  const after = [program, behind].map((of) => (of === undefined ? 0 : cpuOfTree(of.pid)))
  const per = (at: 0 | 1): number => ((after[at] as number) - (before[at] as number)) / deliveries
  if (isWhole) {
    costs?.[name]?.push(per(0))
    if (behind !== undefined) costs?.[behindName(name)]?.push(per(1))
  }
  await order(client, { kind: 'drop' })
  return isWhole
}

const TRIES = 5
/** Makes a run again that a mosquitto has stopped in; ours must not. @returns how often it was */
const run = async (...given: Parameters<typeof measure>): Promise<number> => {
  const { name } = given[2]
  for (let stalls = 0; stalls < TRIES; stalls += 1) {
    if (await measure(...given)) return stalls
    if (name === 'embedded') throw new Error('the embedded broker has stopped')
  }
  throw new Error(`${name} has stopped ${TRIES} times`)
}

export const suite: Suite = async ({ rounds = ROUNDS, requests = MESSAGES, progress }) => {
  const devices = Math.max(...SHAPES.map(({ publishers, receivers }) => publishers + receivers))
  await using bench = await openMqttBench({ names: NAMES, devices })
  await using client = startHelper(CLIENT_CORE, 'mqtt-clients.ts')
  const results: SuiteResult[] = []
  for (const shape of SHAPES) {
    const costs: Costs = Object.fromEntries(bench.servers.flatMap(namesOf).map((name) => [name, []]))
    const stalls: Record<string, number> = {}
    const runAt = async (server: MqttServer, into: Costs | undefined): Promise<void> => {
      const more = await run(bench, client, server, shape, requests, into)
      if (more > 0) stalls[server.name] = (stalls[server.name] ?? 0) + more
    }
    for (const server of bench.servers) await runAt(server, undefined)
    for (let round = 0; round < rounds; round += 1) {
      for (const server of inOrderOf(round, bench.servers)) await runAt(server, costs)
      const said = Object.entries(costs).map(([name, values]) => `${name} ${values.at(-1)?.toFixed(2)}`)
      progress(`${shape.what}: round ${round + 1} of ${rounds}: ${said.join(', ')} µs`)
    }
    results.push({
      unit: `server CPU µs, ${shape.what}`,
      variants: costs,
      ...against(costs, 'mosquitto', { door: shape.door, embedded: EMBEDDED }),
      memory: bench.memory(),
      errors: { what: 'runs in which a mosquitto has stopped, thrown away and made again', counts: stalls },
      missing: bench.missing,
      facts: { rounds, deliveries_per_round: requests, bytes: BYTES, ...bench.facts },
    })
  }
  return results
}
