/**
 * Who is connected: what must be judged again when something changed, and told to leave when the gateway stops.
 * Not who may connect, and no socket is touched here: an entry ends itself.
 */

import type { Change } from '#registry/registry.ts'
import { Leaving } from './leaving.ts'

/** Entries judged before other work gets a turn: 10,000 connections must not stop the loop for a tenth of a second. */
const SLICE = 256

/** Changes by which anybody's standing may change, and not only what he may do. */
const OF_STANDING: ReadonlySet<Change['kind']> = new Set(['issuer', 'anchor_crls', 'reset'])

/** Changes that may concern anybody who came with more than a certificate: each logout is one, and a fleet is not judged again for it. */
const OF_CREDENTIALS: ReadonlySet<Change['kind']> = new Set(['credentials', 'assertion_keys'])

export type LiveEntry = {
  /** undefined: no device of ours (a foreign certificate, a service token, nobody), so that no change of a device concerns it */
  readonly deviceId: string | undefined
  /** of a foreign certificate `<anchor>/<name>`, which is no device id */
  readonly foreignName?: string | undefined
  /** judges again and ends itself when denied; must not throw */
  recheck(): void
  /** the gateway is stopping */
  drain(): void
  /** nobody is connected: it is judged again after all who are, when its standing changes; not counted, nor told to leave; `certificateOnly` too */
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
  /** Whoever that is, a device id or `<anchor>/<name>`, has logged out: judges again what stands by more than a certificate. */
  recheckHolder(holder: string): void
  drain(): void
}

const holderOf = ({ deviceId, foreignName }: LiveEntry): string | undefined => deviceId ?? foreignName

export const createLive = (): LiveControl => {
  const awake = new Set<LiveEntry>()
  const asleep = new Set<LiveEntry>()
  /** a set where there is more than one: most devices do one thing at a time */
  const byHolder = new Map<string, LiveEntry | Set<LiveEntry>>()

  const entriesOf = (holder: string): Iterable<LiveEntry> => {
    const found = byHolder.get(holder)
    return found instanceof Set ? found : found === undefined ? [] : [found]
  }
  const join = (holder: string, entry: LiveEntry): void => {
    const found = byHolder.get(holder)
    if (found instanceof Set) found.add(entry)
    else byHolder.set(holder, found === undefined ? entry : new Set([found, entry]))
  }
  const part = (holder: string, entry: LiveEntry): void => {
    const found = byHolder.get(holder)
    if (found === entry || (found instanceof Set && found.delete(entry) && found.size === 0))
      byHolder.delete(holder)
  }
  const setOf = (entry: LiveEntry): Set<LiveEntry> => (entry.asleep === true ? asleep : awake)
  const leave = (entry: LiveEntry): void => {
    setOf(entry).delete(entry)
    const holder = holderOf(entry)
    if (holder !== undefined) part(holder, entry)
  }

  const recheckAll = (entries: readonly LiveEntry[], from = 0): void => {
    const end = Math.min(from + SLICE, entries.length)
    for (let at = from; at < end; at += 1) {
      const entry = entries[at] as LiveEntry
      if (setOf(entry).has(entry)) entry.recheck()
    }
    if (end < entries.length) setImmediate(recheckAll, entries, end)
  }

  return {
    add: (entry) => {
      setOf(entry).add(entry)
      const holder = holderOf(entry)
      if (holder !== undefined) join(holder, entry)
      return new Leaving(leave, entry)
    },
    size: () => awake.size,
    recheck: (changes) => {
      const all = changes.some(({ kind }) => OF_STANDING.has(kind))
      if (all) return recheckAll([...awake, ...asleep])
      const concerned = new Set(changes.some(({ kind }) => kind === 'access') ? awake : [])
      for (const change of changes)
        if (change.kind === 'device') for (const entry of entriesOf(change.deviceId)) concerned.add(entry)
      if (changes.some(({ kind }) => OF_CREDENTIALS.has(kind)))
        for (const entry of awake) if (entry.certificateOnly !== true) concerned.add(entry)
      recheckAll([
        ...[...concerned].filter(({ asleep: sleeps }) => sleeps !== true),
        ...[...concerned].filter(({ asleep: sleeps }) => sleeps === true),
      ])
    },
    recheckHolder: (holder) => {
      recheckAll([...entriesOf(holder)].filter(({ certificateOnly }) => certificateOnly !== true))
    },
    drain: () => {
      for (const entry of awake) entry.drain()
    },
  }
}
