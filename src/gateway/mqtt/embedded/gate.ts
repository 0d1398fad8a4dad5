/**
 * What one client is told only when something is on the disk, in the order in which it asked [MQTT-4.6.0-2, -3]: an acknowledgement that
 * needs no disk waits for those before it, and for nothing else.
 */

import type { Journal } from './journal.ts'

type Waiting = { readonly batch: number; readonly act: () => void }

export class Gate {
  readonly #journal: Journal
  #waiting: Waiting[] | undefined

  constructor(journal: Journal) {
    this.#journal = journal
  }

  /** @param batch 0: nothing of it need be on the disk */
  pass(batch: number, act: () => void): void {
    if (this.#waiting === undefined) {
      if (this.#journal.isDone(batch)) return act()
      this.#waiting = []
      this.#journal.after(batch, this.#next)
    }
    this.#waiting.push({ batch, act })
  }

  #next = (): void => {
    const waiting = this.#waiting ?? []
    let at = 0
    while (at < waiting.length && this.#journal.isDone((waiting[at] as Waiting).batch))
      (waiting[at++] as Waiting).act()
    if (at === waiting.length) this.#waiting = undefined
    else {
      this.#waiting = waiting.slice(at)
      this.#journal.after((waiting[at] as Waiting).batch, this.#next)
    }
  }
}
