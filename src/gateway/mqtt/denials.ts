/**
 * PUBLISH packets denied to one connection: how many in a minute, after which it ends. A device that is told no again and again, and goes on, is
 * broken or somebody else. Not the verdicts, and not what a client is told.
 */

import { MINUTE, type Clock } from '#fleet/clock.ts'

export class Denials {
  readonly #most: number
  readonly #clock: Clock
  #windowEnds = 0
  #count = 0

  /** @param most in a minute */
  constructor(most: number, clock: Clock) {
    this.#most = most
    this.#clock = clock
  }

  /** One more. @returns true: one too many */
  add(): boolean {
    const now = this.#clock()
    if (now >= this.#windowEnds) {
      this.#windowEnds = now + MINUTE
      this.#count = 0
    }
    this.#count++
    return this.#count > this.#most
  }
}
