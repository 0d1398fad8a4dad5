/** Another process holds the database: the event loop goes on, verbs wait a little, then say so, and nothing has changed. */

import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Registry, RegistryReader } from '#registry/registry.ts'
import { openRegistry, openRegistryReader } from '#registry/sqlite.ts'
import { countTicks, holdLock } from '../../support/lock-holder.ts'
import { ACTOR, claimToken, givenDevice, givenToken, NOW, reservation } from '../../support/registry.ts'
import { temporaryFolder } from '../../support/temporary.ts'

let folder: ReturnType<typeof temporaryFolder>
let path: string

beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder.path, 'registry.sqlite')
})
afterEach(() => folder[Symbol.dispose]())

const EXCLUSIVE = 'begin exclusive'

describe('BEGIN EXCLUSIVE in another process', () => {
  let registry: Registry
  let reader: RegistryReader

  beforeEach(async () => {
    registry = await openRegistry({ path, clock: () => NOW })
    reader = await openRegistryReader({ path })
  })
  afterEach(async () => {
    await reader[Symbol.asyncDispose]()
    await registry[Symbol.asyncDispose]()
  })

  it('refuses writes after 800 ms while timers tick and reads are answered; then all is as before', async () => {
    const device = await givenDevice(registry)
    const token = await givenToken(registry)
    const cursor = await reader.cursor()
    const asked = reservation({ kind: 'token', id: token.id })
    using clock = countTicks()
    const holder = await holdLock(path, EXCLUSIVE)
    const before = clock.ticks()
    const started = performance.now()
    const writes = Promise.allSettled([
      registry.reserve(asked),
      registry.takeCrlNumber('a1'.repeat(20), NOW),
      registry.createToken(claimToken(), ACTOR),
    ])
    // WAL: who writes does not hinder who reads
    expect(reader.status(device.fingerprint)).toMatchObject({ certificateState: 'live' })
    expect(reader.access().version).toBe(0)
    expect(registry.status(device.fingerprint)).toBeDefined()
    expect(await registry.findDevice(device.id)).toMatchObject({ id: device.id })
    expect(await reader.changesSince(cursor)).toEqual({ changes: [], cursor })
    for (const write of await writes)
      expect(write).toMatchObject({
        status: 'rejected',
        reason: { code: 'registry_unavailable', retryAfter: 1 },
      })
    expect(performance.now() - started).toBeGreaterThan(600)
    // a blocked process has one or two
    expect(clock.ticks() - before).toBeGreaterThan(20)
    await holder.release()
    expect(await registry.findToken(token.id)).toEqual(token)
    expect(await reader.changesSince(cursor)).toEqual({ changes: [], cursor })
    expect(await registry.reserve(asked)).toMatchObject({ kind: 'reserved' })
  })

  it('a lock that is let go in time is not noticed', async () => {
    using clock = countTicks()
    const holder = await holdLock(path, EXCLUSIVE)
    const write = givenToken(registry)
    await clock.after(5)
    await holder.release()
    expect(await registry.findToken((await write).id)).toBeDefined()
  })

  it('keeps the order of verbs that waited for the same lock, and finishes them before it closes', async () => {
    using clock = countTicks()
    const holder = await holdLock(path, EXCLUSIVE)
    const writes = Array.from({ length: 250 }, () => givenToken(registry))
    await clock.after(3)
    const closed = registry[Symbol.asyncDispose]()
    await holder.release()
    const tokens = await Promise.all(writes)
    await closed
    await using again = await openRegistry({ path, clock: () => NOW })
    const listed = await again.listTokens({ limit: 1_000 })
    expect(listed.items.map(({ id }) => id)).toEqual(tokens.map(({ id }) => id))
  })

  it('a flood of writes against a lock is refused beyond a bound, at once', async () => {
    await using _holder = await holdLock(path, EXCLUSIVE)
    const waiting = Array.from({ length: 10_000 }, () => registry.takeCrlNumber('nobody', NOW))
    let othersWait = true
    const settled = Promise.allSettled(waiting).finally(() => {
      othersWait = false
    })
    await expect(registry.takeCrlNumber('nobody', NOW)).rejects.toMatchObject({
      code: 'registry_unavailable',
      detail: 'too many writes are waiting',
    })
    expect(othersWait).toBe(true)
    expect((await settled).every(({ status }) => status === 'rejected')).toBe(true)
  })
})

describe('a holder in locking_mode=EXCLUSIVE, to whom even readers must yield', () => {
  const takeWhole = ['pragma locking_mode = exclusive', 'begin immediate', 'commit'] as const

  it('keeps readers and writers waiting off the event loop, until it goes', async () => {
    await (await openRegistry({ path, clock: () => NOW }))[Symbol.asyncDispose]()
    using clock = countTicks()
    const holder = await holdLock(path, ...takeWhole)
    const before = clock.ticks()
    await expect(openRegistryReader({ path, patience: 300 })).rejects.toMatchObject({
      code: 'registry_unavailable',
    })
    expect(clock.ticks() - before).toBeGreaterThan(10)
    const opening = Promise.all([openRegistry({ path, clock: () => NOW }), openRegistryReader({ path })])
    await clock.after(10)
    await holder.release()
    for (const opened of await opening) await opened[Symbol.asyncDispose]()
  })
})
