/**
 * Three NATS servers with JetStream that are one MQTT broker, as Debian packages them: sessions and messages are on all three. What they can and
 * cannot: docs/mqtt-brokers.md.
 */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
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

/** ms for one attempt to be served */
const ATTEMPT = 2_000

/** A healthy node may still close the first session that wants to be kept, while the streams for it are being made. Resolves when one has been taken. */
const takesSessions = async (port: number): Promise<void> => {
  const ask = async (): Promise<boolean> => {
    const client = await connectAsync({
      host: '127.0.0.1',
      port,
      clientId: `ready-${port}`,
      clean: false,
      reconnectPeriod: 0,
      connectTimeout: ATTEMPT,
    })
    client.on('error', () => {})
    // a node that makes its streams may leave a SUBSCRIBE without any answer
    const late = setTimeout(() => client.end(true), ATTEMPT)
    try {
      const [granted] = await client.subscribeAsync('ready', { qos: 1 })
      return granted?.qos === 1
    } finally {
      clearTimeout(late)
      await client.endAsync(true)
    }
  }
  while (!(await ask().catch(() => false))) await new Promise((resolve) => setTimeout(resolve, 20))
}

/** Resolves when they have a leader among them, and each keeps sessions. */
export const startCluster = async (): Promise<Cluster> => {
  await using opened = new AsyncDisposableStack()
  const folder = opened.use(temporaryFolder())
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
    return { ...opened.use(foreignProcess(NATS as string, ['-c', config])), port }
  })
  for (const node of nodes) node.start()
  await Promise.all(health.map(healthy))
  await Promise.all(mqtt.map(takesSessions))
  const owned = opened.move()
  return {
    nodes,
    urls: mqtt.map((port) => `mqtt://127.0.0.1:${port}`).join(','),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
