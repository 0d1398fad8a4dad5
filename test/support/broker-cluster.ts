/**
 * Three NATS servers with JetStream that are one MQTT broker, as Debian packages them: sessions and messages are on all three. What they can and
 * cannot: docs/mqtt-brokers.md.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { foreignProcess, type ForeignProcess } from './foreign-process.ts'
import { freePorts } from './free-port.ts'
import { program } from './programs.ts'
import { temporaryFolder } from './temporary.ts'

/** undefined: not installed, and the tests are skipped */
export const NATS = program('nats-server')

const NODES = 3

type Node = ForeignProcess & { readonly port: number }

export type Cluster = AsyncDisposable & {
  readonly nodes: readonly Node[]
  /** for `mqtt.upstream` */
  readonly urls: string
}

/** Of a new cluster only: after a node has come back, 2.9.10 may say for ever that one of its own consumers "is not current". */
const healthy = async (port: number): Promise<void> => {
  const ask = (): Promise<boolean> =>
    fetch(`http://127.0.0.1:${port}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    )
  while (!(await ask())) await new Promise((resolve) => setTimeout(resolve, 20))
}

/** Resolves when they have a leader among them. */
export const startCluster = async (): Promise<Cluster> => {
  const folder = temporaryFolder()
  const ports = await freePorts(4 * NODES)
  const some = (at: number): number[] => ports.slice(at * NODES, (at + 1) * NODES)
  const [clients, routes, mqtt, health] = [some(0), some(1), some(2), some(3)]
  const nodes = mqtt.map((port, at) => {
    const config = join(folder.path, `${at}.conf`)
    writeFileSync(
      config,
      [
        `server_name: n${at}`,
        `listen: "127.0.0.1:${clients[at]}"`,
        `http: "127.0.0.1:${health[at]}"`,
        `jetstream { store_dir: "${join(folder.path, `store-${at}`)}", max_mem: 64MB, max_file: 256MB }`,
        `cluster { name: test, listen: "127.0.0.1:${routes[at]}", routes: [${routes.map((route) => `"nats-route://127.0.0.1:${route}"`).join(', ')}] }`,
        `mqtt { listen: "127.0.0.1:${port}", stream_replicas: ${NODES}, ack_wait: "2s" }`,
      ].join('\n'),
    )
    return { ...foreignProcess(NATS as string, ['-c', config]), port }
  })
  for (const node of nodes) node.start()
  await Promise.all(health.map(healthy))
  return {
    nodes,
    urls: mqtt.map((port) => `mqtt://127.0.0.1:${port}`).join(','),
    async [Symbol.asyncDispose]() {
      await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()))
      folder[Symbol.dispose]()
    },
  }
}
