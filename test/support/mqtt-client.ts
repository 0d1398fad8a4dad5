/**
 * An MQTT client that says exactly the packets or bytes it is told, over any stream, and gives out what it hears one by one.
 * Reads with mqtt-packet, so that the door's own reader is held against another's. Not a well-behaved client.
 */

import type { Duplex } from 'node:stream'
import { generate, parser, type IConnectPacket, type Packet } from 'mqtt-packet'

export type MqttClient = Disposable & {
  readonly stream: Duplex
  send(...what: readonly (Packet | Uint8Array)[]): void
  /** the next packet that has not been given out; throws when the connection ends first */
  next(): Promise<Packet>
  /** the next one of this kind; those before it are lost */
  until<C extends Packet['cmd']>(cmd: C): Promise<Extract<Packet, { cmd: C }>>
  /** what has come and was not given out, once the connection has ended */
  closed(): Promise<Packet[]>
  readonly ended: boolean
  /** what has come and was not given out, now */
  readonly waiting: readonly Packet[]
  /** CONNECT and its answer; @returns the return code, in MQTT 5 the reason code, undefined when there was none */
  connect(over?: Partial<IConnectPacket>): Promise<number | undefined>
  /** comes back once everything sent before has been dealt with */
  ping(): Promise<Packet[]>
}

export const connectPacket = (over: Partial<IConnectPacket> = {}): IConnectPacket => ({
  cmd: 'connect',
  protocolId: 'MQTT',
  protocolVersion: 4,
  clean: true,
  clientId: 'lamp-1',
  keepalive: 0,
  ...over,
})

/** @param version of MQTT: packets are read and written by it */
export const mqttClient = (stream: Duplex, version: 3 | 4 | 5 = 4): MqttClient => {
  const protocolVersion = version
  const reader = parser({ protocolVersion })
  const waiting: Packet[] = []
  let ended = false
  let wake: (() => void)[] = []
  const stir = (): void => {
    const woken = wake
    wake = []
    for (const one of woken) one()
  }
  const stirred = (): Promise<void> => new Promise((resolve) => void wake.push(resolve))
  reader.on('packet', (packet: Packet) => {
    waiting.push(packet)
    stir()
  })
  stream.on('data', (chunk: Buffer) => reader.parse(chunk))
  for (const event of ['end', 'close', 'error'])
    stream.on(event, () => {
      ended = true
      stir()
    })

  const client: MqttClient = {
    stream,
    waiting,
    get ended() {
      return ended
    },
    send: (...what) => {
      stream.write(
        Buffer.concat(
          what.map((one) => (one instanceof Uint8Array ? one : generate(one, { protocolVersion }))),
        ),
      )
    },
    next: async () => {
      for (;;) {
        const packet = waiting.shift()
        if (packet !== undefined) return packet
        if (ended) throw new Error('the connection has ended')
        await stirred()
      }
    },
    until: async (cmd) => {
      for (;;) {
        const packet = await client.next()
        if (packet.cmd === cmd) return packet as Extract<Packet, { cmd: typeof cmd }>
      }
    },
    closed: async () => {
      while (!ended) await stirred()
      return waiting.splice(0)
    },
    connect: async (over) => {
      client.send(connectPacket({ protocolVersion: version, ...over }))
      try {
        const { returnCode, reasonCode } = await client.until('connack')
        return version === 5 ? reasonCode : returnCode
      } catch {
        return undefined
      }
    },
    ping: async () => {
      const heard: Packet[] = []
      client.send({ cmd: 'pingreq' })
      for (;;) {
        const packet = await client.next()
        if (packet.cmd === 'pingresp') return heard
        heard.push(packet)
      }
    },
    [Symbol.dispose]: () => {
      stream.destroy()
    },
  }
  return client
}
