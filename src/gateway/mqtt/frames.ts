/**
 * Cuts a byte stream into MQTT control packets and hands what is allowed on, unchanged and in as few pieces as it came. Bounded:
 * a packet too large is refused by its announcement, before its body. What a packet means, and who may send it, is decided elsewhere.
 */

import type { MqttReason } from '#wire/mqtt-codes.ts'
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

const malformed = (detail: string): Refusal => ({ reason: 'bad_request', detail })

const isRefusal = (step: Uint8Array | Refusal): step is Refusal => 'reason' in step

/** Bytes of a packet that has not arrived whole. Grows with what has arrived, never to what was announced. */
const FIRST_ROOM = 256

/**
 * @param o.out takes runs of whole packets, in order. Whoever keeps them must copy.
 * @param o.share one unit is spent for each packet; whoever decides may spend more. Without it nothing waits for a turn.
 */
export const createFramer = (o: {
  readonly limit: number
  readonly opens: (first: number) => boolean
  readonly decide: Decide
  readonly out: (run: Buffer | Uint8Array) => void
  readonly share?: Share
}): Framer => {
  const { share } = o
  let room: Buffer | undefined
  let filled = 0
  let held: Buffer | undefined
  let waits: Framer['waits']
  let count = 0

  /** Header of the packet at `at`: its length in all, 0 when the header has not arrived whole. `bodyAt` is set beside it. */
  let bodyAt = 0
  const measure = (bytes: Buffer, at: number, until: number): number | Refusal => {
    if (!framer.opens(bytes[at] as number))
      return malformed(`a packet of type and flags 0x${(bytes[at] as number).toString(16)} is not expected`)
    let length = 0
    for (let digits = 0; digits < 4; digits++) {
      const next = at + 1 + digits
      if (next >= until) return 0
      const digit = bytes[next] as number
      length += (digit & 0x7f) * 128 ** digits
      if (digit < 128) {
        // the shortest form only (MQTT 5 §1.5.5): two readings of one header are one too many
        if (digit === 0 && digits > 0) return malformed('the remaining length is not in its shortest form')
        const total = 2 + digits + length
        if (total > framer.limit)
          return { reason: 'body_too_large', detail: `a packet of ${total} bytes, ${framer.limit} allowed` }
        bodyAt = next + 1
        return total
      }
    }
    return malformed('the remaining length has more than four digits')
  }

  /** @returns where it stopped: after the last whole packet, or after the one that made it wait */
  const walk = (bytes: Buffer, from: number, until: number): number | Refusal => {
    let run = from
    let at = from
    const flush = (): void => {
      if (run < at) o.out(bytes.subarray(run, at))
    }
    while (at < until) {
      const total = measure(bytes, at, until)
      if (typeof total !== 'number') {
        flush()
        return total
      }
      if (total === 0 || at + total > until) break
      count++
      share?.spend(1)
      const step = framer.decide(bytes, at, bodyAt, at + total)
      if (step === 'hold' || step === 'forward-hold') waits = 'packet'
      else if (share?.spent === true) waits = 'turn'
      const on = step === 'forward' || step === 'forward-hold'
      if (on) at += total
      if (step === 'forward' && waits === undefined) continue
      flush()
      if (!on) at += total
      run = at
      if (typeof step !== 'string') {
        if (isRefusal(step)) return step
        o.out(step)
      }
      if (waits !== undefined) return at
    }
    flush()
    return at
  }

  const keep = (bytes: Buffer): void => {
    room = Buffer.allocUnsafeSlow(Math.min(framer.limit, Math.max(FIRST_ROOM, 2 * bytes.length)))
    filled = bytes.copy(room)
  }

  /** Adds to the packet that is not whole. @returns how many bytes of `chunk` it took */
  const fill = (chunk: Buffer): number | Refusal => {
    let took = 0
    while (room !== undefined && took < chunk.length) {
      const total = measure(room, 0, filled)
      if (typeof total !== 'number') return total
      // without a whole header, a byte at a time: it has five at most
      const want = total === 0 ? 1 : Math.min(total - filled, chunk.length - took)
      if (filled + want > room.length) {
        const wider = Buffer.allocUnsafeSlow(
          Math.min(Math.max(framer.limit, filled + want), Math.max(2 * room.length, filled + want)),
        )
        room.copy(wider, 0, 0, filled)
        room = wider
      }
      chunk.copy(room, filled, took, took + want)
      filled += want
      took += want
      const now = measure(room, 0, filled)
      if (typeof now !== 'number') return now
      if (now === 0 || filled < now) continue
      const whole = room.subarray(0, filled)
      room = undefined
      const end = walk(whole, 0, whole.length)
      if (typeof end !== 'number') return end
    }
    return took
  }

  const push = (chunk: Buffer): Refusal | undefined => {
    if (waits !== undefined) {
      held = held === undefined ? chunk : Buffer.concat([held, chunk])
      return undefined
    }
    let from = 0
    if (room !== undefined) {
      const took = fill(chunk)
      if (typeof took !== 'number') return took
      from = took
    }
    if (waits === undefined && from < chunk.length) {
      const end = walk(chunk, from, chunk.length)
      if (typeof end !== 'number') return end
      from = end
    }
    if (from < chunk.length) {
      if (waits !== undefined) held = chunk.subarray(from)
      else keep(chunk.subarray(from))
    }
    return undefined
  }

  const framer: Framer = {
    limit: o.limit,
    opens: o.opens,
    decide: o.decide,
    push,
    resume: () => {
      waits = undefined
      const rest = held
      held = undefined
      return rest === undefined ? undefined : push(rest)
    },
    get waits() {
      return waits
    },
    get partial() {
      return room !== undefined
    },
    get count() {
      return count
    },
  }
  return framer
}
