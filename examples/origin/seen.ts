/** What the origin saw, kept in memory for a demonstration that must not ask the gateway about itself. Bounded; not a log. */

import type { IncomingMessage } from 'node:http'
import type { Caller } from './caller.ts'

const KEPT = 1_000

type Sighting = {
  readonly method: string | undefined
  readonly target: string | undefined
  /** as they came, duplicates and order included */
  readonly headers: readonly (readonly [string, string])[]
  readonly body_bytes: number
  readonly device: string | null
  readonly verified: boolean
  readonly problem: string | null
  readonly assertion: string | null
}

const pairs = (raw: readonly string[]): (readonly [string, string])[] =>
  raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1] ?? ''] as const] : []))

export const createSeen = () => {
  let total = 0
  let items: Sighting[] = []
  let devices = new Map<string, number>()
  return {
    add(request: IncomingMessage, caller: Caller, bodyBytes: number): void {
      total += 1
      const who = caller.device ?? caller.name ?? '(nobody)'
      if (devices.has(who) || devices.size < KEPT) devices.set(who, (devices.get(who) ?? 0) + 1)
      items.push({
        method: request.method,
        target: request.url,
        headers: pairs(request.rawHeaders),
        body_bytes: bodyBytes,
        device: caller.device,
        verified: caller.verified,
        problem: caller.problem ?? null,
        assertion: caller.assertion ?? null,
      })
      if (items.length > KEPT) items.shift()
    },
    /** `total` and `by_caller` count everything since the reset; `items` are the newest 1,000, oldest first. */
    report: () => ({ total, by_caller: Object.fromEntries(devices), items }),
    reset() {
      total = 0
      items = []
      devices = new Map()
      return this.report()
    },
  }
}
