/**
 * One fresh TLS connection of a device, always verifying the server. Nothing is pooled and nothing is resumed unless a drill
 * hands in a `session` to try it.
 */

import { connect as connectTcp, isIP } from 'node:net'
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import type { Clock } from '#fleet/clock.ts'
import { FleetError } from '#fleet/errors.ts'
import type { KeyAgreement } from '#wire/scenario.ts'
import { onAbort } from '../on-abort.ts'
import type { Identity } from './identity.ts'
import { createLink, type AskFault, type Link } from './link.ts'
import { rememberedLookup } from './lookup.ts'
import type { Meter, Times } from './meter.ts'
import type { OpeningGate } from './opening-gate.ts'
import { whyNotFor, whyNotValidAt } from './server-certificate.ts'

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

/**
 * What is offered (RFC 8446 §4.2.7), by the group whose key share goes out with the ClientHello. Node's own list has the hybrid first, and
 * sends both shares.
 */
const GROUPS: Readonly<Record<KeyAgreement, string>> = {
  X25519: 'X25519:P-256:P-384:P-521',
  X25519MLKEM768: 'auto',
}

/** In the place of a root: those of the public web, as this Node has them; all devices share one set, which is 400 KB. */
export const PUBLIC_ROOTS = 'public'

/**
 * About 0.4 ms to build: make it once per device, not once per connection.
 * @throws `config_invalid`: a root was given, and there is no certificate in it
 */
export const clientContext = (o: {
  /** absent: nobody is trusted. {@link PUBLIC_ROOTS}. Another text without a certificate is refused: Node would trust the whole public web */
  readonly rootPem?: string | undefined
  readonly identity?: Identity | undefined
  readonly version?: TlsVersion | undefined
  /** default: X25519, as most devices have it */
  readonly keyAgreement?: KeyAgreement | undefined
}): SecureContext => {
  const isPublic = o.rootPem === PUBLIC_ROOTS
  if (o.rootPem !== undefined && !isPublic && !o.rootPem.includes('-----BEGIN CERTIFICATE-----'))
    throw new FleetError('config_invalid', 'the root that servers are to be known by holds no certificate')
  return createSecureContext({
    ...(isPublic ? {} : { ca: o.rootPem ?? [] }),
    minVersion: o.version ?? 'TLSv1.2',
    ecdhCurve: GROUPS[o.keyAgreement ?? 'X25519'],
    ...(o.version === undefined ? {} : { maxVersion: o.version }),
    ...(o.identity === undefined
      ? {}
      : { key: o.identity.keyPem, cert: o.identity.certificatePem + o.identity.chainPem }),
  })
}

export type ConnectOptions = {
  readonly url: URL
  /** a function is asked when the connection's turn has come, which with a `gate` may be later: a certificate may have been renewed since */
  readonly context: SecureContext | (() => SecureContext)
  readonly alpn?: readonly string[] | undefined
  /** of an earlier connection, to try whether the server resumes it */
  readonly session?: Buffer | undefined
  /** keep what could be presented to resume this connection; costs a serialisation, so only when asked */
  readonly keepSession?: boolean | undefined
  /** false only for the first contact, over which nothing secret is sent */
  readonly verify?: boolean | undefined
  /** SNI, when it is not to be the host's name; null: none. The server is verified by the host's name all the same */
  readonly serverName?: string | null | undefined
  /** ms, until the handshake is complete */
  readonly timeout?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly meter?: Meter | undefined
  /** the device's own, when it is wrong: OpenSSL has gone by the machine's, and the server's certificates must be valid by both */
  readonly clock?: Clock | undefined
  /** what ails the network between this device and the server; without it there is nothing between socket and TLS */
  readonly link?: AskFault | undefined
  /** bounds how many open at once in this process; the timeout counts from when it lets this one through */
  readonly gate?: OpeningGate | undefined
  /** an address of this machine to come from, such as 127.0.0.2; default: what the system takes */
  readonly localAddress?: string | undefined
}

/** What stands between one device and whomever it talks to. */
export type Network = Pick<ConnectOptions, 'link' | 'clock' | 'gate' | 'localAddress'>

export type Connection = {
  readonly socket: TLSSocket
  /** the client's own view: false is a full handshake */
  readonly resumed: boolean
  readonly tlsVersion: string
  readonly times: Times
  /** with `keepSession`: the newest; TLS 1.3 sends it after the handshake */
  latestSession(): Buffer | undefined
}

const DEFAULT_TIMEOUT = 10_000

const notBuilt = (() => ({})) as TLSSocket['getPeerCertificate']

export const unreachable = (url: URL, why: unknown): FleetError =>
  why instanceof FleetError
    ? why
    : new FleetError(
        'target_unreachable',
        `${url.protocol}//${url.host}: ${why instanceof Error ? why.message || why.name : String(why)}`,
        { cause: why },
      )

const serverNameFor = (said: string | null | undefined, host: string): { servername?: string } => {
  const name = said === undefined && !isIP(host) ? host : said
  return name ? { servername: name } : {}
}

/** Of a URL, as sockets and certificates have it: an IPv6 address without brackets, a name without the dot of the root. */
export const hostOf = (url: URL): string => url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')

