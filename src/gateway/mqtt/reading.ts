/**
 * A client's bytes on their way to whoever judges them: packets whole, in its turn, and not while one of them must be dealt with first. Not the
 * verdicts, and not the stream: ./client-side.ts.
 */

import { HOLD, type ClientSide } from './client-side.ts'
import { createFramer, type Decide, type Framer, type Refusal } from './frames.ts'
import { opensConnect, opensFromClient, type Level } from './packets.ts'
import { createShare, type Share } from './turns.ts'

export type ReadingOwner = {
  readonly client: ClientSide
  readonly over: boolean
  fail(refusal: Refusal): void
  /** Runs of judged packets, in order. Whoever keeps them must copy. */
  toBroker(bytes: Uint8Array): void
  /** What was at hand has been read. @param whole was there a whole packet in it? @param rest has another one begun? */
  read(whole: boolean, rest: boolean): void
  /** It has thrown, in a turn of its own. */
  broke(error: unknown): void
}

const nextTurn = (reading: Reading): void => reading.turn()

export class Reading {
  readonly share: Share = createShare()
  readonly #owner: ReadingOwner
  readonly #up: Framer
  /** for its next turn */
  #waiting = false
  /** ms of performance.now(); nothing more is read before */
  #notBefore = 0
  /** the packet that the client waited on is done, and it was too early to go on */
  #early = false

  /** @param limit bytes. @param decide of the CONNECT; what comes after it: {@link Reading.judgeBy} */
  constructor(owner: ReadingOwner, limit: number, decide: Decide) {
    this.#owner = owner
    this.#up = createFramer({
      limit,
      opens: opensConnect,
      decide,
      out: (bytes) => owner.toBroker(bytes),
      share: this.share,
    })
  }

  /** whole packets so far */
  get count(): number {
    return this.#up.count
  }

  judgeBy(decide: Decide, level: Level, limit: number): void {
    this.#up.decide = decide
    this.#up.opens = opensFromClient[level]
    this.#up.limit = limit
  }

  /** @param chunk undefined: what waited */
  push(chunk: Buffer | undefined): void {
    const owner = this.#owner
    if (owner.over) return
    const up = this.#up
    const before = up.count
    const refusal = chunk === undefined ? up.resume() : up.push(chunk)
    if (refusal !== undefined) return owner.fail(refusal)
    owner.read(up.count !== before, up.partial)
    if (owner.over) return
    if (up.waits === 'packet') owner.client.hold(HOLD.packet)
    else if (up.waits === 'turn') this.#waitForTurn()
  }

  /** The packet that the client waited on is done. */
  goOn(): void {
    this.#early = this.#notBefore > performance.now()
    if (this.#early) return this.#waitForTurn()
    this.#owner.client.release(HOLD.packet)
    this.push(undefined)
  }

  /** Nothing more is read before so many ms. */
  wait(ms: number): void {
    this.#notBefore = performance.now() + ms
  }

  turn(): void {
    this.#waiting = false
    try {
      if (this.#early) this.goOn()
      else if (this.#up.waits === 'turn') this.push(undefined)
      if (!this.#waiting) this.#owner.client.release(HOLD.turn)
    } catch (error) {
      this.#owner.broke(error)
    }
  }

  #waitForTurn(): void {
    if (this.#waiting) return
    this.#waiting = true
    this.#owner.client.hold(HOLD.turn)
    const ms = this.#notBefore - performance.now()
    if (ms > 0) setTimeout(nextTurn, ms, this)
    else setImmediate(nextTurn, this)
  }
}
