/**
 * The client's end of a connection: bytes to it, with backpressure, and whether it is listened to. Not what the bytes say.
 * A stream of any kind: TLS today.
 */

import type { Duplex } from 'node:stream'
import { SECOND } from '#fleet/clock.ts'

/** ms for a client to read the last word, and for one that is cut to read that there is none. */
const LAST_WORD = SECOND
const CUT = 50
/** Bytes of answers made here that a client has not read; beyond it, it is not listened to either. */
const UNREAD_ANSWERS = 64 * 1024

/**
 * Why a client is not listened to. `packet`: one of its packets must be dealt with first. `broker`: the broker is full. `answers`: it does
 * not read them. `turn`: it is others' turn.
 */
export const HOLD = { packet: 1, broker: 2, answers: 4, turn: 8 } as const
type Hold = (typeof HOLD)[keyof typeof HOLD]

export type ClientSide = {
  /** @returns false: wait for `drain` */
  write(bytes: Uint8Array): boolean
  /** something that the door says by itself */
  answer(bytes: Uint8Array): boolean
  hold(why: Hold): void
  release(why: Hold): void
  readonly held: boolean
  /** at once */
  cut(): void
  /** after what has been written, and these bytes */
  close(last?: Uint8Array): void
}

export const createClientSide = (
  stream: Duplex,
  on: { data(chunk: Buffer): void; drain(): void; closed(): void },
): ClientSide => {
  let holds = 0
  let unread = 0
  let ended = false

  const finish = (patience: number, last?: Uint8Array): void => {
    if (ended) return
    ended = true
    // reads on for a while: to close with bytes unread is a reset, which may overtake the last word
    const late = setTimeout(() => stream.destroy(), patience)
    stream.once('close', () => clearTimeout(late))
    if (last === undefined) stream.end()
    else stream.end(last)
    stream.resume()
  }

  const side: ClientSide = {
    write: (bytes) => ended || stream.write(bytes),
    answer: (bytes) => {
      if (side.write(bytes)) return true
      unread += bytes.length
      if (unread > UNREAD_ANSWERS) side.hold(HOLD.answers)
      return false
    },
    hold: (why) => {
      holds |= why
      stream.pause()
    },
    release: (why) => {
      if ((holds & why) === 0) return
      holds &= ~why
      if (holds === 0) stream.resume()
    },
    get held() {
      return holds !== 0
    },
    cut: () => {
      if (ended) return
      // what waits for it, it must not get; when nothing waits, TLS can be closed in order
      if (stream.writableLength > 0) {
        ended = true
        stream.destroy()
      } else finish(CUT)
    },
    close: (last) => finish(LAST_WORD, last),
  }

  stream.on('data', (chunk: Buffer) => {
    if (!ended) on.data(chunk)
  })
  stream.on('drain', () => {
    unread = 0
    side.release(HOLD.answers)
    if (!ended) on.drain()
  })
  // 'close' follows
  stream.on('error', () => {})
  // MQTT knows no half-closed connection
  stream.on('end', on.closed)
  stream.on('close', on.closed)
  return side
}
