/**
 * Cuts a byte stream into MQTT control packets and hands what is allowed on, unchanged and in as few pieces as it came. Bounded:
 * a packet too large is refused by its announcement, before its body. What a packet means, and who may send it, is decided elsewhere.
 */

import { REASON, type MqttReason } from '#wire/mqtt-codes.ts'
import type { Share } from './turns.ts'

/**
 * What becomes of one packet. `forward`: on, as it is. `skip`: nowhere. Bytes: on, in its place. `hold`: nowhere, and what follows waits
 * for {@link Framer.resume}; `forward-hold`: the same, but on it goes. A refusal ends the stream; what came before it has been handed on.
 */
export type Step = 'forward' | 'skip' | 'hold' | 'forward-hold' | Uint8Array | Refusal
export type Refusal = {
  readonly reason: MqttReason
  readonly detail: string
  /** admission has said it, and it stands in the log */
  readonly recorded?: boolean
  /** DISCONNECT reason code of MQTT 5, where it says more than that of `reason` (#wire/mqtt-codes.ts) */
  readonly code?: number
}

/** `bytes[start..end)` is one whole packet, its variable header begins at `body`. Read it now: the memory is not the reader's to keep. */
export type Decide = (bytes: Buffer, start: number, body: number, end: number) => Step

export type Framer = {
  /** Largest packet, fixed header included. */
  limit: number
  /** May a packet begin with this byte (type and flags)? */
  opens: (first: number) => boolean
  decide: Decide
  /** @returns a refusal, after which the framer must not be used again */
  push(chunk: Buffer): Refusal | undefined
  /** Goes on after `hold`, or in another turn. */
  resume(): Refusal | undefined
  /** Why it waits for {@link Framer.resume}. `packet`: `hold` was said. `turn`: it has done its share of this turn. */
  readonly waits: 'packet' | 'turn' | undefined
  /** the first bytes of a packet are here and the rest is not */
  readonly partial: boolean
  /** whole packets seen so far */
  readonly count: number
}

export const malformed = (detail: string): Refusal => ({ reason: 'bad_request', detail })
/** It reads well, and may not be said here or now (MQTT 5 §4.13). */
export const protocolError = (detail: string): Refusal => ({
  ...malformed(detail),
  code: REASON.protocolError,
})

/** The first byte of a packet may not be: its flags, or its type whatever the flags. There is no type 0. */
const unexpected = (first: number, opens: Framer['opens']): Refusal => {
  const detail = `a packet of type and flags 0x${first.toString(16)} is not expected`
  for (let flags = 0; flags < 16; flags++) if (opens((first & 0xf0) | flags)) return malformed(detail)
  return first < 0x10 ? malformed(detail) : protocolError(detail)
}

export const isRefusal = (step: Step): step is Refusal => typeof step !== 'string' && 'reason' in step

/** Bytes of a packet that has not arrived whole. Grows with what has arrived, never to what was announced. */
const FIRST_ROOM = 256

export type FramerOptions = {
  readonly limit: number
  readonly opens: (first: number) => boolean
  readonly decide: Decide
  /** takes runs of whole packets, in order. Whoever keeps them must copy. */
  readonly out: (run: Buffer | Uint8Array) => void
  /** One unit is spent for each packet; whoever decides may spend more. Without it nothing waits for a turn. */
  readonly share?: Share
}

/** A class, for there are two of these for every connection, and most of them have nothing to do. */
class StreamFramer implements Framer {
  limit: number
  opens: (first: number) => boolean
  decide: Decide
  waits: Framer['waits'] = undefined
  count = 0
  private readonly out: (run: Buffer | Uint8Array) => void
  private readonly share: Share | undefined
  /** the packet that has not arrived whole, and how much of it is here; undefined: there is none */
  private room: Buffer | undefined = undefined
  private filled = 0
  /** what came while it waited */
  private held: Buffer | undefined = undefined
  /** set by {@link StreamFramer.measure}, beside what it returns */
  private bodyAt = 0

  constructor(o: FramerOptions) {
    this.limit = o.limit
    this.opens = o.opens
    this.decide = o.decide
    this.out = o.out
    this.share = o.share
  }

  get partial(): boolean {
    return this.room !== undefined
  }

