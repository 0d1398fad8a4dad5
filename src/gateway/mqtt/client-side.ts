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
/** A turn comes by itself. */
const STANDS_STILL = HOLD.packet | HOLD.broker | HOLD.answers

export type ClientEvents = {
  fromClient(chunk: Buffer): void
  /** it has read what was written */
  clientDrained(): void
  /** It, or its network, has gone. May come more than once, and after a close of ours. */
  clientGone(): void
  /** It stands still, waiting for the broker or for itself; said again when it waits for something else. false: it does not any more. */
  clientHeld(held: boolean): void
  /** One of these has thrown. */
  broke(error: unknown): void
}

const SIDE = Symbol('client side')
type Served = Duplex & { [SIDE]: ClientSide }

// what a listener throws would end the process, and with it all the others
function onData(this: Duplex, chunk: Buffer): void {
  const side = (this as Served)[SIDE]
  try {
    side.heard(chunk)
  } catch (error) {
    side.broke(error)
  }
}
function onDrain(this: Duplex): void {
  const side = (this as Served)[SIDE]
  try {
    side.drained()
  } catch (error) {
    side.broke(error)
  }
}
function onGone(this: Duplex): void {
  const side = (this as Served)[SIDE]
  try {
    side.gone()
  } catch (error) {
    side.broke(error)
  }
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

  /** Is it not listened to, and for another reason than that it does not read its answers? */
  get held(): boolean {
    return (this.#holds & ~HOLD.answers) !== 0
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
    const stood = (this.#holds & STANDS_STILL) !== 0
    this.#holds |= why
    this.#stream.pause()
    if (!stood && (why & STANDS_STILL) !== 0) this.#on.clientHeld(true)
  }

  release(why: Hold): void {
    if ((this.#holds & why) === 0) return
    this.#holds &= ~why
    if ((why & STANDS_STILL) !== 0) this.#on.clientHeld((this.#holds & STANDS_STILL) !== 0)
    if (this.#holds === 0) this.#stream.resume()
  }

  /** At once. @param last said only to a client that has read everything before it */
  cut(last?: Uint8Array): void {
    if (this.#ended) return
    // what waits for it, it must not get; when nothing waits, TLS can be closed in order
    if (this.#stream.writableLength > 0) this.destroy()
    else this.#finish(CUT, last)
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

  broke(error: unknown): void {
    this.#on.broke(error)
  }

  /** At once, and without a word. */
  destroy(): void {
    this.#ended = true
    this.#stream.destroy()
  }
}
