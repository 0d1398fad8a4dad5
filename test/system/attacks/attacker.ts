/**
 * What every attack in this folder is made with: bytes on a connection of one's own, a stolen CA key, a hostile DER writer.
 * Not a well-behaved client: it checks nothing about the server and sends whatever it is told.
 */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect as netConnect } from 'node:net'
import { join } from 'node:path'
import { connect as tlsConnect, type ConnectionOptions } from 'node:tls'
import { readCertificate } from '#pki/certificate.ts'
import type { DeviceFiles } from '../../support/fleet.ts'
import { mqttClient, type MqttClient } from '../../support/mqtt-client.ts'
import type { TestCa } from '../../support/pki.ts'
import { readReply } from '../../support/raw-https.ts'

/** A second, as the contract promises for every refusal, and three more for a machine that does other things. ms */
export const PROMPT = 4_000

/** A key and the chain that is sent with it. */
export type Who = { readonly keyPem: string; readonly fullPem: string }
export const as = (device: DeviceFiles): Who => ({
  keyPem: device.keyPem,
  fullPem: device.certificatePem + device.chainPem,
})

export type Heard = {
  /** 0: the connection ended without a reply */
  readonly status: number
  /** of the problem document, or the first word of its kind in a text */
  readonly reason: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly raw: string
}

const reasonIn = (body: string): string | undefined => {
  try {
    return (JSON.parse(body) as { reason?: string }).reason
  } catch {
    return /\b[a-z]+(?:_[a-z]+)+\b/.exec(body)?.[0]
  }
}

const heard = (raw: string): Heard => {
  if (!raw.includes('\r\n\r\n')) return { status: 0, reason: undefined, headers: {}, body: '', raw }
  const { status, headers, body } = readReply(raw)
  return { status, headers, body, raw, reason: reasonIn(body) }
}

export type SpeakOptions = {
  readonly who?: Who | undefined
  readonly serverName?: string
  /** source address */
  readonly from?: string
  readonly tls?: ConnectionOptions
  /** ms until a connection that is still open is a failure */
  readonly within?: number
}

/** These bytes on a connection of their own; everything that came until the server closed it. A broken handshake is status 0. */
export const speak = (url: string, bytes: string | Uint8Array, o: SpeakOptions = {}): Promise<Heard> => {
  const { protocol, port } = new URL(url)
  const at = {
    host: '127.0.0.1',
    port: Number(port),
    ...(o.from === undefined ? {} : { localAddress: o.from }),
  }
  const plain = protocol === 'http:'
  const socket = plain
    ? netConnect(at)
    : tlsConnect({
        ...at,
        rejectUnauthorized: false,
        servername: o.serverName ?? 'localhost',
        ...(o.who === undefined ? {} : { key: o.who.keyPem, cert: o.who.fullPem }),
        ...o.tls,
      })
  return new Promise((resolve, reject) => {
    let raw = ''
    const late = setTimeout(() => {
      socket.destroy()
      reject(new Error(`still open, having said ${JSON.stringify(raw.slice(0, 500))}`))
    }, o.within ?? 15_000)
    const done = (): void => {
      clearTimeout(late)
      socket.destroy()
      resolve(heard(raw))
    }
    socket.setEncoding('latin1').on('data', (chunk: string) => (raw += chunk))
    for (const event of ['end', 'close', 'error']) socket.on(event, done)
    socket.once(plain ? 'connect' : 'secureConnect', () => socket.write(bytes))
  })
}

export type Ask = SpeakOptions & {
  readonly method?: string
  readonly host?: string
  readonly headers?: readonly string[]
  /** an object is sent as JSON */
  readonly body?: string | Uint8Array | object
  readonly token?: string
}

/** One well-formed request, and `Connection: close`. */
export const ask = (url: string, target: string, o: Ask = {}): Promise<Heard> => {
  const json = typeof o.body === 'object' && !(o.body instanceof Uint8Array)
  const body = Buffer.from(json ? JSON.stringify(o.body) : ((o.body ?? '') as string))
  const head = [
    `${o.method ?? (o.body === undefined ? 'GET' : 'POST')} ${target} HTTP/1.1`,
    `Host: ${o.host ?? 'localhost'}`,
    'Connection: close',
    ...(o.body === undefined ? [] : [`Content-Length: ${body.length}`]),
    ...(json ? ['Content-Type: application/json'] : []),
    ...(o.token === undefined ? [] : [`Authorization: Bearer ${o.token}`]),
    ...(o.headers ?? []),
  ]
  return speak(url, Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), body]), o)
}

export const said = ({ status, reason }: Heard): [number, string | undefined] => [status, reason]

/** A TLS connection to the MQTT door, and nothing said on it yet. */
export const openMqtt = async (url: string, o: SpeakOptions = {}): Promise<MqttClient> => {
  const socket = tlsConnect({
    host: '127.0.0.1',
    port: Number(new URL(url).port),
    rejectUnauthorized: false,
    servername: o.serverName ?? 'localhost',
    ...(o.who === undefined ? {} : { key: o.who.keyPem, cert: o.who.fullPem }),
    ...o.tls,
  })
  await once(socket, 'secureConnect')
  return mqttClient(socket)
}

// ---- the hostile DER writer

export const tlv = (tag: number, ...content: readonly Uint8Array[]): Buffer => {
  const value = Buffer.concat(content)
  const size = value.length.toString(16)
  const long = Buffer.from(size.padStart(size.length + (size.length % 2), '0'), 'hex')
  const length =
    value.length < 0x80 ? Buffer.of(value.length) : Buffer.concat([Buffer.of(0x80 | long.length), long])
  return Buffer.concat([Buffer.of(tag), length, value])
}

/** The children of a constructed value, as they are written. */
export const children = (der: Uint8Array): Buffer[] => {
  const found: Buffer[] = []
  const header = (at: number): [number, number] => {
    const first = der[at + 1] as number
    if (first < 0x80) return [2, first]
    const octets = first & 0x7f
    return [2 + octets, Buffer.from(der).readUIntBE(at + 2, octets)]
  }
  for (let at = header(0)[0]; at < der.length;) {
    const [head, length] = header(at)
    found.push(Buffer.from(der.subarray(at, at + head + length)))
    at += head + length
  }
  return found
}

// ---- the stolen CA

/** The real devices intermediate and its key, out of the home: what it signs is ours to every eye but the registry's. */
export const stolenCa = (home: string, name: 'intermediate' | 'root' = 'intermediate'): TestCa => {
  const pem = readFileSync(join(home, `certs/${name}.pem`), 'utf8')
  const keyPem = readFileSync(join(home, `certs/private/${name}.key`), 'utf8')
  const privateKey = createPrivateKey(keyPem)
  const { raw: der, publicKey } = new X509Certificate(pem)
  const facts = readCertificate(der)
  return {
    privateKey,
    publicKey,
    der,
    pem,
    keyPem,
    subjectDer: facts.subjectDer,
    ski: facts.subjectKeyId ?? '',
    facts,
  }
}
