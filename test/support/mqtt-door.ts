/**
 * The gateway's core and its MQTT door over TLS in this process, beside the HTTPS door of {@link openDoorHarness}: host `a.test` with the
 * default topics, its default for clients without SNI, and a registry that the test may change as the enroll desk would.
 */

import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { connectAsync, type IClientOptions, type MqttClient as MqttJs } from 'mqtt'
import { openMqttDoor } from '#gateway/mqtt/door.ts'
import { openFront, type Front } from '#gateway/mqtt/front.ts'
import type { Config } from '#runtime/config.ts'
import { createLog } from '#runtime/log.ts'
import { createMetrics } from '#runtime/metrics.ts'
import { openDoorHarness, type DoorHarness } from './https-door.ts'
import { mqttClient, type MqttClient } from './mqtt-client.ts'
import type { TestLeaf } from './pki.ts'

type Identity = Pick<TestLeaf, 'keyPem' | 'fullPem' | 'id'>

/** What mqtt.js is told to come through a door of {@link openMqttHarness} as this device. */
export const asDevice = (port: number, leaf: Identity): IClientOptions => ({
  protocol: 'mqtts',
  host: '127.0.0.1',
  port,
  servername: 'a.test',
  rejectUnauthorized: false,
  key: leaf.keyPem,
  cert: leaf.fullPem,
  clientId: leaf.id,
})

export type MqttHarness = Omit<DoorHarness, 'url' | 'port' | 'log' | 'metrics'> & {
  readonly url: string
  readonly port: number
  /** every line that the door logged; admission's are the core's */
  readonly log: Record<string, unknown>[]
  readonly coreLog: Record<string, unknown>[]
  readonly sightings: string[]
  readonly suspects: string[]
  readonly front: Front
  metrics(): Promise<string>
  /** TLS, and nothing said yet. `serverName` null: no SNI */
  dial(
    leaf: Identity | undefined,
    o?: ConnectionOptions & { serverName?: string | null; version?: 3 | 4 | 5 },
  ): Promise<MqttClient>
  /** TLS, CONNECT, and CONNACK 0 */
  enter(leaf: Identity, packet?: Parameters<MqttClient['connect']>[0]): Promise<MqttClient>
  /** another library */
  mqttjs(leaf: Identity, o?: IClientOptions): Promise<MqttJs>
  /** a TCP connection that has not begun TLS */
  tcp(): Promise<ReturnType<typeof connectTcp>>
  /** closes the door, before the harness does */
  close(): Promise<void>
}

export const openMqttHarness = async (
  env: Readonly<Record<string, string>> = {},
  mqtt: Partial<Config['mqtt']> = {},
): Promise<MqttHarness> => {
  await using opened = new AsyncDisposableStack()
  const base = opened.use(
    await openDoorHarness({
      env: {
        SALLYPORT_GATEWAY_MQTTS_LISTEN: '127.0.0.1:0',
        SALLYPORT_MQTT_DEFAULT_HOSTNAME: 'a.test',
        ...env,
      },
    }),
  )
  const log: Record<string, unknown>[] = []
  const metrics = createMetrics('gateway')
  const sightings: string[] = []
  const { core } = base
  const config = { ...base.config, mqtt: { ...base.config.mqtt, ...mqtt } }
  const suspects: string[] = []
  const scope = {
    log: createLog('gateway', 'debug', {
      write: (line) => void log.push(JSON.parse(line) as Record<string, unknown>),
    }),
    metrics,
    clock: () => Date.now(),
  }
  const front = opened.use(
    await openFront({
      ...core,
      ...scope,
      config,
      place: 'gateway',
      sighting: (fingerprint) => void sightings.push(fingerprint),
      suspect: (fingerprint) => void suspects.push(fingerprint),
    }),
  )
  const contexts = core.contexts(config.mqtt.default_hostname, { asTold: true })
  const door = await openMqttDoor({ ...scope, config, front, contexts })
  let closing: Promise<void> | undefined
  const close = async (): Promise<void> => {
    closing ??= Promise.resolve(door[Symbol.asyncDispose]())
    await closing
  }
  opened.defer(close)
  const port = Number(new URL(door.url).port)
  const clients = new Set<{ [Symbol.dispose](): void }>()
  opened.defer(() => {
    for (const client of clients) client[Symbol.dispose]()
  })

  const dial: MqttHarness['dial'] = async (leaf, { serverName = 'a.test', version, ...tls } = {}) => {
    const socket: TLSSocket = connect({
      host: '127.0.0.1',
      port,
      ca: base.pki.root.pem,
      rejectUnauthorized: false,
      servername: serverName ?? '',
      ...(leaf === undefined ? {} : { key: leaf.keyPem, cert: leaf.fullPem }),
      ...tls,
    })
    await once(socket, 'secureConnect')
    const client = mqttClient(socket, version)
    clients.add(client)
    return client
  }
  const owned = opened.move()
  return {
    ...base,
    url: door.url,
    port,
    log,
    coreLog: base.log,
    sightings,
    suspects,
    front,
    metrics: () => metrics.text(),
    dial,
    enter: async (leaf, packet) => {
      const client = await dial(leaf)
      const code = await client.connect({ clientId: leaf.id, ...packet })
      if (code !== 0) throw new Error(`CONNACK ${code}`)
      return client
    },
    mqttjs: async (leaf, options) => {
      const client = await connectAsync({ ...asDevice(port, leaf), reconnectPeriod: 0, ...options })
      clients.add({ [Symbol.dispose]: () => void client.end(true) })
      return client
    },
    tcp: async () => {
      const socket = connectTcp(port, '127.0.0.1')
      socket.on('error', () => {})
      clients.add({ [Symbol.dispose]: () => void socket.destroy() })
      await once(socket, 'connect')
      return socket
    },
    close,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
