/**
 * A connection to one address of a broker: TCP, and TLS whose certificate names the broker. The PROXY header, when there is one, goes before
 * the TLS handshake. Not which address: ./pool.ts.
 */

import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type SecureContext } from 'node:tls'
import { MINUTE } from '#fleet/clock.ts'
import { ONREAD } from './socket-link.ts'

/** Until the kernel asks whether a silent peer is still there. */
const KEEP_ALIVE = MINUTE

/** Why a broker could not be used; labels of `sallyport_mqtt_upstream_failures_total`. */
export type Failure =
  | 'refused'
  | 'unreachable'
  | 'timeout'
  | 'reset'
  /** no free port here to connect from: about 28,000 for each address of a broker */
  | 'ports'
  /** no file descriptor left here */
  | 'files'
  | 'tls'
  /** its name cannot be resolved */
  | 'name'
  /** it closed a connection without a word */
  | 'silent'
  /** it closed a connection that it had answered on */
  | 'closed'
  /** its CONNACK says that it is not available */
  | 'unavailable'

const BY_CODE: Readonly<Record<string, Failure>> = {
  ECONNREFUSED: 'refused',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EACCES: 'unreachable',
  EPERM: 'unreachable',
  ETIMEDOUT: 'timeout',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  EADDRNOTAVAIL: 'ports',
  EMFILE: 'files',
  ENFILE: 'files',
}

const failureOf = (error: unknown, connected: boolean): Failure =>
  BY_CODE[(error as { code?: string }).code ?? ''] ?? (connected ? 'tls' : 'unreachable')

export type Target = {
  readonly ip: string
  readonly port: number
  /** the broker's name, or its address, as it is configured: what its certificate must name */
  readonly host: string
  /** undefined: plain TCP */
  readonly context: SecureContext | undefined
}

/** `header`: still to be said, undefined when it has been. */
export type Dialled = { readonly socket: Socket; readonly header: Uint8Array | undefined }

/** `ofClient`: it may be about this one client alone: the broker was reached, and had been told who it is before it failed. */
export type NotDialled = { readonly failure: Failure; readonly ofClient: boolean; readonly error: unknown }

export type Dialling = {
  /** Nobody wants it any more: `done` is not called. */
  cancel(): void
}

const tlsOptions = (target: Target): ConnectionOptions => ({
  secureContext: target.context as SecureContext,
  // an address is held against the certificate's addresses, and is never sent as SNI (RFC 6066 §3)
  ...(isIP(target.host) === 0 ? { servername: target.host } : { host: target.host }),
})

/**
 * @param o.timeout ms for all of it
 * @param done called once, later
 */
export const dial = (
  o: { readonly target: Target; readonly timeout: number; readonly header: Uint8Array | undefined },
  done: (result: Dialled | NotDialled) => void,
): Dialling => {
  const { target } = o
  let current: Socket
  let connected = false
  let over = false

  const finish = (): boolean => {
    if (over) return false
    over = true
    clearTimeout(timer)
    current.off('error', failed)
    return true
  }
  const failed = (error: unknown): void => {
    if (!finish()) return
    current.on('error', () => {})
    current.destroy()
    done({ failure: failureOf(error, connected), ofClient: connected && o.header !== undefined, error })
  }
  const ready = (header: Uint8Array | undefined): void => {
    if (finish()) done({ socket: current, header })
  }
  const timer = setTimeout(
    () => failed(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })),
    o.timeout,
  )

  const watch = (socket: Socket): Socket => {
    current = socket
    return socket.on('error', failed)
  }
  const tcp = {
    host: target.ip,
    port: target.port,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE,
  }

  const overTls = (raw: Socket | undefined): void => {
    raw?.off('error', failed).on('error', () => {})
    // the type leaves out `onread`
    const options = {
      ...tlsOptions(target),
      ...(raw === undefined ? { ...tcp, onread: ONREAD } : { socket: raw }),
    }
    const socket = connectTls(options)
    watch(socket)
    socket.once('connect', () => {
      connected = true
    })
    socket.once('secureConnect', () => ready(undefined))
  }

  if (target.context === undefined) {
    watch(connectTcp({ ...tcp, onread: ONREAD })).once('connect', () => ready(o.header))
  } else if (o.header === undefined) {
    overTls(undefined)
  } else {
    const { header } = o
    const raw = connectTcp(tcp)
    watch(raw).once('connect', () => {
      connected = true
      raw.write(header, () => {
        if (!over) overTls(raw)
      })
    })
  }
  return {
    cancel: () => {
      if (!finish()) return
      current.on('error', () => {})
      current.destroy()
    },
  }
}
