/**
 * The client's end of a connection: bytes to it, with backpressure, and whether it is listened to. Not what the bytes say.
 * A stream of any kind: TLS, or a WebSocket's messages. A class, and listeners that all streams share: tens of thousands are idle most of the time.
 */

import type { Duplex } from 'node:stream'
import { SECOND } from '#fleet/clock.ts'

/** ms for a client to read the last word, and for one that is cut to read why. */
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

export type ClientEvents = {
  fromClient(chunk: Buffer): void
  /** it has read what was written */
  clientDrained(): void
  /** It, or its network, has gone. May come more than once, and after a close of ours. */
  clientGone(): void
}

const SIDE = Symbol('client side')
type Served = Duplex & { [SIDE]: ClientSide }

function onData(this: Duplex, chunk: Buffer): void {
  ;(this as Served)[SIDE].heard(chunk)
}
function onDrain(this: Duplex): void {
  ;(this as Served)[SIDE].drained()
}
function onGone(this: Duplex): void {
  ;(this as Served)[SIDE].gone()
}
// 'close' follows
const onError = (): void => {}

export class ClientSide {
  readonly #stream: Duplex
  readonly #on: ClientEvents
  #holds = 0
  #unread = 0
  #ended = false

  constructor(stream: Duplex, on: ClientEvents) {
    this.#stream = stream
    this.#on = on
    ;(stream as Served)[SIDE] = this
    // MQTT knows no half-closed connection
    stream.on('data', onData).on('drain', onDrain).on('error', onError).on('end', onGone).on('close', onGone)
  }

  get held(): boolean {
    return this.#holds !== 0
  }

  /** @returns false: wait for `clientDrained` */
  write(bytes: Uint8Array): boolean {
    return this.#ended || this.#stream.write(bytes)
  }

  /** Something that the door says by itself. @returns as {@link ClientSide.write} */
  answer(bytes: Uint8Array): boolean {
    if (this.write(bytes)) return true
    this.#unread += bytes.length
    if (this.#unread > UNREAD_ANSWERS) this.hold(HOLD.answers)
    return false
  }

  hold(why: Hold): void {
    this.#holds |= why
    this.#stream.pause()
  }

  release(why: Hold): void {
    if ((this.#holds & why) === 0) return
    this.#holds &= ~why
    if (this.#holds === 0) this.#stream.resume()
  }

  /** At once. @param last said only to a client that has read everything before it */
  cut(last?: Uint8Array): void {
    if (this.#ended) return
    // what waits for it, it must not get; when nothing waits, TLS can be closed in order
    if (this.#stream.writableLength > 0) {
      this.#ended = true
      this.#stream.destroy()
    } else this.#finish(CUT, last)
  }

  /**
   * After what has been written, and these bytes.
   * @param answer.within ms that the client has for its own end. @param answer.ended called when it came in order
   */
  close(last?: Uint8Array, answer?: { readonly within: number; ended(): void }): void {
    if (this.#ended) return
    if (answer !== undefined) this.#stream.once('end', answer.ended)
    this.#finish(answer?.within ?? LAST_WORD, last)
  }

  #finish(patience: number, last: Uint8Array | undefined): void {
    this.#ended = true
    const stream = this.#stream
    // reads on for a while: to close with bytes unread is a reset, which may overtake the last word
    const late = setTimeout(() => stream.destroy(), patience)
    stream.once('close', () => clearTimeout(late))
    if (last === undefined) stream.end()
    else stream.end(last)
    stream.resume()
  }

  heard(chunk: Buffer): void {
    // what comes after the end is nobody's
    if (!this.#ended) this.#on.fromClient(chunk)
  }

  drained(): void {
    this.#unread = 0
    this.release(HOLD.answers)
    if (!this.#ended) this.#on.clientDrained()
  }

  gone(): void {
    this.#on.clientGone()
  }
}
