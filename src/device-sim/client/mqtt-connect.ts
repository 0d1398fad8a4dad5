/**
 * One MQTT connection of a device over one fresh mutual-TLS connection. It never reconnects by itself: coming back is a new
 * handshake, and a new call. Answers are data, with the code that was on the wire.
 */

import { MqttClient, type IClientOptions, type IConnackPacket, type Packet } from 'mqtt'
import { onAbort } from '../on-abort.ts'
import { LEAST_REFUSAL } from '../words.ts'
import { openConnection, type ConnectOptions } from './connection.ts'
import { publishPackets } from './publish-packets.ts'
import { headersOfPacket } from './token-scan.ts'

export type MqttOptions = Omit<ConnectOptions, 'url' | 'alpn'> & {
  /** `mqtts://host:port` */
  readonly url: string
  readonly clientId: string
  /** 4 is MQTT 3.1.1, and the default */
  readonly version?: 4 | 5 | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** false keeps the session at the broker; for a day, where MQTT 5 makes one say how long */
  readonly clean?: boolean | undefined
  /** seconds; 0: none */
  readonly keepalive?: number | undefined
  readonly onMessage?: ((topic: string, payload: Buffer) => void) | undefined
}

/** `cut`: the connection ended before the answer came. */
export type Cut = 'cut'

/** Of a PUBLISH at QoS 1 that may have to be sent again on another connection: then with the same identifier, and `dup`. */
export type Delivery = {
  /** packet identifier, 1 to 65,535; whoever says it keeps it free until it is acknowledged */
  readonly id: number
  readonly dup: boolean
}

export type MqttLink = AsyncDisposable & {
  /** the code the SUBACK gave: 0, 1, 2, or 0x80 and above */
  subscribe(filter: string, qos?: 0 | 1): Promise<number | Cut>
  /** `done`: acknowledged at QoS 1, written at QoS 0. A number: the PUBACK refused it (MQTT 5), 0x80 and above */
  publish(
    topic: string,
    payload: string | Buffer,
    qos?: 0 | 1,
    delivery?: Delivery,
  ): Promise<'done' | Cut | number>
  /**
   * All of them at QoS 0 in one write; `done`: written, and there is room for more. Bursts are not held back: wait for one before the next.
   * @throws RangeError: no packet can hold it
   */
  burst(topic: string, payloads: readonly Uint8Array[]): Promise<'done' | Cut>
  /** aborted when the connection has ended, whoever ended it */
  readonly ended: AbortSignal
  /** resolves then */
  readonly closed: Promise<void>
  isOpen(): boolean
  /** DISCONNECT, then close */
  close(): Promise<void>
  /** The socket goes, without a word. */
  drop(): void
}

export type MqttOutcome = {
  readonly resumed: boolean
  /** with `keepSession`: what could be presented to resume this connection */
  readonly session: Buffer | undefined
  /** ms, from CONNECT to its answer: without TCP and TLS */
  readonly millis: number
} & (
  | {
      readonly accepted: true
      /** the broker had kept the session */
      readonly sessionPresent: boolean
      readonly link: MqttLink
    }
  /** `code`: of the CONNACK; undefined: closed without one */
  | { readonly accepted: false; readonly code: number | undefined }
)

const DEFAULT_TIMEOUT = 10_000
/** ms for DISCONNECT to be written and the other side to close, before the socket is dropped */
const GOODBYE = 1_000
const NOTHING = new Uint8Array()
/** octets of one packet that a device takes in; the largest that a fleet says has 1 MiB. mqtt.js would keep 256 MiB of one that never ends */
const LARGEST_PACKET = 4 * 1_048_576
/** seconds a broker keeps a session (MQTT 5, 3.1.2.11.2); in 3.1.1 it decides itself */
const SESSION_EXPIRY = 86_400

const optionsOf = (o: MqttOptions, connectTimeout: number): IClientOptions => {
  const clean = o.clean ?? true
  const protocolVersion = o.version ?? 4
  return {
    protocolId: 'MQTT',
    protocolVersion,
    clientId: o.clientId,
    ...(o.username === undefined ? {} : { username: o.username }),
    ...(o.password === undefined ? {} : { password: o.password }),
    ...(protocolVersion === 5 && !clean ? { properties: { sessionExpiryInterval: SESSION_EXPIRY } } : {}),
    clean,
    keepalive: o.keepalive ?? 60,
    // a ping every `keepalive`, whatever else is said: a new timer with every acknowledgement costs more
    reschedulePings: false,
    connectTimeout,
    // a lost connection stays lost
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    // handlers first, CONNECT after
    manualConnect: true,
    // of its own for each client it makes a logger that is called, and looks whether it is wanted, a dozen times per packet
    log: () => {},
  }
}

/** What mqtt.js says has become of a PUBLISH, as data. */
const publicationIn = (error: unknown): 'done' | Cut | number => {
  if (!error) return 'done'
  const code = (error as { readonly code?: unknown }).code
  return typeof code === 'number' && code >= LEAST_REFUSAL ? code : 'cut'
}

type PacketIds = NonNullable<IClientOptions['messageIdProvider']> & {
  /** the identifier of the next packet that needs one, instead of the next number */
  take(id: number): void
}

