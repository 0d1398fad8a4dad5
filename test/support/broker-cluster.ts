/**
 * Three NATS servers with JetStream that are one MQTT broker, as Debian packages them: sessions and messages are on all three. What they can and
 * cannot: docs/mqtt-brokers.md.
 */

import { randomUUID } from 'node:crypto'
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

type Node = ForeignProcess & {
  readonly port: number
  /** ClientIDs of the MQTT connections that it has now, as it says itself */
  clients(): Promise<string[]>
}

export type Cluster = AsyncDisposable & {
  readonly nodes: readonly Node[]
  /** for `mqtt.upstream` */
  readonly urls: string
}

/** ms for one answer of the monitoring port */
const ASKING = 5_000
/** ms for one session: longer than the 4 s after which a node gives up a stream of its own */
const ATTEMPT = 6_000
/** ms for one try of all three */
const PATIENCE = 25_000

const monitor = (port: number, path: string): Promise<Response> =>
  fetch(`http://127.0.0.1:${port}${path}`, { signal: AbortSignal.timeout(ASKING) })

/** Of a new cluster only: after a node has come back, 2.9.10 may say for ever that one of its own consumers "is not current". */
const isHealthy = (port: number): Promise<boolean> => monitor(port, '/healthz').then(({ ok }) => ok)

const clientsAt = async (port: number): Promise<string[]> => {
  const { connections } = (await (await monitor(port, '/connz')).json()) as {
    connections: { mqtt_client?: string }[]
  }
  return connections.flatMap(({ mqtt_client: id }) => id ?? [])
}

/**
 * A healthy node may still close a session that wants to be kept, before CONNACK or after it, or leave its SUBSCRIBE without any answer, while
 * the streams for it are being made.
 */
const takesSession = async (port: number): Promise<boolean> => {
  const client = await connectAsync(
    `mqtt://127.0.0.1:${port}`,
    // a ClientID of its own: one that comes again at once is kept waiting
    { clientId: `ready-${randomUUID()}`, clean: false, reconnectPeriod: 0, connectTimeout: ATTEMPT },
    // without it, a connection that is closed before CONNACK is never heard of again
    false,
  )
  const late = setTimeout(() => client.end(true), ATTEMPT)
  const closed = new Promise<false>((resolve) => void client.once('close', () => resolve(false)))
  try {
    const granted = client.subscribeAsync('ready', { qos: 1 }).then(([grant]) => grant?.qos === 1)
    return await Promise.race([granted, closed])
  } finally {
    clearTimeout(late)
    client.end(true)
  }
}

/** Asks until it is so; what throws is not so. @throws at the deadline, or when a node has ended */
const until = async (
  nodes: readonly Node[],
  deadline: number,
  ask: () => Promise<boolean>,
): Promise<void> => {
  while (!(await ask().catch(() => false))) {
    if (Date.now() > deadline || nodes.some((node) => !node.running()))
      throw new Error(`no cluster:\n${nodes.map((node) => node.said()).join('\n')}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const tryCluster = async (): Promise<Cluster> => {
  await using opened = new AsyncDisposableStack()
  const folder = opened.use(temporaryFolder())
  const ports = await freePorts(4 * NODES)
  const some = (at: number): number[] => ports.slice(at * NODES, (at + 1) * NODES)
  const [clients, routes, mqtt, health] = [some(0), some(1), some(2), some(3)]
  const nodes: Node[] = mqtt.map((port, at) => {
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
    const monitored = health[at] as number
    const child = opened.use(foreignProcess(NATS as string, ['-c', config]))
    return { ...child, port, clients: () => clientsAt(monitored) }
  })
  for (const node of nodes) node.start()
  const deadline = Date.now() + PATIENCE
  await Promise.all(health.map((port) => until(nodes, deadline, () => isHealthy(port))))
  // the first session makes the streams; nodes that make them at once get into each other's way
  const [first, ...others] = mqtt.map((port) => () => until(nodes, deadline, () => takesSession(port)))
  await first?.()
  await Promise.all(others.map((other) => other()))
  const owned = opened.move()
  return {
    nodes,
    urls: mqtt.map((port) => `mqtt://127.0.0.1:${port}`).join(','),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

/**
 * Resolves when they have a leader among them, and each keeps sessions. Twice: a port may be somebody else's by now.
 * @throws when they do not get there, with what they said
 */
export const startCluster = (): Promise<Cluster> => tryCluster().catch(tryCluster)
