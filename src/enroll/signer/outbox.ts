/**
 * What goes out on one connection of the signer: replies of one turn in one write, certificates and CRLs in parts, and since when nobody
 * takes them. Not what comes in: connections.ts.
 */

import type { Socket } from 'node:net'
import { FleetError } from '#fleet/errors.ts'
import type { SignerReply } from '#wire/signer.ts'
import { drained, frameOf } from './frames.ts'

/** DER bytes in a frame, before base64. */
const PART = 45_000

export type Outbox = {
  /** of the process's own time, ms; undefined: they are taken */
  readonly stuckSince: number | undefined
  /** @returns false: no more for now */
  send(reply: SignerReply): boolean
  /** Resolves when all parts are on their way, or the connection has ended. */
  sendDer(id: number, der: Uint8Array): Promise<void>
}

/** @param crlNumber of a CRL: the last one, where to go on */
export const refusal = (id: number, error: unknown, crlNumber?: bigint): SignerReply => {
  const known = error instanceof FleetError ? error : new FleetError('internal', 'the signer failed')
  return {
    id,
    ok: false,
    code: known.code,
    detail: known.detail.slice(0, 1_000),
    ...(known.retryAfter === undefined ? {} : { retry_after: Math.min(known.retryAfter, 86_400) }),
    ...(crlNumber === undefined ? {} : { crl_number: String(crlNumber) }),
  }
}

export const createOutbox = (socket: Socket): Outbox => {
  let corked = false
  let stuckSince: number | undefined
  socket.on('drain', () => (stuckSince = undefined))

  const send = (reply: SignerReply): boolean => {
    if (!corked) {
      corked = true
      socket.cork()
      process.nextTick(() => {
        corked = false
        socket.uncork()
      })
    }
    const taken = socket.write(frameOf(reply))
    if (!taken) stuckSince ??= performance.now()
    return taken
  }

  return {
    get stuckSince() {
      return stuckSince
    },
    send,
    async sendDer(id, der) {
      const bytes = Buffer.from(der.buffer, der.byteOffset, der.byteLength)
      for (let at = 0; at < bytes.length; at += PART) {
        if (socket.destroyed) return
        const more = at + PART < bytes.length
        const part = bytes.toString('base64', at, Math.min(at + PART, bytes.length))
        const taken = send({ id, ok: true, der: part, ...(more ? { more } : {}) })
        if (!taken && more) await drained(socket)
      }
    },
  }
}
