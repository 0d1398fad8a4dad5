/** TLS servers to be tried out on: ordinary ones, and ones with a fault on purpose. Certificates from the simulator's own impostor CA. */

import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions, type TLSSocket } from 'node:tls'
import { generate, parser, type Packet } from 'mqtt-packet'
import type { Enrolled } from '#device-sim/index.ts'
import { createImpostor, type Impostor } from '#device-sim/client/impostor.ts'
import { formatClaimToken } from '#wire/tokens.ts'

/** of {@link World.token} */
export const CLAIM_SECRET = 's'.repeat(43)

export type World = {
  readonly ca: Impostor
  /** a claim token, which pins the root */
  readonly token: string
  /** requests a client certificate, as our doors do; tickets as Node gives them */
  readonly tls: TlsOptions
  device(id: string): Promise<Enrolled>
}

export const createWorld = async (name = 'test root'): Promise<World> => {
  const now = Date.now()
  const ca = await createImpostor(name, now)
  const server = await ca.issue({ commonName: 'server', purpose: 'server', dns: ['localhost'] })
  const root = createHash('sha256').update(new X509Certificate(ca.rootPem).raw).digest()
  return {
    ca,
    token: formatClaimToken('t'.repeat(16), CLAIM_SECRET, root),
    tls: {
      key: server.keyPem,
      cert: server.certificatePem,
      ca: [ca.rootPem],
      requestCert: true,
      rejectUnauthorized: false,
    },
    device: async (id) => ({
      ...(await ca.issue({ commonName: id })),
      deviceId: id,
      rootPem: ca.rootPem,
      notAfter: now + 1e6,
      renewAfter: now + 1e6,
      serial: '01',
    }),
  }
}

export type Listening = AsyncDisposable & { readonly port: number }

/** Listens on a free port; disposed of, it ends every connection too. */
export const owned = async (server: ReturnType<typeof createTlsServer>): Promise<Listening> => {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  // a client that goes away is no news
  server.on('tlsClientError', () => {})
  server.on('secureConnection', (socket: TLSSocket) => socket.on('error', () => {}))
  server.listen(0)
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

export const httpsServer = (options: TlsOptions, listener: RequestListener): Promise<Listening> =>
  owned(createHttpsServer(options, listener) as unknown as ReturnType<typeof createTlsServer>)

/** `answer` gets every packet; it writes what it likes. */
export const mqttServer = (
  options: TlsOptions,
  answer: (packet: Packet, reply: (packet: Packet) => void, socket: TLSSocket) => void,
): Promise<Listening> =>
  owned(
    createTlsServer(options, (socket) => {
      const packets = parser()
      let protocolVersion = 4
      const reply = (out: Packet): void => void socket.write(generate(out, { protocolVersion }))
      packets.on('packet', (packet) => {
        if (packet.cmd === 'connect') protocolVersion = packet.protocolVersion ?? 4
        answer(packet, reply, socket)
      })
      packets.on('error', () => socket.destroy())
      socket.on('data', (data: Buffer) => packets.parse(data))
    }),
  )

/** `returnCode` is of MQTT 3.1.1, `reasonCode` of 5 */
export const connack = (code: number, sessionPresent = false): Packet => ({
  cmd: 'connack',
  returnCode: code,
  reasonCode: code,
  sessionPresent,
})

export const suback = (messageId: number | undefined, ...granted: number[]): Packet => ({
  cmd: 'suback',
  messageId: messageId ?? 0,
  granted,
})

/** A broker that lets everybody in and delivers everything to whoever subscribed to anything. */
export const openBroker = (options: TlsOptions): Promise<Listening> => {
  const listeners = new Set<(packet: Packet) => void>()
  return mqttServer(options, (packet, reply, socket) => {
    if (packet.cmd === 'connect') reply(connack(0))
    if (packet.cmd === 'subscribe') {
      listeners.add(reply)
      socket.once('close', () => listeners.delete(reply))
      reply(suback(packet.messageId, ...packet.subscriptions.map(({ qos }) => qos)))
    }
    if (packet.cmd === 'publish') {
      for (const listener of listeners) listener({ ...packet, qos: 0 })
      if (packet.qos > 0) reply({ cmd: 'puback', messageId: packet.messageId ?? 0 })
    }
    if (packet.cmd === 'disconnect') socket.end()
  })
}
