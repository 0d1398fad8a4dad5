/**
 * A WebSocket as a stream of bytes, for a protocol that does not care how its bytes are cut into messages (MQTT [MQTT-6.0.0-1..4]). Binary alone,
 * at the pace of the slower side: nothing is kept in the WebSocket but the one message that is being sent. Not the opening handshake: mqtt-websocket.ts.
 */

import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import { SECOND, type Clock } from '#fleet/clock.ts'

/** RFC 6455 §7.4.1 */
export const CLOSE = { normal: 1000, goingAway: 1001, notBinary: 1003, policy: 1008 } as const

/** Pings, pongs and empty messages in so many ms: they cost work, and carry nothing that anybody counts. */
const MOST_IDLE_FRAMES = 128
const WINDOW = 10 * SECOND
/** ms for a message to arrive whole once it has begun; as a packet has at the MQTT door */
const MESSAGE_TIMEOUT = 60 * SECOND
/** ms for a client to read why it is closed. */
const LAST_WORD = 100

export type WebSocketStreamOptions = {
  /** what the WebSocket is on */
  readonly carrier: Pick<Socket, 'readableEnded' | 'prependListener'>
  readonly clock: Clock
  /** of an end in order, asked for when it comes */
  readonly closeCode: () => number
}

/**
 * `end()` is a Close frame after what was written; `destroy()` breaks the connection at once. What the client says wrongly (text, a frame that
 * is none, too large a message, too many that say nothing) destroys the stream, and is answered with a Close frame.
 */
export class WebSocketStream extends Duplex {
  readonly #socket: WebSocket
  readonly #o: WebSocketStreamOptions
  #idleFrames = 0
  #since = -Infinity
  /** a Close frame says why; it may arrive */
  #told = false
  #deadline = Infinity

  constructor(socket: WebSocket, o: WebSocketStreamOptions) {
    super()
    this.#socket = socket
    this.#o = o
    socket.on('message', (data: RawData, isBinary: boolean) => {
      this.#message(data as Buffer, isBinary)
    })
    const idle = (): void => {
      this.#deadline = Infinity
      this.#idle()
    }
    // before ws, which reads frames out of it at once
    o.carrier.prependListener('data', () => {
      if (this.#deadline === Infinity) this.#deadline = o.clock() + MESSAGE_TIMEOUT
    })
    // ws answers pings, and breaks the connection when the answers are not read
    socket.on('ping', idle).on('pong', idle)
    socket.on('error', () => {
      // it has said why itself
      this.#told = true
      this.destroy()
    })
    socket.on('close', () => {
      this.#closed()
    })
  }

  /** ms: something has begun to arrive, and is to be whole by then; else {@link late} */
  get deadline(): number {
    return this.#deadline
  }

  late(): void {
    // who is not listened to cannot go on
    if (this.#socket.isPaused) this.#deadline = this.#o.clock() + MESSAGE_TIMEOUT
    else this.#refuse(CLOSE.policy)
  }

  #message(data: Buffer, isBinary: boolean): void {
    this.#deadline = Infinity
    if (this.destroyed || this.readableEnded) return
    if (!isBinary) this.#refuse(CLOSE.notBinary)
    else if (data.length === 0) this.#idle()
    else if (!this.push(data)) this.#socket.pause()
  }

  #idle(): void {
    if (this.destroyed) return
    const now = this.#o.clock()
    if (now - this.#since > WINDOW) {
      this.#since = now
      this.#idleFrames = 0
    }
    this.#idleFrames += 1
    if (this.#idleFrames > MOST_IDLE_FRAMES) this.#refuse(CLOSE.policy)
  }

  #refuse(code: number): void {
    this.#deadline = Infinity
    this.#told = true
    this.#socket.close(code)
    this.destroy()
  }

  /** What had arrived before an end in order is still read; of a connection that broke nothing is. */
  #closed(): void {
    const inOrder = this.#socket.readyState === this.#socket.CLOSED && this.#o.carrier.readableEnded
    if (inOrder && !this.destroyed) this.push(null)
    else this.destroy()
  }

  override _read(): void {
    if (this.#socket.isPaused) this.#socket.resume()
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.send(chunk, { binary: true, compress: false }, done)
  }

  override _writev(
    chunks: readonly { readonly chunk: Buffer }[],
    done: (error?: Error | null) => void,
  ): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'utf8', done)
  }

  override _final(done: (error?: Error | null) => void): void {
    // whoever ends all of them says only after that why
    process.nextTick(() => {
      this.#socket.close(this.#o.closeCode())
      done()
    })
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (this.#told) setTimeout(() => this.#socket.terminate(), LAST_WORD)
    else this.#socket.terminate()
    done(error)
  }
}
