/**
 * One fresh TLS connection of a device, always verifying the server. Nothing is pooled and nothing is resumed unless a drill
 * hands in a `session` to try it.
 */

import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { isIP } from 'node:net'
import { FleetError } from '#fleet/errors.ts'
import type { Identity } from './identity.ts'
import type { Meter } from './meter.ts'

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

/** About 0.4 ms to build: make it once per device, not once per connection. */
export const clientContext = (o: {
  /** absent: nobody is trusted (`ca: undefined` would trust the whole public web) */
  readonly rootPem?: string | undefined
  readonly identity?: Identity | undefined
  readonly version?: TlsVersion | undefined
}): SecureContext =>
  createSecureContext({
    ca: o.rootPem ?? [],
    minVersion: o.version ?? 'TLSv1.2',
    ...(o.version === undefined ? {} : { maxVersion: o.version }),
    ...(o.identity === undefined
      ? {}
      : { key: o.identity.keyPem, cert: o.identity.certificatePem + o.identity.chainPem }),
  })

export type ConnectOptions = {
  readonly url: URL
  readonly context: SecureContext
  readonly alpn?: readonly string[] | undefined
  /** of an earlier connection, to try whether the server resumes it */
  readonly session?: Buffer | undefined
  /** keep what could be presented to resume this connection; costs a serialisation, so only when asked */
  readonly keepSession?: boolean | undefined
  /** false only for the first contact, over which nothing secret is sent */
  readonly verify?: boolean | undefined
  /** ms, until the handshake is complete */
  readonly timeout?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly meter?: Meter | undefined
}

export type Connection = {
  readonly socket: TLSSocket
  /** the client's own view: false is a full handshake */
  readonly resumed: boolean
  readonly tlsVersion: string
  /** with `keepSession`: the newest; TLS 1.3 sends it after the handshake */
  latestSession(): Buffer | undefined
}

const DEFAULT_TIMEOUT = 10_000

export const unreachable = (url: URL, why: unknown): FleetError =>
  why instanceof FleetError
    ? why
    : new FleetError(
        'target_unreachable',
        `${url.protocol}//${url.host}: ${why instanceof Error ? why.message || why.name : String(why)}`,
        { cause: why },
      )

/** @throws `target_unreachable`: no connection, an untrusted server, a refused handshake, the timeout or the signal */
export const openConnection = (o: ConnectOptions): Promise<Connection> =>
  new Promise((resolve, reject) => {
    if (o.signal?.aborted) return reject(unreachable(o.url, 'given up'))
    // a URL's IPv6 host is bracketed; a socket's is not
    const host = o.url.hostname.replace(/^\[(.*)\]$/, '$1')
    const socket = connect({
      host,
      port: Number(o.url.port || '443'),
      secureContext: o.context,
      rejectUnauthorized: o.verify !== false,
      ...(isIP(host) ? {} : { servername: host }),
      ...(o.alpn === undefined ? {} : { ALPNProtocols: [...o.alpn] }),
      ...(o.session === undefined ? {} : { session: o.session }),
    })
    let ticket: Buffer | undefined
    const fail = (why: unknown): void => {
      settle()
      socket.destroy()
      reject(unreachable(o.url, why))
    }
    const onClose = (): void => fail('closed during the handshake')
    const onAbort = (): void => fail('given up')
    const timer = setTimeout(() => fail('no handshake in time'), o.timeout ?? DEFAULT_TIMEOUT)
    const settle = (): void => {
      clearTimeout(timer)
      o.signal?.removeEventListener('abort', onAbort)
      socket.off('close', onClose)
    }
    o.signal?.addEventListener('abort', onAbort, { once: true })
    if (o.keepSession) socket.on('session', (session: Buffer) => (ticket = session))
    socket.once('close', onClose)
    // stays for good: a reset after the handshake is seen by whoever uses the socket, and must not end the process
    socket.on('error', fail)
    socket.once('secureConnect', () => {
      settle()
      const resumed = socket.isSessionReused()
      // without a ticket there is still a session, with or without an id, that a server might know again
      if (o.keepSession) ticket ??= socket.getSession()
      o.meter?.handshake(resumed)
      resolve({
        socket,
        resumed,
        tlsVersion: socket.getProtocol() ?? 'unknown',
        latestSession: () => ticket,
      })
    })
  })
