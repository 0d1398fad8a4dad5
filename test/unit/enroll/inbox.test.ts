import { randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { drainInbox, followInbox } from '#enroll/inbox.ts'
import { DAY, HOUR } from '#fleet/clock.ts'
import type { InboxEntry, InboxReader, Registry } from '#registry/registry.ts'
import { createLog } from '#runtime/log.ts'

const NOW = Date.UTC(2026, 10, 24)
const FINGERPRINT = randomBytes(32).toString('hex')
const seen = (change: Partial<InboxEntry> = {}): InboxEntry => ({
  kind: 'seen',
  subject: FINGERPRINT,
  at: NOW,
  door: 'https',
  ...change,
})
const logout = (change: Partial<InboxEntry> = {}): InboxEntry =>
  seen({ kind: 'logout', subject: 'lamp-1', at: NOW - HOUR, ...change })
const clone = (change: Partial<InboxEntry> = {}): InboxEntry =>
  seen({ kind: 'clone', door: 'mqtt', ...change })
const SIGHTING = { fingerprint: FINGERPRINT, at: NOW }

/** An inbox of pages, and a registry that remembers what it was told. */
const setUp = (pages: readonly (readonly InboxEntry[])[], malformed = 0) => {
  const told: { entries: readonly unknown[]; logouts: readonly unknown[]; cursor: string }[] = []
  const inbox: InboxReader = {
    read: (cursor) => {
      const at = Number(cursor ?? 0)
      const entries = pages[at] ?? []
      const next = entries.length === 0 && malformed === 0 ? cursor : String(at + 1)
      return Promise.resolve({
        entries,
        cursor: next,
        malformed: at === 0 ? malformed : 0,
        forward: cursor !== undefined && next !== cursor,
      })
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
  const registry = {
    inboxCursor: () => Promise.resolve(told.at(-1)?.cursor),
    recordSightings: (
      entries: readonly unknown[],
      cursor: string,
      _now: number,
      logouts: readonly unknown[],
    ) => {
      told.push({ entries, logouts, cursor })
      return Promise.resolve()
    },
  } as unknown as Registry
  const withdrawals: number[] = []
  Object.assign(registry, {
    withdrawUnconfirmed: (now: number) => {
      withdrawals.push(now)
      return Promise.resolve(0)
    },
  })
  const suspected: (readonly string[])[] = []
  const suspect = (fingerprints: readonly string[]) => {
    if (fingerprints.length > 0) suspected.push(fingerprints)
    return Promise.resolve()
  }
  const lines: string[] = []
  const log = createLog('enroll', 'debug', { write: (line) => lines.push(line) })
  return { told, lines, withdrawals, suspected, deps: { registry, inbox, clock: () => NOW, log, suspect } }
}

it('applies what is there, and goes on where it was', async () => {
  const { deps, told } = setUp([[seen(), seen({ door: 'mqtt' })]])
  expect(await drainInbox(deps)).toBe(2)
  expect(told).toEqual([{ entries: [SIGHTING, SIGHTING], logouts: [], cursor: '1' }])
  expect(await drainInbox(deps)).toBe(0)
  expect(told).toHaveLength(1)
})

it('tells whose sessions are over since their holder has logged out, and which of them', async () => {
  const foreign = logout({ subject: 'partner/Pump 7, Süd', at: NOW + DAY })
  const { deps, told } = setUp([[logout(), seen(), foreign]])
  expect(await drainInbox(deps)).toBe(3)
  expect(told).toEqual([
    {
      entries: [SIGHTING],
      logouts: [
        { holder: 'lamp-1', at: NOW - HOUR },
        { holder: foreign.subject, at: NOW + DAY },
      ],
      cursor: '1',
    },
  ])
})

it('tells which certificates somebody else seems to hold, before it moves on', async () => {
  const { deps, told, suspected } = setUp([[clone(), seen()], [clone()]])
  const failing = () => Promise.reject(new Error('locked'))
  await expect(drainInbox({ ...deps, suspect: failing })).rejects.toThrow('locked')
  expect(told).toEqual([])
  expect(await drainInbox(deps)).toBe(2)
  expect([suspected, told]).toEqual([[[FINGERPRINT]], [{ entries: [SIGHTING], logouts: [], cursor: '1' }]])
})

it('reads page after page', async () => {
  const page = Array.from({ length: 1_000 }, () => seen())
  const { deps, told } = setUp([page, page, [seen()]])
  expect(await drainInbox(deps)).toBe(2_001)
  expect(told.map(({ cursor }) => cursor)).toEqual(['1', '2', '3'])
})

it.each<[string, Partial<InboxEntry>]>([
  ['a fingerprint that is none', { subject: 'x' }],
  ['upper case', { subject: FINGERPRINT.toUpperCase() }],
  ['SQL', { subject: "' or 1=1 --" }],
  ['a time that is no number', { at: Number.NaN }],
  ['a fraction', { at: 1.5 }],
  ['before the epoch', { at: -1 }],
  ['a kind that is not known', { kind: 'revoke' as 'seen' }],
  ['a kind of every object', { kind: 'constructor' as 'seen' }],
  ['a logout at the other door, which has no sessions', { kind: 'logout', subject: 'lamp-1', door: 'mqtt' }],
  ['a clone at the other door, which has no ClientIDs', { kind: 'clone', door: 'https' }],
  ['a device that is cloned in place of its certificate', { kind: 'clone', subject: 'lamp-1', door: 'mqtt' }],
  ['a logout of nobody', { kind: 'logout', subject: '' }],
  ['a logout of a whole anchor', { kind: 'logout', subject: 'partner/' }],
  ['a logout of an anchor that cannot be', { kind: 'logout', subject: '-partner/x' }],
  ['a logout of a name too long', { kind: 'logout', subject: `partner/${'x'.repeat(400)}` }],
  ['a logout of a name with a line break', { kind: 'logout', subject: 'partner/a\nb' }],
  ['a logout of a device that cannot be', { kind: 'logout', subject: ' lamp' }],
  ['a device seen in place of its certificate', { subject: 'lamp-1' }],
])('skips and counts, but moves on: %s', async (_, change) => {
  const { deps, told, lines } = setUp([[seen(change), seen()]])
  expect(await drainInbox(deps)).toBe(1)
  expect(told).toEqual([{ entries: [SIGHTING], logouts: [], cursor: '1' }])
  expect(lines.join('')).toContain('"malformed":1')
})

it('moves on past a page that holds nothing good', async () => {
  const { deps, told } = setUp([[]], 3)
  expect(await drainInbox(deps)).toBe(0)
  expect(told).toEqual([{ entries: [], logouts: [], cursor: '1' }])
})

/** A gateway that was taken over: a full batch whatever is asked, of a file that is never the one of before. */
const endless = (forward: boolean, malformed: number): InboxReader & { readonly reads: number } => {
  let reads = 0
  return {
    get reads() {
      return reads
    },
    read: () => {
      reads += 1
      const entries = Array.from({ length: 1_000 - malformed }, () => seen())
      return Promise.resolve({ entries, cursor: `cursor ${reads}`, malformed, forward })
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

it.each([
  ['good entries', 0],
  ['rubbish', 1_000],
])('stops when the file starts over and over, with %s', async (_, malformed) => {
  const { deps, told } = setUp([])
  const inbox = endless(false, malformed)
  await drainInbox({ ...deps, inbox })
  expect(inbox.reads).toBe(2)
  expect(told).toHaveLength(2)
})

it('breathes between two full batches, and ends when asked though there is always more', async () => {
  const { deps } = setUp([])
  const inbox = endless(true, 0)
  const started = performance.now()
  const follower = followInbox({ ...deps, inbox })
  await expect.poll(() => inbox.reads).toBeGreaterThan(3)
  expect(inbox.reads).toBeLessThanOrEqual(2 + (performance.now() - started) / 50)
  await follower[Symbol.asyncDispose]()
  const { reads } = inbox
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
  expect(inbox.reads).toBe(reads)
})

it('goes on after a failure, and ends when asked', async () => {
  const { deps, lines } = setUp([])
  const broken = { ...deps.inbox, read: () => Promise.reject(new Error('gone')) }
  await using follower = followInbox({ ...deps, inbox: broken })
  await expect.poll(() => lines.join('')).toContain('cannot be read')
  await follower[Symbol.asyncDispose]()
})

it('withdraws what was not confirmed after it has read, and not while it cannot read', async () => {
  const { deps, told, withdrawals } = setUp([[seen()]])
  let reads = 0
  const order: string[] = []
  const inbox: InboxReader = {
    ...deps.inbox,
    read: (cursor, limit) => {
      reads += 1
      order.push(`read with ${withdrawals.length} withdrawals before`)
      return reads === 1 ? Promise.reject(new Error('locked')) : deps.inbox.read(cursor, limit)
    },
  }
  await using _ = followInbox({ ...deps, inbox })
  await expect.poll(() => withdrawals.length, { timeout: 5_000 }).toBeGreaterThan(0)
  expect(order.slice(0, 2)).toEqual(['read with 0 withdrawals before', 'read with 0 withdrawals before'])
  expect(told).toHaveLength(1)
})

it('a gateway that writes without end does not keep certificates from being withdrawn', async () => {
  const { deps, withdrawals } = setUp([])
  const inbox = endless(true, 0)
  await using _ = followInbox({ ...deps, inbox, most: 2 })
  await expect.poll(() => withdrawals.length).toBeGreaterThan(0)
  expect(inbox.reads).toBe(2)
})
