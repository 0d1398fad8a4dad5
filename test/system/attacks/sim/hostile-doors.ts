/**
 * Doors that break promises on purpose, one at a time: an HTTPS server written by hand, and a broker. What is not broken is as our own
 * gateway has it. Not a mock of the gateway: a simulated fleet comes in over real sockets.
 */

import { constants } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createServer, type TlsOptions, type TLSSocket } from 'node:tls'
import type { Packet } from 'mqtt-packet'
import { connack, mqttServer, owned, suback, type Listening } from '../../../support/faulty-servers.ts'
import type { TestPki } from '../../../support/pki.ts'

export type Door = Listening

/** Nobody is resumed. */
const secureOptions = constants.SSL_OP_NO_TICKET

export const tlsOf = (pki: TestPki): TlsOptions => {
  const { fullPem: cert, keyPem: key } = pki.server()
  return { cert, key, ca: [pki.root.pem, pki.devices.pem], secureOptions }
}

/** As the gateway of that fleet. @param home its `SALLYPORT_HOME` */
export const tlsOfFleet = (home: string): TlsOptions => {
  const read = (name: string): string => readFileSync(join(home, 'certs', name), 'utf8')
  const ca = [read('root.pem'), read('intermediate.pem')]
  return { cert: read('server.pem'), key: read('private/server.key'), ca, secureOptions }
}

export type Request = {
  readonly head: string
  readonly body: string
  readonly socket: TLSSocket
  /** CN of the certificate; undefined: none was shown */
  readonly cn: string | undefined
  /** of this connection, from 1 */
  readonly nth: number
  answer(status: number, body: string, headers?: readonly string[]): void
}

const nameOf = (socket: TLSSocket): string | undefined => {
  const { subject } = socket.getPeerCertificate() as { subject?: { CN?: string } }
  return subject?.CN
}

const PROBLEM = (reason: string): string => JSON.stringify({ type: 'about:blank', reason, request_id: 'x' })

/** As our own door: one request, with a certificate. */
export const good = (request: Request): void => {
  if (request.nth > 1) return
  if (request.cn === undefined)
    request.answer(403, PROBLEM('certificate_required'), ['content-type: application/problem+json'])
  else request.answer(200, '{"ok":true}')
  request.socket.end()
}

/** @param behave gets every request, whole */
export const httpsDoor = (tls: TlsOptions, behave: (request: Request) => void): Promise<Door> => {
  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, (socket) => {
    let text = ''
    let nth = 0
    socket.on('data', (data: Buffer) => {
      text += data.toString('latin1')
      for (;;) {
        const end = text.indexOf('\r\n\r\n')
        if (end < 0) return
        const head = text.slice(0, end)
        const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
        if (text.length < end + 4 + length) return
        const body = text.slice(end + 4, end + 4 + length)
        text = text.slice(end + 4 + length)
        nth += 1
        behave({
          head,
          body,
          socket,
          cn: nameOf(socket),
          nth,
          answer(status, content, headers = []) {
            const lines = [
              `HTTP/1.1 ${status} Any`,
              ...headers,
              `content-length: ${Buffer.byteLength(content)}`,
            ]
            socket.write(`${lines.join('\r\n')}\r\n\r\n${content}`)
          },
        })
      }
    })
  })
  return owned(server)
}

export type BrokerFaults = {
  /** lets in who has no certificate */
  readonly anybody?: boolean
  /** acknowledges and forgets */
  readonly loses?: (n: number, cn: string | undefined) => boolean
  /** delivers and does not acknowledge */
  readonly silent?: boolean
  /** SUBACK 0 for any filter */
  readonly anyFilter?: boolean
  /** anybody may publish on it */
  readonly anyTopic?: boolean
  /** every message goes to every subscriber */
  readonly toAll?: boolean
  /** in place of CONNACK */
  readonly greets?: (socket: TLSSocket) => void
  /** before each delivery */
  readonly changes?: (packet: Packet & { cmd: 'publish' }) => Packet
}

/** A broker with device topics as ours: `devices/<CN>/#`, and what is asked for broken. */
export const broker = (tls: TlsOptions, faults: BrokerFaults = {}): Promise<Door> => {
  const listeners = new Map<
    TLSSocket,
    { readonly cn: string | undefined; readonly reply: (packet: Packet) => void }
  >()
  let n = 0
  return mqttServer({ ...tls, requestCert: true, rejectUnauthorized: false }, (packet, reply, socket) => {
    const cn = nameOf(socket)
    const own = (topic: string): boolean => topic.startsWith(`devices/${cn}/`)
    if (packet.cmd === 'connect') {
      if (faults.greets !== undefined) return faults.greets(socket)
      if (cn === undefined && faults.anybody !== true) {
        reply(connack(5))
        return void socket.end()
      }
      reply(connack(0))
    }
    if (packet.cmd === 'pingreq') reply({ cmd: 'pingresp' })
    if (packet.cmd === 'subscribe') {
      const granted = packet.subscriptions.map(({ topic, qos }) =>
        own(topic) || faults.anyFilter === true ? qos : 0x80,
      )
      if (!granted.every((code) => code === 0x80)) {
        listeners.set(socket, { cn, reply })
        socket.once('close', () => listeners.delete(socket))
      }
      reply(suback(packet.messageId, ...granted))
    }
    if (packet.cmd === 'publish') {
      if (!own(packet.topic) && faults.anyTopic !== true) return void socket.destroy()
      n += 1
      if (packet.qos > 0 && faults.silent !== true) reply({ cmd: 'puback', messageId: packet.messageId ?? 0 })
      if (faults.loses?.(n, cn) === true) return
      const delivered = faults.changes?.(packet) ?? packet
      for (const listener of listeners.values())
        if (listener.cn === cn || faults.toAll === true) listener.reply({ ...delivered, qos: 0 } as Packet)
    }
    if (packet.cmd === 'disconnect') socket.end()
  })
}
