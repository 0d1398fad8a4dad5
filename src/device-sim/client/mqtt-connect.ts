/**
 * One MQTT connection of a device over one fresh mutual-TLS connection. It never reconnects by itself: coming back is a new
 * handshake, and a new call. Answers are data, with the code that was on the wire.
 */

import type { SecureContext } from 'node:tls'
import { MqttClient, type Packet } from 'mqtt'
import { openConnection, type ConnectOptions } from './connection.ts'

export type MqttOptions = Omit<ConnectOptions, 'url' | 'alpn' | 'context'> & {
  /** `mqtts://host:port` */
  readonly url: string
  readonly context: SecureContext
  readonly clientId: string
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** false keeps the session at the broker */
  readonly clean?: boolean | undefined
  /** seconds */
  readonly keepalive?: number | undefined
  readonly onMessage?: ((topic: string, payload: Buffer) => void) | undefined
}

/** `cut`: the connection ended before the answer came. */
export type Cut = 'cut'

export type MqttLink = AsyncDisposable & {
  /** the code the SUBACK gave: 0, 1, 2 or 0x80 */
  subscribe(filter: string, qos?: 0 | 1): Promise<number | Cut>
  /** `done`: acknowledged at QoS 1, written at QoS 0 */
  publish(topic: string, payload: string, qos?: 0 | 1): Promise<'done' | Cut>
  /** aborted when the connection has ended, whoever ended it */
  readonly ended: AbortSignal
  /** resolves then */
  readonly closed: Promise<void>
  isOpen(): boolean
  /** DISCONNECT, then close */
  close(): Promise<void>
}

export type MqttOutcome = {
  readonly resumed: boolean
  /** with `keepSession`: what could be presented to resume this connection */
  readonly session: Buffer | undefined
} & (
  | { readonly accepted: true; readonly link: MqttLink }
  /** `code`: of the CONNACK; undefined: closed without one */
  | { readonly accepted: false; readonly code: number | undefined }
)

const DEFAULT_TIMEOUT = 10_000
/** ms for DISCONNECT to be written and the other side to close, before the socket is dropped */
const GOODBYE = 1_000

/** @throws `target_unreachable` when TLS does not come about. A CONNACK that refuses is an outcome. */
export const mqttConnect = async (o: MqttOptions): Promise<MqttOutcome> => {
  const connection = await openConnection({ ...o, url: new URL(o.url) })
  const timeout = o.timeout ?? DEFAULT_TIMEOUT
  // reconnectPeriod 0: a lost connection stays lost. manualConnect: handlers first, CONNECT after.
  const client = new MqttClient(() => connection.socket, {
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId: o.clientId,
    ...(o.username === undefined ? {} : { username: o.username }),
    ...(o.password === undefined ? {} : { password: o.password }),
    clean: o.clean ?? true,
    keepalive: o.keepalive ?? 60,
    connectTimeout: timeout,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    manualConnect: true,
  })
  const closed = Promise.withResolvers<void>()
  const ended = new AbortController()
  const connack = Promise.withResolvers<number | undefined>()
  const waiting = new Set<() => void>()
  let open = false
  client.on('packetreceive', (packet: Packet) => {
    if (packet.cmd === 'connack') connack.resolve(packet.returnCode)
  })
  client.on('close', () => {
    open = false
    for (const cut of waiting) cut()
    connack.resolve(undefined)
    ended.abort()
    closed.resolve()
  })
  // Whatever it is, 'close' follows; an unheard 'error' would end the process.
  client.on('error', () => connection.socket.destroy())
  client.on('message', (topic, payload) => o.onMessage?.(topic, payload))
  const onAbort = (): unknown => connection.socket.destroy()
  o.signal?.addEventListener('abort', onAbort, { once: true })
  void closed.promise.then(() => o.signal?.removeEventListener('abort', onAbort))

  client.connect()
  if (o.signal?.aborted || connection.socket.destroyed) onAbort()
  const code = await connack.promise
  const facts = { resumed: connection.resumed, session: connection.latestSession() }
  if (code !== 0) {
    client.end(true)
    return { ...facts, accepted: false, code }
  }
  open = true

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
    const timer = setTimeout(() => client.end(true), GOODBYE)
    client.end(false)
    await closed.promise
    clearTimeout(timer)
  }

  const link: MqttLink = {
    subscribe: (filter, qos = 1) =>
      orCut<number>((finish) => {
        client.subscribe(filter, { qos }, (_error, _granted, suback) => {
          const code = suback?.granted[0]
          // no SUBACK is mqtt.js saying that the connection has gone
          finish(typeof code === 'number' ? code : 'cut')
        })
      }),
    publish: (topic, payload, qos = 1) =>
      orCut<'done'>((finish) => {
        client.publish(topic, payload, { qos }, (error) => finish(error ? 'cut' : 'done'))
      }),
    ended: ended.signal,
    closed: closed.promise,
    isOpen: () => open,
    close,
    [Symbol.asyncDispose]: close,
  }
  return { ...facts, accepted: true, link }
}