/** Where none is said (RFC 9110 §4.2.2; of MQTT over TLS as IANA has it). */
const PORTS: Readonly<Record<string, string>> = { 'https:': '443', 'mqtts:': '8883' }

/** @throws `config_invalid`: no port is said, and none is known for its scheme */
export const portOf = ({ port, protocol, host }: URL): string => {
  const found = port || PORTS[protocol]
  if (found === undefined) throw new FleetError('config_invalid', `${protocol}//${host} says no port`)
  return found
}

type Opened = (connection: Connection) => void
type Failed = (why: FleetError) => void

const GIVEN_UP = 'given up'

/** {@link dial}, once its turn has come. */
const open = (o: ConnectOptions, opened: Opened, failed: Failed): void => {
  const secureContext = typeof o.context === 'function' ? o.context() : o.context
  const host = hostOf(o.url)
  const { localAddress } = o
  const began = performance.now()
  const raw = connectTcp({
    host,
    port: Number(portOf(o.url)),
    lookup: rememberedLookup,
    noDelay: true,
    allowHalfOpen: o.link !== undefined,
    ...(localAddress === undefined ? {} : { localAddress, family: isIP(localAddress) }),
  })
  // below TLS, and below a bad link: what was really on the wire
  const closed = o.meter?.opened(() => ({ sent: raw.bytesWritten, received: raw.bytesRead }))
  let pending = true
  let link: Link | undefined
  let socket: TLSSocket | undefined

  const settle = (): void => {
    pending = false
    clearTimeout(timer)
    unheard?.()
  }
  const fail = (why: unknown): void => {
    if (!pending) return
    settle()
    // the uppermost takes the others with it
    const top = socket ?? link?.stream ?? raw
    top.destroy()
    failed(unreachable(o.url, why))
  }
  const timer = setTimeout(fail, o.timeout ?? DEFAULT_TIMEOUT, 'no handshake in time')
  const unheard = o.signal && onAbort(o.signal, () => fail(GIVEN_UP))

  const shake = (): void => {
    const connected = performance.now()
    const tls: TLSSocket = connect({
      socket: link?.stream ?? raw,
      secureContext,
      rejectUnauthorized: o.verify !== false,
      checkServerIdentity: () => whyNotFor(host, tls.getPeerX509Certificate()),
      ...serverNameFor(o.serverName, host),
      ...(o.alpn === undefined ? {} : { ALPNProtocols: [...o.alpn] }),
      ...(o.session === undefined ? {} : { session: o.session }),
    })
    socket = tls
    // Node calls it to hand its result to checkServerIdentity, ours does not read that, and it costs an eighth of a handshake
    tls.getPeerCertificate = notBuilt
    let ticket: Buffer | undefined
    if (o.keepSession) tls.on('session', (session: Buffer) => (ticket = session))
    tls.once('close', () => fail('closed during the handshake'))
    // stays for good: a reset after the handshake is seen by whoever uses the socket, and must not end the process
    tls.on('error', fail)
    tls.once('secureConnect', () => {
      Reflect.deleteProperty(tls, 'getPeerCertificate')
      const why = o.clock && o.verify !== false && whyNotValidAt(o.clock(), tls.getPeerX509Certificate())
      if (why) return fail(why)
      if (!pending) return
      settle()
      link?.handshaken()
      const resumed = tls.isSessionReused()
      // without a ticket there is still a session, with or without an id, that a server might know again
      if (o.keepSession) ticket ??= tls.getSession()
      const times = { tcp: connected - began, tls: performance.now() - connected }
      o.meter?.handshake(resumed, times)
      const tlsVersion = tls.getProtocol() ?? 'unknown'
      opened({ socket: tls, resumed, tlsVersion, times, latestSession: () => ticket })
    })
  }

  raw.on('error', fail)
  raw.once('close', () => {
    closed?.()
    if (socket === undefined && link === undefined) fail('closed before the handshake')
  })
  raw.once('connect', () => {
    if (o.link === undefined) return shake()
    link = createLink(raw, o.link)
    link.stream.on('error', fail)
    link.opened(shake)
  })
}

/**
 * {@link openConnection} without a promise: `opened` is called while the client's last flight still waits to be sent, so that what is
 * written in it goes out with that flight. By then the server has been verified. One of the two is called, once.
 */
export const dial = (o: ConnectOptions, opened: Opened, failed: Failed): void => {
  const { gate, signal, url } = o
  if (signal?.aborted) return failed(unreachable(url, GIVEN_UP))
  if (gate === undefined) return open(o, opened, failed)
  let begun = false
  let unheard: (() => void) | undefined
  const giveUp = gate((leave) => {
    begun = true
    unheard?.()
    const fail: Failed = (why) => {
      leave()
      failed(why)
    }
    try {
      const done: Opened = (connection) => {
        leave()
        opened(connection)
      }
      open(o, done, fail)
    } catch (error) {
      fail(unreachable(url, error))
    }
  })
  if (begun || signal === undefined) return
  unheard = onAbort(signal, () => {
    giveUp()
    failed(unreachable(url, GIVEN_UP))
  })
}

/** @throws `target_unreachable`: no connection, an untrusted server, a refused handshake, the timeout or the signal */
export const openConnection = (o: ConnectOptions): Promise<Connection> =>
  new Promise((resolve, reject) => dial(o, resolve, reject))
