/**
 * A bad network, made in this process: a stream between the TCP socket and TLS that delays, holds back and swallows. It imitates what TCP
 * shows to whoever sits on top of it (order kept, nothing lost for good), not packets.
 * The fault is asked for with each chunk, so it may begin and end in the middle of a connection.
 */

import { Duplex } from 'node:stream'
import type { Random } from '../random.ts'

/** Each may be 0 or false: then the link is good in that respect. */
export type LinkFault = {
  /** ms each way, ± `jitter` ms */
  readonly delay: number
  readonly jitter: number
  /** of segments, 0 to 1 */
  readonly loss: number
  /** nothing passes either way and no end is seen, while it lasts; what TCP would send again goes through after it */
  readonly halfOpen: boolean
  /** ms between two small pieces of what is sent until the handshake is done */
  readonly slowHandshake: number
  readonly random: Random
}

/** undefined: the link is good now */
export type AskFault = () => LinkFault | undefined

/** What a link needs of a socket. It must not end by itself when the other side does (`allowHalfOpen`). */
type Raw = Duplex & { unref?(): unknown }

export type Link = {
  readonly stream: Duplex
  /** once `SYN` and its answer have been over the link; the socket below is connected already */
  opened(then: () => void): void
  /** from now on nothing is cut into pieces */
  handshaken(): void
}

/** ms; twice as long each time (RFC 6298, 5.5), and the sixth retransmission arrives */
const RETRANSMISSION = 200
const MOST_LOSSES = 6
/** octets */
const SEGMENT = 1_448
const PIECE = 256
/** octets under way in one direction before the sender has to wait */
const WINDOW = 65_536
/** ms between two looks whether an abandoned connection's link is still dead, and how many */
const LOOK = 1_000
const MOST_LOOKS = 120

/** ms for which the worst hit of its segments holds back a chunk */
const heldBack = (size: number, { loss, random }: LinkFault): number => {
  if (loss <= 0) return 0
  let worst = 0
  for (let at = 0; at === 0 || at < size; at += SEGMENT) {
    let losses = 0
    while (losses < MOST_LOSSES && random.next() < loss) losses++
    worst = Math.max(worst, losses)
  }
  return RETRANSMISSION * (2 ** worst - 1)
}

type Parcel = {
  readonly due: number
  /** @returns false: this was taken, but no more until {@link Lane.resume} */
  readonly deliver: () => boolean
}

type Lane = {
  /** @param gap ms at least after the one before */
  push(size: number, deliver: Parcel['deliver'], gap?: number): void
  resume(): void
  /** for good */
  clear(): void
}

/** One direction: first in, first out, none before it is due. */
const createLane = (ask: AskFault): Lane => {
  let parcels: Parcel[] = []
  let timer: NodeJS.Timeout | undefined
  let lastDue = Number.NEGATIVE_INFINITY
  let blocked = false
  let over = false
  let tries = 0

  const arm = (ms: number): void => {
    timer = setTimeout(() => {
      timer = undefined
      pump()
    }, ms)
  }
  const pump = (): void => {
    while (timer === undefined && !blocked && !over) {
      const [head] = parcels
      if (head === undefined) return
      const early = head.due - performance.now()
      if (early > 0) return arm(Math.ceil(early))
      if (ask()?.halfOpen) return arm(RETRANSMISSION * 2 ** Math.min(tries++, MOST_LOSSES - 1))
      tries = 0
      parcels.shift()
      if (!head.deliver()) blocked = true
    }
  }
  return {
    push(size, deliver, gap = 0) {
      const fault = ask()
      const now = performance.now()
      const late =
        fault === undefined
          ? 0
          : Math.max(0, fault.delay + fault.jitter * (2 * fault.random.next() - 1)) + heldBack(size, fault)
      lastDue = Math.max(lastDue + gap, now + late)
      parcels.push({ due: lastDue, deliver })
      pump()
    },
    resume() {
      if (!blocked) return
      blocked = false
      pump()
    },
    clear() {
      over = true
      clearTimeout(timer)
      parcels = []
    },
  }
}

/** The device has gone, and the other side must not see it as long as nothing passes. Holds no process up. */
const abandon = (raw: Raw, ask: AskFault): void => {
  let looks = 0
  let timer: NodeJS.Timeout
  const look = (): void => {
    if (ask()?.halfOpen && ++looks < MOST_LOOKS) timer = setTimeout(look, LOOK).unref()
    else raw.destroy()
  }
  raw.once('close', () => clearTimeout(timer))
  raw.unref?.()
  raw.resume()
  look()
}

const piecesOf = (chunk: Buffer, size: number): Buffer[] =>
  Array.from({ length: Math.ceil(chunk.length / size) }, (_, at) =>
    chunk.subarray(at * size, (at + 1) * size),
  )

/** @param raw connected; it belongs to the link from now on, and is destroyed with it */
export const createLink = (raw: Raw, ask: AskFault): Link => {
  const outgoing = createLane(ask)
  const incoming = createLane(ask)
  let outgoingOctets = 0
  let incomingOctets = 0
  let held: (() => void) | undefined
  let shaking = true
  let ended = false
  let failure: Error | undefined

  const stream = new Duplex({
    // as a plain socket: who is told of the end ends too
    allowHalfOpen: false,
    read: () => incoming.resume(),
    write(chunk: Buffer, _encoding, done) {
      const pause = shaking ? (ask()?.slowHandshake ?? 0) : 0
      outgoingOctets += chunk.length
      for (const piece of pause > 0 ? piecesOf(chunk, PIECE) : [chunk]) {
        const sent = (): void => {
          outgoingOctets -= piece.length
          if (outgoingOctets >= WINDOW) return
          // the next write begins within it, and may be held in its turn
          const next = held
          held = undefined
          next?.()
        }
        const deliver = (): boolean => {
          raw.write(piece, sent)
          return true
        }
        outgoing.push(piece.length, deliver, pause)
      }
      if (outgoingOctets < WINDOW) done()
      else held = done
    },
    final(done) {
      outgoing.push(0, () => {
        raw.end()
        done()
        return true
      })
    },
    destroy(error, done) {
      outgoing.clear()
      incoming.clear()
      if (!shaking && !raw.destroyed && ask()?.halfOpen) abandon(raw, ask)
      else raw.destroy()
      done(error)
    },
  })

  raw.on('data', (chunk: Buffer) => {
    if (stream.destroyed) return
    incomingOctets += chunk.length
    if (incomingOctets >= WINDOW) raw.pause()
    incoming.push(chunk.length, () => {
      incomingOctets -= chunk.length
      if (incomingOctets < WINDOW) raw.resume()
      return stream.push(chunk)
    })
  })
  raw.once('end', () =>
    incoming.push(0, () => {
      ended = true
      stream.push(null)
      return true
    }),
  )
  raw.on('error', (error) => (failure = error))
  raw.once('close', () =>
    incoming.push(0, () => {
      // an orderly end is left to the stream, which still has to be read to its end
      if (failure !== undefined || !ended) stream.destroy(failure)
      return true
    }),
  )

  return {
    stream,
    opened: (then) =>
      outgoing.push(0, () => {
        incoming.push(0, () => {
          then()
          return true
        })
        return true
      }),
    handshaken: () => {
      shaking = false
    },
  }
}
