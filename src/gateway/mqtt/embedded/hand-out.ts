/**
 * The retained messages that the SUBSCRIBEs of one client bring: for each SUBSCRIBE a message once, however many of its filters match it, and
 * some in a turn of the event loop, so that nobody else waits for them. Not at which QoS: ./routing.ts.
 */

import type { RetainedMessages } from './retained.ts'
import type { Retained } from './stored.ts'

/** Messages in one turn, looked at or handed out: about 2 ms. */
const SLICE = 200

/** @param done there may be another */
type Give = (message: Retained, done: () => void) => void

export class HandOut {
  readonly #retained: Pick<RetainedMessages, 'under'>
  readonly #give: Give
  readonly #isOver: () => boolean
  /** filters of the SUBSCRIBEs that wait for the one that is being served */
  #pending: (readonly string[])[] = []
  /** undefined: nothing is being handed out */
  #waiting: (() => void)[] | undefined
  #left = SLICE

  /** @param isOver the client has gone */
  constructor(retained: Pick<RetainedMessages, 'under'>, give: Give, isOver: () => boolean) {
    this.#retained = retained
    this.#give = give
    this.#isOver = isOver
  }

  /** Calls `act` when all has been handed out: now, as a rule. So whoever subscribes again and again does it no faster than it is served. */
  whenIdle(act: () => void): void {
    if (this.#waiting === undefined) act()
    else this.#waiting.push(act)
  }

  begin(filters: readonly string[]): void {
    this.#pending.push(filters)
    if (this.#waiting !== undefined) return
    this.#waiting = []
    void this.#run()
  }

  async #run(): Promise<void> {
    for (let next = this.#pending.shift(); next !== undefined; next = this.#pending.shift())
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      await this.#serve(next)
    const waiting = this.#waiting ?? []
    this.#waiting = undefined
    for (const act of waiting) act()
  }

  async #serve(filters: readonly string[]): Promise<void> {
    const seen = new Set<Retained>()
    for (const filter of filters)
      for (const message of this.#retained.under(filter)) {
        // oxlint-disable-next-line no-await-in-loop
        if (--this.#left <= 0) await this.#leaveTurn()
        if (this.#isOver()) return
        // gone: it was replaced meanwhile, and the new one has been sent as it came
        if (message.gone || seen.has(message)) continue
        seen.add(message)
        const given = this.#hand(message)
        // oxlint-disable-next-line no-await-in-loop
        if (given !== undefined) await given
      }
  }

  /** @returns undefined: it need not be waited for */
  #hand(message: Retained): Promise<void> | undefined {
    let isDone = false
    let tell: (() => void) | undefined
    this.#give(message, () => {
      isDone = true
      tell?.()
    })
    if (isDone) return undefined
    return new Promise((resolve) => {
      tell = resolve
    })
  }

  #leaveTurn(): Promise<void> {
    this.#left = SLICE
    return new Promise((resolve) => void setImmediate(resolve))
  }
}