  push(chunk: Buffer): Refusal | undefined {
    if (this.waits !== undefined) {
      this.held = this.held === undefined ? chunk : Buffer.concat([this.held, chunk])
      return undefined
    }
    let from = 0
    if (this.room !== undefined) {
      const took = this.fill(this.room, chunk)
      if (typeof took !== 'number') return took
      from = took
    }
    if (!this.waiting() && from < chunk.length) {
      const end = this.walk(chunk, from, chunk.length)
      if (typeof end !== 'number') return end
      from = end
    }
    if (from < chunk.length) {
      if (this.waiting()) this.held = chunk.subarray(from)
      else this.keep(chunk.subarray(from))
    }
    return undefined
  }

  resume(): Refusal | undefined {
    this.waits = undefined
    const rest = this.held
    this.held = undefined
    return rest === undefined ? undefined : this.push(rest)
  }

  /** Asked anew: what a decision does can change it. */
  private waiting(): boolean {
    return this.waits !== undefined
  }

  /** @returns the length in all of the packet at `at`; 0 when its header has not arrived whole */
  private measure(bytes: Buffer, at: number, until: number): number | Refusal {
    const first = bytes[at] as number
    if (!this.opens(first)) return unexpected(first, this.opens)
    let length = 0
    for (let digits = 0; digits < 4; digits++) {
      const next = at + 1 + digits
      if (next >= until) return 0
      const digit = bytes[next] as number
      length |= (digit & 0x7f) << (7 * digits)
      if (digit < 128) {
        // the shortest form only [MQTT-1.5.5-1]: two readings of one header are one too many
        if (digit === 0 && digits > 0) return malformed('the remaining length is not in its shortest form')
        const total = 2 + digits + length
        if (total > this.limit)
          return { reason: 'body_too_large', detail: `a packet of ${total} bytes, ${this.limit} allowed` }
        this.bodyAt = next + 1
        return total
      }
    }
    return malformed('the remaining length has more than four digits')
  }

  private flush(bytes: Buffer, from: number, until: number): void {
    if (from < until) this.out(bytes.subarray(from, until))
  }

  /** @returns where it stopped: after the last whole packet, or after the one that made it wait */
  private walk(bytes: Buffer, from: number, until: number): number | Refusal {
    const { share } = this
    let run = from
    let at = from
    while (at < until) {
      const total = this.measure(bytes, at, until)
      if (typeof total !== 'number') {
        this.flush(bytes, run, at)
        return total
      }
      if (total === 0 || at + total > until) break
      this.count++
      share?.spend(1)
      const step = this.decide(bytes, at, this.bodyAt, at + total)
      if (step === 'hold' || step === 'forward-hold') this.waits = 'packet'
      else if (share?.spent === true) this.waits = 'turn'
      const on = step === 'forward' || step === 'forward-hold'
      if (on) at += total
      if (step === 'forward' && !this.waiting()) continue
      this.flush(bytes, run, at)
      if (!on) at += total
      run = at
      if (typeof step !== 'string') {
        if (isRefusal(step)) return step
        this.out(step)
      }
      if (this.waiting()) return at
    }
    this.flush(bytes, run, at)
    return at
  }

  private keep(bytes: Buffer): void {
    this.room = Buffer.allocUnsafeSlow(Math.min(this.limit, Math.max(FIRST_ROOM, 2 * bytes.length)))
    this.filled = bytes.copy(this.room)
  }

  /** Adds to the packet that is not whole. @returns how many bytes of `chunk` it took */
  private fill(first: Buffer, chunk: Buffer): number | Refusal {
    let room = first
    let took = 0
    while (took < chunk.length) {
      const total = this.measure(room, 0, this.filled)
      if (typeof total !== 'number') return total
      // without a whole header, a byte at a time: it has five at most
      const want = total === 0 ? 1 : Math.min(total - this.filled, chunk.length - took)
      if (this.filled + want > room.length) {
        const needed = this.filled + want
        const wider = Buffer.allocUnsafeSlow(
          Math.min(Math.max(this.limit, needed), Math.max(2 * room.length, needed)),
        )
        room.copy(wider, 0, 0, this.filled)
        this.room = room = wider
      }
      chunk.copy(room, this.filled, took, took + want)
      this.filled += want
      took += want
      const now = this.measure(room, 0, this.filled)
      if (typeof now !== 'number') return now
      if (now === 0 || this.filled < now) continue
      this.room = undefined
      const end = this.walk(room, 0, this.filled)
      return typeof end === 'number' ? took : end
    }
    return took
  }
}

export const createFramer = (o: FramerOptions): Framer => new StreamFramer(o)
