/**
 * The stage of the attacks on the MQTT door: the door in this process, the embedded broker or mosquitto behind it, a victim, and an observer who
 * hears everything that reaches the broker. Attackers say bytes; they believe nothing that the server says.
 */

import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { IPublishPacket, ISubscribePacket, Packet } from 'mqtt-packet'
import type { MqttAccess } from '#fleet/access.ts'
import type { Config } from '#runtime/config.ts'
import { startMosquitto, type Mosquitto } from '../../../support/mosquitto.ts'
import { mqttClient, type MqttClient } from '../../../support/mqtt-client.ts'
import { openMqttHarness, type MqttHarness } from '../../../support/mqtt-door.ts'
import type { TestLeaf } from '../../../support/pki.ts'
import { ACTOR, anchor, application, policy } from '../../../support/registry.ts'

export type Broker = 'embedded' | 'mosquitto'
export type Level = 3 | 4 | 5
/** what each broker speaks */
export const LEVELS: Readonly<Record<Broker, readonly Level[]>> = {
  embedded: [3, 4],
  mosquitto: [3, 4, 5],
}

export const ALL_ACTS = ['publish', 'subscribe', 'receive'] as const
/** a device's own, and what all share */
export const OWN = { filter: 'devices/${device.id}/#', acts: ALL_ACTS } as const

export type Connect = NonNullable<Parameters<MqttClient['connect']>[0]>

export type Stage = AsyncDisposable & {
  readonly door: MqttHarness
  /** undefined: the embedded broker */
  readonly mosquitto: Mosquitto | undefined
  leaf(id: string): Promise<TestLeaf>
  /** TLS and nothing more */
  dial(id: string, level?: Level): Promise<MqttClient>
  /** the code of CONNACK, undefined when there was none */
  knock(id: string, level: Level, over?: Connect): Promise<number | undefined>
  enter(id: string, level?: Level, over?: Connect): Promise<MqttClient>
  /** says anything as if it were the broker's own business */
  readonly observer: MqttClient
  /** topics and payloads that have reached the broker by now, except those of $… */
  heard(): Promise<string[]>
  /** everything that this client has been given until now, by a mark on its own topic `devices/<id>/` */
  heardBy(client: MqttClient, id: string): Promise<string[]>
  putMqtt(mqtt: Partial<MqttAccess>, more?: object): Promise<void>
}

export const say = (topic: string, over: Partial<IPublishPacket> = {}): IPublishPacket => ({
  cmd: 'publish',
  topic,
  payload: 'evil',
  qos: 0,
  dup: false,
  retain: false,
  ...over,
})
export const subscription = (
  filters: readonly string[],
  qos: 0 | 1 | 2 = 0,
  over: Partial<ISubscribePacket> = {},
): Packet => ({
  cmd: 'subscribe',
  messageId: 7,
  subscriptions: filters.map((topic) => ({ topic, qos, nl: false, rap: false, rh: 0 })),
  ...over,
})
/** @returns the codes of its SUBACK */
export const subscribe = async (
  client: MqttClient,
  filters: readonly string[],
  qos: 0 | 1 | 2 = 0,
): Promise<number[]> => {
  client.send(subscription(filters, qos))
  return (await client.until('suback')).granted.map(Number)
}

export const text = (value: string | Uint8Array): Buffer => {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes])
}
export const varint = (value: number): Buffer => {
  const octets: number[] = []
  for (let rest = value; ;) {
    octets.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
    rest >>= 7
    if (rest === 0) return Buffer.from(octets)
  }
}
export const frame = (first: number, ...body: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(body)
  return Buffer.concat([Buffer.of(first), varint(content.length), content])
}
/** a section of properties, its length before it */
export const section = (...properties: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(properties)
  return Buffer.concat([varint(content.length), content])
}
export const hex = (value: string): Buffer => Buffer.from(value.replaceAll(' ', ''), 'hex')

/** Everything until the connection ended, the last of it a DISCONNECT's code where there was one. */
export const ending = async (
  client: MqttClient,
): Promise<{ packets: Packet[]; code: number | undefined }> => {
  const packets = await client.closed()
  const last = packets.at(-1)
  return { packets, code: last?.cmd === 'disconnect' ? last.reasonCode : undefined }
}

