/**
 * What the gateway and the processes that serve its HTTPS door say to each other, over the IPC channel that Node opens for a child. Between
 * processes of one program: nothing here comes from outside.
 */

import type { SendHandle } from 'node:child_process'
import type { MetricValues } from '#runtime/metrics.ts'
import type { EndedHolder } from '../sessions/ended-holders.ts'

/** To a worker. */
export type Order =
  /** the first one: which it is, of how many */
  | { readonly kind: 'assignment'; readonly worker: number; readonly workers: number }
  /** with a socket that listens already, or none: then it binds this port, together with the others */
  | { readonly kind: 'listen'; readonly host: string; readonly port: number }
  /** send the listening socket, for the worker that comes in its place, and go on serving */
  | { readonly kind: 'hand_over' }
  /** take nobody new, let everybody finish within so many ms, say `drained` */
  | { readonly kind: 'drain'; readonly within: number }
  /** say what is counted; and that it is there */
  | { readonly kind: 'values' }
  /** their sessions are over; say `heard` */
  | { readonly kind: 'logouts'; readonly nth: number; readonly ended: readonly EndedHolder[] }
  /** of the worker's own `logout` of that number: all others have heard, or had their time to */
  | { readonly kind: 'known'; readonly nth: number }

/** From a worker. */
export type Word =
  /** everything is open but the door */
  | { readonly kind: 'standby' }
  | { readonly kind: 'ready'; readonly url: string; readonly port: number }
  /** with the socket */
  | { readonly kind: 'handed' }
  | { readonly kind: 'drained'; readonly values: MetricValues }
  | { readonly kind: 'values'; readonly values: MetricValues }
  /** tell the others */
  | ({ readonly kind: 'logout'; readonly nth: number } & EndedHolder)
  /** of the `logouts` of that number */
  | { readonly kind: 'heard'; readonly nth: number }

export type Kind<T extends { readonly kind: string }, K extends T['kind']> = Extract<T, { readonly kind: K }>

/** undefined: not one of these, like the word of #runtime/stop.ts that comes through the channel too */
export const kindOf = (message: unknown): string | undefined =>
  typeof message === 'object' && message !== null && 'kind' in message ? String(message.kind) : undefined

/**
 * A server's socket as it is, so that whoever passes it on does not accept on it: as a `net.Server` it would listen wherever it arrives. Node takes
 * "anything with an underlying _handle" (net, server.listen) and sends the handle itself.
 */
export const socketOf = (server: unknown): SendHandle | undefined =>
  (server as { readonly _handle?: SendHandle })._handle

export const closeSocket = (socket: SendHandle | undefined): void => {
  ;(socket as { close?: () => void } | undefined)?.close?.()
}