/** One after the other, as mqtt.js does by itself, or as it is told. */
const createPacketIds = (): PacketIds => {
  let last = 0
  let told: number | undefined
  return {
    take(id) {
      told = id
    },
    allocate() {
      const id = told ?? (last % 0xffff) + 1
      if (told === undefined) last = id
      told = undefined
      return id
    },
    getLastAllocated: () => last,
    register: () => true,
    deallocate() {},
    clear() {},
  }
}

/** @throws `target_unreachable` when TLS does not come about. A CONNACK that refuses is an outcome. */
export const mqttConnect = async (o: MqttOptions): Promise<MqttOutcome> => {
  const connection = await openConnection({ ...o, url: new URL(o.url) })
  const { socket } = connection
  const version = o.version ?? 4
  const messageIdProvider = createPacketIds()
  const client = new MqttClient(() => socket, {
    ...optionsOf(o, o.timeout ?? DEFAULT_TIMEOUT),
    messageIdProvider,
  })
  const closed = Promise.withResolvers<void>()
  const connack = Promise.withResolvers<IConnackPacket | undefined>()
  const waiting = new Set<() => void>()
  let ended: AbortController | undefined
  let open = false
  let gone = false
  /** octets since the last packet was whole */
  let unfinished = 0
  socket.on('data', (octets: Buffer) => {
    unfinished += octets.length
    if (unfinished > LARGEST_PACKET) drop()
  })
  client.on('packetreceive', (packet: Packet) => {
    unfinished = 0
    if (packet.cmd === 'connack') connack.resolve(packet)
  })
  client.on('close', () => {
    open = false
    gone = true
    unheard?.()
    for (const cut of waiting) cut()
    connack.resolve(undefined)
    ended?.abort()
    closed.resolve()
  })
  const drop = (): void => {
    socket.destroy()
  }
  // Whatever it is, 'close' follows; an unheard 'error' would end the process.
  client.on('error', drop)
  const { onMessage } = o
  const scan = (topic: string | undefined, properties: object | undefined, payload: Uint8Array): void =>
    o.meter?.answer(o.url, headersOfPacket(topic, properties), payload)
  if (onMessage)
    client.on('message', (topic, payload, { properties }) => {
      scan(topic, properties, payload)
      onMessage(topic, payload)
    })
  const unheard = o.signal && onAbort(o.signal, drop)

  const began = performance.now()
  client.connect()
  if (o.signal?.aborted || socket.destroyed) drop()
  const answer = await connack.promise
  if (answer?.properties !== undefined) scan(undefined, answer.properties, NOTHING)
  const code = version === 5 ? answer?.reasonCode : answer?.returnCode
  const { resumed } = connection
  const facts = { resumed, session: connection.latestSession(), millis: performance.now() - began }
  if (code !== 0) {
    client.end(true)
    return { ...facts, accepted: false, code }
  }
  open = !gone

  // Not Promise.race with `closed`: that would keep every answer of a long connection in memory until it ends.
  const orCut = <T>(start: (finish: (answer: T | Cut) => void) => void): Promise<T | Cut> =>
    new Promise((resolve) => {
      if (!open) return resolve('cut')
      const finish = (answer: T | Cut): void => {
        waiting.delete(cut)
        resolve(answer)
      }
      const cut = (): void => finish('cut')
      waiting.add(cut)
      start(finish)
    })

  const close = async (): Promise<void> => {
    if (!open) return closed.promise
    // mqtt.js takes no second end(): after the first it waits for every acknowledgement, and for the other side
    const timer = setTimeout(() => drop(), GOODBYE)
    client.end(false)
    await closed.promise
    clearTimeout(timer)
  }

  /** one for all that wait: a socket that is full tells thousands */
  let room: Promise<void> | undefined
  const untilRoom = (): Promise<void> =>
    (room ??= new Promise((resolve) => {
      socket.once('drain', () => {
        room = undefined
        resolve()
      })
    }))

  const link: MqttLink = {
    subscribe: (filter, qos = 1) =>
      orCut<number>((finish) => {
        client.subscribe(filter, { qos }, (_error, _granted, suback) => {
          const granted = suback?.granted[0]
          // no SUBACK is mqtt.js saying that the connection has gone
          finish(typeof granted === 'number' ? granted : 'cut')
        })
      }),
    publish: (topic, payload, qos = 1, delivery) =>
      orCut<'done' | number>((finish) => {
        if (delivery !== undefined) messageIdProvider.take(delivery.id)
        const dup = delivery?.dup ?? false
        client.publish(topic, payload, { qos, dup }, (error) => finish(publicationIn(error)))
      }),
    burst: (topic, payloads) => {
      const packets = publishPackets(version, topic, payloads)
      return orCut<'done'>((finish) => {
        // Beside mqtt.js, and never into one of its packets: it writes each whole packet to this very stream within one synchronous call
        // (mqtt-packet's writeToStream, corked), a stream keeps the order of its writes, and this is one write.
        if (socket.write(packets)) finish('done')
        else void untilRoom().then(() => finish('done'))
      })
    },
    get ended() {
      // one in ten thousand idle connections is asked for it
      ended ??= new AbortController()
      if (gone) ended.abort()
      return ended.signal
    },
    closed: closed.promise,
    isOpen: () => open,
    close,
    drop,
    [Symbol.asyncDispose]: close,
  }
  return { ...facts, accepted: true, sessionPresent: answer?.sessionPresent === true, link }
}