const WATCH = 'watch.test'

/** @param env settings, @param mqtt settings that have no name for so small a value */
export const openStage = async (
  broker: Broker,
  o: {
    readonly env?: Readonly<Record<string, string>>
    readonly mqtt?: Partial<Config['mqtt']>
    readonly application?: Partial<MqttAccess>
  } = {},
): Promise<Stage> => {
  await using opened = new AsyncDisposableStack()
  const mosquitto = broker === 'mosquitto' ? opened.use(await startMosquitto()) : undefined
  const behind =
    mosquitto === undefined ? {} : { SALLYPORT_MQTT_UPSTREAM: `mqtt://127.0.0.1:${mosquitto.port}` }
  const door = opened.use(await openMqttHarness({ ...behind, ...o.env }, o.mqtt))
  await door.registry.applyAccess(
    {
      anchors: [anchor({ name: 'watch', hostnames: [WATCH], pem: door.pki.devices.pem + door.pki.root.pem })],
      applications: [
        application({
          name: 'watch',
          hostnames: [WATCH],
          https: undefined,
          mqtt: { topics: [{ filter: '#', acts: ALL_ACTS }] },
          policies: ['watchers'],
        }),
      ],
      policies: [policy({ name: 'watchers', include: [{ common_name: { common_name: 'observer' } }] })],
    },
    Date.now(),
    ACTOR,
  )
  const putMqtt: Stage['putMqtt'] = (mqtt, more) =>
    door.putApplication({ mqtt: { topics: [], ...mqtt }, ...more })
  if (o.application !== undefined) await putMqtt(o.application)

  const leaves = new Map<string, Promise<TestLeaf>>()
  const leaf = (id: string): Promise<TestLeaf> => {
    const known = leaves.get(id) ?? door.device(id)
    leaves.set(id, known)
    return known
  }
  const observe = async (): Promise<MqttClient> => {
    if (mosquitto === undefined) return door.dial(await leaf('observer'), { serverName: WATCH })
    const socket = connectTcp(mosquitto.port, '127.0.0.1')
    opened.defer(() => void socket.destroy())
    await once(socket, 'connect')
    return mqttClient(socket)
  }
  const observer = await observe()
  if ((await observer.connect({ clientId: 'observer' })) !== 0) throw new Error('nobody observes')
  await subscribe(observer, ['#'])

  let marks = 0
  const until = async (client: MqttClient, mark: string): Promise<string[]> => {
    observer.send(say(mark))
    const topics: string[] = []
    for (;;) {
      const { topic, payload, qos, messageId } = await client.until('publish')
      if (topic === mark) return topics
      if (qos === 1) client.send({ cmd: 'puback', messageId: messageId as number })
      if (!/\/mark-\d+$/.test(topic)) topics.push(`${topic} ${String(payload)}`)
    }
  }
  const dial: Stage['dial'] = async (id, level = 5) => {
    const client = await door.dial(await leaf(id), { version: level })
    // two packets in two writes are not to wait for each other
    ;(client.stream as TLSSocket).setNoDelay(true)
    return client
  }
  const owned = opened.move()
  return {
    door,
    mosquitto,
    leaf,
    dial,
    knock: async (id, level, over) => {
      using client = await dial(id, level)
      return await client.connect({ ...protocol(level), clientId: id, ...over })
    },
    enter: async (id, level = 5, over = {}) => {
      const client = await dial(id, level)
      const code = await client.connect({ ...protocol(level), clientId: id, ...over })
      if (code !== 0) throw new Error(`CONNACK ${code} for ${id}`)
      return client
    },
    observer,
    heard: () => until(observer, `devices/observer/mark-${(marks += 1)}`),
    heardBy: (client, id) => until(client, `devices/${id}/mark-${(marks += 1)}`),
    putMqtt,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

export const protocol = (level: Level): Connect =>
  level === 3 ? { protocolId: 'MQIsdp', protocolVersion: 3 } : { protocolVersion: level }
