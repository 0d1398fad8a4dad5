/**
 * Who is connected: what must be judged again when something changed, and told to leave when the gateway stops.
 * Not who may connect, and no socket is touched here: an entry ends itself.
 */

import type { Change } from '#registry/registry.ts'

/** Entries judged before other work gets a turn: 10,000 connections must not stop the loop for a tenth of a second. */
const SLICE = 256

/** Changes that may concern anybody. */
const WIDE: ReadonlySet<Change['kind']> = new Set(['access', 'issuer', 'anchor_crls', 'reset'])

/** Changes that may concern anybody who came with more than a certificate: each logout is one, and a fleet is not judged again for it. */
const OF_CREDENTIALS: ReadonlySet<Change['kind']> = new Set(['credentials', 'assertion_keys'])

export type LiveEntry = {
  /** undefined: a foreign certificate; it is judged again when access or issuers change */
  readonly deviceId: string | undefined
  /** judges again and ends itself when denied; must not throw */
  recheck(): void
  /** the gateway is stopping */
  drain(): void
  /** nobody is connected: it is judged again like the others, and not counted */
  readonly asleep?: boolean
  /** it was judged by nothing but a certificate: not again when service tokens, sessions or signing keys change */
  readonly certificateOnly?: boolean
}

export interface Live {
  add(entry: LiveEntry): Disposable
  /** those who are connected */
  size(): number
}

/** The same, for whoever holds the feed. */
export interface LiveControl extends Live {
  recheck(changes: readonly Change[]): void
  drain(): void
}

export const createLive = (): LiveControl => {
  const all = new Set<LiveEntry>()
  let asleep = 0
  const byDevice = new Map<string, Set<LiveEntry>>()

  const recheckAll = (entries: readonly LiveEntry[]): void => {
    for (const entry of entries.slice(0, SLICE)) if (all.has(entry)) entry.recheck()
    if (entries.length > SLICE) setImmediate(recheckAll, entries.slice(SLICE))
  }

  return {
    add: (entry) => {
      all.add(entry)
      if (entry.asleep === true) asleep += 1
      const { deviceId } = entry
      if (deviceId !== undefined) {
        const peers = byDevice.get(deviceId)
        if (peers === undefined) byDevice.set(deviceId, new Set([entry]))
        else peers.add(entry)
      }
      return {
        [Symbol.dispose]: () => {
          if (all.delete(entry) && entry.asleep === true) asleep -= 1
          if (deviceId === undefined) return
          const peers = byDevice.get(deviceId)
          if (peers?.delete(entry) === true && peers.size === 0) byDevice.delete(deviceId)
        },
      }
    },
    size: () => all.size - asleep,
    recheck: (changes) => {
      if (changes.some(({ kind }) => WIDE.has(kind))) return recheckAll([...all])
      const devices = new Set(
        changes.flatMap((change) => (change.kind === 'device' ? [change.deviceId] : [])),
      )
      const concerned = new Set([...devices].flatMap((id) => [...(byDevice.get(id) ?? [])]))
      if (changes.some(({ kind }) => OF_CREDENTIALS.has(kind)))
        for (const entry of all) if (entry.certificateOnly !== true) concerned.add(entry)
      recheckAll([...concerned])
    },
    drain: () => {
      for (const entry of all) entry.drain()
    },
  }
}
